"""How much of what people's noise allows a machine score reaches."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.people.ceiling_columns import COLUMNS, EASY_CONDITIONS, SUBSETS, leading_variant
from interpretability.people.noise import MIDDLE, ceiling_of_noise, noise_of_shares
from interpretability.people.resampling import resample_units
from interpretability.randomness import generator
from interpretability.schema import KEY
from interpretability.statistics import pearson, percentile_interval

SHARE_COLUMNS = ["subset", "backend", "variant", "n_units", "agreement", "ceiling", "share", "share_low", "share_high"]


def share_of_ceiling(
    units: pd.DataFrame, variant: str, n_bootstrap: int, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """Unit-level Pearson of mis with his divided by the ceiling (V4 or V4w) of the same units, and its joint bootstrap.

    Both numbers come from the same resampled units, so what they have in common cancels. low and high lie symmetric
    around the share, at the t quantile times half of the range that holds the middle 68 % of the shares over resamples: a
    ratio has a long upper tail, for which percentiles lie too high and a standard deviation is too large. The share may
    exceed 1 by chance. NaN where the ceiling is 0 or undefined.
    """
    mis, his = units["mis"].to_numpy(np.float64), units["his"].to_numpy(np.float64)
    noise = noise_of_shares(units, variant)
    agreement, ceiling = pearson(mis, his), ceiling_of_noise(his, noise)
    drawn = resample_units(units, n_bootstrap, draw)
    shares = _ratio(pearson(mis[drawn], his[drawn]), ceiling_of_noise(his[drawn], noise[drawn]))
    share = float(_ratio(agreement, ceiling))
    low, high = percentile_interval(shares, MIDDLE)
    reach = stats.t.ppf((1 + confidence) / 2, max(len(units) - 1, 1)) * (high - low) / 2
    return {
        "n_units": len(units),
        "agreement": float(agreement),
        "ceiling": float(ceiling),
        "share": share,
        "share_low": share - reach,
        "share_high": share + reach,
    }


def share_table(units: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float) -> pd.DataFrame:
    """Share of the ceiling of every backend and subset, over units outside the calibration split: SHARE_COLUMNS.

    `units` as for `ceiling_table`, and in_split. The variant is that of `leading_variant`, in all rows the same. All backends
    share their resamples.
    """
    rows, variant = [], leading_variant(units)
    for subset in SUBSETS if len(units) else ():
        for backend in pd.unique(units["backend"]):
            kept = (units["backend"] == backend) & ~units["in_split"].astype(bool)
            if subset == "easy":
                kept &= units["condition"].isin(EASY_CONDITIONS)
            ordered = units[kept].sort_values(KEY, kind="stable")
            share = share_of_ceiling(ordered, variant, n_bootstrap, confidence, generator(seed, "share of the ceiling"))
            rows.append({"subset": subset, "backend": backend, "variant": variant, **share})
    return pd.DataFrame(rows, columns=SHARE_COLUMNS)


def ceiling_and_shares(ceilings: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """The ceilings over all units, then one row a backend and subset with the share of the leading one.

    Columns: COLUMNS, units (all, outside_split), share, share_low, share_high. The mean of a share's row is the leading
    ceiling of the same units, those outside the split.
    """
    rows = shares.assign(is_ceiling=True, leads=True, calibrated=True, mean=shares["ceiling"], units="outside_split")
    both = pd.concat([part for part in (ceilings.assign(units="all"), rows) if len(part)] or [rows], ignore_index=True)
    both = both.reindex(columns=[*COLUMNS, "units", "share", "share_low", "share_high"])
    return both.astype({"is_ceiling": bool, "leads": bool, "calibrated": bool, "n_simulations": "Int64"})


def _ratio(value: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(reference) > 0, np.asarray(value) / reference, np.nan)[()]
