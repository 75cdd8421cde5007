"""INVERT (Bykov et al. 2023): the logical formula of concepts that best tells high from low activations, by the area under the
ROC curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from interpretability import arguments
from interpretability.explanations.formulas import And, Concept, Logic, Not, Or
from interpretability.explanations.making.made import Made, checked

LONGEST = 3
BEAM, LEAST_IMAGES, MOST_SHARE = 5, 10, 0.5
_AND, _OR = 0, 1
_BLOCK = 1 << 23  # values of concepts in double precision at a time


@dataclass(frozen=True)
class _Partial:
    """A formula, the images of which it is true (n,) as 0 and 1, and the area of its curve."""

    formula: Logic
    true: NDArray[np.float64]
    area: float


@dataclass(frozen=True)
class _Concepts:
    """Which images show each concept (C, n), how many they are, and which numbers of images a formula may be true of."""

    names: Sequence[str]
    shown: NDArray[np.bool_]
    counts: NDArray[np.float64]
    least: int
    most: float


def invert_texts(
    activations: NDArray[np.floating],
    presence: NDArray[np.floating],
    names: Sequence[str],
    *,
    length: int = 1,
    beam: int = BEAM,
    least_images: int = LEAST_IMAGES,
    most_share: float = MOST_SHARE,
) -> list[Made]:
    """For each unit (U, n) the formula of up to `length` concepts (1 to 3) whose AUC is highest; the value is that AUC, 0 to 1.

    The AUC is the share of pairs of an image where the formula is true and one where it is not in which the former has the higher
    activation, ties half. A concept counts as shown from a presence of 0.5 on. The search begins with concepts and their
    negations, keeps the `beam` best, and joins each by AND and OR with every concept and negation; a longer formula is kept only
    where it is better. Formulas must be true of at least least_images images, and of at most most_share of all.

    Departure: least_images. The code of the method has no least number by default, and a formula that is true of the first image
    alone wins.
    Departure: the beam of 5; the crowd paper says nothing of it.
    """
    units, concepts = checked(activations, presence, names)
    length = arguments.count(length, "length", 1, LONGEST)
    beam, least = arguments.count(beam, "beam"), arguments.count(least_images, "least_images")
    most = arguments.number(most_share, "most_share", above=0, below=1) * units.shape[1]
    shown = concepts >= 0.5
    known = _Concepts(names, shown, shown.sum(axis=1, dtype=np.float64), least, most)
    return [_explained(values, known, length, beam) for values in units]


def area_under_curve(activations: NDArray[np.floating], shown: NDArray[np.floating]) -> NDArray[np.float64]:
    """AUC (C,) of activations (n,) and labels 0 or 1 (C, n); NaN where all labels are the same."""
    twice, labels = _twice_ranks(np.asarray(activations)), np.asarray(shown) > 0
    return _areas(_times(twice[None], labels)[0], labels.sum(axis=1, dtype=np.float64), len(twice))


def _twice_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Twice the mean ranks: whole numbers, so that sums of them are exact in any order."""
    return 2 * rankdata(values)


