"""Every table and number of the study. This stage alone writes results/tables, metrics.json and provenance.json.

Reads   data/mis, data/human, data/calibration, data/tuning, data/ceiling, data/sensitivity, data/explanations, data/crowd,
        data/crowd_simulation, data/label_free, data/visualisations, data/explanation_kinds, the side tables of the stages
        before, and data/external/likeness: published likeness of networks to people
Writes  results/tables/*.csv, results/metrics.json, results/provenance.json
Run     dvc repro stats

Rankings, agreement and tests concern networks with role study at the last step of their series.
"""

from __future__ import annotations

from dataclasses import asdict

from study.command import arguments, run
from study.files import provenance
from study.files.tables import fresh_folder, write_csv, write_json
from study.networks.similarity import chosen_encoder
from study.params.whole import load_params
from study.tabulating.tables import study_tables

FOLDERS = (
    *("images", "roster", "activations", "tasks", "scores", "human"),
    *("calibration", "tuning", "mis", "ceiling", "sensitivity"),
    *("explanations", "crowd", "simulation", "label_free"),
    *("visualisations", "explanation_kinds"),
)
DEFAULTS = {"likeness": "data/external/likeness"}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=("params", *FOLDERS, "tables", "metrics", "provenance"), defaults=DEFAULTS)
    params = load_params(args.params)
    tables, metrics = study_tables(args, params)
    folder = fresh_folder(args.tables)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    write_json(args.metrics, metrics)
    folders = {name: getattr(args, name) for name in ("images", "activations", "visualisations", "tasks")}
    encoder = chosen_encoder(params.scores.backends, params.scores.encoder.model, args.roster / "roster.csv")
    write_json(
        args.provenance, provenance.describe(**folders, models=args.roster, params=asdict(params), encoder=encoder)
    )


if __name__ == "__main__":
    run(main)
