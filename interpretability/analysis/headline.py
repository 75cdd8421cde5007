"""The few numbers that stand for a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.analysis.controls import POOLED, dose_response_rises
from interpretability.analysis.training_series import ALL_SERIES

MOST = 25  # numbers of metrics.json
# so only the first backends are named there
_NAMED_BACKENDS = 4


def overview(scores: Sequence[NDArray[np.floating]]) -> dict[str, float]:
    """Number of networks and units, mean and outer percentiles of the scores of ranked networks, one array each."""
    values = np.concatenate([*scores, np.empty(0)])
    numbers: dict[str, float] = {"n_models": len(scores), "n_units": len(values)}
    if not len(values):
        return numbers
    p5, p95 = np.quantile(values, [0.05, 0.95], overwrite_input=True)
    return numbers | {"mis_mean": values.mean(), "mis_p5": p5, "mis_p95": p95}


def headline(
    tables: dict[str, pd.DataFrame], backends: Sequence[str], lead: Mapping[str, float], n_images: int
) -> dict[str, float | int]:
    """At most MOST numbers that say how the study went; what is not defined is left out, then the last backends are.

    `tables` by name; `lead` is the `overview` of the first backend. Agreement is that outside the calibration split,
    ceiling and share are those of the leading variant over all conditions, failed controls count over all backends.
    """
    first = backends[0]
    controls, ceilings, agreed = tables["controls"], tables["noise_ceiling"], tables["agreement"]
    slopes = tables["calibration"].set_index("backend")["slope"]
    outside = agreed[agreed["units"] == "outside_split"].set_index(["level", "backend"])["pearson"]
    at_chance = controls[(controls["backend"] == first) & (controls["factor"] == "")].set_index("control")
    leading = ceilings[ceilings["leads"].astype(bool) & (ceilings["subset"] == "all")].set_index("backend")
    numbers: dict[str, float | int | None] = {
        "n_images": n_images,
        **lead,
        "n_failed": len(tables["failures"]),
        "pearson_unit_within": outside.get(("unit_within", first)),
        "ceiling": leading["mean"].get(""),
        "share_of_ceiling": leading["share"].get(first),
        "hash_mis": at_chance["mis_mean"].get("hash"),
        "hash_z_sd": at_chance["z_sd"].get("hash"),
        "chance_z_sd": at_chance["z_sd"].get(POOLED),
        "dose_response_rising": dose_response_rises(controls, first),
        "controls_failed": int((controls["passed"] == 0).sum()) if len(controls) else None,
    }
    gain = tables["training_gain"]
    gain = gain[(gain["backend"] == first) & (gain["series"] == ALL_SERIES)]
    if len(gain):
        names = {"": "difference", "_low": "low", "_high": "high"}
        numbers |= {f"trained_minus_untrained{name}": gain[column].iloc[0] for name, column in names.items()}
    for backend in backends[:_NAMED_BACKENDS]:
        numbers |= {f"slope_{backend}": slopes[backend], f"pearson_unit_{backend}": outside.get(("unit", backend))}
    known = {name: value for name, value in numbers.items() if value is not None and np.isfinite(value)}
    return {
        name: int(value) if isinstance(value, int | np.integer) else float(value)
        for name, value in list(known.items())[:MOST]
    }
