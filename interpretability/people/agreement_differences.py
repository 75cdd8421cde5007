"""Which similarity agrees better with people, and where a score and people differ most.

Similarities answer the same tasks of the same units, so their correlations with HIS rise and fall together: what is
tested is their difference over common resamples, not whether two intervals overlap.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability import schema, statistics
from interpretability.people import agreement
from interpretability.people.resampling import resample_units, widening
from interpretability.randomness import generator
from interpretability.schema import UNIT

COMPARED = schema.LEVELS[:2]
COLUMNS = ["first", "second", "level", "units", "coefficient", "n", "difference", "low", "high", "p", "p_holm"]
RESIDUAL_COLUMNS = [
    *("backend", "side", "rank", *schema.KEY, "mis", "mis_se", "his", "his_se", "difference", "se", "z"),
]
_BLOCK_VALUES = 1 << 21
_SAME = 1e-9  # standard error of a difference below which two scores are one


def agreement_differences(units: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float) -> pd.DataFrame:
    """Difference of the correlations of every two backends with HIS, first minus second: COLUMNS.

    `units` as for `agreement.agreement_table`; units that not all backends have are left out. Resamples of units are
    those of that table, the same for all backends.

    low, high  interval of the difference: t quantile times its bootstrap standard error
    p          two-sided, of the same t with units - 1 degrees of freedom, so it is below 1 - confidence exactly where
               the interval leaves zero out
    p_holm     p adjusted over the pairs of one level, set of units and coefficient (Holm); low, high and p are of each
               comparison alone
    NaN below three units and where a score is constant; p also where two scores are one.
    """
    wide = units.pivot(index=schema.KEY, columns="backend", values="mis").dropna()
    backends = [name for name in pd.unique(units["backend"]) if name in wide]
    facts = units.drop_duplicates(schema.KEY).set_index(schema.KEY)[["his", "in_split"]]
    table = wide[backends].join(facts).reset_index().sort_values(schema.KEY, kind="stable", ignore_index=True)
    rows = []
    for level in COMPARED:
        for unit_set in schema.UNIT_SETS:
            kept = table if unit_set == "all" else table[~table["in_split"].astype(bool)]
            if len(kept) < statistics.MIN_POINTS or len(backends) < 2:
                continue
            draw = generator(seed, "agreement", level, unit_set)
            drawn = resample_units(kept, n_bootstrap, draw)
            group = kept.groupby(["model", "condition"], observed=True).ngroup().to_numpy()
            mis, his = kept[backends].to_numpy(np.float64).T, kept["his"].to_numpy(np.float64)
            within = group if level == "unit_within" else None
            points = joint_correlations(mis, his, within, np.arange(len(kept))[None])[..., 0]
            draws = joint_correlations(mis, his, within, drawn)
            degrees, wider = max(len(kept.drop_duplicates(UNIT)) - 1, 1), widening(kept)
            for first, second in combinations(range(len(backends)), 2):
                for index, coefficient in enumerate(("pearson", "spearman")):
                    pair = [first, second]
                    interval = difference_interval(points[index, pair], draws[index, pair], degrees, confidence, wider)
                    names = (backends[first], backends[second], level, unit_set, coefficient, len(kept))
                    rows.append((*names, *interval))
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    adjusted = table.groupby(["level", "units", "coefficient"], sort=False)["p"].transform(statistics.holm)
    return table.assign(p_holm=adjusted.astype(np.float64))


def joint_correlations(
    mis: NDArray[np.float64],
    his: NDArray[np.float64],
    group: NDArray[np.integer] | None,
    drawn: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Pearson and Spearman (2, backends, resamples) of scores (backends, units) with his over rows `drawn`."""
    out = np.empty((2, len(mis), len(drawn)))
    for start in range(0, len(drawn), size := max(1, _BLOCK_VALUES // drawn.shape[1])):
        rows = drawn[start : start + size]
        people = his[rows] if group is None else agreement.centre(his[rows], group)
        ranked = stats.rankdata(people, axis=-1)
        for backend, scores in enumerate(mis):
            values = scores[rows] if group is None else agreement.centre(scores[rows], group)
            part = np.s_[backend, start : start + size]
            out[0][part] = statistics.pearson(values, people)
            out[1][part] = statistics.pearson(stats.rankdata(values, axis=-1), ranked)
    return out


def difference_interval(
    points: NDArray[np.float64], draws: NDArray[np.float64], degrees: int, confidence: float, wider: float = 1.0
) -> tuple[float, float, float, float]:
    """Difference of two correlations, its interval and p, from their bootstrap values (2, resamples).

    wider: what the standard deviation over resamples is multiplied by, see `resampling.widening`.
    """
    change = float(points[0] - points[1])
    changes = draws[0] - draws[1]
    changes = changes[np.isfinite(changes)]
    if not np.isfinite(points).all() or len(changes) < 2:
        return change, float("nan"), float("nan"), float("nan")
    error = float(changes.std(ddof=1)) * wider
    reach = float(stats.t.ppf((1 + confidence) / 2, degrees)) * error
    p = float(2 * stats.t.sf(abs(change) / error, degrees)) if error > _SAME else float("nan")
    return change, change - reach, change + reach, p


def residuals(units: pd.DataFrame, n_each: int) -> pd.DataFrame:
    """Units outside the calibration split whose MIS misses HIS most: RESIDUAL_COLUMNS, largest z first on either side.

    side        under: HIS is higher than MIS;  over: HIS is lower. At most n_each units a side and backend
    difference  HIS minus MIS;  se: sqrt(his_se^2 + mis_se^2)
    z           difference / se: the noise of answers and of tasks alone would give |z| above 2 to about one unit in 20.
                his_se takes the share (right + 1) / (answers + 2), so that it is not zero where all were right
    `units`: key, backend, mis, mis_se, his, n_responses, in_split.
    """
    kept = units[~units["in_split"].astype(bool)].copy()
    answers = kept["n_responses"].to_numpy(np.float64)
    smooth = (kept["his"] * answers + 1) / (answers + 2)
    kept["his_se"] = np.sqrt(smooth * (1 - smooth) / answers)
    kept["difference"] = kept["his"] - kept["mis"]
    kept["se"] = np.hypot(kept["his_se"], kept["mis_se"].fillna(0.0))
    kept["z"] = kept["difference"] / kept["se"]
    parts = []
    for backend in pd.unique(kept["backend"]):
        of_backend = kept[kept["backend"] == backend]
        for side, sign in (("under", -1.0), ("over", 1.0)):
            worst = of_backend[of_backend["z"] * sign < 0].assign(size=lambda rows, sign=sign: rows["z"] * sign)
            worst = worst.sort_values(["size", *schema.KEY], kind="stable").head(n_each)
            parts.append(worst.assign(side=side, rank=np.arange(1, len(worst) + 1)))
    return pd.concat(parts, ignore_index=True)[RESIDUAL_COLUMNS] if parts else pd.DataFrame(columns=RESIDUAL_COLUMNS)
