"""Who is asked what in turn: all at once, or in waves that ask again where an answer tells most."""

from __future__ import annotations

import pandas as pd

from study.crowd.asked import Asked
from study.crowd.simulated import simulated_ratings

NEXT = ["sheet", "position", "text", "image", "path"]


def simulated(asked, params):
    return simulated_ratings(asked, params.crowd.simulated, params.crowd.n_raters, params.seed)


def next_questions(asked, ratings, params):
    return pd.DataFrame(columns=NEXT)
