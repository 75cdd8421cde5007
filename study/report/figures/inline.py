"""A drawing as a part of the page: one inline SVG with the page's text and colours, and as few elements as it takes.

What matplotlib writes for a file becomes shapes whose colours are variables of the page (style.PALETTE), so that one drawing
serves light, dark, print and phone. Neighbours of one look share a path; what sticks out of a panel is cut off, so there
are no clip paths, and no ids that could meet those of another figure. Words keep no font of their own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from xml.etree import ElementTree

from markupsafe import Markup, escape

from study.errors import StudyError
from study.report.figures.bands import Band, Part, Text, bands
from study.report.figures.shapes import Box, Shape, cut, short, within
from study.report.figures.stacking import Item, Look, stacked
from study.report.figures.style import NARROW, PALETTE

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_VARIABLES = {colour: name for name, colour in PALETTE.items()}
_DECLARATION = re.compile(r"([\w-]+):\s*([^;]+)")
_MARK = 16.0  # points: a smaller shape is a mark, which shows whole where its middle lies in the panel
_MANY = 8  # round marks of one size from which they are points of a thick line
_SMALLEST = 12 * 72 * NARROW / 356  # points: what is 12 px high where the narrow drawing is shown 356 px wide


def inline(svg: str, name: str, label: str) -> Markup:
    """A drawing that matplotlib wrote as a part of the page, `label` being what it says in words.

    One inline SVG, or, where panels stand above each other, a group of class `panels` with one SVG for each and one of class
    `key` for what belongs to all: all of one width, so of one scale, which a wide page may set side by side.
    Raises StudyError for a colour that is no variable of the page, for words below 12 px where the drawing is shown 356 px
    wide, and for elements that matplotlib's drawings of this study do not have; it names the figure.
    """
    root = ElementTree.fromstring(svg.encode())
    reader = _Reader(name, root)
    width, height = (float(value) for value in root.get("viewBox", "0 0 0 0").split()[2:])
    strips = bands(reader.parts, width, height)
    says = f'role="img" aria-label="{escape(label)}"'
    if len(strips) == 1:
        return Markup(_svg(strips[0], "figure", says))
    kinds = ("figure" if strip.panel else "figure key" for strip in strips)
    inner = "".join(_svg(strip, kind, 'aria-hidden="true"') for strip, kind in zip(strips, kinds, strict=True))
    return Markup(f'<div class="panels" {says}>{inner}</div>')


def _svg(band: Band, kind: str, says: str) -> str:
    paths = "".join(f'<path d="{d}" style="{look.written()}"/>' for look, d in stacked(band.items))
    box = " ".join(short(edge) for edge in band.box)
    return f'<svg class="{kind}" viewBox="{box}" {says}>{paths}{_written(band.texts)}</svg>'


class _Reader:
    """Shapes and words of a drawing, in the order in which they are painted."""

    def __init__(self, name: str, root: ElementTree.Element) -> None:
        self.parts: list[Part] = []
        self._name = name
        self._marks = {each.get("id", ""): each for each in root.iter(f"{_SVG}path") if each.get("id")}
        self._uses = Counter(each.get(_LINK, "")[1:] for each in root.iter(f"{_SVG}use"))
        self._panels = {clip.get("id", ""): _panel(clip[0]) for clip in root.iter(f"{_SVG}clipPath")}
        for element in root:
            self._begin(element)

    def _begin(self, figure: ElementTree.Element) -> None:
        """A part for every group of the figure, and for what stands beside groups."""
        inner = list(figure) if figure.get("id", "").startswith("figure_") else [figure]
        for child in inner:
            if not _background(figure, child):
                self.parts.append(Part(panel=child.get("id", "").startswith("axes_")))
                self._read(child, None)

    def _read(self, element: ElementTree.Element, panel: Box | None) -> None:
        tag = element.tag.removeprefix(_SVG)
        clip = element.get("clip-path")
        panel = self._panels[clip[5:-1]] if clip else panel
        if tag in ("defs", "metadata", "title"):
            return
        if tag == "g":
            for child in element:
                if not _background(element, child):
                    self._read(child, panel)
        elif tag == "path":
            self._add(element, Shape.read(_d(element)), panel, "")
        elif tag == "use":
            mark = element.get(_LINK, "")[1:]
            at = float(element.get("x", "0")), float(element.get("y", "0"))
            self._add(element, Shape.read(_d(self._marks[mark])).moved(*at), panel, mark)
        elif tag == "text":
            self._say(element)
        else:
            raise StudyError(
                f"figure {self._name}: its drawing has an element <{tag}>, which the page cannot take over"
            )

    def _add(self, element: ElementTree.Element, shape: Shape, panel: Box | None, mark: str) -> None:
        look = self._look(element)
        if len(shape.points) < 3:
            look = replace(look, fill="none")
        kept = _inside(shape, panel, filled=look.fill != "none") if look.visible and shape.steps else None
        if kept is None:
            return
        if kept.circle:
            self.parts[-1].items += (_dots if self._uses[mark] >= _MANY and look.fill != "none" else _discs)(kept, look)
        else:
            self.parts[-1].items.append(Item(look, kept.written(), _grown(kept.box, look), mark))

    def _look(self, element: ElementTree.Element) -> Look:
        own = dict(_DECLARATION.findall(element.get("style", "")))
        opacity = float(own.get("opacity", 1))
        fill, stroke = own.get("fill", "#000000"), own.get("stroke", "none")
        return Look(
            fill=self._variable(fill),
            fill_opacity=opacity * float(own.get("fill-opacity", 1)),
            stroke=self._variable(stroke),
            stroke_opacity=opacity * float(own.get("stroke-opacity", 1)),
            width=float(own.get("stroke-width", 1)),
            dashes=tuple(float(part) for part in own.get("stroke-dasharray", "").split(",") if part),
            cap=own.get("stroke-linecap", "butt"),
        )

    def _variable(self, colour: str) -> str:
        if colour == "none":
            return colour
        if colour not in _VARIABLES:
            raise StudyError(
                f"figure {self._name}: colour {colour} is no variable of the page. Draw it in a colour of PALETTE in "
                f"study/report/figures/style.py ({', '.join(sorted(_VARIABLES))}), paler by `alpha`"
            )
        return f"var({_VARIABLES[colour]})"

    def _say(self, element: ElementTree.Element) -> None:
        own = dict(_DECLARATION.findall(element.get("style", "")))
        size = float(own["font-size"].removesuffix("px"))
        words = "".join(element.itertext())
        if size < _SMALLEST:
            raise StudyError(
                f"figure {self._name}: its words {words!r} are {size:g} points high, less than {_SMALLEST:.2f}, which is "
                "12 px where a phone shows it 356 px wide. Draw them larger"
            )
        x, y, turn = _place(element)
        fill, anchor = self._variable(own.get("fill", "#000000")), own.get("text-anchor", "start")
        self.parts[-1].texts.append(Text(words, x, y, turn, anchor, size, fill))


def _background(group: ElementTree.Element, child: ElementTree.Element) -> bool:
    """Whether this is the paper under a figure or a panel, in whose place the page shows."""
    outer, inner = (each.get("id", "") for each in (group, child))
    return outer.startswith(("figure_", "axes_")) and child is group[0] and inner.startswith("patch_")


def _d(element: ElementTree.Element) -> str:
    return " ".join(element.get("d", "").split())


def _panel(rect: ElementTree.Element) -> Box:
    x, y, width, height = (float(rect.get(name, "0")) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def _inside(shape: Shape, panel: Box | None, *, filled: bool) -> Shape | None:
    """What of a shape its panel shows; None for nothing."""
    box = shape.box
    if panel is None or within(box, panel, 0.01):
        return shape
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if not shape.straight or (max(box[2] - box[0], box[3] - box[1]) <= _MARK and filled):
        return shape if within((*middle, *middle), panel, 0.1) else None
    kept = cut(shape, panel, filled=filled)
    return kept if kept.steps else None


def _grown(box: Box, look: Look) -> Box:
    """A box with the width of the line around it."""
    by = look.width / 2 if look.stroke != "none" else 0.0
    return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _dots(circle: Shape, look: Look) -> Iterator[Item]:
    """A round mark as points of thick lines, which take a fifth of the letters of a circle but a path for each size."""
    left, top, right, bottom = circle.box
    x, y, size = (left + right) / 2, (top + bottom) / 2, right - left
    for colour, opacity, by in _painted(look):
        width = round(size + by, 2)
        dot = Look("none", 1.0, colour, opacity, width, (), "round")
        box = x - width / 2, y - width / 2, x + width / 2, y + width / 2
        yield Item(dot, f"M{short(x)} {short(y)}h0", box, "dot")


def _painted(look: Look) -> list[tuple[str, float, float]]:
    """Colour, opacity and growth of the discs that a round mark is made of, the lowest first."""
    edge = look.width if look.stroke != "none" else 0.0
    if not edge or look.stroke == look.fill:
        return [(look.fill, look.fill_opacity, edge)]
    return [(look.stroke, look.stroke_opacity, edge), (look.fill, look.fill_opacity, -edge)]


def _discs(circle: Shape, look: Look) -> Iterator[Item]:
    """A round mark as a circle of two arcs."""
    left, top, right, bottom = circle.box
    across, radius = right - left, short((right - left) / 2)
    arc = f"a{radius} {radius} 0 1 0 "
    d = f"M{short(left)} {short((top + bottom) / 2)}{arc}{short(across)} 0{arc}{short(-across)} 0z"
    yield Item(look, d, _grown(circle.box, look), "disc")


def _place(element: ElementTree.Element) -> tuple[float, float, float]:
    """Place and turn in degrees of words."""
    x, y = element.get("x"), element.get("y")
    turns = dict(re.findall(r"(\w+)\(([^)]*)\)", element.get("transform", "")))
    if x is None or y is None:
        x, y = turns["translate"].split()
    return float(x), float(y), float(turns.get("rotate", "0").split()[0])


def _written(texts: Sequence[Text]) -> str:
    """Words in groups of one look, those alone in theirs without a group, each group at the place of its first words."""
    groups: dict[tuple[str, str, float], list[Text]] = {}
    for text in texts:
        groups.setdefault((text.fill, text.anchor, text.size), []).append(text)
    parts = []
    for (fill, anchor, size), own in groups.items():
        middle = "" if anchor == "start" else f";text-anchor:{anchor}"
        look = f' style="fill:{fill};font-size:{short(size)}px{middle}"'
        parts.append(_word(own[0], look) if len(own) == 1 else f"<g{look}>{''.join(map(_word, own))}</g>")
    return "".join(parts)


def _word(text: Text, look: str = "") -> str:
    x, y = short(text.x), short(text.y)
    turn = f' transform="rotate({short(text.turn)} {x} {y})"' if text.turn else ""
    return f'<text x="{x}" y="{y}"{turn}{look}>{escape(text.words)}</text>'
