"""Which network of a roster stands behind the similarity `encoder`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.errors import StudyError
from study.networks.roster import SIMILARITY, RosterRow, is_computed, read_roster, rows_of

BACKEND = "encoder"


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


def steps_of(rows: Sequence[RosterRow], epochs: int) -> list[str]:
    """Names of the checkpoints that the rows of a roster, as it is written, will have before the last, which has the row's."""
    return [f"{row['name']}-step{step}" for row in rows if row["series"] for step in range(epochs)]


def check_encoder(backends: Sequence[str], named: str, rows: Sequence[RosterRow], path: str, epochs: int) -> None:
    """Refuse a roster, as it is written in `path`, that has no network for the similarity `encoder`, if that is wanted.

    A checkpoint of a training, NAME-stepN, is no row yet: it will be one for N below `epochs`, where the row has a series.
    Raises StudyError as `encoder_model`.
    """
    if BACKEND in backends and named not in steps_of(rows, epochs):
        encoder_model(named, rows, path, f"scores.backends names {BACKEND}")
