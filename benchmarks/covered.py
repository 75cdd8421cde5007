"""Every interval of the study's tables in one drawn study, by the functions that the pipeline calls, and its true value.

`intervals` says what one study gives, `truths` what a very large one of the same networks has. Beside the study itself are
drawn: a second similarity (the margins of the first with noise of their own), harder tasks (margins lower by HARDER, other
people), the first checkpoint of a training (the harder margins stand in for it) and the confidence of answers (it rises with
the margin that people see, and differs between people).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from interpretability import schema, statistics
from interpretability.analysis import machine_beside_human, training_series
from interpretability.analysis.networks import Networks
from interpretability.design import drawn_studies, intervention
from interpretability.design.drawn_studies import Study
from interpretability.mis import probabilities
from interpretability.people import (
    agreement,
    agreement_differences,
    calibration,
    ceiling,
    ceiling_shares,
    components,
    noise,
    single_answers,
    two_way,
)
from interpretability.randomness import generator

CONFIDENCE = 0.95
N_BOOTSTRAP = 200
SPLITS = (5, 10, 20, 40)
OBJECTIVE = "squared_error"
FIRST = 0  # network whose means are followed
MEASURES = ("pearson", "spearman")
LARGE_SLOPE = 60_000  # units of a very large study that slopes are fitted on
HARDER = 0.15
SERIES = 3  # networks whose training is followed
FEW = statistics.FEWEST_SCORES
BINS = (1, 5, 10)  # of MIS, and of fitted probabilities, that are followed
CONFIDENCES = (1, 2, 3)
_SECOND_SPREAD = 0.15  # SD of what the second similarity sees beside the first, of units and of tasks
_OTHER = "other"
# point, low, high and, where it is not that of every study, the truth
Interval = tuple[float, ...]
Found = dict[str, Interval]


@dataclass(frozen=True)
class Curve:
    """Means of y where x lies in a range, from very many pairs: x sorted, sums of y up to each of them."""

    x: NDArray[np.float64]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.floating] | NDArray[np.bool_]) -> Curve:
        order = np.argsort(x, axis=None, kind="stable")
        return cls(x.ravel()[order], np.concatenate([[0.0], np.cumsum(y.ravel()[order], dtype=np.float64)]))

    def between(self, low: float, high: float) -> float:
        first, end = np.searchsorted(self.x, low, "left"), np.searchsorted(self.x, high, "right")
        return float((self.sums[end] - self.sums[first]) / (end - first)) if end > first else float("nan")


@dataclass(frozen=True)
class Reference:
    """What is known of very many units of the networks.

    slope         of MIS; people_level: mean margin that people see in network FIRST
    his, of_first HIS by MIS, of all networks and of FIRST; right: right answers by the margin of their task
    """

    slope: float
    people_level: float
    his: Curve
    of_first: Curve
    right: Curve


def reference(study: Study, slope: float, people_level: float) -> Reference:
    """The reference that a very large study gives."""
    mis, his = probabilities(study.margins, slope).mean(axis=2), drawn_studies.human_arrays(study)[0]
    curves = Curve.of(mis, his), Curve.of(mis[FIRST], his[FIRST]), Curve.of(*_margins_and_answers(study))
    return Reference(slope, people_level, *curves)


def intervals(study: Study, known: Reference, seed: int) -> Found:
    """Point, low and high of every quantity in one study, and the truth where it is the study's own."""
    slope = known.slope
    units, answers = drawn_studies.units_frame(study, slope), drawn_studies.responses_frame(study)
    units = units.merge(noise.noise_within_tasks(answers), on=schema.KEY)
    return {
        **_agreement(study, units, slope, seed),
        **_slopes(study, units, seed),
        **_ceilings(units, answers, seed),
        **_means_of_people(study, units, answers, seed, known),
        **_means_of_scores(study, units, slope, seed),
        **_single_answers(study, answers, known),
    }


