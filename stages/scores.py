"""Solve every task with one similarity: margins before calibration.

Reads   data/tasks, data/images, data/models (the encoder's network), data/visualisations (images made for units), weights of
        similarity packages (MIS_WEIGHTS)
Writes  data/scores/BACKEND.parquet; data/scores/BACKEND.cost.json: forward passes and pairs
Run     dvc repro scores@encoder        Resumes from the work store; safe to interrupt.
"""

from __future__ import annotations

from pathlib import Path

from study.command import arguments, run
from study.files.tables import write_json
from study.params.reading import load
from study.solving.study_margins import MarginParams, solve_study, write_margins

FOLDERS = ("tasks", "images", "models", "code", "out", "cost")
FLAGS = {
    "backend": {"required": True, "help": "the similarity, one of scores.backends"},
    "visualisations": {"type": Path, "help": "folder of images made for units; none if left out"},
}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=FOLDERS, defaults={"params": "params.yaml"}, flags=FLAGS)
    params = load(args.params, MarginParams)
    places = args.tasks, args.images, args.models, args.code, args.visualisations
    solved, cost = solve_study(args.backend, params, *places)
    write_margins(args.out, solved, args.tasks)
    write_json(args.cost, cost)


if __name__ == "__main__":
    run(main)
