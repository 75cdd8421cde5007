"""Who gave the answers or ratings of a table: people, or nobody, where a column `source` says that they are simulated.

A mark once given stays with all that is made of a table. A column of that name holds `people`, `simulated`, or nothing, which
means people; so does a table without the column.
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


def one_source(found: Mapping[str, str], advice: str) -> str:
    """The one source of several tables (name of a file: its source); PEOPLE of none. Raises StudyError where they differ."""
    if len(set(found.values())) > 1:
        named = {word: next(name for name, source in found.items() if source == word) for word in (PEOPLE, SIMULATED)}
        raise StudyError(
            f"{named[PEOPLE]} is of people and {named[SIMULATED]} is simulated; a score of both would be of neither. {advice}"
        )
    return next(iter(found.values()), PEOPLE)
