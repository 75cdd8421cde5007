"""Sparse inference: which few features, all at least zero, add up to given values, where their directions are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError

STEPS, PENALTY = 300, 0.1


def infer_features(
    values: NDArray[np.floating],
    dictionary: NDArray[np.floating],
    *,
    penalty: float = PENALTY,
    steps: int = STEPS,
) -> NDArray[np.float64]:
    """Features (n, m), none below 0, that explain values (n, d) by the directions of a dictionary (m, d).

    For each row the minimiser over f >= 0 of |x - f D|^2 / 2 + penalty * sum(f), approached in `steps` steps of FISTA (Beck and
    Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm"), whose step is one over the largest eigenvalue of D D^T.
    Rows do not depend on each other.

    A read-out by D alone adds to each feature a share of all others that are not at a right angle to it; the inference explains
    these away, so it is what "the true directions" can say at best.

    >>> import numpy as np
    >>> dictionary = np.array([[1.0, 0.0], [0.6, 0.8]])
    >>> infer_features(np.array([[0.6, 0.8]]), dictionary, penalty=1e-6).round(3).tolist()
    [[0.0, 1.0]]
    """
    x = arguments.array(values, "values", ("rows", "dimensions")).astype(np.float64)
    directions = arguments.array(dictionary, "dictionary", ("features", "dimensions")).astype(np.float64)
    if x.shape[1] != directions.shape[1]:
        raise InputError(
            "{values} has {given} dimensions and {dictionary} has {wanted}; they must be the same",
            "values",
            "dictionary",
            given=x.shape[1],
            wanted=directions.shape[1],
        )
    arguments.finite(x, "values")
    arguments.finite(directions, "dictionary")
    penalty = arguments.number(penalty, "penalty", least=0)
    steps = arguments.count(steps, "steps")
    gram, target = directions @ directions.T, x @ directions.T - penalty
    rate = 1.0 / max(float(np.linalg.eigvalsh(gram)[-1]), np.finfo(np.float64).tiny)
    found = ahead = np.zeros_like(target)
    momentum = 1.0
    for _ in range(steps):
        before = found
        found = np.maximum(ahead + rate * (target - ahead @ gram), 0.0)
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = found + (momentum - 1.0) / following * (found - before)
        momentum = following
    return found
