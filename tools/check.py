"""Check what a study starts from before any work: parameters, roster, images, and the files that these name.

Nothing is computed and no network is built, so it takes a second; `make repro` begins with it.

Run     python -m tools.check                              params.yaml
        python -m tools.check --params studies/custom.yaml
"""

from __future__ import annotations

from pathlib import Path

from study.command import arguments, run
from study.errors import StudyError
from study.inputs.fingerprint import InputParams, Inputs
from study.params.reading import build, content_of
from study.params.whole import Params, keys, load_params

FOLDER, CODE, KNOWN = Path("data/external/human"), Path("data/external/code"), Path("data/inputs")
TEXTS = Path("data/external/explanations")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults={"params": "params.yaml"})
    params = load_params(args.params)
    print(f"{args.params}: {len(keys(Params))} keys, all known and within their limits")
    inputs = Inputs.look(build(InputParams, content_of(args.params)), CODE, TEXTS, KNOWN)
    print("\n".join(inputs.in_words()))
    problems = [f"{key} is {name!r}, but {FOLDER} holds no such file" for key, name in _of_people(params)]
    networks = [f"{params.models.roster}: {name}: {problem}" for name, problem in inputs.problems.items()]
    if len(networks) > params.models.max_failed * inputs.n_networks:
        problems += networks
    else:
        for problem in networks:
            print(f"left out, as models.max_failed allows: {problem}")
    if problems:
        raise StudyError("\n  ".join([f"{args.params} names what is not there:", *problems]))


def _of_people(params: Params) -> list[tuple[str, str]]:
    """Tables of answers that parameters name and that are not there: key and file."""
    human, named = params.human, [("activations.keep_file", f"units/{params.activations.keep_file}")]
    if human.source == "table":
        named.append(("human.table.file", human.table.file))
    if human.source == "imi":
        named += [("human.imi.responses", name) for name in human.imi.responses]
    if human.source == "imi" or params.tasks.source == "imi":
        named.append(("human.imi.image_map", human.imi.image_map))
    named = [(key, name) for key, name in named if name.rpartition("/")[2]]
    return [(key, name) for key, name in named if not (FOLDER / name).is_file()]


if __name__ == "__main__":
    run(main)
