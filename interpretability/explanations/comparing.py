"""Which method's texts say it best? Mean scores by method, and tests of two methods on the same units.

Tables of scores have a row a unit and method: model, layer, unit, method, rho, NaN where a score is undefined. Methods are
compared within each group, a model by default, on the units that both have: units differ much more than methods do.

Units that move together (those of layers that repeat each other, or planted ones of the same concept) share a `cluster`, an
optional column: then means are of the clusters' means, and these count as independent. Without it units do, as in the paper, and
intervals speak of other units of these layers. Scores that were estimated together (by one model of all pairs) share errors that
no spread over units shows: `draws` of them, made together, widen intervals and tests by what the mean itself is unsure of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability import arguments, columns
from interpretability.schema import UNIT
from interpretability.statistics import ROUNDING, group_means, holm, mean_interval

BEST, ALL = "best", "all"
# Units below which two methods are not compared.
FEWEST_UNITS = 6
MOST_EXACT = 60  # differences up to which signed ranks are counted
TOO_FEW, ALIKE = f"fewer than {FEWEST_UNITS} units, or clusters of units, in common", "the same score in every unit"
# Joint draws of a mean count this many times: 2.3 / 1.96, as those of one score (see `latent`), and 1.3 more, for errors of
# means by method were 1.3 of their posterior standard deviations in simulated studies.
WIDER = 1.3 * 2.3 / 1.96
TABLE = ["method", "n_units", "n_clusters", "n_undefined", "mean", "se", "low", "high", "n_common", "mean_common"]
TESTS = [
    "first",
    "second",
    "n_units",
    "n_clusters",
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


def method_table(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] = ("model",),
    confidence: float = 0.95,
    draws: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Mean scores of the methods of each group `by`: those columns and TABLE, sorted.

    n_units, n_undefined   units with a score, and with a row but none (they enter no mean); n_clusters: clusters of the former
    mean, se, low, high    over the means of n_clusters, with the interval of Student's t (NaN below four)
    n_common, mean_common  over the units that have a score of every method of the group: these means may be compared
    draws                  (rows of scores, D) joint draws of scores that were estimated together; NaN in the rows of others
    """
    table = _checked(scores, by)
    joint = _joint(draws, table)
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    rows: list[dict[str, object]] = []
    for group, own in table.groupby(list(by), sort=True, observed=True):
        wide, cluster, places = _wide(own)
        common = wide.notna().all(axis=1).to_numpy(bool)
        for method in wide.columns:
            there = wide[method].notna().to_numpy(bool)
            found = _clustered(
                wide[method].to_numpy(np.float64)[there], cluster[there], joint[places[method].to_numpy()[there]]
            )
            undefined = int(own.loc[own["method"] == method, "rho"].isna().sum())
            counts = int(there.sum()), found.n, undefined
            of_method = (method, *counts, found.mean, found.se, *found.interval(confidence))
            shared = _clustered(wide[method].to_numpy(np.float64)[common], cluster[common], joint[:0]).mean
            rows.append(_named(by, group) | dict(zip(TABLE, (*of_method, int(common.sum()), shared), strict=True)))
    return pd.DataFrame(rows, columns=[*by, *TABLE])


@dataclass(frozen=True)
class _Mean:
    """A mean of n cluster means: its standard error by their spread, and by that of joint draws of the mean (0 without)."""

    values: NDArray[np.float64]
    sd: float
    joint: float

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return float(self.values.mean()) if self.n else math.nan

    @property
    def se(self) -> float:
        return math.hypot(self.sd / math.sqrt(max(self.n, 1)), WIDER * self.joint)

    def interval(self, confidence: float) -> tuple[float, float]:
        low, high = mean_interval(self.mean, self.se * math.sqrt(max(self.n, 1)), self.n, confidence)
        return float(low), float(high)


