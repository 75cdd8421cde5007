"""Rebuild the tasks of chosen networks with other N and K, read their margins with other slopes, and look at values.

Reads   data/activations, data/images, data/models
Writes  data/sensitivity: settings.parquet, one row a network, backend and setting; maps.parquet, contrast and sparseness of
        the feature maps of sensitivity.map_models; histograms.parquet, values of some units whose whole column was kept
Run     dvc repro sensitivity
"""

from __future__ import annotations

from study.command import arguments, run
from study.files.tables import fresh_folder, write_parquet
from study.params.reading import load
from study.solving.feature_maps import feature_map_table
from study.solving.other_settings import SettingParams, kept_histograms, settings_table

FOLDERS = ("activations", "images", "models", "code", "out")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=FOLDERS, defaults={"params": "params.yaml"})
    params = load(args.params, SettingParams)
    out, sources = fresh_folder(args.out), (args.images, args.models, args.code)
    write_parquet(out / "settings.parquet", settings_table(params, args.activations, *sources))
    write_parquet(out / "maps.parquet", feature_map_table(params, *sources))
    write_parquet(out / "histograms.parquet", kept_histograms(args.activations, params))


if __name__ == "__main__":
    run(main)
