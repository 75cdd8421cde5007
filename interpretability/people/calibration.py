"""The one free parameter: the slope between margins and probabilities, fitted to people on a few units.

Departure: the MIS paper fits its alpha on 5 % of the annotated units "to approximately match the value range"
and names no loss. Here the loss is a choice: `squared_error` between MIS and HIS over units, or `moments`,
which matches mean and standard deviation of the two, the closest reading of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.mis import mean_probabilities
from interpretability.people.calibration_splits import SPLIT_QUANTITIES
from interpretability.people.ceiling_columns import leading_variant
from interpretability.people.noise import ceiling_of_noise, noise_of_shares
from interpretability.randomness import key64
from interpretability.schema import NATURAL, UNIT
from interpretability.statistics import group_means, pearson, spearman

OBJECTIVES = ("squared_error", "moments")
SLOPE_BOUNDS = (1e-3, 1e4)
_PER_DECADE = 20
_DECADES = np.log10(SLOPE_BOUNDS)
SLOPE_GRID = np.logspace(_DECADES[0], _DECADES[1], 1 + _PER_DECADE * 7)
# A loss that differs by no more than this from the loss at a bound cannot tell the two slopes apart.
_FLAT = 1e-12


@dataclass(frozen=True)
class SlopeFit:
    """Fitted slope, its loss, the number of units, and whether a bound does as well as any slope inside."""

    slope: float
    loss: float
    n_units: int
    at_bound: bool


def draw_split(units: pd.DataFrame, fraction: float, seed: int, min_units: int, allow_few: bool) -> NDArray[np.bool_]:
    """Mask of the rows of `units` (an annotated unit under a condition) on which the slope is fitted.

    A random share of the units is drawn, each with all its conditions, so that none is fitted under one condition and
    tested under another. Each unit has a random number keyed by seed and unit, the smallest ones are drawn: the split
    does not depend on the order of the rows, and is shared by all backends.
    """
    code, known = pd.MultiIndex.from_frame(units[UNIT]).factorize()
    n_split = max(1, round(fraction * len(known)))
    if n_split < min_units and not allow_few:
        enough = min_units / len(known) if len(known) else float("inf")
        remedy = "set {fraction} to {enough:.3g} or more" if enough <= 1 else "annotate more units"
        raise InputError(
            "{fraction} {share:g} of {units} annotated units leaves {left} for the slope, fewer than {min_units} {least}; "
            + remedy
            + ", or set {allow_few} to true",
            "fraction",
            "min_units",
            "allow_few",
            share=fraction,
            units=len(known),
            left=n_split,
            least=min_units,
            enough=enough,
        )
    number = np.array(
        [key64("calibration split", seed, str(m), str(layer), int(u), NATURAL) for m, layer, u in known],
        dtype=np.uint64,
    )
    drawn = np.zeros(len(known), dtype=bool)
    drawn[np.argsort(number, kind="stable")[:n_split]] = True
    return drawn[code]


def fit_slope(
    margins: NDArray[np.floating],
    his: NDArray[np.floating],
    objective: str = "squared_error",
    used: NDArray[np.bool_] | None = None,
) -> SlopeFit:
    """The slope with the smallest loss between the units' machine scores and human ones, and that loss.

    margins      (U, N), finite: margins of the units' tasks, as `task_margins` gives them
    his          (U,): their human scores, shares of right answers from 0 to 1
    objective    squared_error: mean squared difference of MIS and HIS; moments: difference of their means and standard
                 deviations, squared and added
    used         (U, N) bool: tasks that count, at least one of each unit; left out, all of them do

    Returns SlopeFit: slope (in units of 1 / margin, 0.001 to 10,000), loss, n_units, and at_bound: whether an end of
    that range does as well as any slope inside, so that the data do not say. A grid in log slope finds the basin, a bounded
    scalar minimisation polishes. Whether the answers tell the slope at all is for `identification.identify` to say. Raises
    InputError for other shapes, values that are not finite, units without a task that counts and unknown objectives.
    Departure: the MIS paper names no loss for its fit (section 3); both are choices of ours.

    >>> import numpy as np
    >>> from scipy.special import expit
    >>> from interpretability import fit_slope
    >>> margins = np.linspace(-0.2, 0.6, 40).reshape(10, 4)
    >>> round(fit_slope(margins, expit(6.25 * margins).mean(axis=1)).slope, 2)
    6.25
    """
    margins, his, used = checked(margins, his, objective, used)

    def loss(log_slope: float) -> float:
        return _losses(mean_probabilities(margins, np.exp(log_slope), used)[:, None], his, objective)[0]

    grid = np.log(SLOPE_GRID)
    on_grid = np.array([loss(value) for value in grid])
    best = int(np.argmin(on_grid))
    bracket = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    polished = optimize.minimize_scalar(loss, bounds=bracket, method="bounded", options={"xatol": 1e-9})
    log_slope = min((float(polished.x), grid[best]), key=loss)
    for bound in (0, -1):
        # probabilities that are all saturated, or all one half, leave a plateau that ends in the bound
        if on_grid[bound] <= loss(log_slope) + _FLAT:
            return SlopeFit(float(SLOPE_GRID[bound]), float(on_grid[bound]), len(his), True)
    return SlopeFit(float(np.exp(log_slope)), float(loss(log_slope)), len(his), False)


def loss_curve(
    margins: NDArray[np.floating],
    his: NDArray[np.floating],
    objective: str,
    used: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Loss at every slope of SLOPE_GRID: slope, loss."""
    margins, his, used = checked(margins, his, objective, used)
    return pd.DataFrame({"slope": SLOPE_GRID, "loss": _losses(scores_on_grid(margins, used), his, objective)})


