"""The drawing of one task: what excites a unit least and most, two images to choose from, and the score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SCALE = 2  # pixels a unit of length below, so that the picture is sharp on dense screens
EDGE, GAP, THIN = 24, 24, 2
CELL, QUERY = 72, 132
SIDE = QUERY * SCALE  # pixels a side in which pictures come
PAGE, INK, SOFT, LINE, RIGHT, FILL = "#f4f5f7", "#15181c", "#545b65", "#d4d8de", "#0b6a45", "#0a5a9c"


@dataclass(frozen=True)
class Told:
    """What the picture says of a task: `p` is the machine's probability of the right answer, `right` of the `answers` are right.

    Tasks are counted from 1; `mis` and its standard error are those of the unit over the `n_tasks` tasks that count.
    """

    model: str
    layer: str
    unit: int
    task: int
    n_tasks: int
    similarity: str
    mis: float
    mis_se: float
    p: float
    observers: str
    answers: int
    right: int

    @property
    def right_is_b(self) -> bool:
        """On which side the exciting query stands: by a hash, so that no habit of ours gives it away."""
        name = f"{self.model}/{self.layer}/{self.unit}/{self.task}"
        return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


class _Pen:
    """Draws in units of length, on a picture of SCALE pixels a unit."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self.picture: Image.Image = Image.new("RGB", (width * SCALE, height * SCALE), PAGE)
        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(self.picture)
        self._fonts: dict[tuple[int, bool], ImageFont.FreeTypeFont] = {}

    def words(
        self,
        at: tuple[float, float],
        text: str,
        size: int,
        colour: str = INK,
        *,
        bold: bool = False,
        anchor: str = "ls",
    ) -> None:
        """Text whose base line is at a place; `anchor` is Pillow's: ls, ms and rs stand to the right, around and to the left."""
        self._draw.text(_pixels(at), text, fill=colour, font=self._font(size, bold), anchor=anchor)

    def bar(self, box: tuple[float, float, float, float], colour: str, radius: int = 0) -> None:
        left, top, right, bottom = (round(value * SCALE) for value in box)
        self._draw.rounded_rectangle((left, top, right - 1, bottom - 1), radius * SCALE, fill=colour)

    def image(self, at: tuple[float, float], image: Image.Image, side: int) -> None:
        from PIL import Image

        resized = image.convert("RGB").resize((side * SCALE, side * SCALE), Image.Resampling.LANCZOS)
        self.picture.paste(resized, _pixels(at))

    def _font(self, size: int, bold: bool) -> ImageFont.FreeTypeFont:
        import matplotlib as mpl
        from PIL import ImageFont

        if (size, bold) not in self._fonts:  # matplotlib brings the font, so the picture is the same on every machine
            path = Path(mpl.get_data_path()) / f"fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"
            engine = ImageFont.Layout.BASIC
            self._fonts[size, bold] = ImageFont.truetype(str(path), size * SCALE, layout_engine=engine)
        return self._fonts[size, bold]


def draw_task(pictures: Sequence[Image.Image], told: Told) -> Image.Image:
    """The task as one picture. `pictures`: K that excite the unit, K that do not, the exciting query, the other one."""
    k = len(pictures) // 2 - 1
    columns = next(n for n in range(1, k + 1) if n * n >= k)
    grid = columns * (CELL + THIN) - THIN
    middle = max(2 * QUERY + GAP // 2, grid // columns)
    width = 2 * (EDGE + grid + GAP) + middle
    tall = max(grid, QUERY + 84)
    top = 92
    pen = _Pen(width, top + tall + 96)
    pen.words((EDGE, 42), "Which picture excites this unit more: A or B?", 20, bold=True)
    pen.words((width - EDGE, 42), f"{told.model} {told.layer} · {told.unit}", 13, SOFT, anchor="rs")
    _grid(pen, (EDGE, top), pictures[k : 2 * k], columns)
    _grid(pen, (width - EDGE - grid, top), pictures[:k], columns)
    pen.words((EDGE, top - 10), "− least exciting", 13, bold=True)
    pen.words((width - EDGE, top - 10), "most exciting +", 13, bold=True, anchor="rs")
    _queries(pen, (EDGE + grid + GAP, top), pictures[2 * k], pictures[2 * k + 1], told)
    _score(pen, width, top + tall + 22, told)
    return pen.picture


def _grid(pen: _Pen, at: tuple[float, float], pictures: Sequence[Image.Image], columns: int) -> None:
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        pen.image((at[0] + column * (CELL + THIN), at[1] + row * (CELL + THIN)), picture, CELL)


def _queries(pen: _Pen, at: tuple[float, float], right: Image.Image, other: Image.Image, told: Told) -> None:
    """Both queries with their letters, and the machine's answer below."""
    left, top = at
    b = left + QUERY + GAP / 2
    end = b + QUERY
    x = b if told.right_is_b else left
    pen.bar((x - 4, top - 4, x + QUERY + 4, top + QUERY + 4), RIGHT, 4)
    pen.image((left, top), other if told.right_is_b else right, QUERY)
    pen.image((b, top), right if told.right_is_b else other, QUERY)
    for letter, start, is_right in (("A", left, not told.right_is_b), ("B", b, told.right_is_b)):
        text, colour = (f"{letter} ✓", RIGHT) if is_right else (letter, SOFT)
        pen.words((start + QUERY / 2, top + QUERY + 26), text, 16, colour, bold=True, anchor="ms")
    share = told.p if told.right_is_b else 1 - told.p  # of B
    y = top + QUERY + 58
    pen.words((left, y - 8), f"machine: A {1 - share:.0%}", 13, SOFT)
    pen.words((end, y - 8), f"{share:.0%} B", 13, SOFT, anchor="rs")
    pen.bar((left, y, end, y + 8), LINE, 4)
    split = left + (1 - share) * (end - left)
    pen.bar((split, y, end, y + 8) if told.right_is_b else (left, y, split, y + 8), FILL, 4)


def _score(pen: _Pen, width: int, top: float, told: Told) -> None:
    pen.bar((EDGE, top, width - EDGE, top + 1), LINE)
    pen.words((EDGE, top + 47), f"{told.mis:.2f}", 34, bold=True)
    pen.words((EDGE + 102, top + 30), f"MIS of this unit, ± {told.mis_se:.2f}: the machine's mean probability", 13)
    pen.words((EDGE + 102, top + 48), f"of the right answer over {told.n_tasks} such tasks; guessing scores 0.50", 13)
    if told.answers:
        pen.words((width - EDGE, top + 30), told.observers, 13, SOFT, anchor="rs")
        pen.words((width - EDGE, top + 48), f"right in {told.right} of {told.answers}", 13, SOFT, anchor="rs")


def _pixels(at: tuple[float, float]) -> tuple[int, int]:
    return round(at[0] * SCALE), round(at[1] * SCALE)
