"""What a run has recorded so far, as tables: read only, also while the server runs."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiment import store
from experiment.settings import Settings, read_settings
from experiment.study_folder import Folder
from study.errors import StudyError

if TYPE_CHECKING:
    import pandas as pd

_SECRET = ("token", "secret")  # columns that nobody but the server needs


@dataclass(frozen=True)
class Recorded:
    """Tables of a run, all as they were at one moment, with the columns of schema.sql.

    sessions by number of arrival, answers and pages by session and trial, events by session and number. Cookies and the
    keys of addresses are left out. source: people or simulated.
    """

    sessions: pd.DataFrame
    answers: pd.DataFrame
    pages: pd.DataFrame
    events: pd.DataFrame
    source: str
    folder: Folder
    settings: Settings


def database(run: Path) -> Path:
    """The database of a run folder."""
    return run / "answers.sqlite"


def folder_of(run: Path) -> Folder:
    """The questions of a run. Raises StudyError where they are not those that its database was made for."""
    if not run.is_dir():
        raise StudyError(f"{run}: no such folder. `python -m experiment prepare {run} --questions FOLDER` makes it")
    folder = Folder.read(run / "questions")
    with store.reading(database(run)) as connection:
        digest = connection.execute("SELECT value FROM meta WHERE name = 'study'").fetchone()[0]
    if digest != folder.digest:
        raise StudyError(
            f"{run / 'questions/study.json'} is not the one that {database(run).name} was made for; its answers are to other "
            "questions. Prepare another run folder for other questions"
        )
    return folder


def read(run: Path) -> Recorded:
    """All that the run at `run` recorded. Raises StudyError where something is missing or damaged."""
    folder = folder_of(run)
    settings = read_settings(run / "settings.yaml")
    with store.reading(database(run)) as connection:
        source = str(connection.execute("SELECT value FROM meta WHERE name = 'source'").fetchone()[0])
        return Recorded(
            sessions=_table(connection, "session", "number"),
            answers=_table(connection, "answer", "session, trial"),
            pages=_table(connection, "page", "session, trial"),
            events=_table(connection, "event", "session, number"),
            source=source,
            folder=folder,
            settings=settings,
        )


# whole numbers that may be missing stay whole; texts that are missing stay None
_MAYBE = {"accepted": "Int64", "block": "Int64", "ended": "float64"}


def _table(connection: sqlite3.Connection, name: str, order: str) -> pd.DataFrame:
    import pandas as pd

    cursor = connection.execute(f"SELECT * FROM {name} ORDER BY {order}")
    columns = [each[0] for each in cursor.description]
    table = pd.DataFrame([tuple(row) for row in cursor], columns=pd.Index(columns), dtype=object)
    table = table.drop(columns=[each for each in _SECRET if each in columns])
    kinds = {row["name"]: row["type"] for row in connection.execute(f"PRAGMA table_info({name})")}
    types = {"INTEGER": "int64", "REAL": "float64", "TEXT": "object"}
    return table.astype({each: _MAYBE.get(each, types[kinds[each]]) for each in table.columns})
