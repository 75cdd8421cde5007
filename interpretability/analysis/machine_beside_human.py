"""Machine scores beside human ones: points of units and networks, bins, groups, layers and conditions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from interpretability import statistics
from interpretability.analysis.conditions import base_of, is_level
from interpretability.analysis.group_tests import conover
from interpretability.analysis.pairs import PAPER_COLUMNS, beside_papers
from interpretability.people import two_way
from interpretability.randomness import generator
from interpretability.schema import GROUPS, KEY, NATURAL, SYNTHETIC, UNIT
from interpretability.statistics import FEWEST, FEWEST_CORRELATED, FEWEST_SCORES

POINT_COLUMNS = [
    *("backend", "model", "condition", "n_units", "mis_mean", "mis_low", "mis_high", "his_mean", "his_low", "his_high"),
]
UNIT_COLUMNS = ["backend", *KEY, "layer_type", "layer_index", "depth", "mis", "his", "n_responses", "in_split"]
BIN_COLUMNS = ["backend", "bin", "n", "mis_from", "mis_to", "mis_mean", "his_mean", "his_low", "his_high"]
MOST_BINS, FEWEST_IN_BIN = 10, 5
GROUP_TEST_COLUMNS = ["first", "second", *PAPER_COLUMNS]
GROUP_COLUMNS = ["model", "chosen", "group", "n_units", "mis_mean", "his_mean", "his_low", "his_high"]
_NONE = float("nan"), float("nan")
BEFORE, AFTER = "among all units", "among annotated units"
LAYER_COLUMNS = ["model", "layer", "layer_type", "layer_index", "depth", "n_units", "his_mean"]
DEPTH_COLUMNS = ["model", "n_layers", "spearman", "p"]
PAIR_COLUMNS = [*UNIT, "layer_type", "depth", "base", "condition", "his_base", "his"]


def unit_points(annotated: pd.DataFrame) -> pd.DataFrame:
    """Every annotated unit under every similarity (figures 2B and 12): UNIT_COLUMNS, sorted by backend as given and key."""
    order = annotated["backend"].map({name: position for position, name in enumerate(pd.unique(annotated["backend"]))})
    return annotated.assign(order=order).sort_values(["order", *KEY], ignore_index=True)[UNIT_COLUMNS]


def model_points(annotated: pd.DataFrame, responses: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean MIS and HIS of the annotated units of each network and condition (figures 2A, 10, 14): POINT_COLUMNS.

    Intervals of MIS are for other units, see `statistics.share_interval`; those of HIS are for other units and other
    people, from the answers to these units (`responses`: key, participant, correct), see `two_way`.
    """
    answers = responses.merge(annotated[KEY].drop_duplicates(), on=KEY)
    people = two_way.means_of_units(answers, confidence)
    names = zip(people["model"].astype(str), people["condition"].astype(str), strict=True)
    ends = dict(zip(names, zip(people["low"], people["high"], strict=True), strict=True))
    rows = []
    for (backend, model, condition), own in annotated.groupby(
        ["backend", "model", "condition"], sort=False, observed=True
    ):
        mis = own["mis"].to_numpy(np.float64)
        of_people = ends.get((str(model), str(condition)), _NONE) if len(own) >= FEWEST_SCORES else _NONE
        means = mis.mean(), *_interval(mis, confidence), own["his"].mean(), *of_people
        rows.append((backend, model, condition, len(own), *means))
    return pd.DataFrame(rows, columns=POINT_COLUMNS)


