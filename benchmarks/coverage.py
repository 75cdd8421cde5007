"""Do the intervals of the study cover what they are meant to cover? Thousands of studies whose truth is known.

    python -m benchmarks.coverage                      # about 20 minutes of processor time, one core
    python -m benchmarks.coverage --studies 200        # a first look

Every study is drawn by `drawn_studies`, every interval computed by the functions that the pipeline calls, with
a nominal 95 % and 200 bootstrap samples (the pipeline takes more). An interval covers if the truth of the same setting
lies in it. Two kinds of studies:

these   always the same networks; units, tasks, people and answers are new. For what is said about the networks at hand
others  new networks too. For what is said about other networks like these

The truth of a quantity is the same statistic in one very large study with the same numbers of tasks and answers a unit:
of the same networks (these), of very many networks (others). For slopes that is the minimiser of the loss there: lapses
and imperfect agreement move it away from the slope of the observers; their bias, sd and width are those of log slopes,
over fits inside the bounds. Where a quantity could be meant for several truths each has a row of its own:

mean HIS, these people    of all units like these, had the people of the study answered them
mean HIS, other people    of all units and all people; "two-way" is the interval meant for it
nested, as many units     the typical correlation of such studies of these networks; nested, true means: that of means over
                          all units and people, which sampling noise in the means of a study always lowers
V4, true shares           what V4 estimates but misses where tasks are unequal; V4: its own value in a large study

Expect coverages between 93 and 97 % but for these. Meant for the truth, and missing: the BCa interval of IMI for a mean
HIS with 40 units (92 %), Spearman over five networks (99 %: few coefficients are possible) and the nested interval with
five networks (99 %). Not meant for it: nested for true means (60 % with nine networks), BCa for other people (88 to 92 %),
V4 for true shares (77 to 90 %).
"""

from __future__ import annotations

import argparse
import dataclasses
from itertools import product
from time import perf_counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.harness import report
from interpretability import schema, statistics
from interpretability.analysis import machine_beside_human
from interpretability.design import drawn_studies
from interpretability.mis import probabilities
from interpretability.people import agreement, calibration, ceiling, ceiling_shares, components, noise
from interpretability.randomness import generator

CONFIDENCE = 0.95
N_BOOTSTRAP = 200
SPLITS = (5, 10, 20, 40)
OBJECTIVE = "squared_error"
SETTINGS = {
    "imi": drawn_studies.Design(),
    "small": drawn_studies.Design(n_models=5, n_units=40, n_responses=10, n_answered=5),
}
KINDS = ("these", "others")
FIRST = 0  # network whose mean HIS is followed
LARGE = 300_000  # units of the very large study
LARGE_SLOPE = 60_000  # those of its units that the slope is fitted on
MEASURES = ("pearson", "spearman")
COLUMNS = [
    *("setting", "networks", "quantity", "truth", "bias", "sd", "width"),
    *("coverage", "coverage_se", "above", "n_intervals"),
]
# point, low, high and, where it is not that of every study, the truth
Interval = tuple[float, ...]