def _clustered(values: NDArray[np.float64], cluster: NDArray[np.int64], joint: NDArray[np.float64]) -> _Mean:
    """Mean over clusters of scores (units,); joint (units, D) draws of them, or none (0, D)."""
    if not len(values):
        return _Mean(np.empty(0), math.nan, 0.0)
    _, codes = np.unique(cluster, return_inverse=True)
    means = group_means(values[None], codes)[0]
    sd = float(means.std(ddof=1)) if len(means) > 1 else math.nan
    drawn = bool(joint.size) and not np.isnan(joint).any()
    together = float(group_means(joint.T, codes).mean(axis=1).std(ddof=1)) if drawn and joint.shape[1] > 1 else 0.0
    return _Mean(means, sd, together)


def paired_tests(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] = ("model",),
    family: Sequence[str] | None = None,
    against: str = ALL,
    confidence: float = 0.95,
    draws: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Two methods on the same units, within each group `by`: those columns and TESTS.

    against      all: every pair, the one with the higher mean first; best: the method of the highest mean over the common units
                 (of all methods with a score; where there are none, each over its own) against each other one. The best is chosen
                 on the same units, so its tests are adjusted for all pairs nonetheless
    family       columns within whose values Holm's adjustment counts pairs; `by` where nothing is given. With by=("model",
                 "aggregation") and family=("model",), it is over pairs of methods times aggregations
    difference, se, low, high   mean of first minus second over the n_clusters of the n_units that have both, and its interval by
                 Student's t
    wins         share of the units where the first is higher, ties half
    t, p_t       paired t test, two-sided; w, p_wilcoxon: Wilcoxon's signed ranks, those without a difference left out; both of
                 the clusters' means. Only t knows of joint `draws`, as in `method_table`
    published_*  the paper's test (Table 5): two-sample t of equal variances, as if the units were others, one-sided for first >
                 second, not adjusted, beside ours and not in its place. The p values that the paper prints follow from the means
                 and standard errors of its Table 4 neither one-sided nor two-sided
    reason       why a pair has no test of ours, empty where it has one
    """
    table = _checked(scores, by)
    joint = _joint(draws, table)
    if family is not None and (not family or not set(family) <= set(by)):
        raise arguments.wrong(
            "family", "is {given}; it must name some of the columns {groups}", given=list(family), groups=", ".join(by)
        )
    arguments.choice(against, "against", (BEST, ALL))
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    rows: list[dict[str, object]] = []
    for group, own in table.groupby(list(by), sort=True, observed=True):
        wide, cluster, places = _wide(own)
        best = _best(wide)
        for pair in combinations(wide.columns, 2):
            there = wide[list(pair)].notna().all(axis=1).to_numpy(bool)
            means = {
                name: _clustered(wide[name].to_numpy(np.float64)[there], cluster[there], joint[:0]).mean
                for name in pair
            }
            first, second = sorted(pair, key=lambda name: (-means[name] if there.any() else 0.0, name))
            one, two = (wide[name].to_numpy(np.float64)[there] for name in (first, second))
            drawn = joint[places[first].to_numpy()[there]] - joint[places[second].to_numpy()[there]]
            found = _test(one - two, cluster[there], drawn, confidence)
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
        unit=columns.whole_numbers(table, "scores", "unit"),
        rho=columns.scores(table, "scores", "rho"),
        place=np.arange(len(table)),
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
    if "cluster" in known:
        kinds = known.groupby(UNIT, observed=True)["cluster"].nunique(dropna=False)
        if (kinds > 1).any() or known["cluster"].isna().any():
            where = (
                kinds.index[kinds > 1][0]
                if (kinds > 1).any()
                else known.loc[known["cluster"].isna(), UNIT].iloc[0].tolist()
            )
            raise arguments.wrong(
                "scores", "holds no cluster, or two, of the unit {unit}", unit="/".join(map(str, where))
            )
    return known


def _joint(draws: NDArray[np.floating] | None, table: pd.DataFrame) -> NDArray[np.float64]:
    """Joint draws (rows, D), of width 0 where there are none."""
    if draws is None:
        return np.empty((len(table), 0))
    given = np.asarray(draws, np.float64)
    if given.ndim != 2 or len(given) != len(table):
        raise arguments.wrong(
            "draws",
            "has shape {shape}; scores has {rows} rows, and each needs a row of draws",
            shape=given.shape,
            rows=len(table),
        )
    return given


def _wide(own: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64], pd.DataFrame]:
    """Scores with a row a unit and a column a method, both sorted; the number of each unit's cluster; places of the scores."""
    wide = own.pivot(index=UNIT, columns="method", values="rho").sort_index().sort_index(axis=1)
    if "cluster" not in own:
        cluster = np.arange(len(wide))
    else:
        named = own.drop_duplicates(UNIT).set_index(UNIT)["cluster"].reindex(wide.index)
        cluster = np.unique(named.astype(str).to_numpy(), return_inverse=True)[1]
    places = own.pivot(index=UNIT, columns="method", values="place").reindex(index=wide.index, columns=wide.columns)
    return wide, cluster, places.fillna(-1).astype(np.int64)


