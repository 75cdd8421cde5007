"""Texts that say what a generated scene shows, as predicates over its factors: whether an image fits one is exact.

A simple text names a value of one factor ("a star", "stripes", "six shapes", "red shapes"). Texts are joined by "or", "and" and
"not", of which "not" binds closest and "or" least: "a star or not a house and red shapes" is a star, or red shapes without a
house. There are no brackets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.randomness import generator
from interpretability.synthetic.factors import COUNTS, FACTORS, OBJECTS, Factor

Predicate = Callable[[pd.DataFrame], NDArray[np.bool_]]

KNOWN_METHODS = ("true", "narrow", "broad", "vague", "wrong")
_TEXTURE_WORDS = {"lines": "thin lines", "checker": "a checkerboard", "rings": "concentric rings", "noise": "grain"}
_COUNT_WORDS = ("one shape", "two shapes", "three shapes", "four shapes", "five shapes", "six shapes")
_HUES = (
    "red",
    "yellow",
    "green",
    "cyan",
    "blue",
    "magenta",
)  # 0, 60, ... degrees; each takes 30 degrees to either side
_ANGLES = ("upright", "rising", "level", "falling")  # how a texture runs: at 0, 45, 90 and 135 degrees (y points down)
_SCALES = ("a coarse texture", "a medium texture", "a fine texture")  # thirds of the range of frequencies
_PLACES = {"position_x": ("on the left", "on the right"), "position_y": ("at the top", "at the bottom")}


def simple_texts() -> tuple[str, ...]:
    """All texts that name one value of one factor, factor by factor."""
    return tuple(_simple())


def factor_of(text: str) -> str:
    """The factor of a simple text. Raises InputError for any other text."""
    _refuse_unknown(text)
    return _simple()[text][0]


def presence(text: str, factors: pd.DataFrame) -> NDArray[np.bool_]:
    """Which images fit a text: a mask (images,) for a factor table (`draw_factors`).

    Raises InputError for a text with a part that is no simple text, and names one that may be meant.
    """
    found = np.zeros(len(factors), dtype=bool)
    for alternative in text.split(" or "):
        both = np.ones(len(factors), dtype=bool)
        for part in alternative.split(" and "):
            positive = part.removeprefix("not ")
            _refuse_unknown(positive, text)
            both &= _simple()[positive][1](factors) != (positive != part)
        found |= both
    return found


def known_texts(label: str, *ids: str | int, seed: int) -> dict[str, str]:
    """Texts of known order for a planted unit whose label names a level of a categorical factor, as "shape:star"; by method.

    true    the level
    narrow  the level on one half of the picture, so about half of its images
    broad   the level or another one of its factor
    vague   four of the eight levels, among them those of `broad`
    wrong   a level of another categorical factor
    `ids` name the unit, so that units of one level differ. Raises InputError for a label of another kind.

    Departure: the paper's texts come from methods whose order is a finding; these have an order by construction.
    """
    name, _, level = label.partition(":")
    factor = next((factor for factor in categorical() if factor.name == name and level in factor.levels), None)
    if factor is None:
        raise InputError(
            "{label} is {wanted!r}; it must name a level of a categorical factor, as shape:star", "label", wanted=label
        )
    draw = generator(seed, "known texts", label, *ids)
    true = _level_text(factor, level)
    others = [_level_text(factor, str(other)) for other in factor.levels if other != level]
    others = [others[place] for place in draw.permutation(len(others))]
    halves = [place for pair in _PLACES.values() for place in pair]
    foreign = [other for other in categorical() if other is not factor]
    wrong = foreign[draw.integers(len(foreign))]
    return {
        "true": true,
        "narrow": f"{true} and shapes {halves[draw.integers(len(halves))]}",
        "broad": f"{true} or {others[0]}",
        "vague": " or ".join([true, *others[:3]]),
        "wrong": _level_text(wrong, str(wrong.levels[draw.integers(len(wrong.levels))])),
    }


def categorical() -> list[Factor]:
    """Factors whose values are named levels."""
    return [factor for factor in FACTORS if factor.kind == "categorical"]


@cache
def _simple() -> dict[str, tuple[str, Predicate]]:
    """Factor and predicate of every simple text."""
    return {text: (factor.name, predicate) for factor in FACTORS for text, predicate in _texts_of(factor)}


def _texts_of(factor: Factor) -> Iterator[tuple[str, Predicate]]:
    if factor.kind == "categorical":
        for level in factor.levels:
            yield _level_text(factor, str(level)), _is(factor.columns[0], level)
    elif factor.name == "count":
        for count, text in zip(COUNTS, _COUNT_WORDS, strict=True):
            yield text, _is("count", count)
    elif factor.name == "colour":
        for place, hue in enumerate(_HUES):
            yield f"{hue} shapes", _sector(factor, place, len(_HUES))
    elif factor.name == "orientation":
        for place, angle in enumerate(_ANGLES):
            yield f"{angle} texture", _sector(factor, place, len(_ANGLES))
    elif factor.name == "frequency":
        for place, scale in enumerate(_SCALES):
            yield scale, _part(factor, factor.columns[0], place, len(_SCALES))
    else:
        for column, places in _PLACES.items():
            for place, words in enumerate(places):
                yield f"shapes {words}", _part(factor, column, place, len(places))


def _level_text(factor: Factor, level: str) -> str:
    """What a level of a categorical factor is called."""
    if factor.name == "texture":
        return _TEXTURE_WORDS.get(level, level)
    return "no object" if level == OBJECTS[0] else f"a {level}"


def _is(column: str, level: str | int) -> Predicate:
    return lambda factors: (factors[column] == level).to_numpy(dtype=bool)


def _sector(factor: Factor, place: int, n: int) -> Predicate:
    """Values of a circular factor nearest to the `place`-th of n even ones."""
    return lambda factors: np.floor(factor.scaled(factors[factor.columns[0]].to_numpy()) * n + 0.5) % n == place


def _part(factor: Factor, column: str, place: int, n: int) -> Predicate:
    """Values in the `place`-th of n even parts of the range of a linear factor."""
    return lambda factors: np.minimum(np.floor(factor.scaled(factors[column].to_numpy()) * n), n - 1) == place


def _refuse_unknown(part: str, text: str | None = None) -> None:
    if part in _simple():
        return
    close = difflib.get_close_matches(part, _simple(), n=1, cutoff=0.0)
    where = "" if text is None or text == part else " of {whole!r}"
    raise InputError(
        "{text} {wanted!r}" + where + " names nothing that scenes show; did you mean {close!r}? There are {texts}",
        "text",
        wanted=part,
        whole=text,
        close=close[0],
        texts=", ".join(_simple()),
    )
