"""The cards that stand in the page before, or without, its script: what each says, and which units they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from interpretability.schema import NATURAL
from study.report.figures.base import Study
from study.report.page.alike import Alike
from study.report.page.distribution import Spread
from study.report.page.listed_units import Listed, ranked
from study.report.page.play import Turn
from study.report.page.shown_tasks import ShownTasks, SingleTasks
from study.report.page.thumbnails import Sheets

MOST = 12


class Tasks:
    """Explanations of the task that the card of a unit shows: that which the first screen asks, else its first in the page."""

    def __init__(self, shown: ShownTasks, single: SingleTasks, played: Iterable[Turn]) -> None:
        self._shown, self._single = shown, single
        self._played = dict(played)
        self._at = {row: place for place, row in enumerate(single.rows.tolist())}

    def rows(self) -> set[int]:
        """Units with pictures."""
        return {*self._shown.tasks, *self._at}

    def images(self, row: int) -> NDArray[np.int32]:
        """Rows of the manifest: K explanations of the exciting side, K of the other."""
        if row in self._shown.tasks:
            task = self._played.get(row, self._shown.full[row][0])
            return self._shown.tasks[row][task][:-2]
        return self._single.images[self._at[row]][:-2]


def first_rows(listed: Listed, tasks: Tasks, alike: Alike, played: Iterable[Turn]) -> list[int]:
    """Units that the gallery begins with, at most MOST, each kind of picture once: those that the first screen asks about, then
    networks in turn, each with its most understandable units that have pictures.
    """
    units = listed.units
    natural = units[(units["condition"] == NATURAL) & units.index.isin(list(tasks.rows()))]
    networks = [ranked(own).index.tolist() for _, own in natural.groupby("model", sort=False)]
    asked = [row for row, _ in played if row in tasks.rows()]
    group = {row: number for number, rows in enumerate(alike.twins) for row in rows}
    out: list[int] = []
    seen: set[int] = set()
    for row in chain(asked, (row for turn in zip_longest(*networks) for row in turn if row is not None)):
        if len(out) == MOST:
            break
        own = group.get(row, -1 - row)
        if own not in seen:
            seen.add(own)
            out.append(row)
    return out


@dataclass(frozen=True)
class Card:
    """A unit in the gallery as it stands there without a script. Pictures as numbers of thumbnails."""

    unit: str
    link: str
    model: str
    colour: str
    mis: float
    mis_se: float
    easier: str
    observed: str
    least: Sequence[int]
    most: Sequence[int]
    least_words: str
    most_words: str


def make_cards(
    study: Study,
    listed: Listed,
    rows: Iterable[int],
    tasks: Tasks,
    sheets: Sheets,
    spread: Spread,
    labels: NDArray[np.object_],
    *,
    drop_near: bool,
) -> list[Card]:
    """Cards of some units; `labels` by row of the manifest."""
    number = {image: index for index, image in enumerate(sheets.images)}
    colours = {net.name: net.colour for net in spread.networks}
    answers = _answers(study, listed)
    cards = []
    for row in rows:
        unit, images = listed.units.loc[row].to_dict(), tasks.images(row)
        most, least = images[: len(images) // 2], images[len(images) // 2 :]
        model = str(unit["model"])
        card = Card(
            unit=f"{unit['layer']} · {unit['unit']}",
            link=f"{model}/{unit['layer']}/{unit['unit']}/{unit['condition']}",
            model=model,
            colour=colours.get(model, "var(--soft)"),
            mis=float(unit["mis"]),
            mis_se=float(unit["mis_se"]),
            easier=easier_words(int(unit["easier_network"])),
            observed=answers.get(row) or f"machine right in {_right(listed, row, drop_near)} tasks",
            least=[number[int(image)] for image in least],
            most=[number[int(image)] for image in most],
            least_words=label_words(labels[least]),
            most_words=label_words(labels[most]),
        )
        cards.append(card)
    return cards


def _right(listed: Listed, row: int, drop_near: bool) -> str:
    """How many of a unit's scored tasks the machine has right; a tie is half a task."""
    kept = np.ones(listed.margins.shape[1], dtype=bool)
    kept[listed.near.get(row, []) if drop_near else []] = False
    margins = listed.margins[row][kept]
    return f"{(margins > 0).sum() + (margins == 0).sum() / 2:g} of {kept.sum()}"


def easier_words(share: int) -> str:
    """Place of a unit among those of its network; the script says the same."""
    if share == 100:
        return "easier than all others"
    return f"easier than {min(share, 99)} %" if share >= 50 else f"harder than {min(100 - share, 99)} %"


def _answers(study: Study, listed: Listed) -> Mapping[int, str]:
    row_of = listed.rows()
    facts = study.human[["model", "layer", "unit", "condition", "his", "n_responses"]].itertuples(
        index=False, name=None
    )
    return {
        row_of[key]: f"{study.people} right in {round(his * n)} of {n}"
        for *names, his, n in facts
        if (key := tuple(names)) in row_of
    }


def label_words(labels: NDArray[np.object_]) -> str:
    """The commonest labels of some images in words."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    order = np.lexsort((names, -counts))[:3]
    known = [f"{counts[i]} × {names[i]}" for i in order if names[i]]
    return ", ".join(known) or f"{len(labels)} pictures"