def intervals(
    study: drawn_studies.Study, kind: str, slope: float, seed: int, people_level: float
) -> dict[str, Interval]:
    """Point, low and high of every quantity in one study, MIS with this slope.

    people_level: mean margin that people see in network FIRST.
    """
    units = drawn_studies.units_frame(study, slope)
    found: dict[str, Interval] = {}
    # only what is said about other networks has an interval for them; it does not come from resamples
    n_bootstrap = N_BOOTSTRAP if kind == "these" else 2
    row = agreement.model_agreement(units, n_bootstrap, CONFIDENCE, generator(seed, "agreement", "model"))
    if kind == "others":
        return {f"{each}, model": tuple(row[f"{each}{end}"] for end in ("", "_low", "_high")) for each in MEASURES}
    for truth in ("as many units", "true means"):
        found[f"pearson, model, nested, {truth}"] = row["pearson"], row["nested_low"], row["nested_high"]
    margins, his = study.margins.reshape(len(units), -1), units["his"].to_numpy()
    picked = generator(seed, "split").permutation(len(units))
    for n in SPLITS:
        of_split = margins[picked[:n]], his[picked[:n]], OBJECTIVE
        ends = calibration.slope_interval(*of_split, generator(seed, "slope", n), N_BOOTSTRAP, CONFIDENCE)
        found[f"slope, {n} units"] = calibration.fit_slope(*of_split).slope, *ends
    for level in schema.LEVELS[:2]:
        draw = generator(seed, "agreement", level)
        row = agreement.unit_agreement(units, level == "unit_within", N_BOOTSTRAP, CONFIDENCE, draw)
        for measure in MEASURES:
            found[f"{measure}, {level}"] = tuple(row[f"{measure}{end}"] for end in ("", "_low", "_high"))
    answers = drawn_studies.responses_frame(study)
    units = units.merge(noise.noise_within_tasks(answers), on=schema.KEY)
    for variant in ("V4", "V4w"):
        row = ceiling.ceiling_summary(variant, units, N_BOOTSTRAP, CONFIDENCE, generator(seed, "ceiling", variant))
        found[variant] = row["mean"], row["low"], row["high"]
    found["V4, true shares"] = found["V4"]
    found["mixed"] = components.Answers(answers).components().ceiling, np.nan, np.nan
    row = ceiling_shares.share_of_ceiling(units, N_BOOTSTRAP, CONFIDENCE, generator(seed, "share"))
    found["share of V4"] = row["share"], row["share_low"], row["share_high"]
    first = units["model"] == units["model"].iloc[FIRST * study.design.n_units]
    of_first = answers["model"] == units["model"].iloc[FIRST * study.design.n_units]
    row = machine_beside_human.his_summary(units[first], seed, N_BOOTSTRAP, CONFIDENCE, answers[of_first]).iloc[0]
    found["mean HIS, these people"] = row.his_mean, row.low, row.high, share_of_people(study, people_level)
    found["mean HIS, other people"] = row.his_mean, row.low, row.high
    found["mean HIS, other people, two-way"] = row.his_mean, row.people_low, row.people_high
    return found


def share_of_people(study: drawn_studies.Study, level: float) -> float:
    """Expected mean HIS of network FIRST over all units, answered by the people of the study; level: its mean margin."""
    design, person = study.design, study.person[FIRST]
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    margins = level + np.hypot(design.unit_spread, design.task_spread) * nodes
    lapses = study.lapses[FIRST]
    right = lapses / 2 + (1 - lapses) * (expit(study.slopes[FIRST][:, None] * margins) @ (weights / weights.sum()))
    return float(np.average(right, weights=np.bincount(person[person >= 0], minlength=len(right))))


