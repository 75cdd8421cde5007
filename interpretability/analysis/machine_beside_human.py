"""Machine scores beside human ones: points of units and networks, bins, groups, layers and conditions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from interpretability import statistics
from interpretability.analysis.conditions import base_of
from interpretability.analysis.group_tests import conover, stars
from interpretability.people import components
from interpretability.randomness import generator
from interpretability.schema import GROUPS, KEY, NATURAL, SYNTHETIC, UNIT
from interpretability.statistics import FEWEST, mean_interval

POINT_COLUMNS = [
    *("backend", "model", "condition", "n_units", "mis_mean", "mis_low", "mis_high", "his_mean", "his_low", "his_high"),
]
UNIT_COLUMNS = ["backend", *KEY, "layer_type", "layer_index", "depth", "mis", "his", "n_responses", "in_split"]
BIN_COLUMNS = ["backend", "bin", "n", "mis_from", "mis_to", "mis_mean", "his_mean", "his_low", "his_high"]
MOST_BINS, FEWEST_IN_BIN = 10, 5
GROUP_COLUMNS = ["model", "chosen", "group", "n_units", "mis_mean", "his_mean", "his_low", "his_high"]
BEFORE, AFTER = "among all units", "among annotated units"
LAYER_COLUMNS = ["model", "layer", "layer_type", "layer_index", "depth", "n_units", "his_mean"]
DEPTH_COLUMNS = ["model", "n_layers", "spearman", "p", "stars"]
PAIR_COLUMNS = [*UNIT, "layer_type", "depth", "base", "condition", "his_base", "his"]


def unit_points(annotated: pd.DataFrame) -> pd.DataFrame:
    """Every annotated unit under every similarity (figures 2B and 12): UNIT_COLUMNS, sorted by backend as given and key."""
    order = annotated["backend"].map({name: position for position, name in enumerate(pd.unique(annotated["backend"]))})
    return annotated.assign(order=order).sort_values(["order", *KEY], ignore_index=True)[UNIT_COLUMNS]


def model_points(annotated: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean MIS and HIS of the annotated units of each network and condition (figures 2A, 10, 14): POINT_COLUMNS.

    Intervals are those of means over units (t), see `mean_interval`.
    """
    rows = []
    for names, own in annotated.groupby(["backend", "model", "condition"], sort=False, observed=True):
        row = [*names, len(own)]
        for score in ("mis", "his"):
            values = own[score].to_numpy(np.float64)
            row += [values.mean(), *_interval(values, confidence)]
        rows.append(row)
    return pd.DataFrame(rows, columns=POINT_COLUMNS)