def truths(study: Study, slope: float) -> dict[str, float]:
    """Value of every quantity in a very large study."""
    p = probabilities(study.margins, slope).mean(axis=2)
    his, count = drawn_studies.human_arrays(study)
    found = {f"slope, {n} units": slope for n in SPLITS}
    found |= _true_correlations(study, p, his, slope) | _true_ceilings(study, p, his, count, slope)
    found["share of V4"] = found["pearson, unit"] / found["V4"]
    found["share of V4w"] = found["pearson, unit"] / found["V4w"]
    for method in ("two-way", "logit t", "BCa"):
        found[f"mean HIS, {method}, other people"] = his[FIRST].mean()
    found[f"mean HIS, {FEW} units"] = his[FIRST].mean()
    easier = p[FIRST] > np.median(p[FIRST])
    found["difference of groups, HIS"] = his[FIRST, easier].mean() - his[FIRST, ~easier].mean()
    levels = confidences(study, 0)[FIRST]
    for level in CONFIDENCES:
        chosen, right = (levels == level).sum(axis=1), ((levels == level) & study.correct[FIRST]).sum(axis=1)
        found[f"right answers, confidence {level}"] = float((right[chosen > 0] / chosen[chosen > 0]).mean())
    lost = p - probabilities(study.margins - HARDER, slope).mean(axis=2)
    found |= {"mean MIS, network": p[FIRST].mean(), f"mean MIS, {FEW} units": p[FIRST].mean()}
    found |= {"difference of conditions, MIS": lost[FIRST].mean(), "training gain": lost[FIRST].mean()}
    found["training gain, mean over series"] = lost[:SERIES].mean()
    found["difference of similarities, MIS"] = (_second_scores(study, slope, 0) - p).mean()
    return found | _true_answers(study)


def slope_of(study: Study) -> float:
    """Minimiser of the loss over many units of all networks."""
    each = slice(None, LARGE_SLOPE // study.design.n_models)
    margins, his = study.margins[:, each], drawn_studies.human_arrays(study)[0][:, each]
    return calibration.fit_slope(margins.reshape(-1, margins.shape[2]), his.ravel(), OBJECTIVE).slope


def share_of_people(study: Study, level: float) -> float:
    """Expected mean HIS of network FIRST over all units, answered by the people of the study; level: its mean margin."""
    design, person = study.design, study.person[FIRST]
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)
    margins = level + np.hypot(design.unit_spread, design.task_spread) * nodes
    lapses = study.lapses[FIRST]
    right = lapses / 2 + (1 - lapses) * (expit(study.slopes[FIRST][:, None] * margins) @ (weights / weights.sum()))
    return float(np.average(right, weights=np.bincount(person[person >= 0], minlength=len(right))))


def harder_tasks(study: Study, seed: int) -> Study:
    """The same units with harder tasks, answered by other people."""
    lower = study.seen - HARDER, study.margins - HARDER
    return drawn_studies.asked(study.design, *lower, generator(seed, "harder tasks"))


def confidences(study: Study, seed: int) -> NDArray[np.int64]:
    """How sure each answer is given, 1 to 3 (networks, units, answers)."""
    draw = generator(seed, "confidence")
    seen = study.seen[:, :, np.arange(study.person.shape[2]) % study.design.n_answered]
    of_person = draw.normal(0, 0.5, study.slopes.shape)
    sure = 3 * seen + of_person[np.arange(len(seen))[:, None, None], study.person] + draw.standard_normal(seen.shape)
    return 1 + (sure > 0.5).astype(np.int64) + (sure > 1.5)


def _second_scores(study: Study, slope: float, seed: int) -> NDArray[np.float64]:
    """MIS of the second similarity (networks, units)."""
    draw = generator(seed, "second similarity")
    shape = study.margins.shape
    apart = draw.standard_normal((*shape[:2], 1)) + draw.standard_normal(shape)
    return probabilities(study.margins + _SECOND_SPREAD * apart, slope).mean(axis=2)