def _areas(ranks: NDArray[np.float64], counts: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """AUC from sums of twice the ranks of the images where a formula is true, and their numbers."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (ranks - counts * (counts + 1)) / (2 * counts * (n - counts))


def _explained(values: NDArray[np.floating], known: _Concepts, length: int, beam: int) -> Made:
    ranks = _twice_ranks(values)
    alone = _times(ranks[None], known.shown)[0]
    kept = _first(ranks, alone, known, beam)
    if not kept:
        raise arguments.wrong(
            "presence",
            "holds no concept that {least} to {most:g} of the images show, or do not show",
            least=known.least,
            most=np.floor(known.most),
        )
    for _ in range(1, length):
        kept = _longer(kept, ranks, alone, known, beam)
    return Made(kept[0].formula, kept[0].area)


def _first(ranks: NDArray[np.float64], alone: NDArray[np.float64], known: _Concepts, beam: int) -> list[_Partial]:
    """The best concepts and negations."""
    n, total = len(ranks), ranks.sum()
    counts = np.stack([known.counts, n - known.counts])
    areas = _allowed(_areas(np.stack([alone, total - alone]), counts, n), counts, known)
    found = []
    for place in _best(areas, beam):
        negated, concept = np.unravel_index(place, areas.shape)
        atom = _atom(known, int(concept), bool(negated))
        found.append(_Partial(atom[0], atom[1], float(areas[negated, concept])))
    return found


def _longer(
    kept: list[_Partial], ranks: NDArray[np.float64], alone: NDArray[np.float64], known: _Concepts, beam: int
) -> list[_Partial]:
    """The best of these formulas and of all that one more concept, or its negation, makes of them.

    The images of both, f AND c, give all four: f AND NOT c are those of f without them, f OR c those of f and c but them once,
    f OR NOT c all but those of c that are not in f.
    """
    n, total = len(ranks), ranks.sum()
    true = np.stack([each.true for each in kept])
    own_counts, own_ranks = true.sum(axis=1)[:, None], (true @ ranks)[:, None]
    both_counts, both_ranks = np.split(_times(np.concatenate([true, true * ranks]), known.shown), 2)
    counts = np.stack(
        [
            [both_counts, own_counts - both_counts],
            [own_counts + known.counts - both_counts, n - known.counts + both_counts],
        ]
    )
    sums = np.stack(
        [[both_ranks, own_ranks - both_ranks], [own_ranks + alone - both_ranks, total - alone + both_ranks]]
    )
    areas = _allowed(_areas(sums, counts, n), counts, known)
    found = list(kept)
    # more than the beam, for several of the best may be true of the same images
    for place in _best(areas, 4 * beam):
        joined, negated, row, concept = (int(index) for index in np.unravel_index(place, areas.shape))
        part, atom = kept[row], _atom(known, concept, bool(negated))
        formula = _joined(part.formula, atom[0], joined)
        images = part.true * atom[1] if joined == _AND else np.maximum(part.true, atom[1])
        found.append(_Partial(formula, images, float(areas[joined, negated, row, concept])))
    ordered = sorted(found, key=lambda each: -each.area)  # stable: of equal ones the shorter, then the earlier
    different: list[_Partial] = []
    for each in ordered:
        if not any(np.array_equal(each.true, other.true) for other in different):
            different.append(each)
    return different[:beam]


def _times(rows: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sums (rows, C) of rows (rows, n) over the images that show each concept. Of whole numbers, so exact in any order."""
    size = max(1, _BLOCK // shown.shape[1])
    blocks = (shown[start : start + size].astype(np.float64) for start in range(0, len(shown), size))
    return np.concatenate([rows @ block.T for block in blocks], axis=1)


def _allowed(areas: NDArray[np.float64], counts: NDArray[np.float64], known: _Concepts) -> NDArray[np.float64]:
    """Areas, and -1 where a formula is true of too few or too many images."""
    return np.where((counts >= known.least) & (counts <= known.most) & ~np.isnan(areas), areas, -1.0)


def _best(areas: NDArray[np.float64], most: int) -> list[int]:
    """Places of the highest areas, the first of equal ones first."""
    flat = areas.ravel()
    return [int(place) for place in np.argsort(-flat, kind="stable")[:most] if flat[place] >= 0]


def _atom(known: _Concepts, concept: int, negated: bool) -> tuple[Logic, NDArray[np.float64]]:
    named, shown = Concept(str(known.names[concept])), known.shown[concept].astype(np.float64)
    return (Not(named), 1 - shown) if negated else (named, shown)


def _joined(first: Logic, second: Logic, word: int) -> Logic:
    """first AND second, or first OR second, without brackets within brackets of the same word."""
    kind = And if word == _AND else Or
    return kind((*first.parts, second)) if isinstance(first, kind) else kind((first, second))
