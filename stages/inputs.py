"""Look at the inputs that DVC does not see, so that it sees when they change. Runs at every `dvc repro`.

Reads   names, sizes and times of the images (MIS_IMAGES or images.root); files that the roster and the similarities name;
        data/external/explanations: texts that explain units, each row checked; whether named tables of answers, and of
        likeness to people, are there
Writes  data/inputs: images.json, networks.json, similarities/BACKEND.json, explained_units.csv, explanations (texts as read)
Run     dvc repro inputs          Files are read only if they are new or have changed.
"""

from __future__ import annotations

from study.command import arguments, run
from study.inputs.fingerprint import Inputs
from study.inputs.refusing import refuse_missing
from study.inputs.settings import InputParams
from study.log import logger
from study.params.reading import load

log = logger("inputs")

DEFAULTS = {
    "params": "params.yaml",
    "code": "data/external/code",
    "explanations": "data/external/explanations",
    "human": "data/external/human",
    "likeness": "data/external/likeness",
    "out": "data/inputs",
}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS)
    params = load(args.params, InputParams)
    inputs = Inputs.look(params, args.code, args.explanations, args.out, str(args.params))
    for line in refuse_missing(inputs, params, str(args.params), args.human, args.likeness):
        log.warning(line)  # where the stage `models` runs, it counts it among those that failed
    inputs.write(args.out)


if __name__ == "__main__":
    run(main)
