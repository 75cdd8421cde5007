"""Compiled loops of the scores without labels."""

from __future__ import annotations

import numba
import numpy as np

_UNITS = 1024  # units whose sums stay in the cache


@numba.njit(nogil=True, cache=True)
def add_rows(rows, images, sums):
    for unit in range(len(images)):
        total = sums[unit]
        total[:] = 0.0
        for image in images[unit]:
            row = rows[image]
            for i in range(len(row)):
                total[i] += np.float64(row[i])


@numba.njit(nogil=True, cache=True)
def without_own(asked, squares, top, bottom, top_sums, bottom_sums, found):
    """Replace the predictions of probes that explain by those of the other explanations; False where there are none.

    top, bottom: places among the probes of the images that explain, -1 for those that are no probes.
    """
    counts = np.zeros((2, len(asked)), dtype=np.int64)
    for unit in range(len(found)):
        for image in top[unit]:
            if image >= 0:
                counts[0, image] += 1
        for image in bottom[unit]:
            if image >= 0:
                counts[1, image] += 1
        for probe in range(len(asked)):
            above, below = counts[0, probe], counts[1, probe]
            if above + below == 0:
                continue
            if above == top.shape[1] or below == bottom.shape[1]:
                return False
            near, far = 0.0, 0.0
            for i in range(asked.shape[1]):
                near += asked[probe, i] * top_sums[unit, i]
                far += asked[probe, i] * bottom_sums[unit, i]
            near = (near - above * squares[probe]) / (top.shape[1] - above)
            far = (far - below * squares[probe]) / (bottom.shape[1] - below)
            found[unit, probe] = near - far
        counts[:] = 0
    return True


@numba.njit(nogil=True, cache=True)
def add_powers(values, squares, powers, own, own_squared, least, most, at_least):
    units = len(own)
    for start in range(0, units, _UNITS):
        stop = min(start + _UNITS, units)
        for image in range(len(values)):
            length = squares[image]
            for unit in range(start, stop):
                x = np.float64(values[image, unit])
                square = x * x
                powers[0, unit] += x
                powers[1, unit] += square
                powers[2, unit] += square * x
                powers[3, unit] += square * square
                own[unit] += x * length
                own_squared[unit] += square * length
                least[unit] = min(least[unit], x)
                most[unit] = max(most[unit], x)
        for image in range(len(values)):
            for unit in range(start, stop):
                at_least[unit] += np.int64(np.float64(values[image, unit]) == least[unit])
