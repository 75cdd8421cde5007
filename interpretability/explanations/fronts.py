"""What a wanted exactness costs: the best number of raters for every budget, and the budget at which a method reaches a level.

Oikarinen et al. 2025, Fig. 3a: for each budget the number of ratings an image that gives the lowest error (Pareto front), and
the ratings a unit at which a method reaches an RCE of 27.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEVEL = 0.275  # the RCE at which the paper counts costs
PRICE = 0.004  # dollars a rating (section 4: 0.06 for 15 images)
LATENT, GUIDE_ONLY = "latent", "guide_only"
REFERENCE = "mg_is+bragg_guide"  # the paper's own method

# Ratings a unit for an RCE of 27.5 % in setting 1 (section 4). The paper does not say which prior BRAgg had there; its section
# 3.2.1 finds the guide's better.
PUBLISHED_RATINGS = {
    "mg_is+bragg_guide": 550,
    "mg_is+majority": 1760,
    "uniform+bragg_guide": 14607,
    "uniform+majority": 22560,
}
# Without errors of raters (section 3.1.2): uniform draws take about as many times the images of MG-IS.
PUBLISHED_SAMPLING_RATIO = 15.0


def pareto(curves: pd.DataFrame) -> pd.DataFrame:
    """The best number of raters of each method and budget: rows of curves (part setting_1), columns as there.

    Adds `front`: whether no smaller budget of the method does as well. Rows by method and ratings. The best number is chosen
    from the very errors that are shown, so it looks slightly better than it is.
    """
    rows = curves[curves["part"] == "setting_1"]
    order = ["world", "method", "budget", "rce", "raters"]
    best = rows.sort_values(order, kind="stable").drop_duplicates(["world", "method", "budget"])
    best = best.sort_values(["world", "method", "ratings"], kind="stable", ignore_index=True)
    before = best.groupby(["world", "method"])["rce"].cummin().groupby([best["world"], best["method"]]).shift()
    return best.assign(front=~(best["rce"] >= before))


def reached(ratings: pd.Series, rce: pd.Series, level: float) -> float:
    """Ratings at which an error first falls to a level, read between the points of a front on logarithmic scales.

    0 where it needs none, NaN where no point reaches the level; the smallest budget where already that one does.
    """
    order = np.argsort(ratings.to_numpy(), kind="stable")
    spent, error = ratings.to_numpy(dtype=float)[order], np.minimum.accumulate(rce.to_numpy(dtype=float)[order])
    below = np.flatnonzero(error <= level)
    if not len(below):
        return float("nan")
    first = int(below[0])
    if first == 0 or spent[first - 1] <= 0:
        return float(spent[first])
    share = np.log(error[first - 1] / level) / np.log(error[first - 1] / error[first])
    return float(np.exp(np.log(spent[first - 1]) + share * np.log(spent[first] / spent[first - 1])))


def costs(curves: pd.DataFrame, *, levels: Sequence[float] = (LEVEL,), price: float = PRICE) -> pd.DataFrame:
    """One row a world, part (setting_1, sampling), method and level: ratings a unit for an RCE of `level`, and what that costs.

    ratings       NaN where no budget reaches the level; then `least_rce` says how near it comes
    at_most       whether already the smallest budget reaches it, so that fewer may do
    ratio         to the paper's own method (MG-IS with BRAgg of the guide; without raters' errors MG-IS)
    ratio_to_ours to the latent logistic model, in setting 1
    money         of a unit, without gold
    published_ratings, published_ratio   the paper's figures at its own level, NaN where it has none
    """
    fronts = pd.concat([pareto(curves), curves[curves["part"] == "sampling"]], ignore_index=True)
    rows = []
    for (world, part, method), points in fronts.groupby(["world", "part", "method"], sort=True):
        for level in levels:
            ratings = reached(points["ratings"], points["rce"], level)
            rows.append(
                {
                    "world": world,
                    "part": part,
                    "method": method,
                    "level": level,
                    "ratings": ratings,
                    "at_most": bool(0 < ratings <= points["ratings"].min()),
                    "least_rce": points["rce"].min(),
                    "money": ratings * price,
                }
            )
    table = pd.DataFrame(rows)
    noisy, own = table["part"] == "setting_1", np.isclose(table["level"], LEVEL)
    reference = table["part"].map({"setting_1": REFERENCE, "sampling": "mg_is+exact"})
    table["ratio"] = table["ratings"] / _of_method(table, reference)
    table["ratio_to_ours"] = table["ratings"] / _of_method(table, table["part"].map({"setting_1": LATENT}))
    table["published_ratings"] = table["method"].map(PUBLISHED_RATINGS).where(noisy & own).astype(float)
    table["published_ratio"] = table["published_ratings"] / PUBLISHED_RATINGS[REFERENCE]
    table.loc[~noisy & own & (table["method"] == "uniform+exact"), "published_ratio"] = PUBLISHED_SAMPLING_RATIO
    return table


def _of_method(table: pd.DataFrame, method: pd.Series) -> NDArray[np.float64]:
    """Ratings of the named method in each row's world, part and level; NaN where it is not there or needs none."""
    names = ["world", "part", "method", "level"]
    wanted = pd.MultiIndex.from_arrays([table["world"], table["part"], method, table["level"]])
    found = table.set_index(names)["ratings"].reindex(wanted).to_numpy(dtype=float)
    return np.where(found > 0, found, np.nan)