def _agreement(study: Study, units: pd.DataFrame, slope: float, seed: int) -> Found:
    found: Found = {}
    row = agreement.model_agreement(units, N_BOOTSTRAP, CONFIDENCE, generator(seed, "agreement", "model"))
    for truth in ("as many units", "true means"):
        found[f"pearson, model, nested, {truth}"] = row["pearson"], row["nested_low"], row["nested_high"]
    for level in schema.LEVELS[:2]:
        draw = generator(seed, "agreement", level)
        row = agreement.unit_agreement(units, level == "unit_within", N_BOOTSTRAP, CONFIDENCE, draw)
        found |= {f"{each}, {level}": _ends(row, each) for each in MEASURES}
    # with all units in the split, the function leaves out the rows of the units outside it
    second = units.assign(backend=_OTHER, mis=_second_scores(study, slope, seed).ravel())
    both = pd.concat([units, second], ignore_index=True).assign(in_split=True)
    table = agreement_differences.agreement_differences(both, seed, N_BOOTSTRAP, CONFIDENCE)
    for row in table.to_dict("records"):
        found[f"difference of {row['coefficient']}, {row['level']}"] = row["difference"], row["low"], row["high"]
    return found


def _true_correlations(
    study: Study, p: NDArray[np.float64], his: NDArray[np.float64], slope: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    scores = {"first": p, "second": _second_scores(study, slope, 0)}
    for measure, function in (("pearson", statistics.pearson), ("spearman", statistics.spearman)):
        values: dict[str, list[float]] = {"unit": [], "unit_within": []}
        for of in scores.values():
            inside = [each - each.mean(axis=1, keepdims=True) for each in (of, his)]
            values["unit"].append(float(function(of.ravel(), his.ravel())))
            values["unit_within"].append(float(function(*(each.ravel() for each in inside))))
        for level, (first, second) in values.items():
            found |= {f"{measure}, {level}": first, f"difference of {measure}, {level}": first - second}
        found[f"{measure}, model"] = float(function(p.mean(axis=1), his.mean(axis=1)))
    return found | {"pearson, model, nested, true means": found["pearson, model"]}


def _slopes(study: Study, units: pd.DataFrame, seed: int) -> Found:
    found: Found = {}
    margins, his = study.margins.reshape(len(units), -1), units["his"].to_numpy()
    picked = generator(seed, "split").permutation(len(units))
    for n in SPLITS:
        of_split = margins[picked[:n]], his[picked[:n]], OBJECTIVE
        ends = calibration.slope_interval(*of_split, generator(seed, "slope", n), N_BOOTSTRAP, CONFIDENCE)
        found[f"slope, {n} units"] = calibration.fit_slope(*of_split).slope, *ends
    return found


def _ceilings(units: pd.DataFrame, answers: pd.DataFrame, seed: int) -> Found:
    found: Found = {}
    for variant in ("V4", "V4w", "V4b", "true", "split_half", *ceiling.SIMULATED):
        row = ceiling.ceiling_summary(variant, units, N_BOOTSTRAP, CONFIDENCE, generator(seed, "ceiling", variant))
        found[variant] = row["mean"], row["low"], row["high"]
    found["V4, true shares"] = found["V4"]
    point, _, low, high = components.components_ceiling(answers, CONFIDENCE, generator(seed, "ceiling", "mixed"))
    found["mixed"] = point, low, high
    for variant in ("V4", "V4w"):
        row = ceiling_shares.share_of_ceiling(units, variant, N_BOOTSTRAP, CONFIDENCE, generator(seed, "share"))
        found[f"share of {variant}"] = row["share"], row["share_low"], row["share_high"]
    return found


def _true_ceilings(
    study: Study, p: NDArray[np.float64], his: NDArray[np.float64], count: NDArray[np.int64], slope: float
) -> dict[str, float]:
    share, answers, scores = his.ravel(), count.ravel(), p.ravel()
    draw = generator(0, "ceilings of a very large study")
    found = {"V4": float(noise.analytic_ceiling(share, answers))}
    spread = probabilities(study.margins, slope).std(axis=2, ddof=1).ravel() / np.sqrt(study.design.n_tasks)
    found["V4b"] = float(noise.attainable(share, answers, scores, spread))
    found["split_half"] = float(noise.spearman_brown(noise.split_half(share, answers, draw)))
    for variant in ceiling.SIMULATED:
        found[variant] = float(noise.simulated_correlations(variant, share, answers, 3, draw, scores).mean())
    # the noise within tasks is what its true value, the correlation of true and recorded shares, leaves
    agreed = float(statistics.pearson(drawn_studies.true_shares(study).ravel(), share))
    return found | dict.fromkeys(("V4w", "mixed", "true", "V4, true shares"), agreed)


def _means_of_people(study: Study, units: pd.DataFrame, answers: pd.DataFrame, seed: int, known: Reference) -> Found:
    """Means of HIS. Truths for the people of the study are known in it alone, and stand in the interval."""
    found: Found = {}
    own, people = _of_first(study, units), _of_first(study, answers)
    row = machine_beside_human.his_summary(own, seed, N_BOOTSTRAP, CONFIDENCE, people).iloc[0]
    his, these = own["his"].to_numpy(), share_of_people(study, known.people_level)
    methods = {
        "two-way": (row.low, row.high),
        "logit t": (row.these_low, row.these_high),
        "BCa": (row.bca_low, row.bca_high),
    }
    for method, ends in methods.items():
        found[f"mean HIS, {method}, these people"] = row.his_mean, *ends, these
        found[f"mean HIS, {method}, other people"] = row.his_mean, *ends
    easier = own["unit"][own["mis"] > own["mis"].median()]
    groups = people.assign(group=np.where(people["unit"].isin(easier), "easiest", "hardest"))
    found["difference of groups, HIS"] = intervention.difference(groups, "easiest", "hardest", CONFIDENCE)
    hard = harder_tasks(study, seed)
    drop = his - drawn_studies.human_arrays(hard)[0][FIRST]
    lost = these - share_of_people(hard, known.people_level - HARDER)
    found["difference of conditions, HIS, these people"] = *_difference(drop), lost
    found[f"mean HIS, {FEW} units"] = _mean(his[:FEW])
    easiest = own.nlargest(max(FEW, len(own) // 10), "mis")
    expected = known.of_first.between(easiest["mis"].min(), easiest["mis"].max())
    found["mean HIS, easiest units"] = *_mean(easiest["his"].to_numpy()), expected
    for row in machine_beside_human.his_bins(units, CONFIDENCE).to_dict("records"):
        if row["bin"] in BINS:
            expected = known.his.between(row["mis_from"], row["mis_to"])
            found[f"mean HIS, bin {row['bin']} of MIS"] = row["his_mean"], row["his_low"], row["his_high"], expected
    sure = confidences(study, seed)[FIRST][study.person[FIRST] >= 0]
    by = ["model", "condition", "confidence"]
    table = two_way.means_of_units(people.assign(confidence=sure), CONFIDENCE, by, logit=True)
    rows = table.set_index("confidence").reindex(CONFIDENCES).to_dict("index")
    return found | {f"right answers, confidence {n}": _of(rows[n], "mean") for n in CONFIDENCES}


def _means_of_scores(study: Study, units: pd.DataFrame, slope: float, seed: int) -> Found:
    own = _of_first(study, units)["mis"].to_numpy()
    found: Found = {"mean MIS, network": _mean(own), f"mean MIS, {FEW} units": _mean(own[:FEW])}
    fresh = probabilities(study.margins - HARDER, slope).mean(axis=2)
    found["difference of conditions, MIS"] = _difference(own - fresh[FIRST])
    second = _second_scores(study, slope, seed).ravel()
    found["difference of similarities, MIS"] = _difference(second - units["mis"].to_numpy())
    series = units.assign(fresh=fresh.ravel(), model=units["model"].astype(str))
    names = list(dict.fromkeys(series["model"]))[:SERIES]
    series = series[series["model"].isin(names)]
    both = pd.concat([series, series.assign(mis=series["fresh"], model=series["model"] + " untrained")])
    untrained = {f"{name} untrained": name for name in names}
    nets = Networks(names, names, [], {}, untrained, {name: name for name in names})
    gain = training_series.training_gain(both, nets, "", CONFIDENCE).set_index("series").to_dict("index")
    for name, of in ((names[FIRST], ""), (training_series.ALL_SERIES, ", mean over series")):
        found[f"training gain{of}"] = _of(gain[name], "difference")
    return found


def _single_answers(study: Study, answers: pd.DataFrame, known: Reference) -> Found:
    model, unit, number = np.nonzero(study.person >= 0)
    margin = study.margins[model, unit, number % study.design.n_answered]
    correct = answers["correct"].to_numpy(bool)
    code, person = model * study.design.n_units + unit, pd.factorize(answers["participant"])[0]
    fit = single_answers.fit_lapse(margin, correct)
    row = single_answers.lapse_intervals(fit, margin, correct, [code, person], CONFIDENCE)
    found: Found = {f"single answers, {name}": _ends(row, name) for name in ("intercept", "slope", "lapse")}
    bins = single_answers.calibration_bins(fit.predict(margin), correct, code, person, CONFIDENCE)
    parts = np.array_split(np.argsort(fit.predict(margin), kind="stable"), single_answers.N_BINS)
    for n, row in bins.set_index("bin").to_dict("index").items():
        if n in BINS:
            of_bin = margin[parts[int(n) - 1]]
            expected = known.right.between(of_bin.min(), of_bin.max())
            found[f"single answers, bin {n}"] = *_of(row, "observed"), expected
    return found


def _true_answers(study: Study) -> dict[str, float]:
    fit = single_answers.fit_lapse(*_margins_and_answers(study))
    return dict(zip((f"single answers, {name}" for name in ("intercept", "slope", "lapse")), fit.theta, strict=True))


def _margins_and_answers(study: Study) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Margins of the tasks of single answers, and whether these are right, of LARGE_SLOPE units."""
    each = slice(None, LARGE_SLOPE // study.design.n_models)
    model, unit, number = np.nonzero(study.person[:, each] >= 0)
    margin = study.margins[:, each][model, unit, number % study.design.n_answered]
    return margin, study.correct[:, each][model, unit, number]


def _of_first(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Rows of network FIRST."""
    return table[table["model"] == drawn_studies.names(study.design)[FIRST]]


def _mean(scores: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean score of units and its interval, as tables have it."""
    low, high = statistics.share_interval(scores.mean(), scores.std(ddof=1), len(scores), CONFIDENCE)
    return float(scores.mean()), float(low), float(high)


def _difference(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """The same for differences between scores of one unit."""
    low, high = statistics.mean_interval(values.mean(), values.std(ddof=1), len(values), CONFIDENCE)
    return float(values.mean()), float(low), float(high)


def _ends(row: Mapping[str, float], stem: str) -> tuple[float, float, float]:
    return row[stem], row[f"{stem}_low"], row[f"{stem}_high"]


def _of(row: Mapping[Any, Any], point: str) -> tuple[float, float, float]:
    return row[point], row["low"], row["high"]


def quantities(found: Iterable[Found]) -> dict[str, NDArray[np.float64]]:
    """Arrays (3 or 4, studies) of each quantity from what every study gave."""
    every = list(found)
    return {quantity: np.array([each[quantity] for each in every]).T for quantity in every[0]}
