"""A similarity reweighted so that it predicts single answers of people better: the outlook of the MIS paper.

With unit rows and the mean over explanations the margin of a task is bilinear, m = (q+ - q-) . (mean E+ - mean E-). A reweighted
product x' W y keeps it linear in W, so P(right) = sigmoid(sum of weights times features) is a convex logistic regression without
intercept. The weights are pulled towards a common one, which is the untuned similarity with its slope; rows are not normalised
again after weighting. All that is told of a tuned similarity is out of fold: each unit is scored, under all its conditions, by
weights that saw none of its answers, beside the untuned similarity whose slope was fitted to the same answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit

from interpretability import arguments
from interpretability.randomness import key64
from interpretability.schema import NATURAL, UNIT

FAMILIES = ("diagonal", "low_rank")
BLOCKS = "blocks"
# From weights that follow the answers nearly freely to weights that hardly leave the common one.
STRENGTHS = tuple(float(10.0**power) for power in range(2, -5, -1))
N_FOLDS = 5

_BLOCK = 4096  # images at a time: all of them in double precision may not fit

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Answers to tasks: `n` (units, tasks) how many, `right` (units, tasks) how many of them were right."""

    n: NDArray[np.int64]
    right: NDArray[np.int64]

    def of(self, rows: NDArray[np.integer]) -> Answers:
        return Answers(self.n[rows], self.right[rows])

    def log_likelihoods(self, evidence: Matrix) -> Vector:
        """Of the answers to each unit (units,), in nats, where P(right) of its tasks is sigmoid(evidence)."""
        return (self.right * evidence - self.n * np.logaddexp(0.0, evidence)).sum(axis=1)


def task_sides(rows: NDArray[np.floating], tasks: NDArray[np.integer], n_explanations: int) -> tuple[Matrix, Matrix]:
    """Both factors (units, tasks, D) of the margin of each task: q+ - q-, and mean E+ - mean E-, in float64.

    rows    (images, D): unit rows, embeddings of all images
    tasks   (units, tasks, 2 (n_explanations + 1)): rows of images as tasks name them, explanations first

    The sum over D of their product is the margin.
    """
    shown = np.moveaxis(np.asarray(tasks), -1, 0)
    first, second = shown[:n_explanations], shown[n_explanations : 2 * n_explanations]
    difference = np.zeros((*shown.shape[1:], rows.shape[1]))
    for plus, minus in zip(first, second, strict=True):
        difference += rows[plus]
        difference -= rows[minus]
    queries = rows[shown[-2]].astype(np.float64) - rows[shown[-1]]
    return queries, difference / n_explanations


@dataclass(frozen=True)
class Design:
    """Features (units, tasks, P) whose weighted sum is the evidence for the right answer, and what the weights may be.

    names     of the weights
    margins   (units, tasks): of the untuned similarity
    rank      of the symmetric matrix of departures from the first weight, which is the common one; 0: no matrix, no weight may be
              negative, and the common one is their mean
    """

    features: NDArray[np.float64]
    names: tuple[str, ...]
    margins: Matrix
    rank: int = 0

    def of(self, rows: NDArray[np.integer]) -> Design:
        return Design(self.features[rows], self.names, self.margins[rows], self.rank)

    def evidence(self, weights: Vector) -> Matrix:
        """(units, tasks) under these weights."""
        return self.features @ weights

    def untuned(self, slope: float) -> Vector:
        """The weights of the untuned similarity with this slope."""
        weights = np.zeros(len(self.names))
        weights[: 1 if self.rank else None] = slope
        return weights


def diagonal_design(queries: Matrix, explanations: Matrix) -> Design:
    """One weight of at least 0 a dimension; both arguments as `task_sides` gives them."""
    features = queries * explanations
    return Design(features, tuple(str(d) for d in range(features.shape[2])), features.sum(axis=2))


def block_design(queries: Matrix, explanations: Matrix, blocks: Sequence[str]) -> Design:
    """One weight of at least 0 for all dimensions of a block; `blocks` names that of each dimension."""
    code, names = pd.factorize(np.asarray(blocks, dtype=object))
    products = queries * explanations
    features = np.stack([products[..., code == block].sum(axis=2) for block in range(len(names))], axis=2)
    return Design(features, tuple(str(name) for name in names), products.sum(axis=2))


def low_rank_design(queries: Matrix, explanations: Matrix, directions: Matrix) -> Design:
    """A common weight, and a symmetric matrix on `directions` (D, r), orthonormal, added to it.

    Off-diagonal entries stand for both of their places, times the square root of 2, so that the sum of squares of the weights is
    that of the matrix and does not hang on which directions span the same space.
    """
    first, second = queries @ directions, explanations @ directions
    margins = (queries * explanations).sum(axis=2)
    rank = directions.shape[1]
    features, names = [margins], ["common"]
    for i in range(rank):
        features.append(first[..., i] * second[..., i])
        names.append(f"{i},{i}")
    for i, j in combinations(range(rank), 2):
        features.append((first[..., i] * second[..., j] + first[..., j] * second[..., i]) / np.sqrt(2))
        names.append(f"{i},{j}")
    return Design(np.stack(features, axis=2), tuple(names), margins, rank)


