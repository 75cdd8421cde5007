"""Any table of answers to two-alternative tasks, one row an answer, as CSV or Parquet.

Fields, by their column of that name or of the one given in human.table.columns (FIELD=COLUMN, or FIELD=ONE+TWO for
two columns joined by "/"):

model         roster name of the network; without this column human.table.model
layer, unit   module path and 0-based number; or
unit_name     both in one: LAYER/NUMBER or LAYER__NUMBER. Any other text is unit 0 of a layer of that name
condition     natural, synthetic, hard99 ...; without this column natural. human.table.conditions renames values
participant   who answered: an id (`casts.id_of`)
correct       True, False, 1 or 0
task          optional number or name of the task within its unit, an id; empty or -1 where it is not known
confidence    optional whole number from 1 (low) to 3 (high), or empty
source        optional: people, simulated, or empty, which means people; the same in all rows that count (`sources`)

Rows count if they pass every human.table.keep (COLUMN=VALUE, or COLUMN=VALUE|VALUE; values are compared as ids). Other
columns are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files import casts, sources
from study.files.cells import read_cells
from study.files.parquet_cells import is_parquet, parquet_cells
from study.log import logger

log = logger("human")

FIELDS = (
    *(
        "model",
        "layer",
        "unit",
        "unit_name",
        "condition",
        "participant",
        "correct",
        "task",
        "confidence",
        sources.SOURCE,
    ),
)
_OPTIONAL = ("task", "confidence", sources.SOURCE)  # fields whose cells may be empty
UNKNOWN_TASK = -1
_UNIT_NAME = re.compile(r"(.+?)(?:/|__)(\d{1,400})(?:\.0*)?", re.ASCII | re.DOTALL)
_PART = "Make two tables of it, or keep the rows of one source: human.table.keep source=people, or source=simulated"
_MOST_VALUES = 8  # values of a column that a message names


def read_answers(
    path: Path, model: str, columns: Sequence[str], keep: Sequence[str], conditions: Sequence[str]
) -> pd.DataFrame:
    """Answers of a table: model, layer, unit (int64), condition, task (int32, -1 unknown), participant, correct (bool),
    confidence (Int8, missing where not given), source (people or simulated, the same in all rows).

    Raises StudyError naming file, row (as a spreadsheet shows it, the header is row 1) and value.
    """
    named, kept = _rules(columns, "columns", "FIELD=COLUMN"), _rules(keep, "keep", "COLUMN=VALUE")
    renamed = dict(_rules(conditions, "conditions", "VALUE=CONDITION"))
    of_field = {field: [part.strip() for part in value.split("+")] for field, value in named}
    cells, every = _cells(path, {*FIELDS, *(part for parts in of_field.values() for part in parts), *dict(kept)})
    names = _columns(every, of_field, path)
    total = len(cells)
    for column, values in kept:
        if column not in every:
            raise StudyError(_unknown(column, every, path, f"human.table.keep ({column}={values})"))
        cells = _filtered(cells, column, values, path, total)
    read = {column for parts in names.values() for column in parts} | set(dict(kept))
    ignored = [name for name in every if name and name not in read]
    log.info(
        "%s: %d of %d rows count; columns not read: %s", path.name, len(cells), total, ", ".join(ignored) or "none"
    )
    fields = {field: _joined(cells, parts) for field, parts in names.items()}
    for field in fields:
        if field not in _OPTIONAL:
            casts.refuse(path, fields[field], fields[field].str.strip("/ ") == "", field, "filled")
    answers = pd.DataFrame(index=cells.index)
    answers["model"] = fields.get("model", model)
    answers["layer"], answers["unit"] = _units(fields, path)
    answers["condition"] = fields["condition"].replace(renamed) if "condition" in fields else "natural"
    answers["task"] = _tasks(answers, fields, path)
    answers["participant"] = casts.ids(path, fields["participant"], "participant")
    answers["correct"] = casts.truth(path, fields["correct"], "correct")
    answers["confidence"] = confidence(path, fields.get("confidence"), cells.index)
    answers["source"] = sources.source_of(path, fields.get(sources.SOURCE), _PART)
    return answers.reset_index(drop=True)


def confidence(path: Path, cells: pd.Series | None, index: pd.Index) -> pd.Series:
    """Confidence of answers as Int8: 1 (low) to 3 (high), missing where a cell is empty or there is no such column."""
    if cells is None:
        cells = pd.Series("", index=index, dtype="str")
    words = "1, 2, 3 or empty"
    return casts.whole(path, cells, "confidence", least=1, most=3, empty=True, words=words).astype("Int8")


def _rules(rules: Sequence[str], key: str, form: str) -> list[tuple[str, str]]:
    """Rules of a parameter, each cut at its first "="."""
    for rule in rules:
        if "=" not in rule:
            raise StudyError(f"human.table.{key} has {rule!r}, it must read {form}")
    return [(left.strip(), right.strip()) for left, _, right in (rule.partition("=") for rule in rules)]


def _cells(path: Path, known: set[str]) -> tuple[pd.DataFrame, list[str]]:
    """Known columns as text, and the names of all; the index says the row (`rows_shown`)."""
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. human.source is table: human.table.file names a file in data/external/human, whose "
            "README.md says what is in it"
        )
    if is_parquet(path):
        cells, every = parquet_cells(path, known)
    else:
        cells, _ = read_cells(path, known)
        every = list(cells.columns)
    if cells.empty:
        raise StudyError(f"{path} has no rows")
    return cells, every


def _columns(every: Sequence[str], of_field: Mapping[str, list[str]], path: Path) -> Mapping[str, list[str]]:
    """Columns of every field that the table has."""
    names = {field: [field] for field in FIELDS if field in every}
    for field, parts in of_field.items():
        where = f"human.table.columns ({field}={'+'.join(parts)})"
        if field not in FIELDS:
            raise StudyError(f"human.table.columns names the field {field!r}; there are {', '.join(FIELDS)}")
        for column in parts:
            if column not in every:
                raise StudyError(_unknown(column, every, path, where))
        names[field] = parts
    missing = [field for field in ("participant", "correct") if field not in names]
    if "unit_name" in names:
        names = {field: parts for field, parts in names.items() if field not in ("layer", "unit")}
    else:
        missing += [field for field in ("layer", "unit") if field not in names]
    if missing:
        near = {name.casefold().replace(" ", "_"): name for name in every}
        meant = [f"{field}={near[field]}" for field in missing if field in near]
        advice = ", ".join(meant) or f"{missing[0]}=COLUMN{'' if 'unit' not in missing else ', or unit_name=COLUMN'}"
        raise StudyError(
            f"{path} has no column for {', '.join(missing)}; it has {', '.join(every)}. Name the right ones in "
            f"human.table.columns, as in {advice}"
        )
    return names


def _unknown(column: str, every: Sequence[str], path: Path, where: str) -> str:
    return f"{where}: {path} has no column {column!r}; it has {', '.join(every)}"


def _filtered(cells: pd.DataFrame, column: str, values: str, path: Path, total: int) -> pd.DataFrame:
    """Rows whose cell in this column is one of the values (VALUE|VALUE), compared as ids."""
    ids = casts.spelled_alike(cells[column])
    kept = cells[ids.isin([casts.id_of(value) for value in values.split("|")])]
    if kept.empty:
        found = list(map(repr, ids.unique()[: _MOST_VALUES + 1]))
        more = ", ..." if len(found) > _MOST_VALUES else ""
        raise StudyError(
            f"{path}: no row is left after human.table.keep {column}={values}; of {total} rows none has that value. Before "
            f"it {column} is {', '.join(found[:_MOST_VALUES])}{more}"
        )
    return kept


def _joined(cells: pd.DataFrame, parts: Sequence[str]) -> pd.Series:
    joined = cells[parts[0]].str.strip()
    for name in parts[1:]:
        joined = joined + "/" + cells[name].str.strip()
    return joined


def _units(fields: Mapping[str, pd.Series], path: Path) -> tuple[pd.Series, pd.Series]:
    """Layer and number of the unit of every row; a column unit_name goes before two columns."""
    if "unit_name" not in fields:
        return fields["layer"], casts.whole(path, fields["unit"], "unit")
    names = fields["unit_name"]
    parts = {name: _UNIT_NAME.fullmatch(name) for name in names.unique()}
    numbers = {name: int(part[2]) if part else 0 for name, part in parts.items()}
    large = [name for name, number in numbers.items() if number > casts.MOST]
    casts.refuse(
        path, names, names.isin(large), "unit_name", f"LAYER/NUMBER with a whole number from 0 to {casts.MOST:,}"
    )
    layers = {name: part[1] if part else name for name, part in parts.items()}
    return names.map(layers), names.map(numbers).astype(np.int64)


def _tasks(answers: pd.DataFrame, fields: Mapping[str, pd.Series], path: Path) -> pd.Series:
    """Tasks as numbers: as they stand if all are whole ones, otherwise numbered by name within their unit."""
    if "task" not in fields:
        return pd.Series(UNKNOWN_TASK, index=answers.index, dtype=np.int32)
    text = casts.ids(path, fields["task"], "task")
    text = text.where(text != str(UNKNOWN_TASK), "")
    known = text[text != ""]
    if known.str.fullmatch("0|[1-9][0-9]{0,9}").all() and (numbers := known.astype(np.int64)).le(casts.MOST).all():
        return numbers.astype(np.int32).reindex(text.index, fill_value=UNKNOWN_TASK)
    unit = [answers[name] for name in ("model", "layer", "unit", "condition")]
    codes = text.groupby(unit, observed=True).transform(lambda names: pd.factorize(names, sort=True)[0])
    return codes.where(text != "", UNKNOWN_TASK).astype(np.int32)
