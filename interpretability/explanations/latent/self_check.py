"""When intervals of the latent model are not to be believed: a bootstrap, residuals of ratings, gold, and what is too little.

The verdict is never plain "calibrated": all that is checked is checked within the model, but for gold. Neither the bootstrap nor
the residuals see a wrong form of the model, such as a guide that is blind in a way that the floor does not catch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from interpretability.explanations.correlation import correlations, standardised
from interpretability.explanations.latent import kernels
from interpretability.explanations.latent.covariates import SCALE, presence, silence
from interpretability.explanations.latent.estimating import Estimated, estimate
from interpretability.explanations.latent.likelihood import count_probabilities
from interpretability.explanations.latent.posterior import Effort
from interpretability.explanations.latent.study import Study
from interpretability.randomness import generator

CALIBRATED, NOT_CALIBRATED = "calibrated under the model", "not calibrated"
LEAST_COVERAGE, LEAST_COPIES = 0.93, 200  # (a)
LARGEST_Z, BINS = 3.0, 8  # (b)
FEWEST_PAIRS = 8  # (d)
MOST_ERRORS = 0.85  # (e)
GOLD_TAIL, SEEN_TAIL = 0.005, 0.01  # (f), (g)
SKEWED = 2.0  # (h)
LARGEST_RHAT = 1.3
AVERAGED = 25  # draws over which expected ratings are averaged


@dataclass(frozen=True)
class SelfCheck:
    """Figures of the checks; NaN where one could not be made.

    bootstrap_coverage, bootstrap_n  share of pairs of simulated copies of the study that their interval covers, of those with a
                   score, and how many were simulated
    largest_z      of sums of ratings less their expectation in bins of the logit of the guide and of the activation
    agreement_z    of pairs of ratings of one image that agree
    errors         fitted false yes + false no
    rhat           the largest of the raters' parameters
    gold_yes, gold_no    posterior predictive p of wrong ratings of gold images that do not show the concept, and that do
    gold_seen      p of the number of gold images that show the concept below the level of the guide
    reasons        why no interval of the study is calibrated, empty if none
    """

    bootstrap_coverage: float
    bootstrap_n: int
    largest_z: float
    agreement_z: float
    errors: float
    rhat: float
    gold_yes: float
    gold_no: float
    gold_seen: float
    reasons: tuple[str, ...]


def check(study: Study, fit: Estimated, *, seed: int, effort: Effort, copies: int) -> SelfCheck:
    """Check a study. `copies` simulated ones are fitted again, each at the cost of the first fit."""
    covered = [bootstrap_copy(study, fit, seed=seed, effort=effort, copy=copy) for copy in range(copies)]
    hits = np.concatenate(covered) if covered else np.zeros(0, bool)
    z, agreement = residuals(study, fit)
    flat = fit.flat
    wrong = float(expit(flat.errors[:, :2]).sum(axis=1).mean())
    gold_yes, gold_no = gold_errors(study, fit, seed)
    seen = gold_seen(study, fit)
    share = float(hits.mean()) if len(hits) else float("nan")
    simulated = copies * len(study.keys)
    n = study.rated.kinds[study.rated.kind, 0]
    rhat = float(fit.errors_rhat.max())
    reasons = [
        *_few(study, n),
        *([f"the bootstrap has {simulated} pairs of {LEAST_COPIES}"] if simulated < LEAST_COPIES else []),
        *([f"the bootstrap covers {share:.3f}"] if share < LEAST_COVERAGE else []),
        *([f"ratings are off by {z:.1f} standard errors in a bin"] if z > LARGEST_Z else []),
        *([f"agreement of raters is off by {agreement:.1f} standard errors"] if abs(agreement) > LARGEST_Z else []),
        *([f"error rates add up to {wrong:.2f}"] if wrong > MOST_ERRORS else []),
        *(["errors in gold images are not those of the fit"] if min(gold_yes, gold_no) < GOLD_TAIL else []),
        *(["the guide sees gold images otherwise than the fit says"] if seen < SEEN_TAIL else []),
        *([f"the chains disagree on the raters (R-hat {rhat:.2f})"] if rhat > LARGEST_RHAT else []),
    ]
    return SelfCheck(share, simulated, z, agreement, wrong, rhat, gold_yes, gold_no, seen, tuple(reasons))


def _few(study: Study, n: NDArray[np.int64]) -> list[str]:
    few = []
    if len(study.keys) < FEWEST_PAIRS:
        few.append(f"{len(study.keys)} pairs, {FEWEST_PAIRS} are needed")
    if n.max() == 1 and not len(study.gold.m):
        few.append("one rating an image and no gold")
    # no table of simulated cells says so far that these cover (benchmarks/results/crowd_coverage.csv)
    if study.guide is None:
        few.append("without a guide intervals are not known to cover")
    if study.given.adaptive:
        few.append("intervals of ratings in waves are not known to cover")
    return few


def statuses(study: Study, fit: Estimated, found: SelfCheck) -> NDArray[np.str_]:
    """Verdict on each pair (pairs,), in the order of keys: CALIBRATED, or NOT_CALIBRATED with the reasons."""
    verdicts = []
    for place in range(len(study.keys)):
        own = list(found.reasons)
        if fit.rhat[place] > LARGEST_RHAT:
            own.append(f"the chains disagree on the score (R-hat {fit.rhat[place]:.2f})")
        skew = skewness(study, place)
        if skew > SKEWED:
            own.append(f"the unit is skewed ({skew:.1f})")
        if fit.reason[place]:
            own = ["no score"]
        verdicts.append(f"{NOT_CALIBRATED}: {'; '.join(own)}" if own else CALIBRATED)
    return np.array(verdicts, np.str_)


def skewness(study: Study, place: int) -> float:
    """Skewness of a pair's activations over the images on which the unit is not silent (h)."""
    abar = study.of(place).abar
    return float(np.mean(standardised(abar[~silence(abar)]) ** 3))


