"""Explanations as formulas over concepts, and the activations that they predict (crowd paper, appendix C.4).

Kinds, as text in a table:

simple         a text alone: predicts the presence of what it says (Eq. 22)
linear         [{"weight": 3, "text": "dog"}, {"weight": -2, "text": "cat"}]: a weighted sum of presences (Eq. 23). An entry
               {"intercept": 0.1} may stand beside them; it moves all predictions alike, and no correlation, so it is left out
compositional  "dog", {"and": ["dog", "grass"]}, {"or": [...]}, {"not": "cat"}, in any depth: AND is the product of its parts, OR
               one minus the product of what each lacks of 1, NOT what its part lacks of 1 (Eq. 24 to 26)
clustered      [{"low": 0, "high": 2, "formula": LOGIC}, ...]: the middle of a range of activations, times the presence of its
               formula, added over the ranges (Eq. 27)

Departure: the sentence below Eq. 27 speaks of the middle of one range; where several formulas are true, their middles are added,
as the equation says.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.sampling import probabilities

SIMPLE, LINEAR, COMPOSITIONAL, CLUSTERED = "simple", "linear", "compositional", "clustered"
KINDS = (SIMPLE, LINEAR, COMPOSITIONAL, CLUSTERED)
_DEEPEST = 50
# Digits up to which a whole number surely fits a floating one; longer ones are read as such, and infinite where they do not fit.
_DIGITS = 300
# Images predicted at a time: what lies between the steps of a long formula then stays small.
_IMAGES = 1 << 16


@dataclass(frozen=True)
class Concept:
    """A phrase that an image shows or does not; by itself the explanation of kind simple."""

    text: str


@dataclass(frozen=True)
class Not:
    part: Logic


@dataclass(frozen=True)
class And:
    parts: tuple[Logic, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Logic, ...]


@dataclass(frozen=True)
class Linear:
    """Pairs (weight, text); no text twice, some weight other than 0."""

    terms: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Cluster:
    """A formula for activations from low to high."""

    low: float
    high: float
    formula: Logic


@dataclass(frozen=True)
class Clustered:
    clusters: tuple[Cluster, ...]


Logic = Concept | Not | And | Or
Formula = Logic | Linear | Clustered


def parse(kind: str, text: str, formula: str) -> Formula:
    """The formula of an explanation of one of KINDS; `formula` is JSON, and empty for `simple`, where `text` says it.

    Raises InputError for what is no JSON (with its place), a text without any visible character or with half of a surrogate pair,
    a key that does not belong, weights and ranges that are no finite numbers, a range that is upside down or empty, AND and OR of
    fewer than two parts, and parts nested deeper than 50.
    """
    arguments.choice(kind, "kind", KINDS)
    if kind == SIMPLE:
        if formula:
            raise arguments.wrong(
                "formula", "is {value!r}; an explanation of kind simple has a text alone", value=formula
            )
        return Concept(_phrase(text, "text"))
    value = _json(formula)
    if kind == LINEAR:
        return _linear(value)
    return _logic(value, 0) if kind == COMPOSITIONAL else _clustered(value)


def to_json(formula: Formula) -> str:
    """A formula as `parse` reads it; empty for a concept alone, which is its own text."""
    return "" if isinstance(formula, Concept) else json.dumps(_plain(formula), ensure_ascii=False)


def describe(formula: Formula) -> str:
    """A formula in words, such as 3 x dog + -2 x cat, or dog AND NOT (cat OR grass). Weights are cut to three digits."""
    if isinstance(formula, Linear):
        return " + ".join(f"{weight:.3g} x {text}" for weight, text in formula.terms)
    if isinstance(formula, Clustered):
        return "; ".join(f"{each.low:.3g} to {each.high:.3g}: {describe(each.formula)}" for each in formula.clusters)
    if isinstance(formula, Concept):
        return formula.text
    if isinstance(formula, Not):
        return f"NOT {_bracketed(formula.part)}"
    return (" AND " if isinstance(formula, And) else " OR ").join(map(_bracketed, formula.parts))


def concepts(formula: Formula) -> tuple[str, ...]:
    """The texts that a formula speaks of, each once, in the order of their first mention. Their number is its length."""
    return tuple(dict.fromkeys(_texts(formula)))


def predict(formula: Formula, presence: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float64]:
    """Activations (n,) that a formula predicts, up to scale, from the presence (n,) of each concept that it names (C.4).

    presence   by text: 0, 1 or probabilities. Concepts of logic count as independent given the image
    Raises InputError for a text that it lacks, presences outside [0, 1] and of different lengths, and predictions that are beyond
    double precision.
    """
    named = concepts(formula)
    if missing := [text for text in named if text not in presence]:
        raise arguments.wrong("presence", "lacks the concept {text!r}", text=missing[0])
    known = {text: arguments.array(presence[text], "presence", ("images",)) for text in named}
    n = len(known[named[0]])
    for text in named:
        if len(known[text]) != n:
            raise arguments.wrong(
                "presence",
                "has {others} images for {second!r} and {images} for {first!r}",
                others=len(known[text]),
                second=text,
                images=n,
                first=named[0],
            )
    found = np.empty(n)
    for start in range(0, n, _IMAGES):
        part = {text: probabilities(values[start : start + _IMAGES], "presence") for text, values in known.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # told below
            found[start : start + _IMAGES] = _predicted(formula, part)
    if not np.isfinite(found).all():
        raise arguments.wrong("formula", "predicts activations that are beyond double precision")
    return found


def _predicted(formula: Formula, presence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    if isinstance(formula, Concept):
        return presence[formula.text]
    if isinstance(formula, Not):
        return 1 - _predicted(formula.part, presence)
    if isinstance(formula, Linear):
        return _added([(weight, presence[text]) for weight, text in formula.terms])
    if isinstance(formula, Clustered):
        return _added([(e.low / 2 + e.high / 2, _predicted(e.formula, presence)) for e in formula.clusters])
    product = np.ones(1)
    for part in formula.parts:
        inside = _predicted(part, presence)
        product = product * (inside if isinstance(formula, And) else 1 - inside)
    return product if isinstance(formula, And) else 1 - product


def _added(terms: Sequence[tuple[float, NDArray[np.float64]]]) -> NDArray[np.float64]:
    total = np.zeros(1)
    for weight, values in terms:
        total = total + weight * values
    return total


def _texts(formula: Formula) -> Iterator[str]:
    if isinstance(formula, Concept):
        yield formula.text
    elif isinstance(formula, Linear):
        yield from (text for _, text in formula.terms)
    elif isinstance(formula, Not):
        yield from _texts(formula.part)
    else:
        inner = [each.formula for each in formula.clusters] if isinstance(formula, Clustered) else formula.parts
        for part in inner:
            yield from _texts(part)


def _bracketed(formula: Logic) -> str:
    return f"({describe(formula)})" if isinstance(formula, And | Or) else describe(formula)


def _plain(formula: Formula) -> Any:
    if isinstance(formula, Concept):
        return formula.text
    if isinstance(formula, Linear):
        return [{"weight": weight, "text": text} for weight, text in formula.terms]
    if isinstance(formula, Clustered):
        return [{"low": e.low, "high": e.high, "formula": _plain(e.formula)} for e in formula.clusters]
    if isinstance(formula, Not):
        return {"not": _plain(formula.part)}
    return {"and" if isinstance(formula, And) else "or": [_plain(part) for part in formula.parts]}


def _json(formula: object) -> Any:
    if not isinstance(formula, str) or not formula.strip():
        raise arguments.wrong("formula", "is empty; it must be JSON")
    try:
        return json.loads(formula, object_pairs_hook=_once, parse_constant=_no_number, parse_int=_whole)
    except json.JSONDecodeError as error:
        place = f"character {error.pos + 1} of {len(formula)}"
        raise arguments.wrong(
            "formula",
            "is no JSON: {message}, at {place}: {near!r}; look for a bracket or quote that is not closed",
            message=error.msg,
            place=place,
            near=formula[max(error.pos - 20, 0) : error.pos + 20],
        ) from None
    except RecursionError:
        raise arguments.wrong("formula", "is nested deeper than {most} levels", most=_DEEPEST) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := _repeated(name for name, _ in pairs):
        raise arguments.wrong("formula", "holds the key {name} twice in one place", name=_cut(twice[0]))
    return dict(pairs)


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _cut(value: object) -> str:
    """A value in an error, cut where it is long or deep."""
    return reprlib.repr(value)


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _no_number(word: str) -> float:
    raise arguments.wrong("formula", "holds {word}; numbers must be finite", word=word)


def _phrase(value: object, argument: str) -> str:
    if not isinstance(value, str):
        raise arguments.wrong(argument, "holds {value} where a text must stand", value=_cut(value))
    if any("\ud800" <= character <= "\udfff" for character in value):  # JSON can say it, no file could hold it
        raise arguments.wrong(argument, "holds {value}, with half of a surrogate pair", value=_cut(value))
    if not any(character.isprintable() and not character.isspace() for character in value):
        raise arguments.wrong(argument, "holds an empty text")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise arguments.wrong(
            "formula", "holds the {name} {value}; it must be a finite number", name=name, value=_cut(value)
        )
    return float(value)


def _entries(value: object, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """A list of objects with exactly these keys, or with one of the optional ones alone; those are left out."""
    if not isinstance(value, list) or not value:
        raise arguments.wrong(
            "formula",
            "is {value}; it must be a list of objects with the keys {keys}",
            value=_cut(value),
            keys=", ".join(keys),
        )
    for entry in value:
        if not isinstance(entry, dict) or (
            set(entry) != set(keys) and not (len(entry) == 1 and set(entry) <= set(optional))
        ):
            raise arguments.wrong(
                "formula",
                "holds {entry}; it must be an object with the keys {keys}",
                entry=_cut(entry),
                keys=", ".join(keys),
            )
    for entry in value:
        for name in set(entry) & set(optional):
            _number(entry[name], name)
    return [entry for entry in value if set(entry) == set(keys)]


def _linear(value: object) -> Linear:
    entries = _entries(value, ("weight", "text"), ("intercept",))
    terms = tuple((_number(entry["weight"], "weight"), _phrase(entry["text"], "formula")) for entry in entries)
    if twice := _repeated(text for _, text in terms):
        raise arguments.wrong("formula", "holds the text {text} twice; add up its weights", text=_cut(twice[0]))
    if not any(weight for weight, _ in terms):
        raise arguments.wrong("formula", "holds no weight other than 0, and predicts the same of all images")
    return Linear(terms)


def _clustered(value: object) -> Clustered:
    clusters = []
    for entry in _entries(value, ("low", "high", "formula")):
        low, high = _number(entry["low"], "low"), _number(entry["high"], "high")
        if not low < high:
            raise arguments.wrong(
                "formula", "holds the range from {low:g} to {high:g}; low must be below high", low=low, high=high
            )
        clusters.append(Cluster(low, high, _logic(entry["formula"], 0)))
    return Clustered(tuple(clusters))


def _logic(value: object, depth: int) -> Logic:
    if depth > _DEEPEST:
        raise arguments.wrong("formula", "is nested deeper than {most} levels", most=_DEEPEST)
    if not isinstance(value, dict):
        return Concept(_phrase(value, "formula"))
    if len(value) != 1 or not set(value) <= {"and", "or", "not"}:
        raise arguments.wrong(
            "formula",
            "holds an object with the keys {keys}; it must be one of and, or, not",
            keys=_cut(list(value)),
        )
    ((word, inner),) = value.items()
    if word == "not":
        if isinstance(inner, list):
            raise arguments.wrong("formula", "holds a not of a list; not takes one part: {inner}", inner=_cut(inner))
        return Not(_logic(inner, depth + 1))
    if not isinstance(inner, list) or len(inner) < 2:
        raise arguments.wrong(
            "formula",
            "is not balanced: {word} takes a list of two or more parts, not {inner}",
            word=word,
            inner=_cut(inner),
        )
    parts = tuple(_logic(part, depth + 1) for part in inner)
    return And(parts) if word == "and" else Or(parts)
