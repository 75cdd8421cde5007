"""Options of the export of two-alternative questions: their bounds, and how command lines name them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from interpretability.schema import NATURAL
from study.people.pictures import QUALITY, SUFFIX, picture_problems

_LEAST = {
    "units": 1,
    "random": 0,
    "tasks": 1,
    "responses": 1,
    "trials": 1,
    "size": 0,
    "explanations": 0,
    "practice": 0,
    "catch": 0,
}


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is asked about, how it is shown, and where the study lies. None: as told beside the field.

    out           new folder
    models        roster names of networks; empty: all studied ones, if they are few
    units         units of the easiest and of the hardest group
    random        units of the random group; None: as `units`
    backend       similarity whose MIS chooses; None: the first of scores.backends
    conditions    kinds of task, each an experiment of its own for each network; the units are the same
    explanations  shown a side, the most exciting ones; 0: queries alone; None: all of the study
    tasks         tasks of a unit that are asked; None: all
    held_out      choose units by their even tasks, ask the odd ones
    responses     answers to a unit; trials: questions of one session
    practice      practice trials of an experiment; catch: its trials whose answer is plain; 0: none
    format        png | jpeg | webp; quality: 1 to 100 of the latter two, None: 85; size: see `pictures.Encoding`
    no_pictures   leave the pictures out
    params, data, provenance   the study
    """

    out: Path
    models: tuple[str, ...] = ()
    units: int = 42
    random: int | None = None
    backend: str | None = None
    conditions: tuple[str, ...] = (NATURAL,)
    explanations: int | None = None
    tasks: int | None = None
    held_out: bool = False
    responses: int = 30
    trials: int = 40
    practice: int = 12
    catch: int = 10
    format: str = "png"
    quality: int | None = None
    size: int = 224
    no_pictures: bool = False
    params: Path = Path("params.yaml")
    data: Path = Path("data")
    provenance: Path = Path("results/provenance.json")

    def problem(self) -> str | None:
        """The first value that no study allows, in the words of a command line."""
        return next(self._problems(), None)

    def _problems(self) -> Iterator[str]:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                yield f"--{name} is {value}; it must be at least {least}"
        yield from picture_problems(self.format, self.quality)
        if not self.conditions:
            yield "--conditions is empty; name at least one, as natural"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options but --out, with their defaults."""
    more = parser.add_argument
    more("--models", type=names, default=(), metavar="NAME,..", help="networks (all studied ones, if they are few)")
    more("--units", type=int, default=42, help="units of the easiest and of the hardest group (%(default)s)")
    more("--random", type=int, help="units of the random group (as --units); 0 leaves it out")
    more("--backend", help="similarity whose MIS chooses (the first of scores.backends)")
    more(
        "--conditions",
        type=names,
        default=(NATURAL,),
        metavar="NAME,..",
        help=f"kinds of task, as {NATURAL},hard85: each an experiment with the same units ({NATURAL})",
    )
    more("--explanations", type=int, metavar="K", help="shown a side, the most exciting ones; 0: queries alone (all)")
    more("--tasks", type=int, help="tasks of a unit that are asked (all)")
    more(
        "--held-out",
        action="store_true",
        help="choose units by their even tasks, ask the odd ones: no task chose its unit",
    )
    more("--responses", type=int, default=30, help="answers to a unit (%(default)s)")
    more("--trials", type=int, default=40, help="questions of one session (%(default)s)")
    more("--practice", type=int, default=12, help="practice trials of an experiment; 0 leaves them out (%(default)s)")
    more("--catch", type=int, default=10, help="trials with a plain answer; 0 leaves them out (%(default)s)")
    more("--format", choices=sorted(SUFFIX), default="png", help="of the pictures (%(default)s)")
    more("--quality", type=int, help=f"of jpeg and webp, 1 to 100 ({QUALITY})")
    more("--size", type=int, default=224, help="centre squares of at most this side, 0: whole pictures (%(default)s)")
    more("--no-pictures", action="store_true", help="leave the pictures out; their names remain")
    more("--params", type=Path, default=Path("params.yaml"))
    more("--data", type=Path, default=Path("data"))
    more("--provenance", type=Path, default=Path("results/provenance.json"))


def options_of(args: argparse.Namespace, **changes: Any) -> ExportOptions:
    """Options from a parsed command line that `add_arguments` described; `changes` go first (`out`, where it has none)."""
    given = {field.name: getattr(args, field.name) for field in fields(ExportOptions) if hasattr(args, field.name)}
    return ExportOptions(**(given | changes))


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
