"""What the ratings of several people say together about one image and text: a label between 0 and 1.

Crowd paper, sections 3.2 and B.4. Of n ratings of an image, `yes` say that it shows the concept. All calls take arrays of any
shapes that broadcast, and give float64; labels of images without ratings are NaN, but posteriors are then the prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import betaln, digamma, expit, logit

from interpretability import arguments, columns
from interpretability.explanations.sampling import probabilities

# Published: the error rate of a rating (section 4), the prior without a guide (B.2), the prior of a guide is kept away from 0
# and 1 (section 3.2), and the distribution of error rates over images and concepts (B.4).
ETA, BETA, CLIP = 0.23, 0.05, 1e-3
BETA_ERRORS = 0.75, 2.5
# Precision a + b of fitted error rates, at most: beyond it they are alike for all images, as far as any ratings could tell.
_MOST_PRECISION = 1e4


def average(yes: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Share of the ratings that say yes (method 1)."""
    k, m = _counts(yes, n)
    with np.errstate(invalid="ignore"):
        return np.where(m > 0, k / np.where(m > 0, m, 1), np.nan)


def majority(yes: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """1 where more than half of the ratings say yes, else 0; a tie is 0 (method 2)."""
    k, m = _counts(yes, n)
    return np.where(m > 0, 2 * k > m, np.nan)


def bragg(
    yes: ArrayLike,
    n: ArrayLike,
    prior: ArrayLike,
    *,
    eta: float | None = None,
    false_yes: ArrayLike | None = None,
    false_no: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Posterior probability that an image shows the concept, given its ratings (BRAgg: Eq. 13 to 15).

    prior     probability before any rating, 0 to 1: BETA, or that of a guide, see `guide_prior`
    eta       probability that a rating is wrong, in (0, 0.5); the published 0.23 where nothing is given
    false_yes, false_no   both in place of eta: probabilities of a yes where the concept is absent, and of a no where it is
              present, above 0 and together below 1; arrays where they differ

    Ratings count as independent given the truth. In log odds, a yes adds log((1 - false_no) / false_yes), a no
    log(false_no / (1 - false_yes)). Raises InputError for probabilities outside of these ranges and yes above n.

    >>> float(bragg(2, 3, 0.3, eta=0.23).round(6)), float(bragg(2, 3, 0.3, false_yes=0.1, false_no=0.2).round(6))
    (0.589286, 0.85906)
    """
    k, m = _counts(yes, n)
    wrong_yes, wrong_no = error_rates(eta, false_yes, false_no)
    odds = logit(probabilities(np.asarray(prior), "prior"))
    return expit(odds + k * np.log((1 - wrong_no) / wrong_yes) + (m - k) * np.log(wrong_no / (1 - wrong_yes)))


def bragg_beta(
    yes: ArrayLike, n: ArrayLike, prior: ArrayLike, a: float = BETA_ERRORS[0], b: float = BETA_ERRORS[1]
) -> NDArray[np.float64]:
    """Posterior where each image has an error rate of its own, drawn from Beta(a, b) and shared by its raters (B.4, Eq. 18).

    a, b are above 0.

    Departure: the paper adds up 100 bins of the error rate; its integrals are Beta functions, so that the log odds are those of
    the prior plus log B(a + n - yes, b + yes) - log B(a + yes, b + n - yes).
    Departure: Eq. 21 prints a and b as exponents of the density, in place of a - 1 and b - 1; the text says Beta(0.75, 2.5), and
    that is taken.
    """
    k, m = _counts(yes, n)
    a, b = arguments.number(a, "a", above=0), arguments.number(b, "b", above=0)
    odds = logit(probabilities(np.asarray(prior), "prior"))
    return expit(odds + betaln(a + m - k, b + k) - betaln(a + k, b + m - k))


def guide_prior(guide: ArrayLike, clip: float = CLIP) -> NDArray[np.float64]:
    """Probabilities of a guide as a prior, kept between clip and 1 - clip (section 3.2).

    The published clip 0.001 is as large as the prevalence of a class of ImageNet and inflates rare concepts; 1e-6 does not.
    """
    clip = arguments.number(clip, "clip", least=0, below=0.5)
    return np.clip(probabilities(np.asarray(guide), "guide"), clip, 1 - clip)


def bragg_raters(
    ratings: pd.DataFrame,
    prior: float | Mapping[tuple[str, int], float],
    false_yes: Mapping[str, float],
    false_no: Mapping[str, float],
) -> pd.DataFrame:
    """Posteriors where each rater has error rates of their own: a row a (text, image), sorted: n, yes, prior, posterior.

    ratings    rater, text, image, rating (0 or 1), one row a rating
    prior      one for all, or by (text, image), 0 to 1
    false_yes, false_no   of each rater, above 0 and together below 1; a rater whose sum is above 1 answers the wrong way round
               and is refused
    """
    known = checked_ratings(ratings)
    wrong_yes, wrong_no = (
        known["rater"].map(_of_raters(rates, known["rater"], name)).to_numpy(np.float64)
        for rates, name in ((false_yes, "false_yes"), (false_no, "false_no"))
    )
    error_rates(None, wrong_yes, wrong_no)
    said = known["rating"].to_numpy(np.bool_)
    votes = np.where(said, np.log((1 - wrong_no) / wrong_yes), np.log(wrong_no / (1 - wrong_yes)))
    # ratings are added in the order of raters, whatever order the table has
    table = known.assign(votes=votes).sort_values(["text", "image", "rater"], kind="stable")
    groups = table.groupby(["text", "image"], sort=True, observed=True)
    found = groups.agg(n=("rating", "size"), yes=("rating", "sum"), votes=("votes", "sum")).reset_index()
    before = priors_of(prior, pd.MultiIndex.from_frame(found[["text", "image"]]))
    posterior = expit(logit(before) + found.pop("votes").to_numpy(np.float64))
    return found.assign(prior=before, posterior=posterior)


def priors_of(prior: float | Mapping[tuple[str, int], float], pairs: pd.Index) -> NDArray[np.float64]:
    """Prior of each (text, image), 0 to 1: one for all, or by pair. Raises InputError for a pair that it lacks."""
    if isinstance(prior, Mapping):
        if missing := [pair for pair in pairs if pair not in prior]:
            text, image = missing[0]
            raise arguments.wrong("prior", "lacks text {text!r}, image {image}", text=text, image=image)
        return probabilities(np.array([prior[pair] for pair in pairs]), "prior")
    return probabilities(np.full(len(pairs), prior, dtype=np.float64), "prior")


def checked_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings (rater, text, image, rating) with their types checked and no rater twice on an image and text."""
    table = arguments.table(ratings, "ratings", ("rater", "text", "image", "rating"))
    columns.names(table, "ratings", ("rater", "text"))
    known = table.assign(
        image=columns.whole_numbers(table, "ratings", "image"), rating=columns.truth(table, "ratings", "rating")
    )
    again = known.duplicated(["rater", "text", "image"])
    if again.any():
        row = known[again].iloc[0]
        raise arguments.wrong(
            "ratings",
            "holds more than one rating of rater {rater!r} of image {image} and text {text!r}; the second in row {row}",
            rater=row["rater"],
            image=row["image"],
            text=row["text"],
            row=again.index[again][0],
        )
    return known.assign(rating=known["rating"].astype(np.int64))


@dataclass(frozen=True)
class BetaErrors:
    """Error rates over images and concepts: Beta(a, b) by maximum likelihood, its mean and second moment.

    overdispersed   whether the wrong ratings of an image go together more than chance has it; if not, a + b is at its bound and
                    the rates are alike, as far as these ratings can tell
    moment_a, moment_b   by the method of moments from the largest number of ratings an image, a check; NaN where it has no answer
    log_likelihood  at (a, b), without the binomial coefficients
    """

    a: float
    b: float
    mean: float
    second_moment: float
    overdispersed: bool
    moment_a: float
    moment_b: float
    log_likelihood: float


def fit_beta_errors(wrong: ArrayLike, of: ArrayLike) -> BetaErrors:
    """Distribution of error rates from images with known labels: `wrong` of `of` ratings of each say the other (B.4).

    Maximum likelihood of the beta-binomial counts. Raises InputError without any wrong or any right rating, for then one end of
    the scale fits best, and where no image has two ratings, for then the spread cannot be seen.
    """
    k, m = _counts(wrong, of, "wrong", "of")
    pairs, times = np.unique(np.stack([np.ravel(k), np.ravel(m)], axis=1), axis=0, return_counts=True)
    k, m = pairs.T
    if not (k @ times and (m - k) @ times):
        raise arguments.wrong(
            "wrong", "holds only {kind} ratings; the rates cannot be fitted", kind="right" if k.max() == 0 else "wrong"
        )
    if m.max() < 2:
        raise arguments.wrong("of", "holds no image with two ratings; the spread of error rates cannot be seen")

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        share, precision = expit(point[0]), np.exp(point[1])
        a, b = share * precision, (1 - share) * precision
        value = times @ (betaln(a + k, b + m - k) - betaln(a, b))
        of_both = digamma(precision) - digamma(precision + m)
        da = times @ (digamma(a + k) - digamma(a) + of_both)
        db = times @ (digamma(b + m - k) - digamma(b) + of_both)
        slope = precision * share * (1 - share) * (da - db), a * da + b * db
        return -float(value), -np.array(slope)

    start = np.array([logit((k @ times) / (m @ times)), np.log(4.0)])
    bounds = [(-20.0, 20.0), (np.log(1e-3), np.log(_MOST_PRECISION))]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9})
    share, precision = float(expit(found.x[0])), float(np.exp(found.x[1]))
    a, b = share * precision, (1 - share) * precision
    return BetaErrors(
        a=a,
        b=b,
        mean=share,
        second_moment=share * (a + 1) / (precision + 1),
        overdispersed=precision < _MOST_PRECISION * (1 - 1e-9),
        log_likelihood=-float(found.fun),
        **_moments(k, m, times),
    )