def large_study(design: drawn_studies.Design, kind: str, networks: NDArray[np.float64]) -> drawn_studies.Study:
    """Very many units of the given networks, or very many networks with as many units as the design says."""
    draw = generator(0, "large", kind)
    if kind == "these":
        return drawn_studies.draw_study(dataclasses.replace(design, n_units=LARGE // design.n_models), draw, networks)
    return drawn_studies.draw_study(dataclasses.replace(design, n_models=LARGE // design.n_units), draw)


def slope_of(study: drawn_studies.Study) -> float:
    """Minimiser of the loss over many units of all networks."""
    each = slice(None, LARGE_SLOPE // study.design.n_models)
    margins, his = study.margins[:, each], drawn_studies.human_arrays(study)[0][:, each]
    return calibration.fit_slope(margins.reshape(-1, margins.shape[2]), his.ravel(), OBJECTIVE).slope


def truths(study: drawn_studies.Study, kind: str, slope: float) -> dict[str, float]:
    """Value of every quantity in a very large study."""
    p = probabilities(study.margins, slope).mean(axis=2)
    his, count = drawn_studies.human_arrays(study)
    true = drawn_studies.true_shares(study)
    found = {f"slope, {n} units": slope for n in SPLITS}
    found |= {f"mean HIS, other people{method}": his[FIRST].mean() for method in ("", ", two-way")}
    within = [values - values.mean(axis=1, keepdims=True) for values in (p, his)]
    means = [values.mean(axis=1) for values in (p, his)]
    for measure, function in (("pearson", statistics.pearson), ("spearman", statistics.spearman)):
        found[f"{measure}, unit"] = float(function(p.ravel(), his.ravel()))
        found[f"{measure}, unit_within"] = float(function(*(values.ravel() for values in within)))
        found[f"{measure}, model"] = float(function(*means))
    found["pearson, model, nested, true means"] = found["pearson, model"]
    found["V4"] = float(noise.analytic_ceiling(his.ravel(), count.ravel()))
    found["share of V4"] = found["pearson, unit"] / found["V4"]
    # the noise within tasks is what its true value, the correlation of true and recorded shares, leaves
    found["V4w"] = found["mixed"] = found["V4, true shares"] = float(statistics.pearson(true.ravel(), his.ravel()))
    return found


def coverage(setting: str, kind: str, n_studies: int) -> pd.DataFrame:
    """COLUMNS, one row a quantity."""
    design = SETTINGS[setting]
    networks = drawn_studies.draw_networks(design, generator(0, "networks", setting))
    large = large_study(design, kind, networks)
    slope = slope_of(large)
    truth = truths(large, kind, slope)
    del large
    begin, found = perf_counter(), []
    for number in range(n_studies):
        study = drawn_studies.draw_study(
            design, generator(number, "study", setting, kind), networks if kind == "these" else None
        )
        found.append(intervals(study, kind, slope, number, networks[0, FIRST]))
        if (number + 1) % 100 == 0:
            rate = (perf_counter() - begin) / (number + 1)
            print(f"{setting}, {kind}: {number + 1} of {n_studies} studies, {rate:.2f} s each", flush=True)
    columns = {quantity: np.array([each[quantity] for each in found]).T for quantity in found[0]}
    if kind == "these":
        points = columns["pearson, model, nested, as many units"][0]
        truth["pearson, model, nested, as many units"] = np.tanh(np.arctanh(points).mean())
    rows = [
        {"setting": setting, "networks": kind, "quantity": quantity, **summary(quantity, values, truth)}
        for quantity, values in columns.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(quantity: str, values: NDArray[np.float64], truth: dict[str, float]) -> dict[str, float]:
    """Truth, bias, sd, median width, coverage with its standard error, share of intervals that lie above the truth."""
    point, low, high, *own = values
    target = own[0] if own else np.full(len(point), truth[quantity])
    kept = np.isfinite(low) & np.isfinite(high) & np.isfinite(target)
    n, covered = int(kept.sum()), ((low <= target) & (target <= high))[kept]
    share = covered.mean() if n else np.nan
    row = {"truth": target.mean(), "coverage": share, "n_intervals": n}
    row |= {"coverage_se": np.sqrt(share * (1 - share) / n) if n else np.nan}
    row |= {"above": (low > target)[kept].mean() if n else np.nan}
    usable = np.isfinite(point)
    if quantity.startswith("slope"):
        usable &= (point > 1.01 * calibration.SLOPE_BOUNDS[0]) & (point < 0.99 * calibration.SLOPE_BOUNDS[1])
        point, low, high, target = (np.log(part) for part in (point, low, high, target))
    error = (point - target)[usable]
    row |= {"bias": error.mean() if len(error) else np.nan, "sd": error.std() if len(error) else np.nan}
    return row | {"width": np.median((high - low)[kept]) if n else np.nan}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="studies of each setting")
    args = parser.parse_args(argv)
    tables: list[pd.DataFrame] = []
    for setting, kind in product(SETTINGS, KINDS):
        tables.append(coverage(setting, kind, args.studies))
        report("coverage", "Coverage", pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    main()
