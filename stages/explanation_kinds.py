"""Solve the tasks of units under several kinds of explanation, so that these can be compared unit by unit.

Reads   data/tasks, data/visualisations, data/images, data/models, weights of similarity packages (MIS_WEIGHTS)
Writes  data/explanation_kinds: margins.parquet (a row a unit, similarity, kind and seed set), units.parquet (whose they are, and
        what is missing), shown.parquet (the explanations of the first task of each kind)
Run     dvc repro explanation_kinds        Resumes from the work store; safe to interrupt.

Kinds: natural; natural with fewer images; synthetic and mixed, with every seed set of made images; clusters, for units of several
topics. What they score is computed from these margins by `stats`, with the slopes, so that another slope solves no task again.
"""

from __future__ import annotations

from study.command import arguments, run
from study.files.tables import fresh_folder
from study.params.reading import load
from study.solving.kinds import KindParams, compare_kinds

DEFAULTS = {
    "params": "params.yaml",
    "tasks": "data/tasks",
    "visualisations": "data/visualisations",
    "images": "data/images",
    "models": "data/models",
    "code": "data/external/code",
    "out": "data/explanation_kinds",
}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS)
    compare_kinds(args, load(args.params, KindParams), fresh_folder(args.out))


if __name__ == "__main__":
    run(main)
