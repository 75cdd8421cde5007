"""Machine Interpretability Score of every unit under every backend, from margins and fitted slopes.

Reads   data/scores/BACKEND.parquet of every backend in scores.backends, data/calibration
Writes  data/mis/units.parquet
Run     dvc repro mis
"""

from __future__ import annotations

from interpretability.schema import KEY
from study.command import arguments, run
from study.errors import StudyError
from study.files.tables import fresh_folder, read_json, read_parquet
from study.params.reading import load
from study.solving.unit_scores import MisParams, slopes_of, write_scores


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=("params", "scores", "calibration", "out"))
    params = load(args.params, MisParams)
    fitted = read_json(args.calibration / "slope.json")
    made = read_json(args.calibration / "made.json") if (args.calibration / "made.json").is_file() else {}
    split = read_parquet(args.calibration / "split.parquet", KEY)
    for name in params.scores.backends:
        path = args.scores / f"{name}.parquet"
        if not path.is_file():
            raise StudyError(f"{path}: no such file, but scores.backends names {name}. Run `dvc repro`.")
        if name not in fitted:
            raise StudyError(f"{args.calibration / 'slope.json'} has no slope of {name}; it has {sorted(fitted)}")
    slopes = {name: slopes_of(fitted[name], made.get(name, {})) for name in params.scores.backends}
    write_scores(fresh_folder(args.out) / "units.parquet", args.scores, slopes, params.mis.drop_near_duplicates, split)


if __name__ == "__main__":
    run(main)
