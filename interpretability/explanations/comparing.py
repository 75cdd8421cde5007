"""Which method's texts say it best? Mean scores by method, and tests of two methods on the same units.

Tables of scores have a row a unit and method: model, layer, unit, method, rho, NaN where a score is undefined. Methods are
compared within each group, a model by default, on the units that both have: units differ much more than methods do.

Units count as independent draws of the layers at hand, as in the paper. Units of a layer resemble each other, so intervals and
tests speak of other units of these layers, not of other layers or networks; scores that were estimated together (from the same
ratings, or by one model of all pairs) share errors besides, which no spread over units shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability import arguments, columns
from interpretability.schema import UNIT
from interpretability.statistics import ROUNDING, holm, mean_interval

BEST, ALL = "best", "all"
# Units below which two methods are not compared.
FEWEST_UNITS = 6
TOO_FEW, ALIKE = f"fewer than {FEWEST_UNITS} units in common", "the same score in every unit"
TABLE = ["method", "n_units", "n_undefined", "mean", "se", "low", "high", "n_common", "mean_common"]
TESTS = [
    "first",
    "second",
    "n_units",
    "difference",
    "se",
    "low",
    "high",
    "wins",
    "t",
    "p_t",
    "p_t_holm",
    "w",
    "p_wilcoxon",
    "p_wilcoxon_holm",
    "published_t",
    "published_df",
    "published_p",
    "reason",
]


def method_table(scores: pd.DataFrame, *, by: Sequence[str] = ("model",), confidence: float = 0.95) -> pd.DataFrame:
    """Mean scores of the methods of each group `by`: those columns and TABLE, sorted.

    n_units, n_undefined   units with a score, and with a row but none (they enter no mean)
    mean, se, low, high    over n_units, with the interval of Student's t (NaN below four units)
    n_common, mean_common  over the units that have a score of every method of the group: these means may be compared
    """
    table = _checked(scores, by)
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    rows: list[dict[str, object]] = []
    for group, own in table.groupby(list(by), sort=True, observed=True):
        wide = _wide(own)
        common = wide.dropna()
        for method in wide.columns:
            values = wide[method].dropna().to_numpy(np.float64)
            n = len(values)
            mean = float(values.mean()) if n else math.nan
            sd = float(values.std(ddof=1)) if n > 1 else math.nan
            low, high = mean_interval(mean, sd, n, confidence)
            undefined = int(own.loc[own["method"] == method, "rho"].isna().sum())
            of_method = (method, n, undefined, mean, sd / math.sqrt(max(n, 1)), float(low), float(high))
            shared = (len(common), float(common[method].mean()) if len(common) else math.nan)
            rows.append(_named(by, group) | dict(zip(TABLE, (*of_method, *shared), strict=True)))
    return pd.DataFrame(rows, columns=[*by, *TABLE])


def paired_tests(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] = ("model",),
    family: Sequence[str] | None = None,
    against: str = ALL,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Two methods on the same units, within each group `by`: those columns and TESTS.

    against      all: every pair, the one with the higher mean first; best: the method of the highest mean over the common units
                 (of all methods with a score; where there are none, each over its own) against each other one. The best is chosen
                 on the same units, so its tests are adjusted for all pairs nonetheless
    family       columns within whose values Holm's adjustment counts pairs; `by` where nothing is given. With by=("model",
                 "aggregation") and family=("model",), it is over pairs of methods times aggregations
    difference, se, low, high   mean of first minus second over the n_units that have both, and its interval by Student's t
    wins         share of the units where the first is higher, ties half
    t, p_t       paired t test, two-sided; w, p_wilcoxon: Wilcoxon's signed ranks, units without a difference left out
    published_*  the paper's test (Table 5): two-sample t of equal variances, as if the units were others, one-sided for first >
                 second, not adjusted, beside ours and not in its place. The p values that the paper prints follow from the means
                 and standard errors of its Table 4 neither one-sided nor two-sided
    reason       why a pair has no test of ours, empty where it has one
    """
    table = _checked(scores, by)
    if family is not None and (not family or not set(family) <= set(by)):
        raise arguments.wrong(
            "family", "is {given}; it must name some of the columns {groups}", given=list(family), groups=", ".join(by)
        )
    arguments.choice(against, "against", (BEST, ALL))
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    rows: list[dict[str, object]] = []
    for group, own in table.groupby(list(by), sort=True, observed=True):
        wide = _wide(own)
        best = _best(wide)
        for pair in combinations(wide.columns, 2):
            both = wide[list(pair)].dropna()
            first, second = sorted(pair, key=lambda name: (-both[name].mean() if len(both) else 0.0, name))
            found = _test(both[first].to_numpy(np.float64), both[second].to_numpy(np.float64), confidence)
            found |= _published(wide[first].dropna().to_numpy(np.float64), wide[second].dropna().to_numpy(np.float64))
            of_best = best in pair
            rows.append(_named(by, group) | {"first": first, "second": second, "of_best": of_best} | found)
    tests = pd.DataFrame(rows, columns=[*by, *TESTS, "of_best"])
    for name in ("t", "wilcoxon"):
        adjusted = tests.groupby(list(by if family is None else family), observed=True)[f"p_{name}"].transform(holm)
        tests[f"p_{name}_holm"] = adjusted
    kept = tests if against == ALL else tests[tests["of_best"].astype(bool)]
    return kept.drop(columns="of_best").reset_index(drop=True)