def principal_directions(rows: NDArray[np.floating], rank: int) -> Matrix:
    """The `rank` orthonormal directions (D, rank) in which rows (images, D) vary most, the first most of all."""
    mean, products = rows.mean(axis=0, dtype=np.float64), np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _BLOCK):
        centred = rows[start : start + _BLOCK] - mean
        products += centred.T @ centred
    values, vectors = np.linalg.eigh(products)
    return np.ascontiguousarray(vectors[:, np.argsort(-values, kind="stable")[:rank]])


def matrix_of(weights: Vector, rank: int) -> Matrix:
    """The symmetric matrix (rank, rank) that weights of `low_rank_design` stand for, common weight included."""
    common, diagonal, pairs = weights[0], weights[1 : 1 + rank], weights[1 + rank :]
    matrix = np.diag(common + diagonal)
    for value, (i, j) in zip(pairs, combinations(range(rank), 2), strict=True):
        matrix[i, j] = matrix[j, i] = value / np.sqrt(2)
    return matrix


def positive_part(weights: Vector, rank: int) -> Vector:
    """Weights of the nearest matrix without negative eigenvalues: with one, more alike would count as less alike."""
    values, vectors = np.linalg.eigh(matrix_of(weights, rank))
    if (values >= 0).all():
        return weights
    matrix = (vectors * np.maximum(values, 0.0)) @ vectors.T
    pairs = [matrix[i, j] * np.sqrt(2) for i, j in combinations(range(rank), 2)]
    return np.concatenate([weights[:1], np.diagonal(matrix) - weights[0], pairs])


def fitted(design: Design, answers: Answers, strength: float, start: Vector, curvature: Vector | None = None) -> Vector:
    """The weights with the largest likelihood of the answers less strength / 2 times their squared distance from the common one.

    `start`: weights to begin with; `curvature`: of the likelihood along each weight, which scales the steps. Bounded weights are
    never negative; a matrix is not yet its `positive_part`.
    """
    features, n, right = _answered(design, answers)
    curvature = _curvature(design, answers, start) if curvature is None else curvature
    # weights whose features differ in size a hundredfold: in steps of their own the search takes half as many
    scale = np.sqrt(n.sum() / (curvature + strength))

    def loss(scaled: Vector) -> tuple[float, Vector]:
        weights = scaled * scale
        evidence = features @ weights
        away = _departures(weights, design.rank)
        value = (n * np.logaddexp(0.0, evidence) - right * evidence).sum() + strength / 2 * (away**2).sum()
        slope = (n * expit(evidence) - right) @ features + strength * away
        return float(value / n.sum()), slope * scale / n.sum()

    found = optimize.minimize(
        loss,
        start / scale,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] + [(None if design.rank else 0.0, None)] * (len(start) - 1),
        # so exact that the likelihood of ten thousand answers is right to a millionth
        options={"ftol": 1e-10, "gtol": 1e-8, "maxiter": 2000, "maxcor": 20},
    )
    return scale * found.x


def _curvature(design: Design, answers: Answers, weights: Vector) -> Vector:
    features, n, _ = _answered(design, answers)
    p = expit(features @ weights)
    return np.maximum((n * p * (1 - p)) @ features**2, np.finfo(float).tiny)


def _answered(design: Design, answers: Answers) -> tuple[Matrix, Vector, Vector]:
    """Features (rows, P) of the tasks that were answered, how many answers they have, and how many right ones."""
    features, n, right = design.features.reshape(-1, design.features.shape[2]), answers.n.ravel(), answers.right.ravel()
    if not n.all():
        features, n, right = features[n > 0], n[n > 0], right[n > 0]
    return features, n.astype(np.float64), right.astype(np.float64)


def _departures(weights: Vector, rank: int) -> Vector:
    """What the penalty is on: departures from the common weight, which costs nothing itself."""
    if not rank:
        return weights - weights.mean()
    away = weights.copy()
    away[0] = 0.0
    return away


def fitted_slope(margins: Matrix, answers: Answers) -> float:
    """The slope of the untuned similarity with the largest likelihood of the same answers, at least 0."""
    one = Design(margins[..., None], ("slope",), margins)
    return float(fitted(one, answers, 0.0, np.zeros(1))[0])


