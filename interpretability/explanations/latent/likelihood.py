"""How likely the ratings of an image are if it shows the concept, and if it does not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

from interpretability import arguments


def rating_likelihoods(
    yes: ArrayLike, n: ArrayLike, false_yes: ArrayLike, false_no: ArrayLike, spread: ArrayLike = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(A1, A0): probability of one order of `yes` yes among n ratings if the concept is there, and if it is not (L4).

    false_yes, false_no  chances of a wrong yes and of a wrong no, in (0, 1)
    spread               how much error rates differ between images, at least 0: they are Beta with precision a + b = 1 / spread
                         around their mean, shared by the raters of an image; 0 is one rate for all images

    All broadcast. Raises InputError for values outside of these ranges, and yes above n.

    >>> present, absent = rating_likelihoods(2, 3, 0.1, 0.4)
    >>> round(float(present), 6), round(float(absent), 6)
    (0.144, 0.009)
    """
    k, m, fp, fn, w = np.broadcast_arrays(*(np.asarray(each) for each in (yes, n, false_yes, false_no, spread)))
    if ((k < 0) | (k > m)).any():
        raise arguments.wrong("yes", "holds counts below 0 or above n")
    for argument, rate in (("false_yes", fp), ("false_no", fn)):
        if not ((rate > 0) & (rate < 1)).all():
            raise arguments.wrong(argument, "holds rates that are not above 0 and below 1")
    if not (w >= 0).all():
        raise arguments.wrong("spread", "holds values below 0")
    common = _rising(np.ones_like(fp, np.float64), w, m)
    present = _rising(fn, w, m - k) * _rising(1 - fn, w, k) / common
    absent = _rising(fp, w, k) * _rising(1 - fp, w, m - k) / common
    return present[()], absent[()]


def _rising(rate: NDArray[np.float64], spread: NDArray[np.float64], count: NDArray[np.integer]) -> NDArray[np.float64]:
    """rate (rate + spread) (rate + 2 spread) ... of `count` factors."""
    product = np.ones(np.shape(rate))
    for j in range(int(np.max(count, initial=0))):
        product *= np.where(j < count, rate + j * spread, 1.0)
    return product


def count_probabilities(
    n: int, present: ArrayLike, false_yes: ArrayLike, false_no: ArrayLike, spread: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Probabilities (..., n + 1) of 0 to n yes among n ratings of images that show the concept with probability `present`."""
    p, fp, fn, w = np.broadcast_arrays(
        *(np.asarray(each, np.float64) for each in (present, false_yes, false_no, spread))
    )
    yes = np.arange(n + 1)
    shown, absent = rating_likelihoods(yes, n, fp[..., None], fn[..., None], w[..., None])
    return comb(n, yes) * (p[..., None] * shown + (1 - p[..., None]) * absent)
