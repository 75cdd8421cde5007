"""The record of the IMI experiments (Zimmermann, Klein and Brendel, 2023): answers of people and a map of images.

Response tables are CSV files with the 45 columns COLUMNS. The part of the task id before its last "-" names the
experiment; the column model does not always (one synthetic run lacks its difficulty there, and the task ids of at
least one hard run belong to another network). A participant is a session: (task_id, response_index).
A 46th column, `source`, says of simulated answers that they are (`study.files.sources`); the record has none.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files import casts, sources
from study.files.cells import read_cells
from study.log import logger
from study.networks.imi_naming import MODEL

log = logger("human")

_CHECKS = ("demo_trials", "catch_trials", "total_response_time", "row_variability", "instruction_time")
COLUMNS = (
    *("rt", "button_pressed", "switched_queries", "confidence", "choice", "correct", "min_query", "max_query"),
    *("min_references", "max_references", "catch_trial", "is_demo", "trial_type", "trial_index", "time_elapsed"),
    *("internal_node_id", "response_index", "participant_id", "corrected_trial_index", "task_id", "task_number"),
    *("batch", "channel", "layer", "mode", "model", "passed_checks"),
    *(f"{check}_result" for check in _CHECKS),
    *(f"{check}_details" for check in _CHECKS),
    *("instruction_time_details_extracted", "total_response_time_details_extracted"),
    *("row_variability_details_details_upper_extracted", "row_variability_details_details_lower_extracted"),
    *("catch_trials_details_ratio_extracted", "catch_trials_details_correctly_answered_extracted"),
    *("demo_trials_details_extracted", "multi_participation"),
)
# Facts of a session in their own column, and the key under which the text of its details holds them.
_DETAILS = {
    "demo_trials_details": "n_demo_trials_blocks",
    "total_response_time_details": "total_time",
    "instruction_time_details": "total_time",
}
_FLAGS = {
    *("switched_queries", "correct", "catch_trial", "is_demo", "passed_checks", "multi_participation"),
    *(f"{check}_result" for check in _CHECKS),
}
_WHOLE = {
    *("button_pressed", "confidence", "trial_index", "response_index", "corrected_trial_index", "task_number"),
    *("batch", "channel"),
}
_NUMBERS = {"rt", "time_elapsed", *(name for name in COLUMNS if name.endswith("_extracted"))}
# Never empty; of a main trial also those of _UNIT.
_FILLED = {
    *("button_pressed", "correct", "catch_trial", "is_demo", "trial_index", "response_index", "task_id"),
    *("passed_checks", "multi_participation", *(f"{check}_result" for check in _CHECKS)),
}
_UNIT = ("batch", "channel", "layer", "mode", "model")
KNOWN_ROWS = (69_330, 76_000)  # accepted rows of the record of 2023 and of the paper
RESPONSES_AN_EXPERIMENT = 63 * 40
CROSSTAB = ["experiment", "model", "mode", "condition", "status", "n_rows", "n_sessions"]
_EXPERIMENT = re.compile(r"(?P<model>.+?)(?:_(?P<level>hard\d\d))?_(?P<mode>natural|optimized)")
AGREE, PLAIN, DISAGREE = "agree", "difficulty only in the task id", "disagree"


def read_responses(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Rows of one or several response tables with checked types; whole numbers that may be missing are Int64.

    Empty text is "". With the columns COLUMNS and `source`, the same in all rows. Raises StudyError naming file, row and column.
    """
    parts, found = [], {}
    for name in names:
        cells = _cells(folder / name)
        found[name] = sources.source_of(folder / name, cells.get(sources.SOURCE), "Make two tables of it, and read one")
        rows = _typed(cells, folder / name)
        parts.append(_with_details(rows))
        log.info("%s: %d rows, %d main trials", name, len(rows), int(is_main(rows).sum()))
    source = sources.one_source(found, "Name tables of one kind in human.imi.responses")
    rows = pd.concat(parts, ignore_index=True).assign(source=source)
    again = rows.duplicated(["task_id", "response_index", "trial_index"])
    if again.any():
        one = rows[again].iloc[0]
        raise StudyError(
            f"{', '.join(names)}: {int(again.sum())} trials stand there twice, first trial {one['trial_index']} of task "
            f"{one['task_id']}, response {one['response_index']}. responses_all holds the rows of the other two tables; "
            "name either it or them in human.imi.responses"
        )
    wrong = int((rows["correct"] != (rows["choice"] == "b")).sum())
    if wrong:
        log.warning("%d rows have a choice that does not go with correct; correct is used", wrong)
    n_accepted = int((rows["passed_checks"] & ~rows["multi_participation"]).sum())
    if source == sources.SIMULATED:
        log.warning("%s rows are accepted; all are simulated, nobody gave these answers", f"{n_accepted:,}")
    elif n_accepted not in KNOWN_ROWS:
        known = " or ".join(f"{count:,}" for count in KNOWN_ROWS)
        log.warning("%s rows are accepted in the record; known versions have %s", f"{n_accepted:,}", known)
    else:
        log.info("%s rows are accepted in the record, a known version", f"{n_accepted:,}")
    return rows


def is_main(rows: pd.DataFrame) -> pd.Series:
    """Mask of the trials that count: neither practice nor catch trials."""
    return ~rows["is_demo"] & ~rows["catch_trial"]


