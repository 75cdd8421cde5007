"""Kinds of explanation of single units for the gallery: their pictures side by side, scores, and what made images reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from interpretability.schema import BELOW, NATURAL, SYNTHETIC, UNIT
from study.files.tables import read_parquet
from study.report.figures.base import Study
from study.report.figures.kinds import kind_words
from study.report.figures.made_images import BOUND, NOT_IN_IMI, STATUSES, outside_imi
from study.report.figures.series import rows_of
from study.report.page.listed_units import Listed
from study.report.page.packing import whole

SHOWN_COLUMNS = [*UNIT, "kind", "seed_set", "side", "position", "image", "topic"]
SIDES = ("min", "max")  # least exciting on the left, as in tasks
Groups = list[list[int]]  # pictures of a side; several lists where they fall into topics
UnitKey = tuple[str, str, int]


@dataclass(frozen=True)
class Shown:
    """One kind of explanation of a unit as it is shown: of one seed set, -1 for kinds without made images."""

    kind: str
    seed_set: int
    sides: Mapping[str, Groups]

    def images(self) -> set[int]:
        return {image for groups in self.sides.values() for group in groups for image in group}


@dataclass(frozen=True)
class Kinds:
    """Units that are explained in several ways, by their row of the list: kinds as they are shown, in the table's order.

    scores: results/tables/explanation_kinds_units.csv under the leading similarity; made: results/tables/made_images.csv;
    values: what the unit does on each made image.
    """

    of: Mapping[int, Sequence[Shown]]
    keys: Mapping[int, UnitKey]
    scores: pd.DataFrame
    made: pd.DataFrame
    values: Mapping[int, float]

    def images(self, row: int) -> set[int]:
        """Every picture that the kinds of a unit show."""
        return {image for shown in self.of[row] for image in shown.images()}

    def within(self, most: int) -> Kinds:
        """Units in turn of their networks, as long as all together show at most `most` different pictures."""
        by_network: dict[str, list[int]] = {}
        for row in self.of:
            by_network.setdefault(self.keys[row][0], []).append(row)
        kept: dict[int, Sequence[Shown]] = {}
        images: set[int] = set()
        for row in (row for turn in zip_longest(*by_network.values()) for row in turn if row is not None):
            more = images | self.images(row)
            if len(more) <= most:
                images, kept[row] = more, self.of[row]
        return Kinds(kept, self.keys, self.scores, self.made, self.values)


def read_kinds(study: Study, listed: Listed, visualisations: Path, kinds: Path) -> Kinds:
    """Kinds of the listed units, from the outs of the stages visualisations and explanation_kinds.

    Made images of which no tasks were built, as one side has none, are shown too.
    """
    images = read_parquet(visualisations / "images.parquet")
    made = images.assign(kind=SYNTHETIC, topic=-1)[SHOWN_COLUMNS]
    built = read_parquet(kinds / "shown.parquet")[SHOWN_COLUMNS]
    key = [*UNIT, "kind", "seed_set"]
    left = made[~pd.MultiIndex.from_frame(made[key]).isin(pd.MultiIndex.from_frame(built[key]))]
    table = study.tables["explanation_kinds_units"]
    natural = listed.units[listed.units["condition"] == NATURAL]
    row_of = dict(zip(_keys(natural), natural.index.astype(int), strict=True))
    of = {
        row_of[unit]: shown for unit, shown in _by_unit(pd.concat([built, left], ignore_index=True)) if unit in row_of
    }
    ordered = {row: of[row] for row in sorted(of)}
    return Kinds(
        ordered,
        {row: unit for unit, row in row_of.items()},
        table[table["backend"] == study.lead],
        study.tables["made_images"],
        dict(zip(images["image"].astype(int).tolist(), images["value"].astype(float).tolist(), strict=True)),
    )


def _keys(units: pd.DataFrame) -> Iterable[UnitKey]:
    return (
        (str(model), str(layer), int(unit)) for model, layer, unit in units[UNIT].itertuples(index=False, name=None)
    )


def _by_unit(rows: pd.DataFrame) -> Iterable[tuple[UnitKey, list[Shown]]]:
    """Kinds of each unit, in the order of their rows, seed sets of a kind together."""
    order = {kind: place for place, kind in enumerate(dict.fromkeys(rows["kind"].astype(str)))}
    for _, own in rows.groupby(UNIT, sort=False, observed=True):
        found = []
        for _, part in own.groupby(["kind", "seed_set"], sort=False, observed=True):
            sides = {side: _groups(part[part["side"] == side]) for side in SIDES}
            found.append(Shown(str(part["kind"].iloc[0]), int(part["seed_set"].iloc[0]), sides))
        yield next(iter(_keys(own))), sorted(found, key=lambda shown: (order[shown.kind], shown.seed_set))


def _groups(rows: pd.DataFrame) -> Groups:
    """Pictures of a side in their order, those of a topic together."""
    ordered = rows.sort_values("position", kind="stable")
    return [group["image"].astype(int).tolist() for _, group in ordered.groupby("topic", sort=True)]


def as_content(study: Study, kinds: Kinds, number: Mapping[int, int]) -> dict[str, object]:
    """The part of the gallery's JSON that is of kinds; `number` says which thumbnail an image is.

    names     kinds in words; synthetic: which of them shows made images alone; statuses: of sides of made images, `below`
              the number of that where not every image goes beyond nature
    of        by row: number of the kind, seed set (-1 where it has none), MIS and its error in millionths, share of the choices
              that fell on it (of the kind, all sets together), thumbnails of either side, group by group
    made      by row: seed set, side (0 least, 1 most exciting), number of the status, ratio of the best and of the weakest image
              and what the best keeps after a shift, in hundredths, 1 where it is bound to its place
    values    by thumbnail of a made image: the unit's value there
    outside   networks that are not in IMI, and what is said of them
    """
    names = list(dict.fromkeys(shown.kind for own in kinds.of.values() for shown in own))
    statuses = list(dict.fromkeys(kinds.made["status"].astype(str)))
    wanted = {kinds.keys[row] for row in kinds.of}
    scores = {
        (unit, row.kind, int(row.seed_set)): row
        for unit, row in zip(_keys(kinds.scores), rows_of(kinds.scores), strict=True)
        if unit in wanted
    }
    reached: dict[UnitKey, list[list[int | None]]] = {}
    for unit, row in zip(_keys(kinds.made), rows_of(kinds.made), strict=True):
        if unit in wanted:
            told = [_hundredths(value) for value in (row.ratio_best, row.ratio_weakest, row.kept_after_shift)]
            side = [
                int(row.seed_set),
                SIDES.index(row.side),
                statuses.index(str(row.status)),
                *told,
                int(row.position_bound),
            ]
            reached.setdefault(unit, []).append(side)

    def thumbs(groups: Groups) -> Groups:
        return [[number[image] for image in group] for group in groups]

    def content(row: int, shown: Shown) -> list[object]:
        key = kinds.keys[row], shown.kind
        own, every = scores.get((*key, shown.seed_set)), scores.get((*key, -1))
        score, error = whole([own.score, own.se]) if own is not None else (None, None)
        chosen = whole([every.chosen])[0] if every is not None else None
        sides = [thumbs(shown.sides[side]) for side in SIDES]
        return [names.index(shown.kind), shown.seed_set, score, error, chosen, *sides]

    made = {str(row): reached[kinds.keys[row]] for row in kinds.of if kinds.keys[row] in reached}
    return {
        "names": [kind_words(name) for name in names],
        "synthetic": names.index(SYNTHETIC) if SYNTHETIC in names else None,
        "below": statuses.index(BELOW) if BELOW in statuses else None,
        "statuses": [STATUSES.get(status, status) for status in statuses],
        "of": {str(row): [content(row, shown) for shown in own] for row, own in kinds.of.items()},
        "made": made,
        "values": {
            str(number[image]): float(f"{value:.4g}") for image, value in kinds.values.items() if image in number
        },
        "bound": BOUND,
        "outside": {"models": sorted(outside_imi(study)), "words": NOT_IN_IMI},
    }


def _hundredths(value: Any) -> int | None:
    """A ratio as a whole number of hundredths; null where there is none."""
    return None if value is None or value != value else round(100 * float(value))
