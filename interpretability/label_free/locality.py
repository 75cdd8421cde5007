"""How local a unit's maps are, and how seldom it fires: from values at every position, in numpy or torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.label_free.value_sums import host


def peak_energy(maps: Any) -> Any:
    """Share (images, channels) of a map's energy at its strongest position: 1 / positions (even) to 1 (one position).

    maps   (images, positions, channels), array or tensor, signed or not: max of a^2 over sum of a^2. NaN where a map is all 0
    """
    return locality_of(maps)[0]


def participation(maps: Any) -> Any:
    """Participation ratio (images, channels) of a map's energy, as a share of its positions: 1 / positions (one) to 1 (even).

    maps   as for `peak_energy`: (sum a^2)^2 / sum a^4 over the number of positions. NaN where a map is all 0
    """
    return locality_of(maps)[1]


def locality_of(maps: Any) -> tuple[Any, Any]:
    """`peak_energy` and `participation` of maps, whose energies are taken once."""
    energies, positions = _energies(maps)
    total = energies.sum(1)
    return 1.0 / total, total * total / ((energies * energies).sum(1) * positions)


def _energies(maps: Any) -> tuple[Any, int]:
    """Squares of maps relative to their largest, in which nothing overflows; NaN where a map is all 0."""
    if len(getattr(maps, "shape", ())) != 3 or not maps.shape[1]:
        raise arguments.wrong("maps", "must be an array or tensor (images, positions, channels) with positions")
    strength = abs(maps)
    if hasattr(maps, "detach"):
        strength = strength.float() if strength.dtype.itemsize < 4 else strength
        relative = strength / strength.amax(1, keepdim=True)
    else:
        strength = strength.astype(np.float64)
        with np.errstate(invalid="ignore"):
            relative = strength / strength.max(axis=1, keepdims=True)
    return relative * relative, maps.shape[1]


class Locality:
    """Means over images of the locality of a layer's maps; maps that are all 0 have none and are left out of them.

    Memory: 24 bytes a channel.
    """

    def __init__(self) -> None:
        self._sums: Any = None
        self._counts: Any = 0

    def update(self, maps: Any) -> None:
        """Add maps (images, positions, channels), arrays or tensors. Raises InputError for other shapes."""
        found = locality_of(maps)
        there = found[0] == found[0]
        wide = [each.double() if hasattr(each, "detach") else each for each in found]
        zero = [each.nan_to_num(0.0) if hasattr(each, "detach") else np.nan_to_num(each) for each in wide]
        sums = [each.sum(0) for each in zero]
        self._sums = (
            sums if self._sums is None else [before + each for before, each in zip(self._sums, sums, strict=True)]
        )
        self._counts = self._counts + there.sum(0)

    def table(self) -> pd.DataFrame:
        """A row a channel: unit, peak_energy, participation (NaN where all maps were 0), n_maps that were not."""
        if self._sums is None:
            raise arguments.wrong("maps", "are missing: nothing was added")
        counts = host(self._counts)
        with np.errstate(invalid="ignore"):
            peak, spread = (host(each) / np.where(counts > 0, counts, np.nan) for each in self._sums)
        return pd.DataFrame(
            {"unit": np.arange(len(counts)), "peak_energy": peak, "participation": spread, "n_maps": counts}
        )


def firing_rate(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share (U,) of images (D, U) whose value is above 0."""
    return (arguments.array(values, "values", ("images", "units")) > 0).mean(axis=0)
