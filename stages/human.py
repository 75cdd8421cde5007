"""Answers of people to the tasks: none, recorded ones, or those of simulated observers, always called simulated.

Reads   data/tasks, data/models/roster.csv, the factors in data/images (simulated), data/visualisations and the encoder in
        data/models (simulated, where tasks show made images), tables in data/external/human (imi, table and pairs),
        data/external/models/imi_names.csv (imi)
Writes  data/human: responses.parquet, units.parquet, truth.parquet (simulated only), pairs.parquet and pair_scores.parquet
        (judged pairs, and published scores of their units), exclusions.csv, and what became of the IMI record: crosstab.csv
        (experiment by model by mode), verdicts.csv (checks recomputed against stored),
        checks.csv (values that the checks look at), unmatched.csv (networks and layers that this study does not have);
        reading.json (only where made images are seen): how well the encoder tells what simulated observers see in them
Run     dvc repro human
        python -m stages.human --list-units FILE      writes the annotated units, for activations.keep_file
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study.command import arguments, run
from study.files.tables import fresh_folder
from study.log import logger
from study.networks import unit_lists
from study.params.parts import ImageRoot
from study.params.reading import load
from study.people.answers import write_answers
from study.people.answers_simulated import AnswerParams
from study.people.recorded_answers import annotated_units
from study.solving.factors_of_made import Places, see_made
from study.solving.opening import Similarities

log = logger("human")

DEFAULTS = {
    "params": "params.yaml",
    "external": "data/external/human",
    "tasks": "data/tasks",
    "images": "data/images",
    "models": "data/models",
    "code": "data/external/code",
    "visualisations": "data/visualisations",
    "roster": "data/models/roster.csv",
    "names": "data/external/models/imi_names.csv",
    "out": "data/human",
}
FLAGS = {"list-units": {"type": Path, "help": "write the annotated units, one a line, and stop"}}


@dataclass(frozen=True, kw_only=True)
class HumanParams(AnswerParams):
    """What the answers depend on, and what simulated observers see made images through."""

    images: ImageRoot
    scores: Similarities


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS, flags=FLAGS)
    params = load(args.params, HumanParams)
    if args.list_units:
        units = annotated_units(params.human, args.external, args.names)
        log.info("%s: %d units", args.list_units, unit_lists.write_list(args.list_units, units))
        return
    places = Places(args.images, args.models, args.code, args.visualisations)
    write_answers(fresh_folder(args.out), args, params, partial(see_made, params, places))


if __name__ == "__main__":
    run(main)
