"""What a level of MIS is worth: the mean over units at other slopes that the answers allow.

A level hangs on the slope far more than on the units: differences between networks hardly move with it, levels do. So beside
a mean stand the means at the ends of the slope's interval and at those of the slopes of other calibration splits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interpretability.mis import mean_probabilities

RANGE_COLUMNS = ["mis_slope_low", "mis_slope_high", "mis_splits_low", "mis_splits_high"]


def sums_at(
    margins: NDArray[np.floating], slopes: Sequence[float], used: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float64], int]:
    """Sum of the MIS of units (units, tasks) at each slope, and the number of units that have any.

    used: (units, tasks) bool, the tasks that count; a unit without any has no score and does not enter.
    """
    margins = np.asarray(margins, dtype=np.float64)
    if used is not None and not (kept := used.any(axis=1)).all():
        margins, used = margins[kept], used[kept]
    return np.array([mean_probabilities(margins, slope, used).sum() for slope in slopes]), len(margins)


def ranges(sums: NDArray[np.floating], n_units: int) -> dict[str, float]:
    """RANGE_COLUMNS from sums of MIS (5,) at: the fitted slope, low and high of its interval, low and high of other splits.

    The range over the interval holds the level itself. A level that falls with the slope, that of units below one half, has
    its ends the other way round. NaN without units, and for the splits where their slopes are not known.
    """
    if not n_units:
        return dict.fromkeys(RANGE_COLUMNS, float("nan"))
    levels = np.asarray(sums, dtype=np.float64) / n_units
    values = (levels[:3].min(), levels[:3].max(), levels[3:].min(), levels[3:].max())
    return dict(zip(RANGE_COLUMNS, map(float, values), strict=True))