def his_bins(annotated: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean HIS in bins of equally many units by MIS (figure 2B, right), a backend after the other: BIN_COLUMNS.

    Units outside the calibration split; at most MOST_BINS bins of at least FEWEST_IN_BIN units, no row below that.
    """
    rows = []
    for backend, own in annotated.groupby("backend", sort=False, observed=True):
        units = own[~own["in_split"].astype(bool)].sort_values(["mis", *KEY], ignore_index=True)
        n_bins = min(MOST_BINS, len(units) // FEWEST_IN_BIN)
        for number, index in enumerate(np.array_split(np.arange(len(units)), n_bins) if n_bins else []):
            part = units.iloc[index]
            his, mis = part["his"].to_numpy(np.float64), part["mis"]
            ends = (mis.min(), mis.max(), mis.mean())
            rows.append((backend, number + 1, len(part), *ends, his.mean(), *_interval(his, confidence)))
    return pd.DataFrame(rows, columns=BIN_COLUMNS)


def group_units(annotated: pd.DataFrame, extreme: pd.DataFrame, k: int, seed: int) -> pd.DataFrame:
    """Annotated natural units of one backend by group (figure 2C): UNIT, mis, his, group, chosen.

    A network whose `extreme` units (UNIT, end: the k easiest and the k hardest of all its units) were put before people,
    at least FEWEST an end, has those groups; its other annotated units are the random ones (chosen is BEFORE). Elsewhere
    the easiest and hardest tenth (at most k, at least FEWEST) are chosen among the annotated units outside the
    calibration split after the fact, and as many of the others at random (AFTER): the same comparison without its force
    of a prediction. Networks with too few units for three groups are left out.
    """
    parts = []
    for model, own in annotated[annotated["condition"] == NATURAL].groupby("model", sort=True, observed=True):
        ends = own[UNIT].merge(extreme[[*UNIT, "end"]], on=UNIT, how="left")["end"].to_numpy(object)
        counts = [(ends == end).sum() for end in ("easiest", "hardest")]
        if min(counts) >= FEWEST and pd.isna(ends).sum() >= FEWEST:
            group = np.where(pd.isna(ends), "random", ends)
            parts.append(own.assign(group=group, chosen=BEFORE))
            continue
        free = own[~own["in_split"].astype(bool)].sort_values(["mis", *UNIT], ignore_index=True)
        size = min(k, max(FEWEST, len(free) // 10))
        if len(free) < 3 * size:
            continue
        middle = generator(seed, "random annotated units", str(model)).permutation(np.arange(size, len(free) - size))
        rows = {
            "easiest": np.arange(len(free) - size, len(free)),
            "random": np.sort(middle[:size]),
            "hardest": np.arange(size),
        }
        parts += [free.iloc[members].assign(group=group, chosen=AFTER) for group, members in rows.items()]
    columns = [*UNIT, "mis", "his", "group", "chosen"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def groups(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean scores of the groups of `group_units`, by network and over all of them (model is empty): GROUP_COLUMNS."""
    rows = []
    for model, own in [*units.groupby("model", sort=True, observed=True), ("", units)]:
        for group in GROUPS:
            part = own[own["group"] == group]
            if len(part):
                his = part["his"].to_numpy(np.float64)
                chosen = part["chosen"].iloc[0] if part["chosen"].nunique() == 1 else f"{BEFORE} or {AFTER}"
                rows.append(
                    (model, chosen, group, len(part), part["mis"].mean(), his.mean(), *_interval(his, confidence))
                )
    return pd.DataFrame(rows, columns=GROUP_COLUMNS)


def group_tests(units: pd.DataFrame) -> pd.DataFrame:
    """Conover's test between the groups of all networks, Holm-adjusted: columns of `comparisons.conover_of`."""
    return conover(units["his"].to_numpy(np.float64), units["group"].to_numpy(object))


def his_layers(annotated: pd.DataFrame) -> pd.DataFrame:
    """Mean HIS of the annotated natural units of each layer (IMI, figure 5), one backend: LAYER_COLUMNS."""
    natural = annotated[annotated["condition"] == NATURAL]
    by = ["model", "layer", "layer_type", "layer_index", "depth"]
    table = natural.groupby(by, sort=False, observed=True)["his"].agg(n_units="size", his_mean="mean").reset_index()
    return table.sort_values(["model", "layer_index", "layer"], ignore_index=True)[LAYER_COLUMNS]


def his_depth(layers: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of layers' HIS with their position by network, from `his_layers`: DEPTH_COLUMNS.

    p is two-sided; stars as in `comparisons`. IMI divides the position by that of the last layer asked about, which
    changes no rank.
    """
    rows = []
    for model, own in layers.groupby("model", sort=True, observed=True):
        rho = float(statistics.spearman(own["depth"].to_numpy(np.float64), own["his_mean"].to_numpy(np.float64)))
        p = float(stats.spearmanr(own["depth"], own["his_mean"]).pvalue) if np.isfinite(rho) else float("nan")
        rows.append((model, len(own), rho, p, stars(p)))
    return pd.DataFrame(rows, columns=DEPTH_COLUMNS)


def unit_pairs(people: pd.DataFrame, annotated: pd.DataFrame) -> pd.DataFrame:
    """Units that people judged under a harder or synthetic condition and the easy one it belongs to: PAIR_COLUMNS.

    `people`: key, his. Always joined on the unit. layer_type and depth are missing for units that this study does not
    score.
    """
    facts = annotated.drop_duplicates(UNIT)[[*UNIT, "layer_type", "depth"]]
    present = sorted(map(str, people["condition"].unique()))
    parts = [pd.DataFrame(columns=PAIR_COLUMNS)]
    for condition in present:
        base = NATURAL if condition == SYNTHETIC else base_of(condition)
        if base == condition:
            continue
        sides = (people.loc[people["condition"] == name, [*UNIT, "his"]] for name in (base, condition))
        both = next(sides).merge(next(sides), on=UNIT, suffixes=("_base", "")).merge(facts, on=UNIT, how="left")
        parts.append(both.assign(base=base, condition=condition).sort_values(UNIT, kind="stable")[PAIR_COLUMNS])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    spread = values.std(ddof=1) if len(values) > 1 else np.nan
    low, high = mean_interval(values.mean(), spread, np.array(len(values)), confidence)
    return float(low), float(high)


HIS_COLUMNS = ["model", "condition", "n_units", "his_mean", "low", "high", "people_low", "people_high"]


def his_summary(
    people: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float, responses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Human Interpretability Score of every network and condition: HIS_COLUMNS, sorted.

    `people`: model, condition, his, one row a unit. his_mean is the unweighted mean of the units' scores; low and high are
    its bias-corrected and accelerated bootstrap interval over units, as in the analysis of IMI. NaN below FEWEST units
    and where all units score the same. The interval speaks of other units answered by these people; people differ and
    answer many units each, so with other people it covers in 88 to 92 % of simulated studies (benchmarks/coverage.py).
    people_low and people_high, from `responses` (key, participant, correct), are for other units and other people, see
    `components.mean_of_networks` (95 %).
    Departure: IMI does not seed its bootstrap; here the draws are keyed by seed, network and condition. The second
    interval is ours.
    """
    rows = []
    for (model, condition), units in people.groupby(["model", "condition"], sort=True, observed=True):
        his = np.sort(units["his"].to_numpy(np.float64))
        low = high = float("nan")
        if len(his) >= FEWEST and np.ptp(his) > 0:
            draw = generator(seed, "his interval", str(model), str(condition))
            ends = stats.bootstrap(
                (his,), np.mean, n_resamples=n_bootstrap, confidence_level=confidence, method="BCa", rng=draw
            )
            low, high = ends.confidence_interval
        rows.append((model, condition, len(his), his.mean(), low, high))
    table = pd.DataFrame(rows, columns=HIS_COLUMNS[:-2])
    if responses is None or not len(table):
        return table.reindex(columns=HIS_COLUMNS)
    wider = components.mean_of_networks(responses, confidence).rename(
        columns={"low": "people_low", "high": "people_high"}
    )
    return table.merge(wider, on=["model", "condition"], how="left")
