"""Where a unit stands among all scored units of its network and of its layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PLACES = ["easier_network", "n_network", "easier_layer", "n_layer"]


def with_places(units: pd.DataFrame) -> pd.DataFrame:
    """All scored units of one network (layer, condition, mis, ...) with PLACES: of the units of its network and of its layer with
    tasks of the same condition the share whose MIS is lower, in whole percent of the others and rounded down, and how many
    units there are, itself among them. A unit that is alone is easier than 0 %.
    """
    network = _below(units, ["condition"])
    layer = _below(units, ["condition", "layer"])
    return units.assign(**dict(zip(PLACES, (*network, *layer), strict=True)))


def _below(units: pd.DataFrame, by: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    groups = units.groupby(by, observed=True, sort=False)["mis"]
    below = groups.rank(method="min").to_numpy(np.float64) - 1
    size = groups.transform("size").to_numpy(np.int64)
    return np.floor(100 * below / np.maximum(size - 1, 1)).astype(np.int64), size


def sizes(units: pd.DataFrame, place: str, codes: NDArray[np.int64], n: int, conditions: list[str]) -> list[list[int]]:
    """How many units stand beside each other: by condition, then by number of the network or layer, 0 where there is none.

    units: of the list, with PLACES; place: `n_network` or `n_layer`; codes: number of the network or layer of each row, of `n`.
    """
    out = np.zeros((len(conditions), n), dtype=np.int64)
    number = {name: index for index, name in enumerate(conditions)}
    out[[number[name] for name in units["condition"]], codes] = units[place].to_numpy(np.int64)
    return out.tolist()
