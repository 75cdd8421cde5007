"""Paths of drawings as points: read, moved, cut at the edge of a panel, and written again in few letters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

_COMMAND = re.compile(r"([MLCQz])([-+.\de\s]*)")
_N_POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3, "z": 0}
_N_CURVES = 8  # of which matplotlib makes a circle


@dataclass(frozen=True)
class Shape:
    """Commands of a path with absolute points; letters as in SVG: M, L, Q, C and z."""

    steps: tuple[tuple[str, tuple[Point, ...]], ...]

    @classmethod
    def read(cls, d: str) -> Shape:
        """A path as matplotlib writes it; raises ValueError for letters that it does not use."""
        found, length = [], 0
        for letter, numbers in _COMMAND.findall(d):
            values = [float(number) for number in numbers.split()]
            if len(values) != 2 * _N_POINTS[letter]:
                raise ValueError(f"{letter}{numbers} is not of the form that matplotlib writes")
            found.append((letter, tuple(zip(values[::2], values[1::2], strict=True))))
            length += 1 + len(numbers)
        if length != len(d):
            raise ValueError(f"{d[:60]!r} holds letters that matplotlib does not write")
        return cls(tuple(found))

    @property
    def points(self) -> list[Point]:
        return [point for _, points in self.steps for point in points]

    @property
    def straight(self) -> bool:
        return all(letter in "MLz" for letter, _ in self.steps)

    @property
    def circle(self) -> bool:
        """Whether this is the circle that matplotlib draws as a mark."""
        letters = "".join(letter for letter, _ in self.steps)
        if letters != f"M{'C' * _N_CURVES}z":
            return False
        left, top, right, bottom = self.box
        return abs((right - left) - (bottom - top)) < 1e-3

    @property
    def box(self) -> Box:
        """The smallest box around all points, those of curves too, which a curve never leaves."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def moved(self, x: float, y: float) -> Shape:
        return Shape(tuple((letter, tuple((px + x, py + y) for px, py in points)) for letter, points in self.steps))

    def written(self) -> str:
        """The path to a hundredth of a point; letters that repeat and zeros that say nothing are left out."""
        parts, before = [], ""
        for letter, points in self.steps:
            numbers = " ".join(f"{short(x)} {short(y)}" for x, y in points)
            implied = (letter == before and letter != "M") or (before == "M" and letter == "L")
            parts.append(f"{' ' if implied else letter}{numbers}")
            before = letter
        return "".join(parts)

    def pieces(self) -> list[tuple[list[Point], bool]]:
        """Points of every piece of a straight path, and whether it is closed."""
        found: list[tuple[list[Point], bool]] = []
        for letter, points in self.steps:
            if letter == "M":
                found.append(([points[0]], False))
            elif letter == "z":
                found[-1] = (found[-1][0], True)
            else:
                found[-1][0].append(points[0])
        return found


def line(points: list[Point], *, closed: bool = False) -> list[tuple[str, tuple[Point, ...]]]:
    """Steps through points."""
    steps = [("L" if index else "M", (point,)) for index, point in enumerate(points)]
    return [*steps, ("z", ())] if closed else steps


def short(value: float) -> str:
    """A coordinate to a hundredth of a point."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def within(inner: Box, outer: Box, slack: float = 0.0) -> bool:
    """Whether a box lies in another one that is wider by `slack` on every side."""
    return (
        inner[0] >= outer[0] - slack
        and inner[1] >= outer[1] - slack
        and inner[2] <= outer[2] + slack
        and inner[3] <= outer[3] + slack
    )


def cut(shape: Shape, box: Box, *, filled: bool) -> Shape:
    """What of a straight path lies in a box: of an area its outline there, of a line its parts; no steps if nothing does."""
    steps: list[tuple[str, tuple[Point, ...]]] = []
    for points, closed in shape.pieces():
        if filled:
            inside = _cut_area(points, box)
            steps += line(inside, closed=True) if len(inside) > 2 else []
        else:
            for part in _cut_line([*points, points[0]] if closed else points, box):
                steps += line(part)
    return Shape(tuple(steps))


def _cut_line(points: list[Point], box: Box) -> list[list[Point]]:
    """Parts of a line in a box, after Liang and Barsky."""
    parts: list[list[Point]] = []
    for start, end in pairwise(points):
        kept = _cut_segment(start, end, box)
        if kept is None:
            continue
        if parts and parts[-1][-1] == kept[0]:
            parts[-1].append(kept[1])
        else:
            parts.append([*kept])
    return parts


def _cut_segment(start: Point, end: Point, box: Box) -> tuple[Point, Point] | None:
    (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
    enter, leave = 0.0, 1.0
    for step, room in ((-dx, x - box[0]), (dx, box[2] - x), (-dy, y - box[1]), (dy, box[3] - y)):
        if step == 0:
            if room < 0:
                return None
        elif step < 0:
            enter = max(enter, room / step)
        else:
            leave = min(leave, room / step)
    if enter > leave:
        return None
    first = start if enter == 0 else (x + enter * dx, y + enter * dy)
    last = end if leave == 1 else (x + leave * dx, y + leave * dy)
    return first, last


def _cut_area(points: list[Point], box: Box) -> list[Point]:
    """The outline of an area in a box, after Sutherland and Hodgman."""
    for axis, at, sign in ((0, box[0], 1), (0, box[2], -1), (1, box[1], 1), (1, box[3], -1)):
        kept: list[Point] = []
        for start, end in zip([points[-1], *points[:-1]], points, strict=True) if points else ():
            inside = [sign * (point[axis] - at) >= 0 for point in (start, end)]
            if inside[0] != inside[1]:
                share = (at - start[axis]) / (end[axis] - start[axis])
                crossing = [start[i] + share * (end[i] - start[i]) for i in (0, 1)]
                kept.append((crossing[0], crossing[1]))
            if inside[1]:
                kept.append(end)
        points = kept
    return points
