"""The few numbers that stand for a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.analysis.controls import POOLED, dose_response_rises
from interpretability.analysis.training_series import ALL_SERIES

MOST = 25  # numbers of metrics.json


def overview(scores: Sequence[NDArray[np.floating]]) -> dict[str, float]:
    """Number of networks and units, mean and outer percentiles of the scores of ranked networks, one array each."""
    values = np.concatenate([*scores, np.empty(0)])
    numbers: dict[str, float] = {"n_models": len(scores), "n_units": len(values)}
    if not len(values):
        return numbers
    p5, p95 = np.quantile(values, [0.05, 0.95], overwrite_input=True)
    return numbers | {"mis_mean": values.mean(), "mis_p5": p5, "mis_p95": p95}


def headline(
    tables: dict[str, pd.DataFrame],
    backends: Sequence[str],
    lead: Mapping[str, float],
    n_images: int,
    texts: Mapping[str, float] | None = None,
) -> dict[str, float | int]:
    """At most MOST numbers that say how the study went; what is not defined is left out.

    `tables` by name; `lead` is the `overview` of the first backend; `texts` what is said of texts. Agreement is that outside
    the calibration split, ceiling and share are those of the leading variant over all conditions, failed controls count over all
    backends. A slope, and the agreement under it, is named only where answers tell it (`identification`), of as many backends as
    there is room for; mis_mean_low and mis_mean_high are the mean score at the ends of the first backend's interval.
    """
    first = backends[0]
    controls, ceilings, agreed = tables["controls"], tables["noise_ceiling"], tables["agreement"]
    slopes = tables["calibration"].set_index("backend")
    identified = [name for name in backends if slopes["identified"].get(name, False)]
    outside = agreed[agreed["units"] == "outside_split"].set_index(["level", "backend"])["pearson"]
    at_chance = controls[(controls["backend"] == first) & (controls["factor"] == "")].set_index("control")
    leading = ceilings[ceilings["leads"].astype(bool) & (ceilings["subset"] == "all")].set_index("backend")
    numbers: dict[str, float | int | None] = {
        "n_images": n_images,
        **lead,
        "mis_mean_low": slopes["mis_slope_low"].get(first),
        "mis_mean_high": slopes["mis_slope_high"].get(first),
        "slopes_identified": len(identified),
        "n_failed": len(tables["failures"]),
        "pearson_unit_within": outside.get(("unit_within", first)) if first in identified else None,
        "ceiling": leading["mean"].get(""),
        "share_of_ceiling": leading["share"].get(first),
        "hash_mis": at_chance["mis_mean"].get("hash"),
        "hash_z_sd": at_chance["z_sd"].get("hash"),
        "chance_z_sd": at_chance["z_sd"].get(POOLED),
        "dose_response_rising": dose_response_rises(controls, first),
        "controls_failed": int((controls["passed"] == 0).sum()) if len(controls) else None,
    }
    numbers |= texts or {}
    gain = tables["training_gain"]
    gain = gain[(gain["backend"] == first) & (gain["series"] == ALL_SERIES)]
    if len(gain):
        names = {"": "difference", "_low": "low", "_high": "high"}
        numbers |= {f"trained_minus_untrained{name}": gain[column].iloc[0] for name, column in names.items()}
    known = {name: value for name, value in numbers.items() if value is not None and np.isfinite(value)}
    for backend in identified:
        pair = {f"slope_{backend}": slopes["slope"][backend]}
        if np.isfinite(agreed_with := outside.get(("unit", backend), np.nan)):
            pair[f"pearson_unit_{backend}"] = agreed_with
        if len(known) + len(pair) <= MOST:
            known |= pair
    return {name: int(value) if isinstance(value, int | np.integer) else float(value) for name, value in known.items()}
