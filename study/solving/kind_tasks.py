"""Tasks of units under every kind of explanation, from their natural tasks and the images made for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import randomness
from interpretability.schema import FACTS, MIXED, NATURAL, SYNTHETIC, UNIT
from interpretability.tasks.fewer import fewer_explanations
from interpretability.tasks.synthetic import mixed_tasks, shown_images, synthetic_tasks
from interpretability.tasks.topics import CLUSTERS, find_topics, topic_tasks
from study.errors import StudyError
from study.files.tables import read_parquet
from study.images.made import MADE_SIDES
from study.networks.unit_lists import is_wild, matches
from study.params.explanation_kinds import ExplanationKinds

NO_SET = -1  # seed set of a kind that shows no made image
USED, NOT_MADE, FEW, NO_TASKS = "used", "no images were made", "fewer images than tasks show", "no natural tasks"
UNCHOSEN = (
    "; kinds with made images are not among those that are chosen from"  # a choice takes one set, its score another
)
UNIT_COLUMNS = [*UNIT, "topics_pos", "topics_neg", "n_sets", "made", "tasks"]
SHOWN_COLUMNS = [*UNIT, "kind", "seed_set", "side", "position", "image", "topic"]

Owner = tuple[str, int]  # layer and unit
Sides = tuple[NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class KindTasks:
    """Tasks (n, N, 2(k + 1)) of the units `rows` of a network under one kind of explanation, and its topics where it has any."""

    kind: str
    seed_set: int
    rows: NDArray[np.int64]
    tasks: NDArray[np.int32]
    topics: NDArray[np.int64] | None = None

    @property
    def n_images(self) -> int:
        """Explanations a side."""
        return self.tasks.shape[2] // 2 - 1

    def of(self, rows: NDArray[np.int64]) -> KindTasks:
        """Those of some of the units."""
        chosen = np.isin(self.rows, rows)
        topics = None if self.topics is None else self.topics[chosen]
        return KindTasks(self.kind, self.seed_set, self.rows[chosen], self.tasks[chosen], topics)


@dataclass(frozen=True)
class NamedUnits:
    """Units of one network that are explained in several ways: UNIT and FACTS, their natural tasks, and images made for them.

    made        by layer and unit, for every seed set, the images of both sides
    with_tasks  all units that have natural tasks, named or not
    """

    model: str
    units: pd.DataFrame
    natural: NDArray[np.int32]
    made: Mapping[Owner, Mapping[int, Sides]]
    with_tasks: frozenset[Owner]

    @property
    def owners(self) -> list[Owner]:
        return list(zip(self.units["layer"].astype(str), self.units["unit"].astype(int), strict=True))

    @property
    def n_images(self) -> int:
        return self.natural.shape[2] // 2 - 1


def named_units(
    tasks: Path, model: str, entries: Sequence[str], made: Mapping[Owner, Mapping[int, Sides]]
) -> NamedUnits:
    """Units of a network that `entries` name, or without any those that images were made for, in the order of their tasks.

    Raises StudyError where an entry names this network and none of its units.
    """
    table = read_parquet(tasks / f"{model}.parquet")
    natural = np.flatnonzero(table["condition"] == NATURAL)
    owners = list(zip(table["layer"].iloc[natural].astype(str), table["unit"].iloc[natural].astype(int), strict=True))
    wanted: set[Owner] = set() if entries else set(made)
    for entry in entries:
        hits = [owner for owner in owners if matches(entry, model, *owner)]
        if not hits and entry.split("/")[0] == model and not is_wild(entry.split("/")[0]):
            raise StudyError(
                f"explanation_kinds.units names {entry}, which is no unit of {model} with natural tasks "
                "(written model/layer/unit)"
            )
        wanted.update(hits)
    places = np.array([place for place, owner in enumerate(owners) if owner in wanted], dtype=np.int64)
    units = table.iloc[natural[places]][[*UNIT, *FACTS]].reset_index(drop=True)
    built = np.load(tasks / f"{model}.npy", mmap_mode="r")[natural[places]]
    return NamedUnits(model, units, np.ascontiguousarray(built), made, frozenset(owners))


def made_sets(images: pd.DataFrame, units: pd.DataFrame) -> dict[Owner, dict[int, Sides]]:
    """Images made for the units of one network, by seed set: numbers of those of both sides in the order of their positions.

    images: layer, unit, seed_set, side, position, image. units: layer, unit, seed_set, side, also of sides of which there are no
    images.
    """
    keys = ["layer", "unit", "seed_set"]
    numbers = {}
    for key, rows in images.sort_values("position", kind="stable").groupby([*keys, "side"], sort=False, observed=True):
        layer, unit, number, side = np.array(key, dtype=object).tolist()
        numbers[str(layer), int(unit), int(number), str(side)] = rows["image"].to_numpy(np.int32)
    found: dict[Owner, dict[int, Sides]] = {}
    nothing = np.empty(0, dtype=np.int32)
    for layer, unit, number in units[keys].drop_duplicates().sort_values(keys, kind="stable").to_numpy().tolist():
        first, second = (numbers.get((str(layer), int(unit), int(number), side), nothing) for side in MADE_SIDES)
        found.setdefault((str(layer), int(unit)), {})[int(number)] = first, second
    return found


def kinds_of(
    named: NamedUnits, wanted: ExplanationKinds, rows: NDArray[np.floating] | None, seed: int
) -> tuple[list[KindTasks], pd.DataFrame]:
    """Tasks of every kind, and what became of each unit: UNIT_COLUMNS.

    rows    unit rows of the study's images by which topics are found, by image; None: there are no topics
    """
    every = np.arange(len(named.units))
    tasks = [KindTasks(NATURAL, NO_SET, every, named.natural)]
    tasks += [
        KindTasks(f"{NATURAL}_{count}", NO_SET, every, fewer_explanations(named.natural, count))
        for count in wanted.fewer
        if count < named.n_images
    ]
    sets, status = _sets(named, named.owners)
    numbers = sorted({number for of_unit in sets for number in of_unit})
    for kind, build in ((SYNTHETIC, synthetic_tasks), (MIXED, mixed_tasks)):
        for number in numbers:
            has = np.array([number in of_unit for of_unit in sets], dtype=bool)
            shown = [np.stack([sets[row][number][side] for row in every[has]]) for side in (0, 1)]
            tasks.append(KindTasks(kind, number, every[has], build(named.natural[has], *shown)))
    topics = _topics(named, wanted.n_topics, rows)
    counts = topics.reshape(len(topics), -1, 2, named.n_images).max(axis=(1, 3), initial=0) + 1
    several = every[(counts > 1).any(axis=1)]
    if len(several):
        keys = _keys(named, seed)
        dealt = [topic_tasks(named.natural[row], topics[row], int(keys[row])) for row in several]
        shown, of_shown = (np.stack(parts) for parts in zip(*dealt, strict=True))
        tasks.append(KindTasks(CLUSTERS, NO_SET, several, shown, of_shown))
    units = named.units[UNIT].assign(
        topics_pos=counts[:, 0],
        topics_neg=counts[:, 1],
        n_sets=[len(of_unit) for of_unit in sets],
        made=status,
        tasks=USED,
    )
    return tasks, units[UNIT_COLUMNS]


def without_tasks(named: NamedUnits) -> pd.DataFrame:
    """Units that images were made for although they have no natural tasks: UNIT_COLUMNS."""
    left = [owner for owner in named.made if owner not in named.with_tasks]
    rows = [
        (named.model, *owner, 0, 0, len(enough), told, NO_TASKS)
        for owner, enough, told in zip(left, *_sets(named, left), strict=True)
    ]
    return pd.DataFrame(rows, columns=UNIT_COLUMNS)


def _sets(named: NamedUnits, owners: Sequence[Owner]) -> tuple[list[dict[int, Sides]], list[str]]:
    """Seed sets of each unit with enough images on both sides, cut to as many as tasks show, and what is to be said."""
    sets, status = [], []
    for owner in owners:
        made = named.made.get(owner, {})
        enough = {
            number: (shown_images(sides[0], named.n_images), shown_images(sides[1], named.n_images))
            for number, sides in made.items()
            if min(map(len, sides)) >= named.n_images
        }
        sets.append(enough)
        short = [number for number in made if number not in enough]
        told = f"{FEW}: set {', '.join(map(str, short))}{UNCHOSEN if enough else ''}" if short else USED
        status.append(told if made else NOT_MADE)
    return sets, status


def _topics(named: NamedUnits, most: int, rows: NDArray[np.floating] | None) -> NDArray[np.int64]:
    """Topics (units, N, 2K) of the explanations of natural tasks, each side by itself."""
    n_units, n_tasks, width = named.natural.shape
    topics = np.zeros((n_units, n_tasks, width - 2), dtype=np.int64)
    if rows is None or most < 2:
        return topics
    size = named.n_images
    halves = np.repeat(np.arange(n_tasks) % 2, size)
    for unit in range(n_units):
        for side in (slice(0, size), slice(size, 2 * size)):
            images = named.natural[unit, :, side]
            found = find_topics(rows[images.reshape(-1)], halves, most, -(-n_tasks // 2))
            topics[unit, :, side] = found.reshape(images.shape)
    return topics


def shown_table(named: NamedUnits, kinds: Sequence[KindTasks]) -> pd.DataFrame:
    """What an observer sees of the first task of each unit and kind: SHOWN_COLUMNS, a row an explanation.

    topic is -1 where explanations are not grouped.
    """
    parts = [pd.DataFrame(columns=SHOWN_COLUMNS)]
    for kind in kinds:
        size = kind.n_images
        side = np.repeat(np.array(MADE_SIDES, dtype=object), size)
        position = np.tile(np.arange(size), len(MADE_SIDES))
        for place, row in enumerate(kind.rows.tolist()):
            owner = {name: named.units[name].iloc[row] for name in UNIT}
            topic = -1 if kind.topics is None else kind.topics[place, 0]
            of = {"kind": kind.kind, "seed_set": kind.seed_set, "side": side, "position": position}
            shown = pd.DataFrame({**of, "image": kind.tasks[place, 0, : 2 * size], "topic": topic})
            parts.append(shown.assign(**owner)[SHOWN_COLUMNS])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _keys(named: NamedUnits, seed: int) -> NDArray[np.uint64]:
    """Keys of the units, as for their natural tasks."""
    parts = [randomness.unit_keys(seed, named.model, layer, np.array([unit])) for layer, unit in named.owners]
    return np.concatenate(parts)
