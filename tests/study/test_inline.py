"""Drawings as parts of the page: what is merged, cut and renamed, and what is refused; colours in light and dark."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from study.errors import StudyError
from study.report.figures import style
from study.report.figures.inline import inline
from study.report.figures.shapes import Shape, cut
from study.report.figures.stacking import Item, Look, stacked
from tests.helpers.rules import ROOT

STYLES = ROOT / "reports/template/style"


def drawn(draw):
    """A panel from 0 to 1 either way in the style of the figures, after `draw`, on the page."""
    with style.styled():
        figure, ((axes,),) = style.canvas(True, 2.0)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.axis("off")
        draw(axes)
        return inline(style.to_svg(figure, "t"), "sketch", "What it says")


def column_of(n, *, key=False, share=False):
    """n panels above each other with marks of their own; `share`: words at the side reach over two of them."""
    with style.styled():
        figure, grid = style.panels(True, n, 1.2)
        for place, axes in enumerate(grid):
            axes.plot([0, 1], [0, 1], "s", color=style.COLOURS[place], label="mark")
            axes.set_title(f"panel {place}")
        style.outer_labels(grid, "x", "y")
        if share:
            grid[0].set_ylabel("words that are far too long for the side of a panel of this height")
        svg = style.to_svg(style.with_key(figure, grid[0], True) if key else figure, "t")
        return ElementTree.fromstring(inline(svg, "sketch", "What <it> says"))


def box(drawing):
    return [float(edge) for edge in drawing.get("viewBox").split()]


def test_panels_above_each_other_are_drawings_of_one_scale():
    group = column_of(3)
    assert (group.tag, group.get("class"), group.get("role")) == ("div", "panels", "img")
    assert group.get("aria-label") == "What <it> says"
    assert [(each.get("class"), each.get("aria-hidden")) for each in group] == [("figure", "true")] * 3
    boxes = [box(each) for each in group]
    assert len({(left, width) for left, _, width, _ in boxes}) == 1
    for before, (_, top, _, _) in pairwise(boxes):
        assert before[1] + before[3] <= top + 2  # a point of paper above and below each
    for place, panel in enumerate(group):
        words = ["".join(each.itertext()) for each in panel.iter("text")]
        assert f"panel {place}" in words
        assert {"x", "y"} <= set(words), "a panel beside others needs the names of both its axes"
        assert [look for _, look in paths(ElementTree.tostring(panel)) if f"--c{place}" in look]
        assert not [look for _, look in paths(ElementTree.tostring(panel)) if re.search(rf"--c(?!{place})\d", look)]


def test_a_key_of_all_panels_is_the_first_drawing():
    key, *panels = column_of(2, key=True)
    assert (key.get("class"), [each.get("class") for each in panels]) == ("figure key", ["figure"] * 2)
    assert ["".join(each.itertext()) for each in key.iter("text")] == ["mark"]


def test_panels_whose_words_meet_stay_one_drawing():
    first, second = column_of(3, share=True)
    assert [sum(f"panel {place}" in text.itertext() for text in first.iter("text")) for place in range(3)] == [1, 1, 0]
    assert "panel 2" in "".join(second.itertext())
    assert column_of(2, share=True).tag == "svg"
    assert column_of(1, key=True).tag == "svg"


def paths(text):
    return [(each.get("d"), each.get("style")) for each in ElementTree.fromstring(text).iter("path")]


def test_marks_of_one_look_are_one_path():
    x = np.linspace(0.1, 0.9, 30)
    ((d, look),) = paths(drawn(lambda axes: axes.plot(x, x, "s", color=style.COLOURS[0])))
    assert d.count("M") == 30
    assert "var(--c0)" in look
    ((dots, thick),) = paths(drawn(lambda axes: axes.plot(x, x, "o", color=style.COLOURS[1])))
    # points of a thick round line take a fifth of the letters of circles
    assert len(re.findall(r"M[\d.]+ [\d.]+h0", dots)) == 30
    assert "stroke-linecap:round" in thick
    assert f"stroke-width:{style._STYLE['lines.markersize'] + 1:g}" in thick


def test_what_is_painted_later_stays_above():
    def crossing(axes):
        axes.plot([0, 1], [0.5, 0.5], color=style.COLOURS[0], linewidth=3)
        axes.plot([0.5, 0.5], [0, 1], color=style.COLOURS[1], linewidth=3)
        axes.plot([0, 1], [0.4, 0.6], color=style.COLOURS[0], linewidth=3)

    looks = [look for _, look in paths(drawn(crossing))]
    assert [re.search(r"--c\d", look)[0] for look in looks] == ["--c0", "--c1", "--c0"]

    def apart(axes):
        for at, colour in ((0.1, 0), (0.5, 1), (0.9, 0)):
            axes.plot([0, 1], [at, at], color=style.COLOURS[colour])

    assert len(paths(drawn(apart))) == 2


def test_pale_marks_above_each_other_still_darken():
    pale = drawn(
        lambda axes: axes.plot([0.5] * 9, [0.5] * 9, "o", color=style.COLOURS[0], alpha=0.5, markeredgewidth=0)
    )
    assert [(d.count("M"), "stroke-opacity:0.5" in look) for d, look in paths(pale)] == [(1, True)] * 5 + [(4, True)]


def item(look, box, mark="", d="M0 0"):
    return Item(look, d, box, mark)


def test_areas_that_overlap_stay_apart_unless_they_are_one_mark():
    solid = Look("var(--c0)", 1, "none", 1, 0, (), "butt")
    boxes = [(0, 0, 5, 5), (4, 4, 9, 9)]
    assert len(list(stacked(item(solid, box) for box in boxes))) == 2
    assert len(list(stacked(item(solid, box, "mark") for box in boxes))) == 1


def test_what_sticks_out_of_a_panel_is_cut_off():
    box = (0.0, 0.0, 10.0, 10.0)
    line = Shape.read("M -5 5 L 5 5 L 5 20")
    assert cut(line, box, filled=False).written() == "M0 5 5 5 5 10"
    area = Shape.read("M -5 -5 L 5 -5 L 5 5 L -5 5 z")
    assert set(cut(area, box, filled=True).points) == {(0, 0), (5, 0), (5, 5), (0, 5)}
    assert cut(Shape.read("M 11 0 L 12 10"), box, filled=False).steps == ()
    twice = cut(Shape.read("M 1 -1 L 1 11 L 2 11 L 2 -1"), box, filled=False)
    assert twice.written() == "M1 0 1 10M2 10 2 0"

    def outside(axes):
        axes.plot([-1, 2], [0.5, 0.5], color=style.COLOURS[0])
        axes.plot([0.5, 3], [0.5, 0.5], "o", color=style.COLOURS[1])
        axes.fill_between([-1, 2], 0.2, 0.3, color=style.COLOURS[2], linewidth=0)

    text = drawn(outside)
    assert "clip" not in text
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', text)[1])
    assert [d.count("M") for d, _ in paths(text)] == [1, 1, 1]
    xs = [float(x) for d, _ in paths(text) for x in re.findall(r"[ML ]([\d.]+) [\d.]+", d)]
    assert min(xs) >= 0
    assert max(xs) <= width


def test_a_hollow_mark_is_filled_with_the_page():
    hollow = {"markerfacecolor": "white", "markeredgecolor": style.INK}
    ((_, look),) = paths(drawn(lambda axes: axes.plot([0.5], [0.5], "D", **hollow)))
    assert "fill:var(--page)" in look
    assert "stroke:var(--ink)" in look
    many = paths(drawn(lambda axes: axes.plot(np.linspace(0, 1, 9), [0.5] * 9, "o", **hollow)))
    assert [re.search(r"stroke:var\((.*?)\)", look)[1] for _, look in many] == ["--ink", "--page"]
    outer, inner = (float(re.search(r"stroke-width:([\d.]+)", look)[1]) for _, look in many)
    assert outer - inner == 2


def test_a_colour_that_is_no_variable_is_named_with_its_figure():
    with pytest.raises(StudyError, match=r"figure sketch: colour #123456 is no variable.*style\.py"):
        drawn(lambda axes: axes.plot([0, 1], [0, 1], color="#123456"))
    with pytest.raises(StudyError, match=r"figure sketch: colour #ff0000"):
        drawn(lambda axes: axes.text(0.5, 0.5, "red", color="red"))


def test_words_that_a_phone_shows_too_small_are_refused():
    with pytest.raises(StudyError, match=r"figure sketch: its words 'tiny' are 8 points high, less than 8\.74"):
        drawn(lambda axes: axes.text(0.5, 0.5, "tiny", fontsize=8))


def test_pictures_are_refused():
    with pytest.raises(StudyError, match="figure sketch: its drawing has an element <image>"):
        drawn(lambda axes: axes.imshow(np.zeros((2, 2))))


def test_words_are_escaped_and_keep_no_font():
    evil = "</text><script>alert('&\"1')</script>"
    with style.styled():
        figure, ((axes,),) = style.canvas(True, 2.0)
        axes.set_title(evil)
        text = inline(style.to_svg(figure, evil), "sketch", f'"{evil}')
    root = ElementTree.fromstring(text)
    assert "<script" not in text
    assert evil in ["".join(each.itertext()) for each in root.iter("text")]
    assert root.get("aria-label") == f'"{evil}'
    assert root.get("role") == "img"
    assert "font-family" not in text
    # a title pops up beside the mouse
    assert "<title" not in text


def test_a_path_of_another_form_is_an_error():
    with pytest.raises(ValueError, match="holds letters that matplotlib does not write"):
        Shape.read("M 0 0 H 5")
    with pytest.raises(ValueError, match="not of the form"):
        Shape.read("M 0 0 L 5")


def schemes():
    """Variables of the page's style in light, dark and print: name -> colour."""
    text = (STYLES / "base.css").read_text()
    screen = r"@media screen and \(prefers-color-scheme: dark\) \{ "
    light, dark, printed = (
        dict(
            re.findall(
                r"(--\w+): (#[0-9a-f]{3,6})", re.search(rf"^{before}:root \{{([^}}]*)\}}", text, re.MULTILINE)[1]
            )
        )
        for before in ("", screen, r"@media print \{ ")
    )
    return light, {**light, **dark}, {**light, **printed}


