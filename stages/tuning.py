"""Tune similarities on the single answers of people, judge them out of fold, and refuse what is not surely better.

Reads   data/human (answers by task), data/tasks, data/scores (near copies), data/images, data/models, weights of similarity
        packages (MIS_WEIGHTS)
Writes  data/tuning: summary.parquet (a row a similarity and family of weights: tuned, or the reason why not), units.parquet
        (scores out of fold), weights.parquet (by fold), plan.parquet (what fewer units would give), BACKEND-FAMILY.safetensors
        (weights of those that are tuned)
Run     dvc repro tuning

Only answers to the very tasks of this study can be used. A tuned similarity stands beside the untuned one and never replaces it.
"""

from __future__ import annotations

from study.command import arguments, run
from study.files.tables import fresh_folder
from study.params.reading import load
from study.solving.tuning import Places, TuningParams, tune_all

FOLDERS = ("tasks", "scores", "human", "images", "models", "code")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=(*FOLDERS, "out"), defaults={"params": "params.yaml"})
    places = Places(**{name: getattr(args, name) for name in FOLDERS})
    tune_all(load(args.params, TuningParams), places, fresh_folder(args.out))


if __name__ == "__main__":
    run(main)
