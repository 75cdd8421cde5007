"""Shapes of one look in as few paths as the order of painting allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from study.report.figures.shapes import Box, overlap, short

_CELL = 12.0  # points: shapes are looked up by the cells that they touch
_MOST_LAYERS = 6  # marks of one pale look above each other that still darken; further ones are not told apart


@dataclass(frozen=True)
class Look:
    """How a shape is painted: colours are `none` or a variable of the page, sizes in points."""

    fill: str
    fill_opacity: float
    stroke: str
    stroke_opacity: float
    width: float
    dashes: tuple[float, ...]
    cap: str

    @property
    def visible(self) -> bool:
        filled = self.fill != "none" and self.fill_opacity > 0
        return filled or (self.stroke != "none" and self.stroke_opacity > 0 and self.width > 0)

    @property
    def even(self) -> bool:
        """Whether shapes of this look that overlap look as one: one opaque colour."""
        colours = {each for each in (self.fill, self.stroke) if each != "none"}
        opaque = (self.fill == "none" or self.fill_opacity == 1) and (self.stroke == "none" or self.stroke_opacity == 1)
        return len(colours) == 1 and opaque

    def written(self) -> str:
        """Declarations of CSS; what the page or SVG has by itself is left out."""
        parts = [f"fill:{self.fill}"]
        if self.fill != "none" and self.fill_opacity != 1:
            parts.append(f"fill-opacity:{short(self.fill_opacity)}")
        if self.stroke != "none":
            parts += [f"stroke:{self.stroke}", f"stroke-width:{short(self.width)}"]
            if self.stroke_opacity != 1:
                parts.append(f"stroke-opacity:{short(self.stroke_opacity)}")
            if self.dashes:
                parts.append(f"stroke-dasharray:{' '.join(short(part) for part in self.dashes)}")
            if self.cap != "butt":
                parts.append(f"stroke-linecap:{self.cap}")
        return ";".join(parts)


@dataclass(frozen=True)
class Item:
    """A shape to paint: its path, the box around it, and which mark it is ('' for none)."""

    look: Look
    d: str
    box: Box
    mark: str


class _Layer:
    """Shapes of one look that make one path."""

    def __init__(self, item: Item) -> None:
        self.look, self.mark = item.look, item.mark
        self.paths: list[str] = []
        self._cells: dict[tuple[int, int], list[Box]] = {}
        self.add(item)

    def add(self, item: Item) -> None:
        self.paths.append(item.d)
        if item.mark != self.mark:
            self.mark = ""
        for cell in _cells(item.box):
            self._cells.setdefault(cell, []).append(item.box)

    def touches(self, box: Box) -> bool:
        return any(overlap(other, box) for cell in _cells(box) for other in self._cells.get(cell, ()))


def _cells(box: Box) -> Iterator[tuple[int, int]]:
    left, top, right, bottom = (int(edge // _CELL) for edge in box)
    return product(range(left, right + 1), range(top, bottom + 1))


def stacked(items: Iterable[Item]) -> Iterator[tuple[Look, str]]:
    """Looks and paths from the bottom to the top, painted as the items in their order.

    A shape joins an earlier path of its look unless something of another look lies between them where it stands. Pale shapes
    above each other go into several paths, as in one they would not darken; areas too, as opposite turns would make a hole.
    """
    layers: list[_Layer] = []
    for item in items:
        layer = _layer_for(item, layers)
        if layer is None:
            layers.append(_Layer(item))
        else:
            layer.add(item)
    return ((layer.look, "".join(layer.paths)) for layer in layers)


def _layer_for(item: Item, layers: list[_Layer]) -> _Layer | None:
    """The path that a shape may join; None if it needs a new one."""
    full: list[_Layer] = []
    for layer in reversed(layers):
        touched = layer.touches(item.box)
        if layer.look == item.look:
            alike = layer.look.even and (layer.look.fill == "none" or (item.mark != "" and item.mark == layer.mark))
            if alike or not touched:
                return layer
            full.append(layer)
            if len(full) == _MOST_LAYERS and not layer.look.even:
                return full[0]
        elif touched:
            break
    return None