def parts(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    return np.array([int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)])


def luminance(rgb):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_files_for_papers_have_the_light_colours():
    light = schemes()[0]
    assert {name: parts(light[name]).tolist() for name in style.PALETTE} == {
        name: parts(colour).tolist() for name, colour in style.PALETTE.items()
    }
    # a value is one variable
    assert len(set(style.PALETTE.values())) == len(style.PALETTE)


@pytest.mark.parametrize("place", range(3), ids=["light", "dark", "print"])
def test_marks_and_words_stand_out_in_light_dark_and_print(place):
    scheme = {name: parts(colour) for name, colour in schemes()[place].items()}
    series = [name for name in style.PALETTE if re.fullmatch(r"--[cn]\d", name)]
    assert len(series) == len(style.COLOURS) + len(style.NETWORKS)
    for ground in ("--page", "--panel"):
        for name in ("--ink", "--soft", *series):  # names of lines have their colour
            assert contrast(scheme[name], scheme[ground]) >= 4.5, name
        assert contrast(scheme["--edge"], scheme[ground]) >= 3
        for name in series:
            assert contrast(style.PALE * scheme[name] + (1 - style.PALE) * scheme[ground], scheme[ground]) >= 3, name
    for name in series:
        tint = style.MOST_TINT * scheme[name] + (1 - style.MOST_TINT) * scheme["--page"]
        assert contrast(scheme["--ink"], tint) >= 4.5, name
