"""Krippendorff's alpha: agreement of raters who did not all rate everything.

Fleiss' kappa takes the shares of all ratings as they are; alpha corrects them for their finite number and weighs an item by
how often it was rated, so that gaps are no trouble. With as many ratings of every item the two differ by about
(1 - kappa) / number of ratings.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from interpretability import arguments
from interpretability.explanations.aggregation import checked_ratings

_PAIR = ["text", "image"]


def krippendorff_alpha(counts: ArrayLike) -> float:
    """Krippendorff's alpha for nominal values (Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section D).

    counts   (items, values): how many raters gave an item each value, whole numbers from 0. Items with fewer than two ratings
             say nothing and are left out

    alpha = 1 - (n - 1) sum_c o_c / sum_c n_c (n - n_c), with n_c the ratings of value c, n their sum, and o_c those pairs of
    ratings of one item in which one is c and the other is not, each pair weighed by 1 / (ratings of the item - 1).
    1: all agree, 0: as by chance, below 0: worse; NaN where all ratings are the same or no item has two. Raises InputError for
    counts that are negative or not whole.

    Two raters of ten things, Krippendorff's example of binary values:

    >>> first, second = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 0]), np.array([1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    >>> yes = first + second
    >>> round(krippendorff_alpha(np.stack([2 - yes, yes], axis=1)), 3)
    0.095
    """
    table = arguments.array(counts, "counts", ("items", "values"), empty=True).astype(np.float64)
    arguments.finite(table, "counts")
    if (table < 0).any() or (table != np.rint(table)).any():
        raise arguments.wrong("counts", "holds numbers that are negative or not whole; it must hold numbers of ratings")
    ratings = table.sum(axis=1)
    table, ratings = table[ratings >= 2], ratings[ratings >= 2]
    of_value = table.sum(axis=0)
    chance = float((of_value * (of_value.sum() - of_value)).sum())
    if chance == 0:
        return float("nan")
    apart = table * (ratings[:, None] - table) / (ratings[:, None] - 1)
    return float(1 - (of_value.sum() - 1) * apart.sum() / chance)


def value_counts(values: ArrayLike) -> NDArray[np.float64]:
    """Numbers of ratings (items, values) from what each rater said: `values` (raters, items), NaN where one said nothing.

    The values are those that occur, ascending.
    """
    table = arguments.array(values, "values", ("raters", "items"), empty=True).astype(np.float64)
    found = np.unique(table[~np.isnan(table)])
    return (table[:, :, None] == found).sum(axis=0).astype(np.float64)


def alpha(ratings: pd.DataFrame) -> float:
    """Krippendorff's alpha of a table of ratings (rater, text, image, rating), an item being a pair of text and image."""
    items = checked_ratings(ratings).groupby(_PAIR, observed=True)["rating"].agg(["sum", "size"])
    yes, n = (items[name].to_numpy(np.float64) for name in ("sum", "size"))
    return krippendorff_alpha(np.stack([n - yes, yes], axis=1))