def _best(wide: pd.DataFrame) -> str | None:
    """The method of the highest mean over the units that all methods with a score have in common, if there are any."""
    scored = wide.dropna(axis=1, how="all")
    common = scored.dropna()
    return None if scored.empty else str((common if len(common) else scored).mean().idxmax())


def _named(by: Sequence[str], group: object) -> dict[str, object]:
    return dict(zip(by, group if isinstance(group, tuple) else (group,), strict=True))


def _test(
    difference: NDArray[np.float64], cluster: NDArray[np.int64], joint: NDArray[np.float64], confidence: float
) -> dict[str, object]:
    """The tests of differences (units,) and joint draws of them (units, D)."""
    row: dict[str, object] = {"n_units": len(difference), "n_clusters": 0, "reason": ""}
    if not len(difference):
        return row | {"reason": TOO_FEW}
    found = _clustered(difference, cluster, joint)
    row |= {"n_clusters": found.n, "difference": found.mean}
    row |= {"wins": float(np.mean(np.where(difference == 0, 0.5, difference > 0)))}
    if found.n < FEWEST_UNITS or (difference == 0).all():
        return row | {"reason": TOO_FEW if found.n < FEWEST_UNITS else ALIKE}
    low, high = found.interval(confidence)
    row |= {"se": found.se, "low": low, "high": high}
    if found.sd > ROUNDING * abs(found.mean):  # else all differences are the same, and no t has a meaning
        t = found.mean / found.se
        row |= {"t": t, "p_t": float(2 * stats.t.sf(abs(t), found.n - 1))}
    w, p = signed_ranks(found.values)
    return row | {"w": w, "p_wilcoxon": p}


def signed_ranks(differences: NDArray[np.floating]) -> tuple[float, float]:
    """Statistic and two-sided p of Wilcoxon's signed ranks; differences of 0 are left out, equal ones share their mean rank.

    Exact up to MOST_EXACT differences, ties included: the chances of all rank sums, one difference after the other. Methods often
    name the same text, so ties are the rule, for which scipy counts every assignment of signs, or takes a normal distribution.
    """
    there = differences[differences != 0]
    if len(there) > MOST_EXACT:
        found = stats.wilcoxon(there, method="approx")
        return float(found.statistic), float(found.pvalue)
    doubled = np.rint(2 * stats.rankdata(np.abs(there))).astype(np.int64)  # mean ranks are multiples of one half
    above, total = int(doubled[there > 0].sum()), int(doubled.sum())
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[: len(chance) - rank]
        chance = (chance + moved) / 2
    tails = chance[: above + 1].sum(), chance[above:].sum()
    return min(above, total - above) / 2, float(min(1.0, 2 * min(tails)))


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
