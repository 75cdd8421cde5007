"""Check what a study starts from before any work: parameters, roster, images, and the files and networks that these name.

Nothing is computed and no network is built, so it takes a second; `make repro` begins with it.

Run     python -m tools.check                              params.yaml
        python -m tools.check --params studies/custom.yaml
"""

from __future__ import annotations

from pathlib import Path

from study.command import arguments, run
from study.environment import Environment
from study.extraction.arithmetic import used_by_workers, warning
from study.inputs.fingerprint import Inputs
from study.inputs.refusing import refuse_missing
from study.inputs.settings import InputParams
from study.params.reading import build, content_of
from study.params.whole import Params, keys, load_params

CODE, KNOWN = Path("data/external/code"), Path("data/inputs")
TEXTS = Path("data/external/explanations")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults={"params": "params.yaml"})
    precision = load_params(args.params).activations.precision
    print(f"{args.params}: {len(keys(Params))} keys, all known and within their limits")
    params = build(InputParams, content_of(args.params))
    inputs = Inputs.look(params, CODE, TEXTS, KNOWN, str(args.params))
    alone = Environment.read().executor == "local"  # a cluster is asked once the stage runs
    if said := warning(precision, used_by_workers(precision) if alone else precision):
        print(said)
    print("\n".join(inputs.in_words()))
    for line in refuse_missing(inputs, params, str(args.params)):
        print(line)


if __name__ == "__main__":
    run(main)
