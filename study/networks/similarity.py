"""Which network of a roster stands behind the similarity `encoder`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from study.errors import StudyError
from study.networks.roster import SIMILARITY, RosterRow, is_computed, read_roster, rows_of

BACKEND = "encoder"
_PART = re.compile(r"0\.[0-9]*[1-9]")  # of the first epoch, as `step_name` writes it


class KeptOfRecipe(Protocol):
    """When weights are kept by a recipe, of `models.training.a3`."""

    @property
    def epochs(self) -> int: ...
    @property
    def first_epoch(self) -> int: ...
    @property
    def every(self) -> int: ...


class Kept(Protocol):
    """When weights of trained networks are kept, of `models.training`."""

    @property
    def epochs(self) -> int: ...
    @property
    def recipe(self) -> str: ...
    @property
    def a3(self) -> KeptOfRecipe: ...


def encoder_model(named: str, rows: Sequence[RosterRow], where: str, why: str) -> str:
    """The name of the network that embeds images: `named` (scores.encoder.model), or where that is empty the first of a roster
    whose role is similarity, of a training the last checkpoint.

    rows    of a roster, as written or resolved
    where   what the rows are, in words, for errors
    why     what needs the network, in words, for errors

    Raises StudyError with the names that could stand there.
    """
    networks = [row for row in rows if not is_computed(row)]
    known = [row["name"] for row in networks]
    allowed = f"name one of {', '.join(known)}" if known else "there are none; add a row, or take another similarity"
    if named:
        if named not in known:
            raise StudyError(
                f"scores.encoder.model is {named!r}, which is none of the networks of {where} ({why}); {allowed}"
            )
        return named
    found = first_similarity(networks)
    if found is None:
        raise StudyError(
            f"scores.encoder.model is empty, which means the first network of role {SIMILARITY}, but {where} has none ({why}); "
            f"give a row that role, or {allowed}"
        )
    return found


def first_similarity(rows: Sequence[RosterRow]) -> str | None:
    """The first network of role similarity, of a training its last checkpoint; None where there is none."""
    names = (
        row["name"] for row in rows if row["role"] == SIMILARITY and not is_computed(row) and row.get("last", 1) == 1
    )
    return next(names, None)


def chosen_encoder(backends: Sequence[str], named: str, roster: Path) -> str:
    """The network that a resolved roster gave the similarity `encoder`; empty where parameters name it or nothing asks for it."""
    if BACKEND not in backends or named:
        return ""
    return encoder_model(named, rows_of(read_roster(roster)), str(roster), f"scores.backends names {BACKEND}")


def step_name(name: str, epochs: float) -> str:
    """The name of the checkpoint of a network after that many epochs: to six digits, and without an exponent.

    >>> step_name("net", 2), step_name("net", 1 / 3), step_name("net", 5e-05)
    ('net-step2', 'net-step0.333333', 'net-step0.00005')
    """
    return f"{name}-step{Decimal(f'{epochs:.6g}'):f}"


def steps_of(rows: Sequence[RosterRow], training: Kept) -> list[str]:
    """Names of the checkpoints that the rows of a roster, as it is written, will have before the last, which has the row's.

    Those within the first epoch of a recipe are not among them: see `in_first_epoch`.
    """
    names = []
    for row in rows:
        if row["series"]:
            keys = training.a3
            recipe = sorted({0, 1, *range(0, keys.epochs, keys.every)} - {keys.epochs})
            epochs = recipe if _by_recipe(row, training) else range(training.epochs)
            names += [step_name(row["name"], epoch) for epoch in epochs]
    return names


def in_first_epoch(name: str, rows: Sequence[RosterRow], training: Kept) -> bool:
    """Whether `name` may be that of a checkpoint within the first epoch of a recipe, as NAME-step0.25.

    Which of them there are hangs on the number of images, and is known once these are read.
    """
    of, _, part = name.rpartition("-step")
    if not training.a3.first_epoch or not _PART.fullmatch(part):
        return False
    return any(row["name"] == of and row["series"] and _by_recipe(row, training) for row in rows)


def _by_recipe(row: RosterRow, training: Kept) -> bool:
    return training.recipe == "a3" and row["role"] == "study"


def check_encoder(backends: Sequence[str], named: str, rows: Sequence[RosterRow], path: str, training: Kept) -> None:
    """Refuse a roster, as it is written in `path`, that has no network for the similarity `encoder`, if that is wanted.

    A checkpoint of a training, NAME-stepN, is no row yet: it will be one where the row has a series and `training` keeps it.
    Raises StudyError as `encoder_model`.
    """
    trained = named in steps_of(rows, training) or in_first_epoch(named, rows, training)
    if BACKEND in backends and not trained:
        encoder_model(named, rows, path, f"scores.backends names {BACKEND}")
