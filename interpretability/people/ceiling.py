"""How well any score could agree with people whose answers are a finite sample: variants of a noise ceiling.

With his the recorded share of right answers of a unit from n answers, and every variant a Pearson correlation
over units:

V1  simulated his, Binomial(n, his) / n, with recorded his
V2  two independent simulated his
V3  simulated his with MIS: the wording of the MIS paper's appendix B. Not a ceiling: noise can only lower the
    agreement that MIS has
V4  sqrt(1 - E[his (1 - his) / (n - 1)] / Var his): true shares with the recorded ones, all answers to a unit alike
V4w the same with the noise of answers to one task, see `noise_within_tasks`. It leads where every answer carries its
    task, elsewhere V4 does, as a lower bound; see `ceiling_columns.leading_variant`
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

from interpretability.people.ceiling_columns import COLUMNS, EASY_CONDITIONS, SUBSETS, leading_variant
from interpretability.people.components import components_ceiling
from interpretability.people.noise import (
    analytic_ceiling,
    attainable,
    ceiling_of_noise,
    simulated_correlations,
    spearman_brown,
    split_half,
)
from interpretability.people.resampling import resample_units
from interpretability.randomness import generator
from interpretability.schema import KEY
from interpretability.statistics import MIN_POINTS, fisher_interval, fisher_z, pearson, percentile_interval

OF_PEOPLE = ("V1", "V2", "V4", "split_half")
# Variants that need a column more: of people, and of a score.
NEEDS = {"V4w": "noise_within", "true": "p_true"}
NEEDS_OF_SCORE = {"V4b": "mis_se"}
OF_SCORE = ("V3", "V5")
# Their low and high are a range over simulations of the same units, no interval that would cover a truth as often as it says.
SIMULATED = ("V1", "V2", "V3", "V5")


def ceiling_table(
    units: pd.DataFrame, seed: int, n_simulations: int, confidence: float, responses: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Every variant over the units of each subset: COLUMNS.

    `units`: model, layer, unit, condition, his, n_responses, backend, mis, one row a unit, condition and
    backend. Subset "easy" has the conditions natural and synthetic, "all" every condition. V1, V2, V4, split_half
    concern people alone (backend ''), and so do V4w with a column noise_within, true with a column p_true, and mixed with
    `responses` (key, task, participant, correct) whose task is known (not -1), each over the units where it is known;
    V4b needs a column mis_se. `leads` marks the rows of the leading variant. `mean` of these (but V1 and V2) is their value,
    and sd, low and high come from n_simulations bootstrap samples of units (mixed: a jackknife over units; split_half: with a
    new split each, whose own variance is taken off): low and high lie as in `unit_agreement`. The other variants'
    are mean, sd and central range over their simulations, and `calibrated` is False for them.
    """
    columns = {name: column for name, column in (NEEDS | NEEDS_OF_SCORE).items() if column in units.columns}
    known = [name for name, column in columns.items() if units[column].notna().any()]
    of_people = [*OF_PEOPLE[:3], *(name for name in NEEDS if name in known), *OF_PEOPLE[3:]]
    answered = None if responses is None else responses[responses["task"] >= 0]
    if answered is not None and len(answered):
        of_people.append("mixed")
    leading = leading_variant(units)
    of_score = [*OF_SCORE, *(name for name in NEEDS_OF_SCORE if name in known)]
    rows = []
    for subset in SUBSETS if len(units) else ():
        kept = units if subset == "all" else units[units["condition"].isin(EASY_CONDITIONS)]
        kept = kept.sort_values(KEY, kind="stable")
        backends = list(pd.unique(units["backend"]))
        for backend, variants in [("", of_people), *((name, of_score) for name in backends)]:
            of_backend = kept[kept["backend"] == (backend or backends[0])]
            for variant in variants:
                draw = generator(seed, "ceiling", variant, backend)
                if variant == "mixed" and answered is not None:
                    summary = _mixed(of_backend, answered, confidence, draw)
                else:
                    summary = ceiling_summary(variant, of_backend, n_simulations, confidence, draw)
                summary = {"is_ceiling": variant != "V3", "leads": variant == leading, **summary}
                summary["calibrated"] = variant not in SIMULATED
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
    columns = {name: units[name].to_numpy(np.float64) for name in ("mis", needs) if name in units.columns}
    value = {
        "V4": lambda rows: analytic_ceiling(his[rows], answers[rows]),
        "V4w": lambda rows: ceiling_of_noise(his[rows], columns["noise_within"][rows]),
        "V4b": lambda rows: attainable(his[rows], answers[rows], columns["mis"][rows], columns["mis_se"][rows]),
        "true": lambda rows: pearson(columns["p_true"][rows], his[rows]),
        "split_half": lambda rows: spearman_brown(split_half(his[rows], answers[rows], draw)),
    }.get(variant)
    anew = np.zeros(2)  # values of the same units from other splits, which differ for split_half alone
    if value is None:
        values = simulated_correlations(variant, his, answers, n_simulations, draw, columns["mis"])
        finite = values[np.isfinite(values)]
        mean = finite.mean() if len(finite) else np.nan
    else:
        drawn = resample_units(units, n_simulations, draw)
        values = value(drawn)
        finite = values[np.isfinite(values)]
        mean = value(slice(None))
        if variant == "split_half":
            every = np.tile(np.arange(len(units)), (n_simulations, 1))
            splits = split_half(his[every], answers[every], draw)
            mean, anew = spearman_brown(np.mean(splits)), spearman_brown(splits)
    if value is None:
        low, high = percentile_interval(values, confidence)
    else:
        # symmetric in Fisher's z with a t quantile, as agreement over units
        quantile = stats.t.ppf((1 + confidence) / 2, max(len(units) - 1, 1))
        low, high = fisher_interval(float(mean), _spread(fisher_z(finite), fisher_z(anew)), quantile)
        low, high = max(low, 0.0), high
    return {
        "mean": float(mean),
        "sd": _spread(finite, anew),
        "low": low,
        "high": high,
        "n_units": len(units),
        "n_simulations": n_simulations,
    }


def _spread(values: NDArray[np.float64], anew: NDArray[np.float64]) -> float:
    """Standard deviation over resamples of units, less what new splits in each of them add: their mean does not vary by it."""
    return float(np.sqrt(max(values.var(ddof=1) - anew.var(ddof=1), 0.0))) if len(values) > 1 else float("nan")


def _mixed(
    units: pd.DataFrame, responses: pd.DataFrame, confidence: float, draw: np.random.Generator
) -> dict[str, float]:
    """The variant mixed, over the answers to these units; `n_simulations` is that of the jackknife: none."""
    answered = responses.merge(units[KEY], on=KEY)
    n_units = len(answered.drop_duplicates(KEY))
    value = components_ceiling(answered, confidence, draw) if n_units >= MIN_POINTS else [float("nan")] * 4
    return {**dict(zip(("mean", "sd", "low", "high"), value, strict=True)), "n_units": n_units, "n_simulations": 0}
