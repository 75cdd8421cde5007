"""Who gave the answers or ratings of a table: people, or nobody, where a column `source` says that they are simulated.

A mark once given stays with all that is made of a table. A column of that name holds `people`, `simulated`, or nothing, which
means people; so does a table without the column. Where a study has made images, the answers of its own observers have two words
more (THROUGH_ENCODER, BESIDE_MADE), row by row, and `counted` and `by_condition` say what such answers may be pooled with.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import pandas as pd

from study.errors import StudyError
from study.files import casts
from study.files.tables import rows_shown

SOURCE = "source"
PEOPLE, SIMULATED = "people", "simulated"
# Nobody knows what a made image shows. Observers read that from the encoder, so they agree with the encoder by construction.
THROUGH_ENCODER = "simulated, through the encoder"
# Natural tasks of units that have made images and were not drawn among the annotated ones: somebody chose these units.
BESIDE_MADE = "simulated, beside made images"
_ALLOWED = (
    f"{PEOPLE}, {SIMULATED} or empty (which means {PEOPLE}); rename the column if it says anything else than whether people "
    "gave the answers"
)


def source_of(path: str | PathLike[str], cells: pd.Series | None, advice: str) -> str:
    """The one source of a table: PEOPLE or SIMULATED.

    `cells`: the column, None without one. Raises StudyError that names the row of another word; a table that mixes answers of
    people with simulated ones is refused, with `advice` on how to part them.
    """
    if cells is None or cells.empty:
        return PEOPLE
    words = cells.str.strip().replace("", PEOPLE)
    casts.refuse(path, cells, ~words.isin((PEOPLE, SIMULATED)), SOURCE, _ALLOWED)
    simulated = words == SIMULATED
    if not simulated.any():
        return PEOPLE
    if not simulated.all():
        rows = {word: rows_shown(cells[words == word])[0] for word in (PEOPLE, SIMULATED)}
        raise StudyError(
            f"{path}: row {rows[PEOPLE]} is of people and row {rows[SIMULATED]} is simulated ({int(simulated.sum())} of "
            f"{len(cells)} rows are); a score of both would be of neither. {advice}"
        )
    return SIMULATED


def simulated(table: pd.DataFrame) -> bool:
    """Whether any of these answers of a study was given by nobody."""
    return bool(table[SOURCE].isin((SIMULATED, THROUGH_ENCODER, BESIDE_MADE)).any())


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """Answers, or units with their scores, that may enter a slope, a ceiling, or an agreement between people and machine.

    Left out are answers that agree with the encoder by construction, and those to units that somebody chose: with the others
    alone, no such number depends on which images were made.
    """
    return _without(table, THROUGH_ENCODER, BESIDE_MADE)


def by_condition(table: pd.DataFrame) -> pd.DataFrame:
    """The rows for what is said of one condition at a time: `counted` ones, and those of synthetic explanations, all of whose
    answers may be through the encoder (`through_encoder` says of which conditions they are)."""
    return _without(table, BESIDE_MADE)


def through_encoder(table: pd.DataFrame) -> frozenset[str]:
    """Conditions whose answers are those of observers who read made images through the encoder."""
    if SOURCE not in table.columns:
        return frozenset()
    return frozenset(table.loc[table[SOURCE] == THROUGH_ENCODER, "condition"].astype(str))


def _without(table: pd.DataFrame, *words: str) -> pd.DataFrame:
    if SOURCE not in table.columns:
        return table
    left_out = table[SOURCE].isin(words)
    return table[~left_out].reset_index(drop=True) if left_out.any() else table


def one_source(found: Mapping[str, str], advice: str) -> str:
    """The one source of several tables (name of a file: its source); PEOPLE of none. Raises StudyError where they differ."""
    if len(set(found.values())) > 1:
        named = {word: next(name for name, source in found.items() if source == word) for word in (PEOPLE, SIMULATED)}
        raise StudyError(
            f"{named[PEOPLE]} is of people and {named[SIMULATED]} is simulated; a score of both would be of neither. {advice}"
        )
    return next(iter(found.values()), PEOPLE)
