"""Linear explanations, LE (Oikarinen and Weng 2024): a few concepts, each with a weight, whose weighted presence predicts the
whole range of activations. With labels for presence it is LE(label), with the probabilities of a guide LE(guide).

The crowd paper refers to the paper of the method for all settings. Taken from there and its code: an elastic net with penalty
0.05, 99 % of it on absolute weights, over standardised concepts proposes concepts in the order of their weights; one after the
other joins the explanation while the correlation with activations of images that the fit did not see rises by 0.02 or more, up to
ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.correlation import CONSTANT
from interpretability.explanations.formulas import Concept, Linear
from interpretability.explanations.making.made import Made, checked
from interpretability.randomness import generator

PENALTY, ABSOLUTE, LONGEST, TOLERANCE, WIDTH = 0.05, 0.99, 10, 0.02, 10
# Share of the images that judge how long an explanation is.
VALIDATION = 0.25
# Concepts that no fit sees: mean presence in the five images that show them most, and standard deviation.
_SHOWN, _SPREAD = 0.5, 1e-5


@dataclass(frozen=True)
class _Moments:
    """Covariances of concepts (C, C), of concepts and a unit (C,), and the variance of the unit, over some of the images."""

    concepts: NDArray[np.float64]
    both: NDArray[np.float64]
    unit: float


@dataclass(frozen=True)
class _Parts:
    """Usable concepts, minus their means, over the images that fit and those that judge; `standard` over their deviation too."""

    names: list[str]
    judging: NDArray[np.bool_]
    fitted: NDArray[np.float64]
    judged: NDArray[np.float64]
    standard: NDArray[np.float64]
    of_fitted: NDArray[np.float64]
    of_judged: NDArray[np.float64]


def linear_texts(
    activations: NDArray[np.floating],
    presence: NDArray[np.floating],
    names: Sequence[str],
    *,
    most: int = LONGEST,
    tolerance: float = TOLERANCE,
    penalty: float = PENALTY,
    seed: int = 0,
) -> list[Made]:
    """For each unit (U, n) a linear explanation over presence (C, n); the value is its correlation on the images that judge.

    most       concepts at most; with 1 the explanation is that concept alone, as people are asked about it
    tolerance  by which a concept must raise the correlation, 0 to 1; the first one need not
    penalty    of the elastic net, above 0
    seed       draws the quarter of the images that judge

    At each step the ten next concepts of the elastic net are tried, each with weights fitted by least squares to the presences as
    they are; those that raise too little are never tried again, the best of the others joins. Where the elastic net is empty, the
    concept of highest correlation is the explanation.

    Departure: weights are exact least squares, not a hundred steps towards them.
    Departure: concepts to which the elastic net gives no positive weight are not proposed; in the method's code they come last.
    """
    units, concepts = checked(activations, presence, names)
    most = arguments.count(most, "most")
    tolerance = arguments.number(tolerance, "tolerance", least=0, below=1)
    penalty = arguments.number(penalty, "penalty", above=0)
    parts = _parts(concepts, names, judging_images(units.shape[1], seed))
    return [_explained(values, row, parts, most, tolerance, penalty) for row, values in enumerate(units)]


def _parts(concepts: NDArray[np.floating], names: Sequence[str], judging: NDArray[np.bool_]) -> _Parts:
    shown = _usable(concepts, judging)
    if not len(shown):
        raise arguments.wrong("presence", "holds no concept that some images show clearly and others do not")
    kept = concepts[shown].astype(np.float64)
    fitted, judged = _centred(kept[:, ~judging]), _centred(kept[:, judging])
    standard = np.asfortranarray((fitted / np.sqrt(np.mean(fitted**2, axis=1, keepdims=True))).T)
    return _Parts(
        names=[str(names[int(place)]) for place in shown],
        judging=judging,
        fitted=fitted,
        judged=judged,
        standard=standard,
        of_fitted=fitted @ fitted.T / fitted.shape[1],
        of_judged=judged @ judged.T / judged.shape[1],
    )


def _explained(
    values: NDArray[np.floating], row: int, parts: _Parts, most: int, tolerance: float, penalty: float
) -> Made:
    y = values.astype(np.float64)
    y, other = (part - part.mean() for part in (y[~parts.judging], y[parts.judging]))
    if min(np.std(y), np.std(other)) < CONSTANT:
        raise arguments.wrong(
            "activations", "is constant in row {row}, over the images that fit or those that judge", row=row
        )
    fit = _Moments(parts.of_fitted, parts.fitted @ y / len(y), float(np.mean(y**2)))
    judge = _Moments(parts.of_judged, parts.judged @ other / len(other), float(np.mean(other**2)))
    order = _proposed(parts.standard, y / np.sqrt(fit.unit), fit, penalty)
    if most == 1:
        alone = [_correlation([place], np.ones(1), judge) for place in order[:WIDTH]]
        return Made(Concept(parts.names[order[int(np.argmax(alone))]]), max(alone))
    chosen, weights, rho = _greedy(order, fit, judge, most, tolerance)
    ordered = np.argsort(-weights, kind="stable")
    return Made(Linear(tuple((float(weights[place]), parts.names[chosen[place]]) for place in ordered)), rho)


def judging_images(n: int, seed: int) -> NDArray[np.bool_]:
    """Which of n images judge (n,): those by which the length of explanations is chosen; the others fit their weights."""
    judging = generator(arguments.count(seed, "seed", 0), "linear explanations").random(n) < VALIDATION
    if not 2 <= judging.sum() <= n - 2:
        raise arguments.wrong("activations", "has {n} images; a part of them must judge what the others fit", n=n)
    return judging


def _usable(concepts: NDArray[np.floating], judging: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Concepts that some images show clearly, and not all alike, in either part."""
    five = min(5, concepts.shape[1])
    clear = np.partition(concepts, -five, axis=1)[:, -five:].mean(axis=1, dtype=np.float64) >= _SHOWN
    spread = [np.std(concepts[:, part], axis=1, dtype=np.float64) >= _SPREAD for part in (judging, ~judging)]
    return np.flatnonzero(clear & spread[0] & spread[1])


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values - values.mean(axis=1, keepdims=True)


