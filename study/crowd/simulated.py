"""Simulated people rate the questions. Their ratings, and all that is made of them, are called simulated."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit

from interpretability.randomness import generator
from interpretability.synthetic import raters
from study.crowd.asked import Asked
from study.crowd.ratings import NO_PAGE, RATING
from study.errors import StudyError
from study.params.crowd import SimulatedRaters

_SPECIAL = {"lazy": "lazy", "inverted": "inverted", "silent": "never"}


def simulated_ratings(asked: Asked, people: SimulatedRaters, n_raters: int, seed: int) -> pd.DataFrame:
    """Ratings of every question by `n_raters` of the simulated people: RATING, ordered as those of files are.

    The concept of an image is read from what stage `explanations` knows exactly. Honest people have error rates of their own,
    drawn by key; on hard images all of them err more often. The last ones of `people` answer as their kinds say.
    Raises StudyError where nothing says what an image shows, or where it is known to no more than a probability.
    """
    questions = asked.questions.sort_values(["page", "position"], kind="stable")
    shown = questions.assign(present=_present(asked, questions))
    crowd = _people(people, seed, n_raters)
    found = raters.simulate_ratings(shown, crowd, n_raters=n_raters, seed=seed, shared=people.hard_images)
    return found.sort_values(["text", "image", "rater"], kind="stable").reset_index(drop=True)[RATING]


def _present(asked: Asked, questions: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the image of each question shows its text."""
    present = asked.presence_at(questions["text"], questions["image"])
    if present is None or not np.isin(present, (0.0, 1.0)).all():
        raise StudyError(
            "crowd.source is simulated, but explanations.presence does not say for certain what an image shows: simulated people "
            "need that. Set explanations.presence to factors or labels, or crowd.source to none"
        )
    return present == 1


def _people(people: SimulatedRaters, seed: int, n_raters: int = 1) -> list[raters.Rater]:
    """All simulated people."""
    special = [kind for name, kind in _SPECIAL.items() for _ in range(getattr(people, name))]
    if people.n_raters < max(n_raters, len(special)):
        raise StudyError(
            f"crowd.simulated.n_raters is {people.n_raters}; an image is rated by crowd.n_raters {n_raters} of them, and lazy, "
            f"inverted and silent ones are {len(special)}. Raise it to at least {max(n_raters, len(special))}"
        )
    return [_own_rates(rater, people, seed) for rater in raters.crowd(people.n_raters, special=special)]


def _own_rates(rater: raters.Rater, people: SimulatedRaters, seed: int) -> raters.Rater:
    """A rater with error rates around those of all, in log odds; a rate of 0 stays 0."""
    away = people.spread * generator(seed, "error rates", rater.name).standard_normal(2)
    rates = (people.false_yes, people.false_no)
    own = [float(expit(logit(rate) + shift)) if rate else 0.0 for rate, shift in zip(rates, away, strict=True)]
    return raters.Rater(rater.name, rater.kind, *own)


def another_rating(
    asked: Asked, again: pd.DataFrame, ratings: pd.DataFrame, people: SimulatedRaters, seed: int
) -> pd.DataFrame:
    """One more rating of each question (text, image) by somebody who has not rated it, RATING, without pages and times.

    People come in an order of their own for each question, by key. Questions that all have rated are left out.
    """
    crowd = _people(people, seed)
    seen = ratings.groupby(["text", "image"])["rater"].agg(set).to_dict()
    names = np.array([rater.name for rater in crowd], dtype=object)
    chosen = []
    for text, image in again[["text", "image"]].itertuples(index=False, name=None):
        order = names[generator(seed, "asked again", text, int(image)).permutation(len(names))]
        chosen.append(next((name for name in order if name not in seen.get((text, image), ())), ""))
    shown = again.assign(rater=chosen, present=_present(asked, again))
    parts = [
        raters.simulate_ratings(
            shown.loc[shown["rater"] == rater.name, ["text", "image", "present"]],
            [rater],
            n_raters=1,
            seed=seed,
            shared=people.hard_images,
        )
        for rater in crowd
    ]
    return pd.concat(parts, ignore_index=True).assign(seconds=np.nan, page=NO_PAGE)[RATING]
