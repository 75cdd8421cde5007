"""Who is asked what in turn: all at once, or in waves that ask again where an answer tells most."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.explanations.latent.adaptive import WAVE, next_wave
from interpretability.randomness import key64
from study.crowd.asked import Asked
from study.crowd.gold import Gold
from study.crowd.labels import ASKED, counts
from study.crowd.latent import given
from study.crowd.simulated import another_rating, simulated_ratings
from study.params.crowd import Crowd

ADAPTIVE = "adaptive"
NEXT = ["sheet", "position", "text", "image", "path"]


def all_ratings(asked: Asked, gold: Gold, crowd: Crowd, seed: int) -> pd.DataFrame:
    """Ratings of simulated people until the budget of every pair is spent."""
    if crowd.design != ADAPTIVE:
        return simulated_ratings(asked, crowd.simulated, crowd.n_raters, seed)
    ratings = simulated_ratings(asked, crowd.simulated, 1, seed)
    while len(again := ask_again(asked, ratings, gold, crowd)):
        more = another_rating(asked, again, ratings, crowd.simulated, seed)
        if more.empty:
            break
        ratings = pd.concat([ratings, more], ignore_index=True)
    return ratings.sort_values(["text", "image", "rater"], kind="stable", ignore_index=True)


def ask_again(asked: Asked, ratings: pd.DataFrame, gold: Gold, crowd: Crowd) -> pd.DataFrame:
    """Questions of the next wave, text and image, sorted: of every pair an eighth of its budget, or what is left of it.

    A pair may spend crowd.n_images * crowd.n_raters ratings. None before the first wave was rated, and none where the design
    has one wave alone.
    """
    nothing = pd.DataFrame(columns=ASKED)
    if crowd.design != ADAPTIVE or ratings.empty:
        return nothing
    data = given(asked, counts(ratings), gold)
    if data.rated.empty:
        return nothing
    budget = crowd.n_images * crowd.n_raters
    spent = data.rated.groupby("pair")["n"].sum().reindex(data.pairs, fill_value=0).to_numpy()
    size = np.minimum(max(budget // WAVE, 1), budget - spent)
    rows: list[dict[str, object]] = []
    for most in np.unique(
        size[size > 0]
    ).tolist():  # mostly one: pairs that share pictures of a text are ahead of others
        chosen = next_wave(data.activations, data.guide, data.ratings, most, gold=data.gold, keys=data.keys)
        rows += [
            {"text": asked.pairs["text"][pair], "image": asked.images["image"][place]}
            for pair, places, own in zip(data.pairs, chosen, size, strict=True)
            for place in places[: most if own == most else 0]
        ]
    return pd.DataFrame(rows, columns=ASKED).drop_duplicates().sort_values(ASKED, kind="stable", ignore_index=True)


def next_questions(asked: Asked, ratings: pd.DataFrame, gold: Gold, crowd: Crowd, seed: int) -> pd.DataFrame:
    """The next wave as sheets for people, NEXT: of one text each, at most crowd.page pictures, in keyed order.

    Each picture is shown once more, to somebody who has not seen it with this text. A sheet is no page of questions.csv: ratings
    leave their column page empty.
    """
    again = ask_again(asked, ratings, gold, crowd).merge(asked.questions[[*ASKED, "path"]], on=ASKED)
    keys = [key64(seed, "wave", text, int(image)) for text, image in again[ASKED].itertuples(index=False)]
    again = again.assign(mix=np.array(keys, dtype=np.uint64)).sort_values(["text", "mix"], kind="stable")
    place = again.groupby("text").cumcount().to_numpy()
    again["sheet"], again["position"] = np.cumsum(place % crowd.page == 0), place % crowd.page
    return again[NEXT]
