"""Any table of answers to two-alternative tasks, one row an answer, as CSV (UTF-8) or Parquet.

Fields, by their column of that name or of the one given in human.table.columns (FIELD=COLUMN, or FIELD=ONE+TWO for
two columns joined by "/"):

model         roster name of the network; without this column human.table.model
layer, unit   module path and 0-based number; or
unit_name     both in one: LAYER/NUMBER or LAYER__NUMBER. Any other text is unit 0 of a layer of that name
condition     natural, synthetic, hard99 ...; without this column natural. human.table.conditions renames values
participant   who answered
correct       True, False, 1 or 0
task          optional number or name of the task within its unit
confidence    optional whole number from 1 (low) to 3 (high), or empty

Rows count if they pass every human.table.keep (COLUMN=VALUE, or COLUMN=VALUE|VALUE). Other columns are not read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files.tables import read_csv, read_parquet
from study.log import logger

log = logger("human")

FIELDS = ("model", "layer", "unit", "unit_name", "condition", "participant", "correct", "task", "confidence")
UNKNOWN_TASK = -1
_UNIT_NAME = re.compile(r"(.+?)(?:/|__)(\d+)")
_WORDS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_MOST_NAMED = 5  # broken rows that a message names


def read_answers(
    path: Path, model: str, columns: Sequence[str], keep: Sequence[str], conditions: Sequence[str]
) -> pd.DataFrame:
    """Answers of a table: model, layer, unit (int), condition, task (int16, -1 unknown), participant, correct (bool),
    confidence (Int8, missing where not given).

    Raises StudyError naming file, row (of the file, the header is row 1) and value.
    """
    cells = _cells(path)
    names = _columns(cells, columns, path)
    total = len(cells)
    for rule in keep:
        column, _, values = rule.partition("=")
        _known(cells, column, path, f"human.table.keep ({rule})")
        cells = cells[cells[column].str.strip().isin(values.split("|"))]
        if cells.empty:
            raise StudyError(
                f"{path}: no row is left after human.table.keep {rule}; of {total} rows none has that value"
            )
    read = {column for parts in names.values() for column in parts} | {rule.partition("=")[0] for rule in keep}
    ignored = [name for name in cells.columns if name and name not in read]  # an index has no name
    log.info(
        "%s: %d of %d rows count; columns not read: %s", path.name, len(cells), total, ", ".join(ignored) or "none"
    )
    fields = {field: _joined(cells, parts) for field, parts in names.items()}
    for field in fields:
        if field not in ("task", "confidence"):
            _refuse(cells, fields[field], fields[field].str.strip("/ ") == "", path, field, "filled")
    answers = pd.DataFrame(index=cells.index)
    answers["model"] = fields.get("model", model)
    answers["layer"], answers["unit"] = _units(cells, fields, path)
    renamed = dict(rule.split("=", 1) for rule in conditions)
    answers["condition"] = fields["condition"].replace(renamed) if "condition" in fields else "natural"
    answers["task"] = _tasks(answers, fields)
    answers["participant"] = fields["participant"]
    right = fields["correct"].str.lower().map(_WORDS)
    _refuse(cells, fields["correct"], right.isna(), path, "correct", "True, False, 1 or 0")
    answers["correct"] = right.astype(bool)
    answers["confidence"] = _confidence(cells, fields, path)
    return answers.reset_index(drop=True)


def _cells(path: Path) -> pd.DataFrame:
    """All cells as text; the index is the row number in the file."""
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. human.source is table: human.table.file names a file in data/external/human, whose "
            "README.md says what is in it"
        )
    if path.suffix == ".parquet":
        try:
            table = read_parquet(path)
        except (OSError, ValueError) as error:
            raise StudyError(f"{path} is no Parquet file: {error}") from None
        cells = table.astype(object).where(table.notna(), "").astype(str)
    else:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader(file), [])
        cells = read_csv(path, text=header)
    if cells.empty:
        raise StudyError(f"{path} has no rows")
    return cells.set_axis(np.arange(len(cells)) + 2)


def _columns(cells: pd.DataFrame, columns: Sequence[str], path: Path) -> Mapping[str, list[str]]:
    """Columns of every field that the table has."""
    names = {field: [field] for field in FIELDS if field in cells.columns}
    for rule in columns:
        field, _, named = rule.partition("=")
        if field not in FIELDS:
            raise StudyError(f"human.table.columns names the field {field!r}; there are {', '.join(FIELDS)}")
        names[field] = named.split("+")
        for column in names[field]:
            _known(cells, column, path, f"human.table.columns ({rule})")
    missing = [field for field in ("participant", "correct") if field not in names]
    if "unit_name" in names:
        names = {field: parts for field, parts in names.items() if field not in ("layer", "unit")}
    else:
        missing += [field for field in ("layer", "unit") if field not in names]
    if missing:
        raise StudyError(
            f"{path} has no column for {', '.join(missing)}; it has {', '.join(cells.columns)}. Name the right ones in "
            f"human.table.columns, as in {missing[0]}=COLUMN{'' if 'unit' not in missing else ', or unit_name=COLUMN'}"
        )
    return names


def _known(cells: pd.DataFrame, column: str, path: Path, where: str) -> None:
    if column not in cells.columns:
        raise StudyError(f"{where}: {path} has no column {column!r}; it has {', '.join(cells.columns)}")


def _joined(cells: pd.DataFrame, parts: Sequence[str]) -> pd.Series:
    joined = cells[parts[0]].str.strip()
    for name in parts[1:]:
        joined = joined + "/" + cells[name].str.strip()
    return joined


def _units(cells: pd.DataFrame, fields: Mapping[str, pd.Series], path: Path) -> tuple[pd.Series, pd.Series]:
    """Layer and number of the unit of every row; a column unit_name goes before two columns."""
    if "unit_name" in fields:
        parts = {name: _UNIT_NAME.fullmatch(name) for name in fields["unit_name"].unique()}
        layers = {name: part[1] if part else name for name, part in parts.items()}
        numbers = {name: int(part[2]) if part else 0 for name, part in parts.items()}
        return fields["unit_name"].map(layers), fields["unit_name"].map(numbers).astype(np.int64)
    numbers = pd.to_numeric(fields["unit"], errors="coerce")
    wrong = numbers.isna() | (numbers % 1 != 0) | (numbers < 0)
    _refuse(cells, fields["unit"], wrong, path, "unit", "a whole number from 0")
    return fields["layer"], numbers.astype(np.int64)


def _tasks(answers: pd.DataFrame, fields: Mapping[str, pd.Series]) -> pd.Series:
    """Tasks as numbers: as they stand if all are small whole ones, otherwise numbered by name within their unit."""
    if "task" not in fields:
        return pd.Series(UNKNOWN_TASK, index=answers.index, dtype=np.int16)
    text = fields["task"]
    numbers = pd.to_numeric(text, errors="coerce")
    if (numbers.between(0, 1000) & (numbers % 1 == 0)).all():
        return numbers.astype(np.int16)
    unit = [answers[name] for name in ("model", "layer", "unit", "condition")]
    codes = text.groupby(unit, observed=True).transform(lambda names: pd.factorize(names, sort=True)[0])
    return codes.where(text != "", UNKNOWN_TASK).astype(np.int16)


def _confidence(cells: pd.DataFrame, fields: Mapping[str, pd.Series], path: Path) -> pd.Series:
    text = fields.get("confidence", pd.Series("", index=cells.index))
    levels = pd.to_numeric(text.where(text != ""), errors="coerce")
    _refuse(cells, text, (text != "") & ~levels.isin([1, 2, 3]), path, "confidence", "1, 2, 3 or empty")
    return levels.astype("Int8")


def _refuse(cells: pd.DataFrame, shown: pd.Series, wrong: pd.Series, path: Path, field: str, allowed: str) -> None:
    if wrong.any():
        rows = cells.index[wrong.to_numpy(dtype=bool)]
        named = ", ".join(map(str, rows[:_MOST_NAMED])) + (", ..." if len(rows) > _MOST_NAMED else "")
        word = "row" if len(rows) == 1 else f"{len(rows)} rows:"
        raise StudyError(f"{path}: {word} {named}: {field} is {shown[rows[0]]!r}, it must be {allowed}")