def slope_interval(
    margins: NDArray[np.floating],
    his: NDArray[np.floating],
    objective: str,
    draw: np.random.Generator,
    n_bootstrap: int,
    confidence: float,
    used: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """Interval of the slope from a bootstrap over units, symmetric in log slope; NaN below two units.

    A percentile interval covers too seldom with the 5 to 40 units of a split: it lacks the t quantile. So the
    interval is exp(log slope +- t * s), with s the standard deviation of the fitted log slopes over the
    bootstrap samples and the t quantile for n - 1 degrees of freedom. On simulated studies like IMI with splits of 5,
    10, 20 and 40 units it covers the slope of very many units in 95, 95, 95 and 96 % of 2,000 studies at a nominal
    95 % (benchmarks/coverage.py), percentiles in 81, 88, 91 and 93 %. The noise of the answers is part of the recorded his, so
    resampling units carries it; drawing answers anew on top would count it twice. Ends are cut to SLOPE_BOUNDS.
    """
    margins, his, used = checked(margins, his, objective, used)
    n = len(his)
    if n < 2 or n_bootstrap < 2:
        return float("nan"), float("nan")
    scores = scores_on_grid(margins, used)
    drawn = draw.integers(n, size=(n_bootstrap, n))
    # share of each unit in each sample: (samples, units)
    weights = np.zeros((n_bootstrap, n))
    np.add.at(weights, (np.arange(n_bootstrap)[:, None], drawn), 1 / n)
    fitted = parabola_minima(_resampled_losses(scores, his, objective, weights))
    centre = np.log(fit_slope(margins, his, objective, used).slope)
    reach = stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(fitted, ddof=1)
    low, high = np.exp(np.clip([centre - reach, centre + reach], *np.log(SLOPE_BOUNDS)))
    return float(low), float(high)


def draw_splits(n_units: int, n_split: int, n_splits: int, draw: np.random.Generator) -> NDArray[np.bool_]:
    """Masks (splits, units), each of n_split units drawn at random."""
    order = draw.permuted(np.tile(np.arange(n_units), (n_splits, 1)), axis=1)
    return order < n_split


def split_results(
    margins: NDArray[np.floating],
    units: pd.DataFrame,
    splits: NDArray[np.bool_],
    objective: str,
    used: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """What each split would have given: split, SPLIT_QUANTITIES.

    margins (units, tasks) of the annotated `units` (model, condition, his, n_responses, noise_within where tasks are
    known), splits (splits, units).
    slope is the best one for the units of the split; mis_mean the mean over networks and conditions of their mean MIS
    with it; pearson, spearman and the share of the leading ceiling are those of MIS with HIS over the units outside it.
    The slope is the minimum of a parabola on the grid, within about one percent of that of `fit_slope`.
    """
    margins, his, used = checked(margins, units["his"].to_numpy(), objective, used)
    noise = noise_of_shares(units, leading_variant(units))
    group = units.groupby(["model", "condition"], sort=True, observed=True).ngroup().to_numpy()
    weights = splits / splits.sum(axis=1, keepdims=True)
    slopes = np.exp(parabola_minima(_resampled_losses(scores_on_grid(margins, used), his, objective, weights)))
    rows = []
    for number, (slope, split) in enumerate(zip(slopes, splits, strict=True)):
        mis, rest = mean_probabilities(margins, slope, used), ~split
        agreed = pearson(mis[rest], his[rest])
        ceiling = ceiling_of_noise(his[rest], noise[rest])
        share = agreed / ceiling if ceiling > 0 else np.nan
        means = group_means(mis, group)
        rows.append((number, slope, means.mean(), agreed, spearman(mis[rest], his[rest]), share))
    return pd.DataFrame(rows, columns=["split", *SPLIT_QUANTITIES])


def checked(
    margins: NDArray[np.floating], his: NDArray[np.floating], objective: str, used: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_] | None]:
    """Arguments of a fit in double precision, `used` as it is; raises InputError as `fit_slope` says."""
    margins = arguments.array(margins, "margins", ("units", "tasks"), empty=True).astype(np.float64)
    his = arguments.array(his, "his", ("units",), empty=True).astype(np.float64)
    if objective not in OBJECTIVES:
        raise InputError(
            "{objective} is {given!r}; allowed are {allowed}",
            "objective",
            given=objective,
            allowed=", ".join(OBJECTIVES),
        )
    if margins.ndim != 2 or his.shape != margins.shape[:1] or not len(his):
        raise InputError(
            "need {margins} (units, tasks) and {his} (units,), got {shape} and {of_his}",
            "margins",
            "his",
            shape=margins.shape,
            of_his=his.shape,
        )
    if not (np.isfinite(margins).all() and np.isfinite(his).all()):
        raise InputError("{margins} and {his} must be finite", "margins", "his")
    return margins, his, None if used is None else _checked_mask(used, margins)


def _checked_mask(used: NDArray[np.bool_], margins: NDArray[np.float64]) -> NDArray[np.bool_]:
    used = np.asarray(used)
    if used.shape != margins.shape or used.dtype != bool:
        raise InputError(
            "{used} has shape {shape} and values of type {kind}; it must be bool, of the shape of {margins}, {expected}",
            "used",
            "margins",
            shape=used.shape,
            kind=used.dtype,
            expected=margins.shape,
        )
    if not used.any(axis=1).all():
        raise InputError(
            "{used} leaves no task of {empty} of {units} units; leave those units out",
            "used",
            empty=int((~used.any(axis=1)).sum()),
            units=len(used),
        )
    return used


def scores_on_grid(margins: NDArray[np.float64], used: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """MIS of every unit at every slope of the grid: (units, slopes)."""
    return np.stack([mean_probabilities(margins, slope, used) for slope in SLOPE_GRID], axis=1)


def _losses(scores: NDArray[np.float64], his: NDArray[np.float64], objective: str) -> NDArray[np.float64]:
    """Loss (slopes,) of scores (units, slopes) against his (units,)."""
    if objective == "squared_error":
        return ((scores - his[:, None]) ** 2).mean(axis=0)
    return (scores.mean(axis=0) - his.mean()) ** 2 + (scores.std(axis=0) - his.std()) ** 2


def _resampled_losses(
    scores: NDArray[np.float64], his: NDArray[np.float64], objective: str, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`_losses` (samples, slopes) of samples in which the units have these weights (samples, units)."""
    if objective == "squared_error":
        return np.einsum("su,ug->sg", weights, (scores - his[:, None]) ** 2)

    def moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mean, square = (np.einsum("su,ug->sg", weights, part) for part in (values, values**2))
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    (mean, spread), (his_mean, his_spread) = moments(scores), moments(his[:, None])
    return (mean - his_mean) ** 2 + (spread - his_spread) ** 2


def parabola_minima(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log slopes of the minima of curves on SLOPE_GRID (samples, slopes): parabolas through the lowest neighbours."""
    grid = np.log(SLOPE_GRID)
    rows, best = np.arange(len(losses)), losses.argmin(axis=1)
    inside = np.clip(best, 1, len(grid) - 2)
    before, here, after = (losses[rows, inside + step] for step in (-1, 0, 1))
    curvature = before - 2 * here + after
    usable = (curvature > 0) & (best == inside)
    shift = np.where(usable, 0.5 * (before - after) / np.where(usable, curvature, 1.0), 0.0)
    return grid[best] + shift * (grid[1] - grid[0])