def his_bins(annotated: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean HIS in bins of equally many units by MIS (figure 2B, right), a backend after the other: BIN_COLUMNS.

    Units outside the calibration split; at most MOST_BINS bins of at least FEWEST_IN_BIN units, no row below that. The
    interval is for other units with MIS in the range of the bin, answered by these people (`statistics.share_interval`).
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
    """Mean scores of the groups of `group_units`, by network and over all of them (model is empty): GROUP_COLUMNS.

    Intervals are for other units answered by these people (`statistics.share_interval`).
    """
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
    """Conover's test between the groups of all networks, as in the papers: GROUP_TEST_COLUMNS, without stars.

    It takes units for independent draws, and they are not: see `pairs`.
    """
    found = conover(units["his"].to_numpy(np.float64), units["group"].to_numpy(object))
    return beside_papers(found[["first", "second"]], found)


def his_layers(annotated: pd.DataFrame) -> pd.DataFrame:
    """Mean HIS of the annotated natural units of each layer (IMI, figure 5), one backend: LAYER_COLUMNS."""
    natural = annotated[annotated["condition"] == NATURAL]
    by = ["model", "layer", "layer_type", "layer_index", "depth"]
    table = natural.groupby(by, sort=False, observed=True)["his"].agg(n_units="size", his_mean="mean").reset_index()
    return table.sort_values(["model", "layer_index", "layer"], ignore_index=True)[LAYER_COLUMNS]


def his_depth(layers: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of layers' HIS with their position by network, from `his_layers`: DEPTH_COLUMNS.

    p is two-sided, of each network alone: not adjusted for their number, and without stars. IMI divides the position by that
    of the last layer asked about, which changes no rank. A network with fewer than FEWEST_CORRELATED layers has its number
    of layers alone.
    """
    rows = []
    for model, own in layers.groupby("model", sort=True, observed=True):
        rho = p = float("nan")
        if len(own) >= FEWEST_CORRELATED:
            rho = float(statistics.spearman(own["depth"].to_numpy(np.float64), own["his_mean"].to_numpy(np.float64)))
        if np.isfinite(rho):
            p = float(stats.spearmanr(own["depth"], own["his_mean"]).pvalue)
        rows.append((model, len(own), rho, p))
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
        if condition != SYNTHETIC and not is_level(condition):
            continue
        base = NATURAL if condition == SYNTHETIC else base_of(condition)
        sides = (people.loc[people["condition"] == name, [*UNIT, "his"]] for name in (base, condition))
        both = next(sides).merge(next(sides), on=UNIT, suffixes=("_base", "")).merge(facts, on=UNIT, how="left")
        parts.append(both.assign(base=base, condition=condition).sort_values(UNIT, kind="stable")[PAIR_COLUMNS])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _interval(scores: np.ndarray, confidence: float) -> tuple[float, float]:
    """Interval of a mean score for other units; that of HIS for other units answered by these people."""
    spread = scores.std(ddof=1) if len(scores) > 1 and np.ptp(scores) > 0 else np.nan
    low, high = statistics.share_interval(scores.mean(), spread, len(scores), confidence)
    return float(low), float(high)


HIS_COLUMNS = [
    *("model", "condition", "n_units", "his_mean", "low", "high", "these_low", "these_high", "bca_low", "bca_high"),
]


def his_summary(
    people: pd.DataFrame, seed: int, n_bootstrap: int, confidence: float, responses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Human Interpretability Score of every network and condition: HIS_COLUMNS, sorted.

    `people`: model, condition, his, one row a unit; `responses` (key, participant, correct): their answers.
    his_mean is the unweighted mean of the units' scores, 0 to 1. Three intervals, NaN below FEWEST_SCORES units and where all
    units score the same:

    low, high              other units and other people, from `responses` (see `two_way`): what is said of a network
    these_low, these_high  other units answered by these people, see `statistics.share_interval`
    bca_low, bca_high      the bias-corrected and accelerated bootstrap over units of IMI's analysis, for comparison with the
                           paper. It takes people as given too, and covers them less well than the second with few units
    benchmarks/coverage.py has the coverage of each.
    Departure: IMI does not seed its bootstrap; here the draws are keyed by seed, network and condition. The first two are
    ours.
    """
    rows = []
    for (model, condition), units in people.groupby(["model", "condition"], sort=True, observed=True):
        his = np.sort(units["his"].to_numpy(np.float64))
        these = _interval(his, confidence)
        bca = float("nan"), float("nan")
        if np.isfinite(these[0]):
            draw = generator(seed, "his interval", str(model), str(condition))
            ends = stats.bootstrap(
                (his,), np.mean, n_resamples=n_bootstrap, confidence_level=confidence, method="BCa", rng=draw
            )
            bca = ends.confidence_interval
        rows.append((model, condition, len(his), his.mean(), *these, *bca))
    table = pd.DataFrame(rows, columns=[name for name in HIS_COLUMNS if name not in ("low", "high")])
    if responses is None or not len(table):
        return table.reindex(columns=HIS_COLUMNS)
    wider = two_way.means_of_units(responses, confidence)[["model", "condition", "low", "high"]]
    table = table.merge(wider, on=["model", "condition"], how="left")
    unknown = table["these_low"].isna()
    return table.assign(low=table["low"].mask(unknown), high=table["high"].mask(unknown))[HIS_COLUMNS]
