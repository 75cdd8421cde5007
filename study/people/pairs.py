"""Pairs of units that people judged: which of the two is the clearer one, in the format that sae-for-vlm publishes.

A CSV or Parquet with the columns

k_x, k_y      whole numbers of two units
R_user        the number of the one that people chose, k_x or k_y

and any others. Of these, two columns whose names differ in `_x` and `_y` alone, such as MS_x_dino and MS_y_dino, are published
scores of the two units; further ones are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from study.errors import StudyError
from study.files import casts
from study.files.cells import check_columns
from study.files.parquet_cells import is_parquet, parquet_cells
from study.files.schemas import PAIR_SCORES, PAIRS
from study.files.tables import opened_parquet, read_csv, rows_shown
from study.log import logger

log = logger("human")

PAIR_COLUMNS, SCORE_COLUMNS = PAIRS.names, PAIR_SCORES.names
NO_PAIRS, NO_SCORES = PAIRS.empty_table().to_pandas(), PAIR_SCORES.empty_table().to_pandas()
_NEEDED = ("k_x", "k_y", "R_user")
_FIRST = re.compile(r"(.*)_x(_.*|)", re.DOTALL)
_MOST_OF_NAMES = 100  # signs of the name of a score


def read_pairs(path: Path, units_of: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs (PAIR_COLUMNS; layer is empty where `units_of` is the name of a network alone, not NETWORK/LAYER), and published
    scores (SCORE_COLUMNS: number of the pair, name of the score, and its value of either unit, NaN where the cell is empty).

    Raises StudyError naming file, row, column and value: of a choice that is neither unit, a unit paired with itself, a number
    that is none, and a row that stands twice.
    """
    cells = _cells(path)
    pairs = pd.DataFrame({name: casts.whole(path, cells[name], name) for name in _NEEDED})
    second = pairs["R_user"] == pairs["k_y"]
    casts.refuse(
        path, cells["R_user"], ~(second | (pairs["R_user"] == pairs["k_x"])), "R_user", "k_x or k_y of its row"
    )
    casts.refuse(path, cells["k_y"], pairs["k_x"] == pairs["k_y"], "k_y", "another unit than k_x")
    model, _, layer = units_of.partition("/")
    pairs = pairs.assign(model=model, layer=layer, first_chosen=~second)
    scores = [pd.DataFrame(columns=SCORE_COLUMNS)]
    for name, (first, other) in _published(path, list(cells.columns)).items():
        values = {side: casts.numbers(path, cells[column], column) for side, column in (("x", first), ("y", other))}
        scores.append(pd.DataFrame({**values, "pair": range(len(cells)), "score": name})[SCORE_COLUMNS])
    _refuse_doubled(path, cells, pairs)
    kinds = {"pair": "int64", "score": "str", "x": "float64", "y": "float64"}
    table = pd.concat(scores, ignore_index=True).astype(kinds)
    return pairs[PAIR_COLUMNS].reset_index(drop=True), table


def _cells(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. human.source is pairs: human.pairs.file names a file in data/external/human, whose "
            "README.md describes it"
        )
    if is_parquet(path):
        with_all, names = parquet_cells(path, _names_in_parquet(path))
        check_columns(path, names, _NEEDED)
        cells = with_all
    else:
        header = read_csv(path, _NEEDED, text=_NEEDED).columns
        cells = read_csv(path, _NEEDED, text=list(header))
    if cells.empty:
        raise StudyError(f"{path} has no pairs; it needs at least one row")
    return cells


def _names_in_parquet(path: Path) -> list[str]:
    with opened_parquet(path) as file:
        names = [str(name).strip() for name in file.schema_arrow.names]
    pairs = _published(path, names, quiet=True)
    return [*_NEEDED, *(column for both in pairs.values() for column in both)]


def _published(path: Path, names: list[str], *, quiet: bool = False) -> dict[str, tuple[str, str]]:
    """Columns of the first and the second unit by the name of a published score, and a word on the columns that are not read."""
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        match = _FIRST.fullmatch(name)
        if name in _NEEDED or not match:
            continue
        other, score = f"{match[1]}_y{match[2]}", casts.phrase_of(f"{match[1]}{match[2]}")
        if other not in names:
            continue
        if score in found or not casts.is_phrase(score) or len(score) > _MOST_OF_NAMES:
            raise StudyError(
                f"{path}: columns {name[:80]!r} and {other[:80]!r} are of score {score[:80]!r}; it must have a name "
                f"of its own, of at most {_MOST_OF_NAMES} visible signs"
            )
        found[score] = name, other
    used = {*_NEEDED, *(column for both in found.values() for column in both)}
    if (rest := [name for name in names if name not in used]) and not quiet:
        log.info("%s: columns not read: %s", path.name, ", ".join(rest))
    return found


def _refuse_doubled(path: Path, cells: pd.DataFrame, pairs: pd.DataFrame) -> None:
    """Refuse a row that stands twice; a pair that was judged more than once is told of, and counts each time."""
    if (again := cells.duplicated()).any():
        row = rows_shown(cells[again])[0]
        first = rows_shown(cells[(cells == cells[again].iloc[0]).all(axis=1)])[0]
        raise StudyError(f"{path}: row {row} is the same as row {first}; remove one of them")
    low, high = pairs[["k_x", "k_y"]].min(axis=1), pairs[["k_x", "k_y"]].max(axis=1)
    several = pd.DataFrame({"low": low, "high": high}).duplicated()
    if several.any():
        log.warning("%s: %d pairs are judged more than once and count each time", path.name, int(several.sum()))
