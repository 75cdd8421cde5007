"""What a study names and is not in order, refused before any work: files of networks, and tables of answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from study.errors import StudyError
from study.inputs.fingerprint import Inputs

PEOPLE = Path("data/external/human")


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The roster, and the largest share of its rows that may fail, of `models`."""

    roster: str
    max_failed: float


@dataclass(frozen=True, kw_only=True)
class KeepFile:
    """The list of units whose columns are kept, of `activations`."""

    keep_file: str


@dataclass(frozen=True, kw_only=True)
class TaskSource:
    """Whether tasks are those of the IMI record, of `tasks`."""

    source: str


@dataclass(frozen=True, kw_only=True)
class ImiFiles:
    """Files of the IMI record, of `human.imi`."""

    responses: tuple[str, ...]
    image_map: str


@dataclass(frozen=True, kw_only=True)
class OneFile:
    """A table, of `human.table` or `human.pairs`."""

    file: str


@dataclass(frozen=True, kw_only=True)
class People:
    """Where answers come from, of `human`."""

    source: str
    imi: ImiFiles
    table: OneFile
    pairs: OneFile


@dataclass(frozen=True, kw_only=True)
class NamedParams:
    """What names files, or says how many networks may lack theirs."""

    models: Networks
    activations: KeepFile
    tasks: TaskSource
    human: People


def refuse_missing(inputs: Inputs, params: NamedParams, where: str) -> list[str]:
    """A line for each network that cannot be studied, where models.max_failed allows that many.

    where: the file of parameters, for errors

    Raises StudyError with all networks where there are more, and with every table of answers that is not there.
    """
    problems = [f"{key} is {name!r}, but {PEOPLE} holds no such file" for key, name in _of_people(params)]
    networks = [f"{params.models.roster}: {name}: {problem}" for name, problem in inputs.problems.items()]
    allowed = len(networks) <= params.models.max_failed * inputs.n_networks
    if not allowed:
        problems += networks
    if problems:
        raise StudyError("\n  ".join([f"{where} names what is not there:", *problems]))
    return [f"left out, as models.max_failed allows: {problem}" for problem in networks]


def _of_people(params: NamedParams) -> list[tuple[str, str]]:
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
    return [(key, name) for key, name in named if not (PEOPLE / name).is_file()]