def _moments(k: NDArray[np.float64], m: NDArray[np.float64], times: NDArray[np.int64]) -> dict[str, float]:
    """Beta(a, b) from mean and variance of the counts of wrong ratings among images with the most ratings."""
    most = m.max()
    kept = m == most
    counts, n = k[kept], times[kept]
    first, second = counts @ n / n.sum(), (counts**2) @ n / n.sum()
    below = most * (second / first - first - 1) + first if first > 0 else 0.0
    if below <= 0:
        return {"moment_a": float("nan"), "moment_b": float("nan")}
    return {
        "moment_a": float((most * first - second) / below),
        "moment_b": float((most - first) * (most - second / first) / below),
    }


def _counts(
    yes: ArrayLike, n: ArrayLike, first: str = "yes", second: str = "n"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts as float64, broadcast. Refuses what is no whole number and yes outside 0 to n."""
    k, m = np.broadcast_arrays(np.asarray(yes, np.float64), np.asarray(n, np.float64))
    for values, name in ((k, first), (m, second)):
        if not ((values >= 0) & (np.floor(values) == values) & np.isfinite(values)).all():
            raise arguments.wrong(name, "holds values that are no whole numbers of at least 0")
    if (k > m).any():
        place = np.argwhere(k > m)[0]
        raise arguments.wrong(
            first,
            "holds {given:g} of {most:g} ratings; it must not exceed their number",
            given=float(k[tuple(place)]),
            most=float(m[tuple(place)]),
        )
    return k, m


def error_rates(
    eta: float | None, false_yes: ArrayLike | None, false_no: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of a wrong yes and of a wrong no, checked: as `bragg` takes them, published where nothing is given."""
    if (false_yes is None) != (false_no is None) or (eta is not None and false_yes is not None):
        raise arguments.wrong("eta", "stands alone, or false_yes and false_no stand together in its place")
    if false_yes is None or false_no is None:
        rate = np.array(arguments.number(ETA if eta is None else eta, "eta", above=0, below=0.5))
        return rate, rate
    wrong_yes, wrong_no = np.broadcast_arrays(np.asarray(false_yes, np.float64), np.asarray(false_no, np.float64))
    for rates, name in ((wrong_yes, "false_yes"), (wrong_no, "false_no")):
        if not ((rates > 0) & (rates < 1)).all():
            raise arguments.wrong(name, "holds values outside of (0, 1)")
    if not (wrong_yes + wrong_no < 1).all():
        raise arguments.wrong(
            "false_yes",
            "and false_no add up to {total:g}; from 1 on a yes speaks against the concept",
            total=float(np.max(wrong_yes + wrong_no)),
        )
    return wrong_yes, wrong_no


def _of_raters(rates: Mapping[str, float], raters: pd.Series, name: str) -> dict[str, float]:
    missing = [rater for rater in raters.unique() if rater not in rates]
    if missing:
        raise arguments.wrong(name, "lacks the rater {rater!r}", rater=missing[0])
    return dict(rates)