def _cells(path: Path) -> pd.DataFrame:
    """All cells as text; the index says the row (`rows_shown`)."""
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. human.source is imi, which needs the IMI record: data/external/human/README.md says "
            "what to download and where to put it; human.imi.responses names the files"
        )
    cells, _ = read_cells(path, (*COLUMNS, sources.SOURCE))
    header = list(cells.columns)
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise StudyError(
            f"{path}: column {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''} is missing; the table "
            f"has {len(header)} columns, an IMI response table has {len(COLUMNS)}"
        )
    if tuple(header) not in (COLUMNS, (*COLUMNS, sources.SOURCE)):
        more = [name for name in header if name not in (*COLUMNS, sources.SOURCE)]
        log.warning(
            "%s: columns in another order or more than expected (%s)", path.name, ", ".join(more) or "none more"
        )
    if cells.empty:
        raise StudyError(f"{path} has a header but no rows")
    return cells


def _typed(cells: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Columns with the types of an IMI table."""
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        text = cells[name]
        if name in _FLAGS:
            columns[name] = _flags(text, name, path)
        elif name in _WHOLE:
            columns[name] = casts.whole(path, text, name, least=-casts.MOST - 1, empty=True)
        elif name in _NUMBERS:
            columns[name] = casts.numbers(path, text, name)
        else:
            columns[name] = text
        if name in _FILLED:
            casts.refuse(path, text, text == "", name, "filled")
    rows = pd.DataFrame(columns)
    for name in _FLAGS & _FILLED:
        rows[name] = rows[name].astype(bool)
    main = is_main(rows)
    for name in _UNIT:
        casts.refuse(path, cells[name], main & (cells[name].str.strip() == ""), name, "filled in a main trial")
    for name in ("batch", "channel"):
        casts.refuse(path, cells[name], main & (rows[name] < 0), name, "a whole number from 0 in a main trial")
    levels = rows["confidence"].fillna(1)
    casts.refuse(
        path, cells["confidence"], main & ((levels < -1) | (levels > 3)), "confidence", "1, 2, 3, or -1, 0 or empty"
    )
    known = rows["task_id"].str.contains("-")
    casts.refuse(path, rows["task_id"], ~known, "task_id", "an experiment, a dash and a number")
    return rows


def _flags(text: pd.Series, name: str, path: Path) -> pd.Series:
    """Truth as objects, NaN where a cell is empty."""
    flags = text.str.strip().str.lower().map(casts.WORDS)
    casts.refuse(path, text, flags.isna() & (text != ""), name, "True or False")
    return flags


def _with_details(rows: pd.DataFrame) -> pd.DataFrame:
    """Facts of sessions whose own column is empty, taken from the text of their details where it says them."""
    for column, key in _DETAILS.items():
        name = f"{column}_extracted"
        empty = rows[name].isna() & (rows[column] != "")
        if empty.any():
            known = {text: _detail(text, key) for text in pd.unique(rows.loc[empty, column])}
            rows.loc[empty, name] = rows.loc[empty, column].map(known).astype(np.float64)
    return rows


def _detail(text: str, key: str) -> float:
    try:
        return float(ast.literal_eval(text)[key])
    except (ValueError, SyntaxError, KeyError, TypeError, OverflowError, MemoryError, RecursionError):
        return float("nan")  # what literal_eval and float say of text that is no such fact


def experiment_of(task_id: pd.Series) -> pd.Series:
    """Experiment of a task: its id without the number after the last dash."""
    return task_id.str.rsplit("-", n=1).str[0]


def condition_of(experiment: str) -> str:
    """Condition of an experiment: natural, synthetic, hard85 ..., hard95_synthetic; empty for an unknown name."""
    parts = _EXPERIMENT.fullmatch(experiment)
    if not parts:
        return ""
    easy = "synthetic" if parts["mode"] == "optimized" else "natural"
    if not parts["level"]:
        return easy
    return parts["level"] if parts["mode"] == "natural" else f"{parts['level']}_synthetic"


def status_of(experiment: str, model: str, mode: str) -> str:
    """Whether the columns model and mode say the same as the task id."""
    said, column = _EXPERIMENT.fullmatch(experiment), MODEL.fullmatch(model)
    if not said or not column or (said["model"], said["mode"]) != (column["model"], mode):
        return DISAGREE
    if said["level"] == column["level"]:
        return AGREE
    return PLAIN if column["level"] is None else DISAGREE


def crosstab(rows: pd.DataFrame) -> pd.DataFrame:
    """Main trials by experiment, model and mode, with condition and status: CROSSTAB. `rows` with experiment."""
    by = ["experiment", "model", "mode"]
    groups = rows.groupby(by, sort=True, observed=True)
    table = groups.agg(n_rows=("correct", "size"), n_sessions=("session", "nunique")).reset_index()
    table["condition"] = [condition_of(name) for name in table["experiment"]]
    table["status"] = [status_of(*key) for key in zip(*(table[name] for name in by), strict=True)]
    return table[CROSSTAB]


def check_complete(rows: pd.DataFrame) -> dict[str, str]:
    """What is wrong with each experiment's numbers of answers a unit; complete ones are absent.

    Complete are 84 units with 30 answers, and 80 units with 31 (40 of them) and 32 answers. `rows`: experiment, layer,
    channel, one row an answer.
    """
    units = rows.groupby(["experiment", "layer", "channel"], observed=True).size()
    problems = {}
    for experiment, counts in units.groupby(level="experiment", observed=True):
        times = counts.value_counts().sort_index()
        pattern: dict[int, int] = dict(zip(times.index.tolist(), times.tolist(), strict=True))
        if pattern not in ({30: 84}, {31: 40, 32: 40}):
            shown = ", ".join(f"{times} with {n}" for n, times in list(pattern.items())[:6])
            more = ", ..." if len(pattern) > 6 else ""
            problems[str(experiment)] = (
                f"{counts.sum():,} answers to {len(counts)} units ({shown}{more}); complete are "
                f"{RESPONSES_AN_EXPERIMENT:,} to 84 units with 30, or to 40 with 31 and 40 with 32"
            )
    return problems
