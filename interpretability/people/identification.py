"""Whether answers tell the slope of a similarity, or whether many slopes would do as well.

A fit always has a result: also where margins say nothing of the answers, so that the loss is flat and its lowest point an
accident of the split. A slope counts as identified only where three things hold together, each of which fails for its own
kind of similarity: the fit lies inside the range of slopes; its interval is narrow (a similarity that tells units a little
may beat one half and still fit slopes a hundred times apart); and the scores are nearer to the answers than one half is, in
units that took no part in the fit (with 5 units an interval can be narrow by chance).

It says nothing about agreement: a similarity whose margins have the right mean and no correlation with the answers has a
slope, that of its level. The correlation with people is a second mark beside this one.
Departure: the papers report slopes without a word on how well the answers tell them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from interpretability.mis import mean_probabilities
from interpretability.people import calibration
from interpretability.people.calibration import SlopeFit

# An interval whose ends differ by this factor or more tells no slope. Simulated similarities that know nothing of the
# answers, or little, pass in at most 2 % of studies, good ones with 10 / 20 units in over 80 / 95 % (benchmarks/slopes.py).
WIDEST_RATIO = 5.0
# of the interval, and, one-sided with half of the rest, of the test against one half
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Identification:
    """Whether a slope is identified, why, and its figures.

    reason  a few words on the slope alone: which conditions fail, with their numbers, or the numbers of all where none does
    ratio   upper end of the interval divided by the lower one, NaN without an interval
    gain_t  t of the gain over one half over the units, NaN with a single unit
    """

    identified: bool
    reason: str
    ratio: float
    gain_t: float


def gains_over_half(
    margins: NDArray[np.floating],
    his: NDArray[np.floating],
    objective: str,
    unit: NDArray[np.integer] | None = None,
    used: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """How much nearer to its answers each unit's score is than one half: (1/2 - his)^2 - (mis - his)^2, (units,).

    mis has the slope that fits all other units, so that no unit speaks for itself. margins, his, objective, used: as for
    `calibration.fit_slope`. `unit` (rows,): codes 0 to n - 1 of the unit of each row, where units were asked about under
    several conditions; they are left out together, and their gain is the mean over their rows. NaN for a single unit.

    All fits are made at once, from sums over the grid of slopes less those of one unit, each the minimum of a parabola: a
    slope so found is within about one percent of that of `fit_slope`.
    """
    margins, his, used = calibration.checked(margins, his, objective, used)
    unit = np.arange(len(his)) if unit is None else np.asarray(unit)
    n_units = int(unit.max()) + 1
    if n_units < 2:
        return np.full(n_units, np.nan)
    scores = calibration.scores_on_grid(margins, used)
    slopes = np.exp(calibration.parabola_minima(_losses_without(scores, his, objective, unit)))
    mis = np.empty(len(his))
    for code, slope in enumerate(slopes):
        rows = unit == code
        mis[rows] = mean_probabilities(margins[rows], float(slope), None if used is None else used[rows])
    gain = (0.5 - his) ** 2 - (mis - his) ** 2
    return _sums(gain[:, None], unit)[:, 0] / np.bincount(unit)


def identify(fit: SlopeFit, interval: tuple[float, float], gains: NDArray[np.floating]) -> Identification:
    """Judge a slope by its fit, its interval at CONFIDENCE (`calibration.slope_interval`), and `gains_over_half`."""
    ratio, needed = interval[1] / interval[0], float("nan")
    gain_t, n = _t(gains), len(gains)
    if n > 1:
        needed = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    span = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
    failed: list[str] = []
    if fit.at_bound:
        failed.append(f"the fit lies at the bound {fit.slope:g}")
    if not ratio < WIDEST_RATIO:
        spans = "there is no interval" if np.isnan(ratio) else f"the interval spans a factor of {span}"
        failed.append(f"{spans} (below {WIDEST_RATIO:g} is needed)")
    if not gain_t > needed:
        few = f"t {gain_t:.2g}, above {needed:.3g} is needed" if n > 1 else "a single unit"
        failed.append(f"the scores are not nearer to the answers than one half is ({few})")
    holds = f"the interval spans a factor of {span}; nearer to the answers than one half (t {gain_t:.2g})"
    return Identification(not failed, "; ".join(failed) or holds, ratio, gain_t)


def _losses_without(
    scores: NDArray[np.float64], his: NDArray[np.float64], objective: str, unit: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Losses (units, slopes) over the rows of all other units, of scores (rows, slopes)."""
    count = (len(his) - np.bincount(unit))[:, None]

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (values.sum(axis=0) - _sums(values, unit)) / count

    if objective == "squared_error":
        return mean((scores - his[:, None]) ** 2)

    def moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return mean(values), np.sqrt(np.maximum(mean(values**2) - mean(values) ** 2, 0.0))

    (level, spread), (his_level, his_spread) = moments(scores), moments(his[:, None])
    return (level - his_level) ** 2 + (spread - his_spread) ** 2


def _sums(values: NDArray[np.float64], unit: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sums (units, columns) of rows by unit, in the order of the rows."""
    sums = np.zeros((int(unit.max()) + 1, values.shape[1]))
    np.add.at(sums, unit, values)
    return sums


def _t(gains: NDArray[np.floating]) -> float:
    """t of the mean; without spread infinite, or 0 where every gain is 0."""
    if len(gains) < 2:
        return float("nan")
    mean, error = float(gains.mean()), float(gains.std(ddof=1)) / np.sqrt(len(gains))
    return float(mean / error) if error > 0 else float(np.sign(mean) * np.inf) if mean else 0.0
