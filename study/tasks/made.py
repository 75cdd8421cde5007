"""Tasks whose explanations are images made for the unit, behind the other tasks of a network; and which units have none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import MADE, MIXED, NATURAL, SYNTHETIC, UNIT
from interpretability.tasks.synthetic import mixed_tasks, shown_images, synthetic_tasks
from study.errors import StudyError
from study.images.made import MADE_SIDES, MAX, MIN, MadeImages
from study.log import logger

log = logger("tasks")

TABLE = "made_units.csv"  # what became of the units that images were made for
SEED_SET = 0  # whose images stand in tasks; other sets tell how much scores hang on the noise that images start from
USED, NO_TASKS = "used", "no natural tasks, so no queries"
COLUMNS = [*UNIT, "status"]
_BUILDERS = {SYNTHETIC: synthetic_tasks, MIXED: mixed_tasks}

Owner = tuple[str, int]  # layer and unit


@dataclass(frozen=True)
class MadeUnits:
    """What the stage `visualisations` made: a row an image, a row a side of a unit; `conditions` of the tasks that show it."""

    images: pd.DataFrame
    units: pd.DataFrame
    conditions: tuple[str, ...]

    def of(self, model: str) -> MadeUnits:
        """Those of one network."""
        images, units = (table[table["model"] == model] for table in (self.images, self.units))
        return replace(self, images=images, units=units)


def read(folder: Path, note: Mapping[str, Any], conditions: Sequence[str]) -> MadeUnits | None:
    """What was made, of the set whose images stand in tasks; None where none of the conditions shows any.

    `note`: what the activations say of the study's images. Raises StudyError where images were made beside other ones, and
    where there are none although conditions name them.
    """
    wanted = tuple(name for name in conditions if name in MADE)
    if not wanted:
        return None
    made = MadeImages(folder)
    if (made.n_natural, made.manifest) != (note["n_images"], note["images"]):
        raise StudyError(f"{folder} was made beside other pictures than the study has now; run `dvc repro`")
    images, units = made.table, made.units
    return MadeUnits(images[images["seed_set"] == SEED_SET], units[units["seed_set"] == SEED_SET], wanted)


def sides_of(images: pd.DataFrame) -> dict[Owner, tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Numbers of the images made for each unit of one network, in one set: those of both sides in the order of their positions.

    A side without images, which could not be reached, is empty.
    """
    ordered = images.sort_values("position", kind="stable")
    found: dict[Owner, dict[str, list[int]]] = {}
    for owner, side, image in zip(_owners(ordered), ordered["side"], ordered["image"], strict=True):
        found.setdefault(owner, {name: [] for name in MADE_SIDES})[side].append(image)
    return {
        owner: (np.array(sides[MAX], dtype=np.int32), np.array(sides[MIN], dtype=np.int32))
        for owner, sides in found.items()
    }


def _owners(table: pd.DataFrame) -> list[Owner]:
    return list(zip(table["layer"].astype(str), table["unit"].tolist(), strict=True))


def with_made(
    table: pd.DataFrame, built: NDArray[np.int32], made: MadeUnits
) -> tuple[pd.DataFrame, NDArray[np.int32], pd.DataFrame]:
    """Rows and tasks of a network with those of made images behind them, and what became of each unit: COLUMNS.

    table, built  its rows and tasks; queries are those of the natural ones
    made          what was made for its units

    How many images of such tasks are tied is not said: made images are none of the study's. Raises StudyError where fewer
    images were made than a task shows.
    """
    count, sides = built.shape[2] // 2 - 1, sides_of(made.images)
    natural = np.flatnonzero(table["condition"] == NATURAL)
    owners = _owners(table)
    row_of = {owners[row]: row for row in natural.tolist()}
    said: dict[Owner, dict[str, str]] = {}
    for owner, side, status in zip(_owners(made.units), made.units["side"], made.units["status"], strict=True):
        said.setdefault(owner, {})[side] = status
    statuses = {
        owner: _status(owner, of_unit, sides.get(owner, ()), count, owner in row_of) for owner, of_unit in said.items()
    }
    rows = sorted(row_of[owner] for owner, status in statuses.items() if status == USED)
    status = pd.DataFrame([(*owner, said) for owner, said in statuses.items()], columns=COLUMNS[1:])
    status.insert(0, COLUMNS[0], made.units["model"].iloc[0] if len(made.units) else "")
    if not rows:
        return table, built, status
    shown = [
        np.stack([shown_images(sides[owners[row]][side], count) for row in rows]) for side in range(len(MADE_SIDES))
    ]
    untold = np.float32(np.nan)
    tables = [
        table.iloc[rows].assign(condition=name, tie_share_pos=untold, tie_share_neg=untold) for name in made.conditions
    ]
    arrays = [_BUILDERS[name](built[rows], *shown) for name in made.conditions]
    return pd.concat([table, *tables], ignore_index=True), np.concatenate([built, *arrays]), status


def _status(
    owner: Owner,
    said: Mapping[str, str],
    sides: Sequence[NDArray[np.int32]],
    count: int,
    has_tasks: bool,
) -> str:
    """USED, or why a unit has no tasks with made images; `said`: the status of each of its sides."""
    numbers = [len(images) for images in sides] or [0] * len(MADE_SIDES)
    if few := [number for number in numbers if 0 < number < count]:
        raise StudyError(
            f"{few[0]} images a side were made for unit {owner[1]} of {owner[0]}, but tasks show tasks.n_explanations = "
            f"{count}; raise visualisations.n_images to that or more"
        )
    if lacking := [
        f"side {side} is {said[side]}" for side, number in zip(MADE_SIDES, numbers, strict=True) if not number
    ]:
        return ", ".join(lacking)
    return USED if has_tasks else NO_TASKS


def logged(table: pd.DataFrame) -> pd.DataFrame:
    """The table of what became of units, as it is; how many have no tasks is said."""
    counts = table["status"].value_counts(sort=False)
    for status, number in counts.items():
        log.log(20 if status == USED else 30, "made images: %d of %d units: %s", number, len(table), status)
    return table