@dataclass(frozen=True)
class CrossFit:
    """What weights say of units none of whose answers they were fitted to.

    evidence, untuned   (units, tasks): of the tuned similarity, and of the untuned one with its slope
    weights             (folds, P): fitted to all answers but those of a fold
    slopes, strengths   (folds,): of the untuned similarity; and of the pull, as the other folds choose it
    strength            of the pull for a fit to all answers, as all folds choose it
    """

    evidence: Matrix
    untuned: Matrix
    weights: Matrix
    slopes: Vector
    strengths: Vector
    strength: float


def cross_fit(design: Design, answers: Answers, fold: NDArray[np.integer]) -> CrossFit:
    """Weights fitted fold by fold (0, 1, ... of each unit; three or more) to the answers of the other folds.

    The pull of a fold is the one under which the answers of every other fold are likeliest where neither were fitted. Fits run on
    all cores; no number depends on how many there are.
    """
    n_folds = int(fold.max()) + 1
    gains = np.zeros((n_folds, len(STRENGTHS)))
    pairs = [*combinations(range(n_folds), 2)]
    paths = _paths(design, answers, [fold != number for number in range(n_folds)])
    for (first, second), path in zip(
        pairs, _paths(design, answers, [~np.isin(fold, pair) for pair in pairs]), strict=True
    ):
        for outer, held in ((first, second), (second, first)):
            gains[outer] += _gains(path, design, answers, np.flatnonzero(fold == held))
    evidence, untuned = np.zeros(design.margins.shape), np.zeros(design.margins.shape)
    weights, slopes, every = [], np.zeros(n_folds), np.zeros(len(STRENGTHS))
    for number, chosen in enumerate(gains.argmax(axis=1)):
        inside, held, path = np.flatnonzero(fold != number), np.flatnonzero(fold == number), paths[number]
        every += _gains(path, design, answers, held)
        weights.append(path[chosen])
        slopes[number] = fitted_slope(design.margins[inside], answers.of(inside))
        evidence[held] = design.of(held).evidence(path[chosen])
        untuned[held] = slopes[number] * design.margins[held]
    strengths = np.array(STRENGTHS)[gains.argmax(axis=1)]
    return CrossFit(evidence, untuned, np.array(weights), slopes, strengths, STRENGTHS[int(every.argmax())])


def chosen_strength(design: Design, answers: Answers, fold: NDArray[np.integer]) -> float:
    """The strength of the pull under which the answers of each fold are likeliest where those of the others were fitted."""
    gains = np.zeros(len(STRENGTHS))
    folds = range(int(fold.max()) + 1)
    for number, path in zip(folds, _paths(design, answers, [fold != number for number in folds]), strict=True):
        gains += _gains(path, design, answers, np.flatnonzero(fold == number))
    return STRENGTHS[int(gains.argmax())]


def fit_all(design: Design, answers: Answers, strength: float) -> Vector:
    """Weights fitted to all answers with one of STRENGTHS."""
    return _path(design, answers, STRENGTHS.index(strength))[-1]


def _paths(design: Design, answers: Answers, insides: Sequence[NDArray[np.bool_]]) -> list[list[Vector]]:
    """The `_path` of each part of the units (units,), on several threads."""

    def path(inside: NDArray[np.bool_]) -> list[Vector]:
        rows = np.flatnonzero(inside)
        return _path(design.of(rows), answers.of(rows))

    with ThreadPoolExecutor(arguments.threads(None)) as pool:
        return list(pool.map(path, insides))


def _path(design: Design, answers: Answers, last: int = len(STRENGTHS) - 1) -> list[Vector]:
    """Weights at each strength from the first to the last, each from where the one before ended."""
    weights = design.untuned(fitted_slope(design.margins, answers))
    curvature, path = _curvature(design, answers, weights), []
    for strength in STRENGTHS[: last + 1]:
        weights = fitted(design, answers, strength, weights, curvature)
        path.append(positive_part(weights, design.rank) if design.rank else weights)
    return path


def _gains(path: list[Vector], design: Design, answers: Answers, held: NDArray[np.integer]) -> Vector:
    rows, given = design.of(held), answers.of(held)
    return np.array([given.log_likelihoods(rows.evidence(weights)).sum() for weights in path])


def unit_folds(units: pd.DataFrame, seed: int, n_folds: int = N_FOLDS) -> NDArray[np.int64]:
    """Fold (rows,) of each row of `units`: that of its (model, layer, unit), whatever the condition; drawn by key.

    Units are dealt network by network, so that the folds have as many of each, give or take one; the order of rows plays no part.
    """
    code, known = pd.MultiIndex.from_frame(units[UNIT]).factorize()
    number = np.array(
        [key64("tuning folds", seed, str(m), str(layer), int(u), NATURAL) for m, layer, u in known], dtype=np.uint64
    )
    models = pd.factorize(np.array([str(m) for m, _, _ in known], dtype=object), sort=True)[0]
    fold = np.empty(len(known), dtype=np.int64)
    fold[np.lexsort((number, models))] = np.arange(len(known)) % n_folds
    return fold[code]
