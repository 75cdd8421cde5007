"""How well any score could agree with people whose answers are a finite sample: variants of a noise ceiling.

With his the recorded share of right answers of a unit from n answers, and every variant a Pearson correlation
over units:

V1  simulated his, Binomial(n, his) / n, with recorded his
V2  two independent simulated his
V3  simulated his with MIS: the wording of the MIS paper's appendix B. Not a ceiling: noise can only lower the
    agreement that MIS has
V4  sqrt(1 - E[his (1 - his) / (n - 1)] / Var his): true shares with the recorded ones. This one leads.
V4w the same with the noise of answers to one task, see `noise_within_tasks`; where tasks are known
V4b V4 times sqrt(1 - E[mis_se^2] / Var MIS): what MIS can reach as a mean over N sampled tasks
V5  Binomial(n, MIS) / n with MIS: the ceiling if MIS were the truth
mixed       true shares with the recorded ones in a model with effects of unit, task and person, see `components`;
            where tasks are known
split_half  halves of every unit's answers drawn at random, their mean correlation r over many draws: sqrt(2 r / (1 + r))
true        true shares of simulated observers with the recorded ones: what V4, V4w, mixed and split_half estimate

Departure: V4w, V4b, mixed, split_half and true are ours; the papers leave the choice among V1 to V5.

Which ones compare. V1 and V2 simulate from shares that are noisy already and therefore overstate the spread of the
units. V4 and split_half take the answers to a unit for draws with one probability and agree with each other. Answers
spread evenly over tasks of unequal difficulty vary less, so both err low, and a score that knows the tasks can exceed
them. V4w and mixed compare answers to the same task and do not have this bias; mixed also sets apart what units share
because the same people answered them. On simulated studies of 4 networks of 100 units and 30 answers V4 errs by -.015,
V4w by -.001 and mixed by less than .001 (benchmarks/coverage.py has more). V4b is stricter than V4: a score that sees all
images of a unit, not N tasks, may pass it, and so may MIS where people answered its very tasks.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from stages.science.agreement import (
    MIN_POINTS,
    UNIT,
    fisher_interval,
    fisher_z,
    pearson,
    percentile_interval,
    resample_units,
)
from stages.science.components import components_ceiling
from stages.science.randomness import generator

OF_PEOPLE = ("V1", "V2", "V4", "split_half")
# Variants that need a column more: of people, and of a score.
NEEDS = {"V4w": "noise_within", "true": "p_true"}
NEEDS_OF_SCORE = {"V4b": "mis_se"}
OF_SCORE = ("V3", "V5")
LEADING = "V4"
SUBSETS = ("easy", "all")
EASY_CONDITIONS = ("natural", "synthetic")
COLUMNS = [
    "subset",
    "backend",
    "variant",
    "is_ceiling",
    "mean",
    "sd",
    "low",
    "high",
    "n_units",
    "n_simulations",
]
SHARE_COLUMNS = ["subset", "backend", "n_units", "agreement", "ceiling", "share", "share_low", "share_high"]
_BLOCK_VALUES = 1 << 22
# Share of a normal distribution within one standard deviation of its mean.
_MIDDLE = 0.6827


def simulated_correlations(
    variant: str,
    his: NDArray[np.floating],
    n_responses: NDArray[np.integer],
    n_simulations: int,
    draw: np.random.Generator,
    mis: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Correlations (n_simulations,) of V1, V2, V3 or V5, with every unit's own number of answers."""
    his = np.asarray(his, dtype=np.float64)
    answers = np.asarray(n_responses, dtype=np.int64)
    truth = np.asarray(mis, dtype=np.float64) if variant == "V5" else his
    reference = his if variant == "V1" else mis
    values = []
    size = max(1, _BLOCK_VALUES // max(len(his), 1))
    for start in range(0, n_simulations, size):
        shape = (min(size, n_simulations - start), len(his))
        simulated = draw.binomial(answers, truth, size=shape) / answers
        other = draw.binomial(answers, truth, size=shape) / answers if variant == "V2" else reference
        values.append(pearson(simulated, other))
    return np.concatenate(values) if values else np.empty(0)


def analytic_ceiling(his: NDArray[np.floating], n_responses: NDArray[np.integer]) -> NDArray[np.float64]:
    """V4 along the last axis, in [0, 1]; 0 where the spread of the units is all noise.

    NaN below three units, with a unit of a single answer, or where all units have the same his.
    """
    his, answers = np.asarray(his, dtype=np.float64), np.asarray(n_responses, dtype=np.float64)
    if (answers < 2).any():
        return np.full(his.shape[:-1], np.nan)[()]
    return ceiling_of_noise(his, his * (1 - his) / (answers - 1))


def ceiling_of_noise(his: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float64]:
    """sqrt(1 - mean noise / Var his) along the last axis, in [0, 1]; `noise` is the error variance of each his.

    NaN below three units or where all units have the same his.
    """
    if his.shape[-1] < MIN_POINTS:
        return np.full(his.shape[:-1], np.nan)[()]
    constant = np.ptp(his, axis=-1) == 0
    variance = np.where(constant, np.nan, his.var(axis=-1, ddof=1))
    return np.sqrt(np.clip(1 - noise.mean(axis=-1) / variance, 0.0, 1.0))[()]


def noise_within_tasks(responses: pd.DataFrame) -> pd.DataFrame:
    """Error variance of each unit's his, from answers to the same task: key, noise_within.

    `responses`: key, task (-1: not known), correct, one row an answer. A unit's his is the mean of its answers, and its
    tasks are taken as they are, so its variance is sum n_t s_t^2 / n^2 over tasks, with n_t answers and their unbiased
    variance s_t^2; tasks with a single answer take the mean variance within the unit's other tasks. NaN for a unit without
    a task of two answers or with answers to tasks that are not known.
    """
    tasks = (
        responses.groupby([*UNIT, "task"], sort=True, observed=True)["correct"].agg(n="size", p="mean").reset_index()
    )
    tasks["spare"] = tasks["n"] - 1
    tasks["squares"] = tasks["n"] * tasks["p"] * (1 - tasks["p"])
    pooled = tasks.groupby(UNIT, observed=True)[["squares", "spare"]].transform("sum")
    pooled = pooled["squares"] / pooled["spare"].where(pooled["spare"] > 0)
    own = tasks["squares"] / tasks["spare"].where(tasks["spare"] > 0)
    tasks["variance"] = tasks["n"] * own.fillna(pooled).where(tasks["task"] >= 0)
    units = tasks.groupby(UNIT, sort=True, observed=True)
    # a sum that skips no NaN: several times as fast as one written in Python for every unit
    noise = units["variance"].sum().where(units["variance"].count() == units.size()) / units["n"].sum() ** 2
    return noise.rename("noise_within").reset_index()


def attainable(
    his: NDArray[np.floating], n_responses: NDArray[np.integer], mis: NDArray[np.floating], mis_se: NDArray[np.floating]
) -> NDArray[np.float64]:
    """V4b along the last axis: V4 times the square root of the reliability of MIS over its sampled tasks."""
    mis, mis_se = np.asarray(mis, dtype=np.float64), np.asarray(mis_se, dtype=np.float64)
    return analytic_ceiling(his, n_responses) * ceiling_of_noise(mis, mis_se**2)


def split_half(
    his: NDArray[np.floating], n_responses: NDArray[np.integer], draw: np.random.Generator
) -> NDArray[np.float64]:
    """Correlations of random halves of every unit's answers along the last axis, one split a row; NaN as for `pearson`.

    A half of n answers of which k are right has a hypergeometric number of right ones, so no single answer is needed.
    """
    answers = np.asarray(n_responses, dtype=np.int64)
    if (answers < 2).any():
        return np.full(answers.shape[:-1], np.nan)[()]
    right = np.rint(np.asarray(his, dtype=np.float64) * answers).astype(np.int64)
    half = answers // 2
    first = draw.hypergeometric(right, answers - right, half)
    return pearson(first / half, (right - first) / (answers - half))


def spearman_brown(correlation: NDArray[np.floating]) -> NDArray[np.float64]:
    """sqrt(2 r / (1 + r)): correlation of true shares with recorded ones from that of two halves; 0 where r < 0."""
    correlation = np.maximum(correlation, 0.0)
    return np.sqrt(2 * correlation / (1 + correlation))


def ceiling_table(
    units: pd.DataFrame, seed: int, n_simulations: int, confidence: float, responses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every variant over the units of each subset: COLUMNS.

    `units`: model, layer, unit, condition, his, n_responses, backend, mis, one row a unit, condition and
    backend. Subset "easy" has the conditions natural and synthetic, "all" every condition. V1, V2, V4, split_half
    concern people alone (backend ''), and so do V4w with a column noise_within, true with a column p_true, and mixed with
    `responses` (key, task, participant, correct) whose task is known (not -1), each over the units where it is known;
    V4b needs a column mis_se. `mean` of these (but V1 and V2) is their value, and sd, low and high come from
    n_simulations bootstrap samples of units (mixed: a jackknife over units; split_half: with a new split each, which makes
    them a little wide): low and high lie as in `unit_agreement`, those of true are percentiles. The other variants' are
    mean, sd and central interval over their simulations.
    """
    columns = {name: column for name, column in (NEEDS | NEEDS_OF_SCORE).items() if column in units.columns}
    known = [name for name, column in columns.items() if units[column].notna().any()]
    of_people = [*OF_PEOPLE[:3], *(name for name in NEEDS if name in known), *OF_PEOPLE[3:]]
    answered = None if responses is None else responses[responses["task"] >= 0]
    if answered is not None and len(answered):
        of_people.append("mixed")
    of_score = [*OF_SCORE, *(name for name in NEEDS_OF_SCORE if name in known)]
    rows = []
    for subset in SUBSETS if len(units) else ():
        kept = units if subset == "all" else units[units["condition"].isin(EASY_CONDITIONS)]
        kept = kept.sort_values(["model", "layer", "unit", "condition"], kind="stable")
        backends = list(pd.unique(units["backend"]))
        for backend, variants in [("", of_people), *((name, of_score) for name in backends)]:
            of_backend = kept[kept["backend"] == (backend or backends[0])]
            for variant in variants:
                draw = generator(seed, "ceiling", variant, backend)
                if variant == "mixed":
                    summary = _mixed(of_backend, answered, confidence, draw)
                else:
                    summary = ceiling_summary(variant, of_backend, n_simulations, confidence, draw)
                summary = {"is_ceiling": variant != "V3", **summary}
                rows.append({"subset": subset, "backend": backend, "variant": variant, **summary})
    return pd.DataFrame(rows, columns=COLUMNS)


def ceiling_summary(
    variant: str, units: pd.DataFrame, n_simulations: int, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """mean, sd, low, high, n_units and n_simulations of one variant (but mixed) over units as in `ceiling_table`."""
    needs = (NEEDS | NEEDS_OF_SCORE).get(variant)
    if needs is not None:
        units = units[units[needs].notna()]
    his, answers = units["his"].to_numpy(np.float64), units["n_responses"].to_numpy(np.int64)
    given = {name: units[name].to_numpy(np.float64) for name in ("mis", needs) if name in units.columns}
    value = {
        "V4": lambda rows: analytic_ceiling(his[rows], answers[rows]),
        "V4w": lambda rows: ceiling_of_noise(his[rows], given["noise_within"][rows]),
        "V4b": lambda rows: attainable(his[rows], answers[rows], given["mis"][rows], given["mis_se"][rows]),
        "true": lambda rows: pearson(given["p_true"][rows], his[rows]),
        "split_half": lambda rows: spearman_brown(split_half(his[rows], answers[rows], draw)),
    }.get(variant)
    if value is None:
        values = simulated_correlations(variant, his, answers, n_simulations, draw, given["mis"])
        finite = values[np.isfinite(values)]
        mean = finite.mean() if len(finite) else np.nan
    else:
        drawn = resample_units(units, n_simulations, draw)
        values = value(drawn)
        finite = values[np.isfinite(values)]
        mean = value(slice(None))
        if variant == "split_half":
            every = np.tile(np.arange(len(units)), (n_simulations, 1))
            mean = spearman_brown(np.mean(split_half(his[every], answers[every], draw)))
    if value is None or variant == "true":
        low, high = percentile_interval(values, confidence)
    else:
        # symmetric in Fisher's z with a t quantile, as agreement over units
        z = fisher_z(finite)
        quantile = stats.t.ppf((1 + confidence) / 2, max(len(units) - 1, 1))
        low, high = fisher_interval(float(mean), z.std(ddof=1) if len(z) > 1 else float("nan"), quantile)
        low, high = max(low, 0.0), high
    return {
        "mean": float(mean),
        "sd": float(finite.std(ddof=1)) if len(finite) > 1 else float("nan"),
        "low": low,
        "high": high,
        "n_units": len(units),
        "n_simulations": n_simulations,
    }


def _mixed(
    units: pd.DataFrame, responses: pd.DataFrame, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """The variant mixed, over the answers to these units; `n_simulations` is that of the jackknife: none."""
    answered = responses.merge(units[UNIT], on=UNIT)
    n_units = len(answered.drop_duplicates(UNIT))
    value = components_ceiling(answered, confidence, draw) if n_units >= MIN_POINTS else [float("nan")] * 4
    return {**dict(zip(("mean", "sd", "low", "high"), value, strict=True)), "n_units": n_units, "n_simulations": 0}


def share_of_ceiling(
    units: pd.DataFrame, n_bootstrap: int, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """Unit-level Pearson of mis with his divided by V4 of the same units, and its joint bootstrap.

    Both numbers come from the same resampled units, so what they have in common cancels. low and high lie symmetric
    around the share, at the t quantile times half of the range that holds the middle 68 % of the shares over resamples: a
    ratio has a long upper tail, for which percentiles lie too high and a standard deviation is too large. The share may
    exceed 1 by chance. NaN where the ceiling is 0 or undefined.
    """
    mis, his = units["mis"].to_numpy(np.float64), units["his"].to_numpy(np.float64)
    answers = units["n_responses"].to_numpy(np.int64)
    agreement, ceiling = pearson(mis, his), analytic_ceiling(his, answers)
    drawn = resample_units(units, n_bootstrap, draw)
    shares = _ratio(pearson(mis[drawn], his[drawn]), analytic_ceiling(his[drawn], answers[drawn]))
    share = float(_ratio(agreement, ceiling))
    low, high = percentile_interval(shares, _MIDDLE)
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

    `units` as for `ceiling_table`, and in_split. All backends share their resamples.
    """
    rows = []
    for subset in SUBSETS if len(units) else ():
        for backend in pd.unique(units["backend"]):
            kept = (units["backend"] == backend) & ~units["in_split"].astype(bool)
            if subset == "easy":
                kept &= units["condition"].isin(EASY_CONDITIONS)
            ordered = units[kept].sort_values(["model", "layer", "unit", "condition"], kind="stable")
            share = share_of_ceiling(ordered, n_bootstrap, confidence, generator(seed, "share of the ceiling"))
            rows.append({"subset": subset, "backend": backend, **share})
    return pd.DataFrame(rows, columns=SHARE_COLUMNS)


def ceiling_and_shares(ceilings: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """The ceilings over all units, then one row a backend and subset with the share of V4 outside the split.

    Columns: COLUMNS, units (all, outside_split), share, share_low, share_high. The mean of a share's row is V4 of the
    same units.
    """
    rows = shares.assign(variant=LEADING, is_ceiling=True, mean=shares["ceiling"], units="outside_split")
    both = pd.concat([part for part in (ceilings.assign(units="all"), rows) if len(part)] or [rows], ignore_index=True)
    both = both.reindex(columns=[*COLUMNS, "units", "share", "share_low", "share_high"])
    return both.astype({"is_ceiling": bool, "n_simulations": "Int64"})


def _ratio(value: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(reference) > 0, np.asarray(value) / reference, np.nan)[()]
