"""What a study names and is not in order, refused before any work: files of networks, tables of answers and of likeness."""

from __future__ import annotations

from pathlib import Path

from study.errors import StudyError
from study.inputs.fingerprint import Inputs
from study.inputs.settings import InputParams

PEOPLE, LIKENESS = Path("data/external/human"), Path("data/external/likeness")


def refuse_missing(
    inputs: Inputs, params: InputParams, where: str, people: Path = PEOPLE, likeness: Path = LIKENESS
) -> list[str]:
    """A line for each network that cannot be studied, where models.max_failed allows that many.

    where: the file of parameters, for errors; people, likeness: the folders of tables of answers, and of likeness to people

    Raises StudyError with all networks where there are more, and with every table that is not there.
    """
    problems = [f"{key} is {name!r}, but {people} holds no such file" for key, name in _of_people(params, people)]
    problems += [
        f"{key} names {name!r}, but {likeness} holds no {what}" for key, name, what in _of_likeness(params, likeness)
    ]
    networks = [f"{params.models.roster}: {name}: {problem}" for name, problem in inputs.problems.items()]
    allowed = len(networks) <= params.models.max_failed * inputs.n_networks
    if not allowed:
        problems += networks
    if problems:
        raise StudyError("\n  ".join([f"{where} names what is not there:", *problems]))
    return [f"left out, as models.max_failed allows: {problem}" for problem in networks]


def _of_people(params: InputParams, people: Path) -> list[tuple[str, str]]:
    """Tables of answers that parameters name and that are not there: key and file."""
    human, named = params.human, [("activations.keep_file", f"units/{params.activations.keep_file}")]
    if human.source == "table":
        named.append(("human.table.file", human.table.file))
    if human.source == "pairs":
        named.append(("human.pairs.file", human.pairs.file))
    if human.source == "imi":
        named += [("human.imi.responses", name) for name in human.imi.responses]
    if human.source == "imi" or params.tasks.source == "imi":
        named.append(("human.imi.image_map", human.imi.image_map))
    named = [(key, name) for key, name in named if name.rpartition("/")[2]]
    return [(key, name) for key, name in named if not (people / name).is_file()]


def _of_likeness(params: InputParams, folder: Path) -> list[tuple[str, str, str]]:
    """Published likeness to people that parameters name and that is not there: key, name, and what it would be."""
    group = params.stats.likeness
    files = [entry.split("|")[0].strip() for entry in group.tables]
    missing = [("stats.likeness.tables", name, "such file") for name in files if not (folder / name).is_file()]
    if group.decisions and not (folder / group.decisions).is_dir():
        missing.append(("stats.likeness.decisions", group.decisions, "such folder"))
    return missing