def bootstrap_copy(study: Study, fit: Estimated, *, seed: int, effort: Effort, copy: int) -> NDArray[np.bool_]:
    """Whether each pair of a simulated study is covered (a): all that is random drawn anew from one draw of the fit.

    That is labels, ratings and gold ratings. Pairs without a score are left out. Images and their numbers of ratings are those of
    the study, also where it was adaptive.
    """
    flat = fit.flat
    chosen = int(generator(seed, "bootstrap", copy).integers(len(flat.errors)))
    errors, own = flat.errors[chosen], flat.own[chosen]
    truth, yes = np.empty(len(study.keys)), np.empty(len(study.image), np.int64)
    n = study.rated.kinds[study.rated.kind, 0]
    for place, key in enumerate(study.keys):
        draw = generator(seed, "bootstrap", copy, int(key))
        of, rows = study.of(place), slice(study.rated.start[place], study.rated.start[place + 1])
        label = draw.random(study.n_images) < presence(flat.theta[chosen, place], of.x, of.level, floored=study.floored)
        truth[place] = correlations(of.abar[None], label[None].astype(np.float64))[0, 0]
        yes[rows] = _ratings(draw, label[study.images(place)], n[rows], study.rated.lure[rows], errors, own[place])
    gold = study.gold._replace(
        k=_ratings(
            generator(seed, "bootstrap gold", copy),
            study.gold.label == 1,
            study.gold.m,
            study.gold.lure,
            errors,
            np.zeros(2),
        )
    )
    again = estimate(study.with_ratings(yes, gold), int(generator(seed, "bootstrap fit", copy).integers(2**31)), effort)
    return again.covers(truth)[(again.reason == "") & np.isfinite(truth)]


