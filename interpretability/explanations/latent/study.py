"""A study as the model reads it: pairs in the order of their keys, covariates of their rated images, and prior means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.explanations.latent.covariates import (
    Covariates,
    Terms,
    covariates,
    independent_slope,
    presence,
    terms_of,
)
from interpretability.explanations.latent.given import GoldImages, RatedPairs, check_places, group_numbers, pair_keys
from interpretability.explanations.latent.population import Gold, Priors, Rated, first_fit, priors, rated_images

# Variance of what a group adds to the prior means of its pairs' coefficients. Where texts of several methods are scored together,
# those of a bad one are unlike the others; without groups their mean would be drawn to that of all. In 25 simulated studies in
# which every second text is wrong (180 ratings, a good guide), errors of means were 2.1 of their posterior standard deviations
# without groups, 1.5 with a variance of .25, 1.3 with 1 and with 4.
GROUP_VARIANCE = 1.0


@dataclass(frozen=True)
class Study:
    """Everything that is given, with pairs in the order of their keys.

    activations, guide  as given, (pairs, n); `order` (pairs,) are the rows in the order of keys
    keys                (pairs,) ascending
    rows                (rated,) the rows of the given ratings in the order of `rated`, `image` their images
    group               (pairs,) number of the group of each pair, of n_groups
    """

    activations: NDArray[np.floating]
    guide: NDArray[np.floating] | None
    order: NDArray[np.int64]
    keys: NDArray[np.uint64]
    group: NDArray[np.int64]
    n_groups: int
    rows: NDArray[np.int64]
    image: NDArray[np.int64]
    rated: Rated
    gold: Gold
    level: NDArray[np.float64]
    terms: Terms
    given: RatedPairs
    given_gold: GoldImages | None

    @property
    def floored(self) -> bool:
        return self.guide is not None

    @property
    def n_images(self) -> int:
        return self.activations.shape[1]

    def of(self, place: int) -> Covariates:
        """Covariates of all images of the pair at this place."""
        row = self.order[place]
        return covariates(self.activations[row], None if self.guide is None else self.guide[row], self.terms)

    def images(self, place: int) -> NDArray[np.int64]:
        """Rated images of the pair at this place."""
        return self.image[self.rated.start[place] : self.rated.start[place + 1]]

    def with_ratings(self, yes: NDArray[np.int64], gold: Gold) -> Study:
        """The same study with other ratings (rated,), in the order of `rated`, and other gold."""
        n = self.rated.kinds[self.rated.kind, 0]
        return replace(self, rated=rated_images(self.rated.start, self.rated.x, n, yes, self.rated.lure), gold=gold)


def prepare(
    activations: NDArray[np.floating],
    guide: NDArray[np.floating] | None,
    ratings: RatedPairs,
    gold: GoldImages | None,
    keys: NDArray[np.uint64] | Sequence[object],
    groups: Sequence[object] = (),
) -> Study:
    """Check what is given and put it into the order of keys. Raises InputError for what does not fit together."""
    arguments.array(activations, "activations", ("pairs", "images"))
    pairs, n = activations.shape
    if guide is not None:
        arguments.array(guide, "guide", ("pairs", "images"))
        if guide.shape != activations.shape:
            raise InputError(
                "{guide} has shape {given} and {activations} has {wanted}; both must be of the same pairs and images",
                "guide",
                "activations",
                given=guide.shape,
                wanted=activations.shape,
            )
    check_places(ratings, "ratings", pairs, n)
    if not len(ratings.pair):
        raise arguments.wrong("ratings", "holds no rating")
    named = pair_keys(keys, pairs)
    group, n_groups = group_numbers(groups, pairs)
    order = np.argsort(named, kind="stable")
    place = np.empty(pairs, np.int64)
    place[order] = np.arange(pairs)
    rows = np.lexsort((ratings.image, place[ratings.pair]))
    start = np.searchsorted(place[ratings.pair][rows], np.arange(pairs + 1))
    image = ratings.image[rows]
    terms = terms_of(activations)
    if gold is not None:
        check_places(gold, "gold", pairs, n)
        gold_rows = np.lexsort((gold.image, place[gold.pair]))
    else:
        gold_rows = np.zeros(0, np.int64)
    x, lure, level, gold_lure = [], [], np.empty(pairs), np.zeros(len(gold_rows))
    for at, row in enumerate(order):
        of = covariates(activations[row], None if guide is None else guide[row], terms)
        own = image[start[at] : start[at + 1]]
        x.append(of.x[own])
        lure.append(of.lure[own])
        level[at] = of.level
        if gold is not None:
            here = gold.pair[gold_rows] == row
            gold_lure[here] = of.lure[gold.image[gold_rows][here]]
    none = np.zeros(0, np.int64)
    label, m, k = (none, none, none) if gold is None else (gold.present, gold.n, gold.yes)
    return Study(
        activations=activations,
        guide=guide,
        order=order,
        keys=named[order],
        group=group[order],
        n_groups=n_groups,
        rows=rows,
        image=image,
        rated=rated_images(start, np.concatenate(x), ratings.n[rows], ratings.yes[rows], np.concatenate(lure)),
        gold=Gold(label[gold_rows], m[gold_rows], k[gold_rows], gold_lure),
        level=level,
        terms=terms,
        given=ratings,
        given_gold=gold,
    )


def prior_means(study: Study) -> tuple[NDArray[np.float64], Priors]:
    """z (pairs, p, q), which makes prior means of the pairs' coefficients of b (L2), and the priors.

    With a guide the b behind those of the coefficients times z_u adds to the prior mean of the coefficient of the activation;
    z_u comes from a first fit without the activation. Of several groups each adds an own b to the prior means of the intercept
    and of the coefficient of the activation.
    """
    pairs, p = len(study.keys), study.rated.x.shape[1]
    if study.guide is None:
        return _with_groups(study, np.tile(np.eye(p), (pairs, 1, 1)), priors(p, p, floored=False, guided=False), 1)
    kept = [0, 1, p - 1]
    x = np.ascontiguousarray(study.rated.x[:, kept])
    alone = study.rated._replace(x=x, columns=np.ascontiguousarray(x.T))
    fit = first_fit(
        alone,
        study.gold,
        np.tile(np.eye(3), (pairs, 1, 1)),
        priors(3, 3, floored=True, guided=True),
        study.level,
        floored=True,
    )
    z = np.zeros((pairs, p, p + 1))
    z[:, range(p), range(p)] = 1.0
    for place in range(pairs):
        of = study.of(place)
        z[place, 2, p] = independent_slope(of.abar, presence(fit.theta[place], of.x[:, kept], of.level, floored=True))
    return _with_groups(study, z, priors(p, p + 1, floored=True, guided=True), 2)


def _with_groups(
    study: Study, z: NDArray[np.float64], prior: Priors, activation: int
) -> tuple[NDArray[np.float64], Priors]:
    """z and priors with the b of groups behind all others; `activation`: place of the coefficient of the activation."""
    if study.n_groups == 1:
        return z, prior
    own, every = np.zeros((*z.shape[:2], 2 * study.n_groups)), np.arange(len(z))
    own[every, 0, study.group] = 1.0
    own[every, activation, study.n_groups + study.group] = 1.0
    none = np.zeros(2 * study.n_groups)
    prior = prior._replace(
        b_mean=np.concatenate([prior.b_mean, none]),
        b_var=np.concatenate([prior.b_var, np.full(len(none), GROUP_VARIANCE)]),
        b_start=np.concatenate([prior.b_start, none]),
    )
    return np.concatenate([z, own], axis=2), prior