def _proposed(standard: NDArray[np.float64], y: NDArray[np.float64], fit: _Moments, penalty: float) -> list[int]:
    """Concepts with a positive weight in the elastic net, highest first; without any, the one of highest correlation.

    standard (images, concepts) in Fortran's order, and y, have mean 0 and variance 1; the solver looks at their moments alone.
    """
    from sklearn.linear_model import enet_path

    n, spread = len(y), np.sqrt(np.diag(fit.concepts))
    gram = np.ascontiguousarray(fit.concepts / spread[:, None] / spread * n)
    both = fit.both / (spread * np.sqrt(fit.unit))
    _, path, _ = enet_path(
        standard,
        y,
        l1_ratio=ABSOLUTE,
        alphas=[penalty],  # pyright: ignore[reportArgumentType]
        precompute=gram,  # pyright: ignore[reportArgumentType]
        Xy=both * n,
        copy_X=False,
        tol=1e-6,
        max_iter=10_000,
    )
    weights = path[:, 0]
    order = [int(place) for place in np.argsort(-weights, kind="stable") if weights[place] > 0]
    return order or [int(np.argmax(both))]


def _greedy(
    order: list[int], fit: _Moments, judge: _Moments, most: int, tolerance: float
) -> tuple[list[int], NDArray[np.float64], float]:
    """Chosen concepts, their weights, and the correlation on the images that judge."""
    chosen: list[int] = []
    dropped: set[int] = set()
    best, weights = -np.inf, np.empty(0)
    while len(chosen) < most:
        tried = [place for place in order if place not in chosen and place not in dropped][:WIDTH]
        rises: list[tuple[float, int, NDArray[np.float64]]] = []
        for place in tried:
            fitted = _least_squares([*chosen, place], fit)
            rho = _correlation([*chosen, place], fitted, judge)
            if chosen and rho - best < tolerance:
                dropped.add(place)
            elif not np.isnan(rho):
                rises.append((rho, place, fitted))
        if not rises:
            break
        best, place, weights = max(rises, key=lambda each: each[0])  # the first of equal ones
        chosen.append(place)
    if not chosen:  # nothing goes with the unit: the first proposal, as it is
        return [order[0]], np.ones(1), _correlation([order[0]], np.ones(1), judge)
    return chosen, weights, float(best)


def _least_squares(places: list[int], moments: _Moments) -> NDArray[np.float64]:
    """Weights of these concepts; the shortest ones where concepts are the same."""
    found = np.linalg.lstsq(moments.concepts[np.ix_(places, places)], moments.both[places], rcond=1e-10)
    return np.asarray(found[0], np.float64)


def _correlation(places: list[int], weights: NDArray[np.float64], moments: _Moments) -> float:
    """Correlation of the weighted sum of these concepts with the unit; NaN where the sum does not vary."""
    variance = weights @ moments.concepts[np.ix_(places, places)] @ weights
    return float(weights @ moments.both[places] / np.sqrt(variance * moments.unit)) if variance > 0 else float("nan")
