"""Panels of a drawing that stand above each other, told apart by where they lie, so that a wide page sets them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, radians, sin

from study.report.figures.shapes import Box
from study.report.figures.stacking import Item

_LETTER = 0.5  # widths of a letter by its height, about the mean of the page's fonts
_ABOVE, _BELOW = 0.95, 0.25  # heights of letters above and below their line
_SHARE = {"start": 0.0, "middle": 0.5, "end": 1.0}  # of words, left of their place
_EDGE = 1.0  # points of paper above and below a panel that stands alone


@dataclass(frozen=True)
class Text:
    """Words at a place, turned around it by degrees."""

    words: str
    x: float
    y: float
    turn: float
    anchor: str
    size: float
    fill: str

    @property
    def height(self) -> tuple[float, float]:
        """Highest and lowest point that its letters reach."""
        long = len(self.words) * self.size * _LETTER
        left = -long * _SHARE[self.anchor]
        turn = radians(self.turn)
        ends = [
            self.y + x * sin(turn) + y * cos(turn)
            for x in (left, left + long)
            for y in (-_ABOVE * self.size, _BELOW * self.size)
        ]
        return min(ends), max(ends)


@dataclass
class Part:
    """What one group of a drawing holds: a panel with all its words, or what belongs to all panels."""

    panel: bool
    items: list[Item] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    @property
    def height(self) -> tuple[float, float]:
        """Highest and lowest point of a part that is not empty."""
        ends = [(item.box[1], item.box[3]) for item in self.items] + [text.height for text in self.texts]
        return min(top for top, _ in ends), max(bottom for _, bottom in ends)


@dataclass(frozen=True)
class Band:
    """A strip across the whole width of a drawing, with what it shows; `panel`: a panel stands in it."""

    panel: bool
    items: tuple[Item, ...]
    texts: tuple[Text, ...]
    box: Box


def bands(parts: Sequence[Part], width: float, height: float) -> list[Band]:
    """A drawing from top to bottom in as many strips as panels stand above each other; one where parts meet in height.

    Nothing is cut: parts whose heights overlap stay together, in the order in which they are painted. A key, or a line of
    words that belongs to all, is a strip of its own. A drawing with fewer than two strips of panels is left whole.
    """
    full = [part for part in parts if part.items or part.texts]
    order = sorted(range(len(full)), key=lambda index: full[index].height)
    groups: list[list[int]] = []
    lowest = -1.0
    for index in order:
        top, bottom = full[index].height
        if groups and top < lowest:
            groups[-1].append(index)
        else:
            groups.append([index])
        lowest = max(lowest, bottom)
    if sum(any(full[index].panel for index in group) for group in groups) < 2:
        groups = [list(range(len(full)))]
    strips = [[full[index] for index in sorted(group)] for group in groups]
    whole = len(strips) == 1
    return [_band(strip, width, (0.0, height) if whole else _reach(strip)) for strip in strips]


def _reach(strip: Sequence[Part]) -> tuple[float, float]:
    tops, bottoms = zip(*(part.height for part in strip), strict=True)
    return min(tops) - _EDGE, max(bottoms) + _EDGE


def _band(strip: Sequence[Part], width: float, reach: tuple[float, float]) -> Band:
    top, bottom = reach
    return Band(
        panel=any(part.panel for part in strip),
        items=tuple(item for part in strip for item in part.items),
        texts=tuple(text for part in strip for text in part.texts),
        box=(0.0, top, width, bottom - top),
    )
