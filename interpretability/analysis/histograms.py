"""How the values of a unit are distributed over all images (IMI, figure 16)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N_BINS = 40
PERCENTILES = (5, 15, 85, 95)  # where the queries of harder tasks come from
COLUMNS = ["low", "high", "share", *(f"p{level}" for level in PERCENTILES), "n_peaks"]


def activation_histogram(values: NDArray[np.floating]) -> pd.DataFrame:
    """Histogram of a unit's values (images,) over their largest absolute value, so that they lie in [-1, 1]: COLUMNS.

    One row a bin from the lowest to the highest value; the percentiles and n_peaks stand in every row. n_peaks counts the
    maxima of the shares smoothed over three bins that rise above a tenth of the highest; a distribution with one peak
    has 1.
    """
    values = np.asarray(values, np.float64)
    scaled = values / (np.abs(values).max() or 1.0)
    counts, edges = np.histogram(scaled, bins=N_BINS)
    share = counts / len(values)
    table = {"low": edges[:-1], "high": edges[1:], "share": share}
    table |= {f"p{level}": value for level, value in zip(PERCENTILES, np.percentile(scaled, PERCENTILES), strict=True)}
    return pd.DataFrame(table).assign(n_peaks=_peaks(share))[COLUMNS]


def _peaks(share: NDArray[np.float64]) -> int:
    smooth = np.convolve(share, np.ones(3) / 3, mode="same")
    framed = np.concatenate([[0.0], smooth[np.concatenate([[True], np.diff(smooth) != 0])], [0.0]])  # no plateaus
    middle = framed[1:-1]
    return int(((middle > framed[:-2]) & (middle > framed[2:]) & (middle >= 0.1 * smooth.max())).sum())
