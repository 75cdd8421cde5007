"""The column `directions` of a roster, taken apart: which layer is read, how it is pooled, and in which directions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from study.errors import StudyError

KINDS = ("matrix", "code", "rotation", "random", "pca", "units")
MATRIX, CODE = ".npy", ".safetensors"
FORM = (
    "it must read LAYER=SOURCE, or LAYER@max=SOURCE for the maximum over positions, where SOURCE is FILE.npy, FILE.safetensors, "
    "rotation:SEED, random:SEED, random:SEED:N, pca or units"
)
_MAX = "@max"
_NUMBERS = re.compile(r"(rotation|random):([0-9]{1,15})(?::([0-9]{1,7}))?", re.ASCII)


class _Source(NamedTuple):
    kind: str
    file: str = ""
    seed: int = 0
    n: int = 0


@dataclass(frozen=True)
class Directions:
    """One cell.

    layer       name of a layer, or a pattern with * where the kind needs no file
    pooling     mean or max
    kind        one of KINDS; matrix and code come from the file called `file`
    seed, n     of rotation and random; n is 0 for as many as the layer is wide
    """

    layer: str
    pooling: str
    kind: str
    file: str
    seed: int
    n: int

    @property
    def is_pattern(self) -> bool:
        return "*" in self.layer

    def names(self, layer: str) -> bool:
        """Whether a layer is meant; * stands for any text, all else for itself."""
        return fnmatchcase(layer, self.layer.replace("[", "[[]").replace("?", "[?]"))

    def called(self, layer: str) -> str:
        """What a layer is called in every table when it is pooled so."""
        return layer + _MAX if self.pooling == "max" else layer


def taken_apart(text: str) -> Directions:
    """The parts of a cell that is not empty. Raises StudyError with what is allowed; files are not looked at."""
    place, mark, source = text.partition("=")
    found = _source(source)
    layer = place.removesuffix(_MAX)
    if not mark or not layer or found is None:
        raise StudyError(f"directions is {text[:200]!r}; {FORM}")
    if "@" in layer:
        raise StudyError(
            f"directions is {text[:200]!r}; behind @ only max is allowed. Without it positions are pooled by their mean"
        )
    if found.kind == "random" and source.count(":") == 2 and not found.n:
        raise StudyError(f"directions is {text[:200]!r}; random:SEED:N needs at least one direction")
    if "*" in layer and found.file:
        raise StudyError(
            f"directions is {text[:200]!r}; a pattern with * is for rotation, random, pca, units. A file fits one layer"
        )
    pooling = "max" if place.endswith(_MAX) else "mean"
    return Directions(layer, pooling, *found)


def _source(text: str) -> _Source | None:
    if text in ("pca", "units"):
        return _Source(text)
    if (numbers := _NUMBERS.fullmatch(text)) and (numbers[1] == "random" or numbers[3] is None):
        return _Source(numbers[1], seed=int(numbers[2]), n=int(numbers[3] or 0))
    for ending, kind in ((MATRIX, "matrix"), (CODE, "code")):
        if text.endswith(ending):
            return _Source(kind, file=text)
    return None