def _ratings(
    draw: np.random.Generator,
    label: NDArray[np.bool_],
    n: NDArray[np.int64],
    lure: NDArray[np.float64],
    errors: NDArray[np.float64],
    own: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Numbers of yes, drawn from the model of the raters (L3, L4)."""
    false_yes = expit(errors[0] + own[0] + errors[3] * lure)
    rate = np.where(label, 1.0 - expit(errors[1] + own[1]), false_yes)
    if errors[2] > 1e-6:
        rate = draw.beta(rate / errors[2], (1.0 - rate) / errors[2])
    return draw.binomial(n, rate)


def residuals(study: Study, fit: Estimated) -> tuple[float, float]:
    """Largest |z| over bins of what raters said less what the fit expects, and z of the pairs of ratings that agree (b).

    Eight bins of the logit of the guide, where there is one, and eight of the activation, of as many rated images each. Both are
    NaN for adaptive ratings: there the number of ratings of an image tells what they were. The agreement is NaN, too, where no
    image has two ratings.
    """
    if study.given.adaptive:
        return float("nan"), float("nan")
    flat, rated = fit.flat, study.rated
    n, yes = rated.kinds[rated.kind].T
    chosen = np.linspace(0, len(flat.errors) - 1, AVERAGED).astype(np.int64)
    errors = flat.errors[chosen]
    expected = np.zeros((4, len(n)))  # yes, its square, agreeing pairs, their square
    for place in range(len(study.keys)):
        rows = slice(rated.start[place], rated.start[place + 1])
        odds, own = np.empty((len(chosen), len(n[rows]))), flat.own[chosen, place]
        theta = np.ascontiguousarray(flat.theta[chosen, place])
        kernels.odds_of(theta, rated.x[rows], study.floored, study.level[place], odds)
        false_yes = expit(errors[:, :1] + own[:, :1] + errors[:, 3:] * rated.lure[rows])
        false_no = expit(errors[:, 1:2] + own[:, 1:])
        for m in np.unique(n[rows]):
            here = np.flatnonzero(n[rows] == m)
            chance = count_probabilities(int(m), 1 / (1 + odds[:, here]), false_yes[:, here], false_no, errors[:, 2:3])
            k = np.arange(m + 1)
            both = _agreeing(k, m)
            expected[:, rows.start + here] = (chance.mean(axis=0) @ np.stack([k, k**2, both, both**2], axis=1)).T
    columns = [1, 2] if study.floored else [1]
    largest = max(
        _largest_z(rated.x[:, column], yes - expected[0], expected[1] - expected[0] ** 2) for column in columns
    )
    if n.max() == 1:
        return largest, float("nan")
    off, variance = _agreeing(yes, n) - expected[2], expected[3] - expected[2] ** 2
    return largest, float(off.sum() / np.sqrt(variance.sum()))


def _agreeing(yes: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the pairs of ratings of an image that agree; 0 for a single rating."""
    return (yes * (yes - 1) + (n - yes) * (n - yes - 1)) / np.maximum(n * (n - 1), 1)


def _largest_z(by: NDArray[np.float64], off: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    parts = [part for part in np.array_split(np.argsort(by, kind="stable"), BINS) if len(part)]
    return float(max(abs(off[part].sum()) / np.sqrt(variance[part].sum()) for part in parts))


def gold_errors(study: Study, fit: Estimated, seed: int) -> tuple[float, float]:
    """Two-sided posterior predictive p of the numbers of wrong yes and of wrong no among gold ratings (f); NaN without gold."""
    gold, flat = study.gold, fit.flat
    found = []
    for label in (0, 1):
        here = gold.label == label
        if not here.any():
            found.append(float("nan"))
            continue
        seen = gold.k[here].sum() if label == 0 else (gold.m - gold.k)[here].sum()
        draw = generator(seed, "gold", label)
        drawn = []
        for errors in flat.errors:
            k = _ratings(draw, gold.label[here] == 1, gold.m[here], gold.lure[here], errors, np.zeros(2))
            drawn.append(k.sum() if label == 0 else (gold.m[here] - k).sum())
        found.append(_two_sided(np.array(drawn), int(seen)))
    return found[0], found[1]


def _two_sided(drawn: NDArray[np.int64], seen: int) -> float:
    """Two-sided p of a count, from a normal distribution with the mean and variance of drawn counts."""
    return float(2 * norm.sf(abs(seen - drawn.mean()) / max(float(drawn.std(ddof=1)), 1e-9)))


def gold_seen(study: Study, fit: Estimated) -> float:
    """Two-sided p of how many gold images that show the concept lie below the level of the guide, under the fit (g).

    NaN without a guide, and where those images were not drawn uniformly. The chances of the pairs differ, so the count is that of
    a Poisson binomial distribution.
    """
    given = study.given_gold
    if given is None or not given.drawn_uniformly or not study.floored or not (given.present == 1).any():
        return float("nan")
    chosen = np.linspace(0, len(fit.flat.errors) - 1, AVERAGED).astype(np.int64)
    chances, below = [], 0
    for place, row in enumerate(study.order):
        images = given.image[(given.pair == row) & (given.present == 1)]
        if not len(images):
            continue
        of = study.of(place)
        under = of.x[:, 1] < of.level / SCALE
        shown = np.stack([presence(theta, of.x, of.level, floored=True) for theta in fit.flat.theta[chosen, place]])
        below += int(under[images].sum())
        chances += [shown[:, under].sum(axis=1) / shown.sum(axis=1)] * len(images)
    tails = np.zeros(2)
    for draw in np.stack(chances, axis=1):
        distribution = np.ones(1)
        for chance in draw:
            distribution = np.convolve(distribution, [1.0 - chance, chance])
        tails += np.array([distribution[: below + 1].sum(), distribution[below:].sum()]) / len(chosen)
    return float(min(1.0, 2.0 * tails.min()))
