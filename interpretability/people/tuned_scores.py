"""What a tuned similarity is worth: scores out of fold beside those of the untuned one, and whether it may be used at all.

Refused are few answers, few units, and weights under which answers to units that were not fitted are not surely likelier: where
answers are random, or of observers who see exactly what the untuned similarity sees, there is nothing to gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from interpretability.people import tuning
from interpretability.people.ceiling_columns import leading_variant
from interpretability.people.ceiling_shares import share_of_ceiling
from interpretability.people.resampling import resample_units
from interpretability.people.tuning import Answers, CrossFit, Design, Matrix, Vector
from interpretability.randomness import generator
from interpretability.schema import UNIT
from interpretability.statistics import pearson, percentile_interval

FEWEST_ANSWERS, FEWEST_UNITS, FEWEST_NETWORKS = 1500, 50, 3
_MOST_GROUPS = (
    5  # of networks, each scored by weights from the others: one a network would take fits that grow with their square
)
CONFIDENCE = 0.95  # of the interval that decides whether a tuned similarity is refused, whatever tables show
N_RESAMPLES = 2000
TUNED, NOT_TUNED = "tuned", "not tuned"
_ENDS = ("", "_low", "_high")
COLUMNS = [
    *("status", "reason", "n_answers", "n_units", "n_weights"),
    *(f"{name}{end}" for name in ("r_untuned", "r_tuned", "gain") for end in _ENDS),
    *("ceiling", "share_untuned", "share_tuned", "share_tuned_low", "share_tuned_high"),
    *("log_loss_untuned", "log_loss_tuned", *(f"log_loss_gain{end}" for end in _ENDS)),
    *("r_untuned_networks", "r_tuned_networks", "gain_networks"),
    *("slope", "strength", "strength_at_end", "zero_share"),
]
UNIT_COLUMNS = [*UNIT, "condition", "fold", "n_responses", "his", "mis_untuned", "mis_tuned"]
WEIGHT_COLUMNS = ["fold", "name", "weight", "relative"]
PLAN_COLUMNS = ["n_units", "n_answers", "n_draws", "gain", "gain_sd", "worse_share"]
PLANNED_UNITS, TESTED_UNITS = (50, 100, 200, 400), 50


@dataclass(frozen=True)
class Tuned:
    """A similarity tuned on answers, or refused.

    row      of COLUMNS
    units    UNIT_COLUMNS, a row a row of the units; MIS out of fold
    weights  WEIGHT_COLUMNS: of each fold, and fitted to all answers (fold -1)
    final    the weights fitted to all answers; None where it is refused
    """

    row: dict[str, object]
    units: pd.DataFrame
    weights: pd.DataFrame
    final: Vector | None


@dataclass(frozen=True)
class Asked:
    """Units that people answered, and their answers.

    units   model, layer, unit, condition, n_responses, his; noise_within where it is known
    used    (units, tasks): tasks that count in their scores, at least one of each
    """

    units: pd.DataFrame
    answers: Answers
    used: NDArray[np.bool_]

    def of(self, rows: NDArray[np.integer]) -> Asked:
        return Asked(self.units.iloc[rows].reset_index(drop=True), self.answers.of(rows), self.used[rows])

    @property
    def n_units(self) -> int:
        """Units, each once however many conditions it has."""
        return len(self.units.drop_duplicates(UNIT))


def too_few(asked: Asked) -> str:
    """Why nothing is fitted to so few answers or units; empty where they are enough."""
    n_answers, n_units = int(asked.answers.n.sum()), asked.n_units
    if n_answers >= FEWEST_ANSWERS and n_units >= FEWEST_UNITS:
        return ""
    return (
        f"{n_answers} answers to {n_units} units; it takes {FEWEST_ANSWERS} answers and {FEWEST_UNITS} units or more, "
        "lest weights follow chance"
    )


def refused(reason: str, asked: Asked | None = None) -> Tuned:
    """A similarity that is not tuned, and why."""
    counts = {"n_answers": int(asked.answers.n.sum()), "n_units": asked.n_units} if asked else {}
    row: dict[str, object] = {
        "status": NOT_TUNED,
        "reason": reason,
        "n_answers": 0,
        "n_units": 0,
        "n_weights": 0,
        **counts,
    }
    return Tuned(row, pd.DataFrame(columns=UNIT_COLUMNS), pd.DataFrame(columns=WEIGHT_COLUMNS), None)


def tuned(asked: Asked, design: Design, seed: int, n_bootstrap: int, confidence: float) -> Tuned:
    """The similarity of `design` (rows as those of `asked`) tuned on the answers, judged out of fold.

    r_...           Pearson of MIS and HIS over units; intervals are ranges over resampled units (`resample_units`)
    gain            r_tuned less r_untuned, over the same resamples
    share_...       of the ceiling of `ceiling_shares` that r reaches
    log_loss_...    nats an answer; the gain is how much lower it is
    ..._networks    the same correlations where each network's units are scored by weights from other networks; with three
                    networks or more. More than five are parted into five groups, by name
    strength        of the pull in the fit to all answers; strength_at_end: low or high where it is an end of those tried
    zero_share      of the weights fitted to all answers, of a family whose weights may not be negative

    Refused below FEWEST_ANSWERS and FEWEST_UNITS, and where the log-loss gain's interval (units resampled) reaches 0.
    """
    if few := too_few(asked):
        return refused(few, asked)
    fold = tuning.unit_folds(asked.units, seed)
    fit = tuning.cross_fit(design, asked.answers, fold)
    row, reason = _judged(asked, fit, seed, n_bootstrap, confidence)
    row |= _over_networks(asked, design)
    weights = tuning.fit_all(design, asked.answers, fit.strength)
    row |= {
        "status": NOT_TUNED if reason else TUNED,
        "reason": reason,
        "n_answers": int(asked.answers.n.sum()),
        "n_units": asked.n_units,
        "n_weights": len(design.names),
        "slope": tuning.fitted_slope(design.margins, asked.answers),
        "strength": fit.strength,
        "strength_at_end": _end(fit.strength),
        "zero_share": np.nan if design.rank else float((weights == 0).mean()),
    }
    units = asked.units[[*UNIT, "condition", "n_responses", "his"]].assign(
        fold=fold, mis_untuned=scores(fit.untuned, asked.used), mis_tuned=scores(fit.evidence, asked.used)
    )
    return Tuned(row, units[UNIT_COLUMNS], _weight_rows(design, fit, weights), None if reason else weights)


def scores(evidence: Matrix, used: NDArray[np.bool_]) -> Vector:
    """MIS (units,): the mean probability of a right answer over the tasks that count."""
    return np.where(used, expit(evidence), 0.0).sum(axis=1) / used.sum(axis=1)


def answer_gain(asked: Asked, fit: CrossFit, drawn: NDArray[np.int64], confidence: float) -> tuple[float, float, float]:
    """How much likelier an answer is under the tuned similarity, in nats, and its range over resamples (`drawn`) of units."""
    each = asked.answers.log_likelihoods(fit.evidence) - asked.answers.log_likelihoods(fit.untuned)
    n = asked.answers.n.sum(axis=1)
    low, high = percentile_interval(each[drawn].sum(axis=1) / n[drawn].sum(axis=1), confidence)
    return float(each.sum() / n.sum()), low, high


def score_gain(
    asked: Asked, fit: CrossFit, drawn: NDArray[np.int64], confidence: float
) -> dict[str, tuple[float, float, float]]:
    """r_untuned, r_tuned and gain, each with its range over resamples (`drawn`) of units."""
    his = asked.units["his"].to_numpy(np.float64)
    both = {"r_untuned": scores(fit.untuned, asked.used), "r_tuned": scores(fit.evidence, asked.used)}
    found = {name: (float(pearson(mis, his)), pearson(mis[drawn], his[drawn])) for name, mis in both.items()}
    (before, drawn_before), (after, drawn_after) = found["r_untuned"], found["r_tuned"]
    found["gain"] = (after - before, drawn_after - drawn_before)
    return {name: (value, *percentile_interval(over, confidence)) for name, (value, over) in found.items()}


def _judged(
    asked: Asked, fit: CrossFit, seed: int, n_bootstrap: int, confidence: float
) -> tuple[dict[str, object], str]:
    """What is told of a fit, and the reason to refuse it."""
    rule = resample_units(asked.units, N_RESAMPLES, generator(seed, "tuning rule"))
    _, lowest, _ = answer_gain(asked, fit, rule, CONFIDENCE)
    reason = ""
    if not lowest > 0:
        reason = (
            f"answers to other units are not surely likelier than under the untuned similarity: the {CONFIDENCE:.0%} range of "
            f"the gain begins at {lowest:.2g} nats an answer"
        )
    drawn = resample_units(asked.units, n_bootstrap, generator(seed, "tuning interval"))
    ranges = score_gain(asked, fit, drawn, confidence)
    ranges["log_loss_gain"] = answer_gain(asked, fit, drawn, confidence)
    row: dict[str, object] = {
        f"{name}{end}": value for name, values in ranges.items() for end, value in zip(_ENDS, values, strict=True)
    }
    total = asked.answers.n.sum()
    for name, evidence in (("untuned", fit.untuned), ("tuned", fit.evidence)):
        row[f"log_loss_{name}"] = float(-asked.answers.log_likelihoods(evidence).sum() / total)
    variant = leading_variant(asked.units)
    for name, evidence in (("untuned", fit.untuned), ("tuned", fit.evidence)):
        scored = asked.units.assign(mis=scores(evidence, asked.used))
        share = share_of_ceiling(scored, variant, n_bootstrap, confidence, generator(seed, "tuning share"))
        row |= {"ceiling": share["ceiling"], f"share_{name}": share["share"]}
        if name == "tuned":
            row |= {f"share_tuned{end}": share[f"share{end}"] for end in _ENDS[1:]}
    return row, reason


def _over_networks(asked: Asked, design: Design) -> dict[str, object]:
    """Correlations where the units of each network, or group of networks, are scored by weights fitted to the others."""
    network, known = pd.factorize(asked.units["model"], sort=True)
    names = ("r_untuned_networks", "r_tuned_networks", "gain_networks")
    if len(known) < FEWEST_NETWORKS:
        return dict.fromkeys(names, np.nan)
    # neighbours by name, such as sizes of a family, stay together: they are hardly other networks
    group = network * min(len(known), _MOST_GROUPS) // len(known)
    fit, his = tuning.cross_fit(design, asked.answers, group), asked.units["his"].to_numpy(np.float64)
    before, after = (float(pearson(scores(each, asked.used), his)) for each in (fit.untuned, fit.evidence))
    return dict(zip(names, (before, after, after - before), strict=True))


def _end(strength: float) -> str:
    """Which end of the strengths that were tried this one is."""
    return {tuning.STRENGTHS[0]: "high", tuning.STRENGTHS[-1]: "low"}.get(strength, "")


def _weight_rows(design: Design, fit: CrossFit, final: Vector) -> pd.DataFrame:
    """WEIGHT_COLUMNS; relative to the mean weight where weights are of one kind, and NaN for those of a matrix."""
    parts = []
    for fold, weights in [(-1, final), *enumerate(fit.weights)]:
        relative = np.full(len(weights), np.nan)
        if not design.rank and weights.mean() > 0:
            relative = weights / weights.mean()
        parts.append(pd.DataFrame({"fold": fold, "name": design.names, "weight": weights, "relative": relative}))
    return pd.concat(parts, ignore_index=True)[WEIGHT_COLUMNS]


def plan_table(asked: Asked, design: Design, seed: int, n_draws: int) -> pd.DataFrame:
    """What fewer annotated units would have given: PLAN_COLUMNS, a row for each of PLANNED_UNITS that leaves TESTED_UNITS over.

    Units are drawn with all their conditions and weights are fitted to them alone. The gain is the difference in r over the units
    that were not drawn: its mean and standard deviation over draws, and the share of draws in which it is negative.
    """
    code, known = pd.MultiIndex.from_frame(asked.units[UNIT]).factorize()
    draw, rows = generator(seed, "tuning plan"), []
    for size in PLANNED_UNITS if n_draws else ():
        if size > len(known) - TESTED_UNITS:
            continue
        gains, n_answers = [], []
        for _ in range(n_draws):
            chosen = np.isin(code, draw.permutation(len(known))[:size])
            few, rest = asked.of(np.flatnonzero(chosen)), np.flatnonzero(~chosen)
            seen, unseen = design.of(np.flatnonzero(chosen)), design.of(rest)
            strength = tuning.chosen_strength(seen, few.answers, tuning.unit_folds(few.units, seed))
            weights = tuning.fit_all(seen, few.answers, strength)
            his, used = asked.units["his"].to_numpy(np.float64)[rest], asked.used[rest]
            slope = tuning.fitted_slope(seen.margins, few.answers)
            after = pearson(scores(unseen.evidence(weights), used), his)
            gains.append(float(after - pearson(scores(slope * unseen.margins, used), his)))
            n_answers.append(int(few.answers.n.sum()))
        spread = float(np.std(gains, ddof=1)) if n_draws > 1 else np.nan
        worse = float(np.mean(np.array(gains) < 0))
        rows.append((size, round(float(np.mean(n_answers))), n_draws, float(np.mean(gains)), spread, worse))
    return pd.DataFrame(rows, columns=PLAN_COLUMNS)
