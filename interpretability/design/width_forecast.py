"""While answers come in: how many people it takes until the interval of a network's mean human score is narrow enough.

The answers so far say how much units, tasks, people and chance each add to an answer (`widths.spread_so_far`), and the closed
form of `widths` says what follows for more people. How sure that is comes from leaving out the people in groups.

In simulated studies of 60 units (IMI's spread, 40 answers a person) the middle forecast from 10 to 20 people is within 15 % of
the right number for wanted widths from 1.4 times the narrowest that the units allow, and the range holds it in 84 to 91 of 100
studies. The closer the wanted width comes to that limit, the further single forecasts are off, and the wider is their range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from interpretability import arguments
from interpretability.design.widths import Asked, Spread, narrowest, people_for_width, spread_so_far

# From fewer people, one study in ten has forecasts that are several times too high.
FEWEST_PEOPLE = 10
_N_GROUPS = 10
_SURE = 0.8


@dataclass(frozen=True)
class Forecast:
    """People, those so far among them, until the interval is expected to be as narrow as wanted.

    people     None: no number of people is enough, more units are needed
    low, high  in 8 of 10 cases between them, by what the answers so far leave open; None: endlessly many. Of no meaning where
               `people` is None
    narrowest  the width with endlessly many people
    spread     what the forecast was made from
    """

    people: int | None
    low: int | None
    high: int | None
    narrowest: float
    spread: Spread


def forecast(responses: pd.DataFrame, asked: Asked, n_units: int, width: float) -> Forecast | None:
    """The forecast from answers so far to units of one network (key, task, participant, correct).

    n_units   units that are asked, also those without an answer yet;  width: the wanted whole width
    None with answers of fewer than FEWEST_PEOPLE people, or where no unit was answered by two. The order of rows changes
    nothing: people are dealt to groups in the order of their names.
    """
    wanted = arguments.number(width, "width", above=0)
    table = arguments.table(responses, "responses", ("participant", "correct"), empty=True)
    people = np.unique(table["participant"])
    spread = spread_so_far(table) if len(people) >= FEWEST_PEOPLE else None
    if spread is None:
        return None
    limit = narrowest(spread, asked, n_units)
    found = people_for_width(spread, asked, n_units, wanted)
    if found is None:
        return Forecast(None, None, None, limit, spread)
    others = list(_without_a_group(table, people, asked, n_units, wanted))
    if None in others:
        low = min((each for each in others if each is not None), default=found)
        return Forecast(found, min(low, found), None, limit, spread)
    logs = np.log(np.array(others, dtype=np.float64))
    error = math.sqrt((_N_GROUPS - 1) * logs.var())
    reach = math.exp(float(stats.t.ppf((1 + _SURE) / 2, _N_GROUPS - 1)) * error)
    return Forecast(found, max(math.floor(found / reach), 2), math.ceil(found * reach), limit, spread)


def _without_a_group(
    table: pd.DataFrame, people: np.ndarray, asked: Asked, n_units: int, width: float
) -> Iterator[int | None]:
    group = np.searchsorted(people, table["participant"].to_numpy()) % _N_GROUPS
    for number in range(_N_GROUPS):
        spread = spread_so_far(table[group != number])
        yield None if spread is None else people_for_width(spread, asked, n_units, width)