def _checked(scores: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    if not by:
        raise arguments.wrong("by", "is empty; it must name the columns of a group, such as model")
    needed = tuple(dict.fromkeys([*UNIT, "method", "rho", *by]))
    table = arguments.table(scores, "scores", needed, empty=True)
    columns.names(table, "scores", ("model", "layer", "method"))
    for name in by:
        if (lost := table[name].isna()).any():
            raise arguments.wrong(
                "scores", "holds nothing in the column {name}, row {row}", name=name, row=table.index[lost][0]
            )
    known = table.assign(
        unit=columns.whole_numbers(table, "scores", "unit"), rho=columns.scores(table, "scores", "rho")
    )
    again = known.duplicated([*dict.fromkeys([*by, *UNIT]), "method"])
    if again.any():
        row = known[again].iloc[0]
        raise arguments.wrong(
            "scores",
            "holds more than one score of method {method!r} for unit {unit} of {layer} in {model}; the second in row {row}",
            method=row["method"],
            unit=row["unit"],
            layer=row["layer"],
            model=row["model"],
            row=again.index[again][0],
        )
    return known


def _wide(own: pd.DataFrame) -> pd.DataFrame:
    """Scores with a row a unit and a column a method, both sorted."""
    return own.pivot(index=UNIT, columns="method", values="rho").sort_index().sort_index(axis=1)


def _best(wide: pd.DataFrame) -> str | None:
    """The method of the highest mean over the units that all methods with a score have in common, if there are any."""
    scored = wide.dropna(axis=1, how="all")
    common = scored.dropna()
    return None if scored.empty else str((common if len(common) else scored).mean().idxmax())


def _named(by: Sequence[str], group: object) -> dict[str, object]:
    return dict(zip(by, group if isinstance(group, tuple) else (group,), strict=True))


def _test(first: NDArray[np.float64], second: NDArray[np.float64], confidence: float) -> dict[str, object]:
    difference, n = first - second, len(first)
    row: dict[str, object] = {"n_units": n, "reason": ""}
    if not n:
        return row | {"reason": TOO_FEW}
    mean = float(difference.mean())
    row |= {"difference": mean, "wins": float(np.mean(np.where(difference == 0, 0.5, difference > 0)))}
    if n < FEWEST_UNITS or (difference == 0).all():
        return row | {"reason": TOO_FEW if n < FEWEST_UNITS else ALIKE}
    sd = float(difference.std(ddof=1))
    low, high = mean_interval(mean, sd, n, confidence)
    row |= {"se": sd / math.sqrt(n), "low": float(low), "high": float(high)}
    if sd > ROUNDING * abs(mean):  # else all differences are the same, and no t has a meaning
        t = mean / (sd / math.sqrt(n))
        row |= {"t": t, "p_t": float(2 * stats.t.sf(abs(t), n - 1))}
    ranks = stats.wilcoxon(difference)
    return row | {"w": float(ranks.statistic), "p_wilcoxon": float(ranks.pvalue)}


def _published(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, object]:
    """The two-sample test, where both have two scores that are not all alike."""
    if min(len(first), len(second)) < 2 or not (np.ptp(first) > 0 or np.ptp(second) > 0):
        return {}
    found = stats.ttest_ind(first, second, equal_var=True, alternative="greater")
    return {
        "published_t": float(found.statistic),
        "published_df": float(len(first) + len(second) - 2),
        "published_p": float(found.pvalue),
    }
