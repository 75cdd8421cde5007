"""How far each experiment is: answers to its units, the mean human score so far, and when it will be known well enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy import stats

from interpretability.design import width_forecast, widths
from interpretability.people import two_way
from interpretability.people.human_scores import human_scores
from interpretability.schema import KEY
from interpretability.statistics import FEWEST_SCORES

if TYPE_CHECKING:
    from experiment.recorded import Recorded
    from experiment.study_folder import Folder

# Intervals of the mean HIS for other units and other people hold what they promise from so many people and units on: in
# simulated studies of 5 to 60 units, answered by 6 to 20 people, 92.6 to 97.8 of 100 intervals of 95 % held the true mean; with
# 2 to 5 people it was down to 80.
FEWEST_PEOPLE = 6
FEWEST_UNITS = FEWEST_SCORES
CONFIDENCE = 0.95
REACHED, EXPECTED, NOT_SO = "reached", "expected", "not at this design"
DOUBTFUL = "perhaps not at this design"  # more than planned, but the forecast may be wrong by that much


def experiments(recorded: Recorded, judged: pd.DataFrame, now: float) -> list[dict[str, Any]]:
    """One dictionary an experiment, in the order of study.json. `judged`: sessions with experiment, accepted and outcome."""
    answers = responses(recorded, judged[judged["accepted"]].index)
    shown = []
    for each in recorded.folder.study["experiments"]:
        name = each["experiment"]
        own = answers[answers["experiment"] == name]
        shown.append(
            {
                **{key: each[key] for key in ("experiment", "model", "condition", "n_explanations")},
                **_counted(judged[judged["experiment"] == name]),
                "source": recorded.source,
                **_progress(recorded, name, own, now),
            }
        )
    return shown


def spreads(recorded: Recorded, judged: pd.DataFrame) -> list[widths.Spread | None]:
    """What answers of each experiment vary by, from sessions that count; None where it is too early to tell."""
    answers = responses(recorded, judged[judged["accepted"]].index)
    names = [each["experiment"] for each in recorded.folder.study["experiments"]]
    own = [answers[answers["experiment"] == name] for name in names]
    enough = width_forecast.FEWEST_PEOPLE
    return [widths.spread_so_far(rows) if rows["participant"].nunique() >= enough else None for rows in own]


def responses(recorded: Recorded, sessions: pd.Index) -> pd.DataFrame:
    """Main answers of these sessions: experiment, key of the unit, task, participant (the session), correct."""
    answers = recorded.answers
    rows = answers[(answers["kind"] == "main") & answers["session"].isin(sessions)]
    questions = [recorded.folder.questions[name] for name in rows["question"]]
    units = [question.unit for question in questions]
    table = pd.DataFrame(units, columns=list(KEY), index=rows.index)
    table = table.assign(
        experiment=[question.experiment for question in questions],
        task=[question.task for question in questions],
        participant=rows["session"],
        correct=rows["correct"].astype(bool),
    )
    # categories make every grouping of these columns several times as fast as text does
    return table.astype(dict.fromkeys(("model", "layer", "condition", "experiment", "participant"), "category"))


def asked_of(folder: Folder, experiment: str) -> tuple[pd.DataFrame, widths.Asked]:
    """Units of an experiment (key, tasks), sorted, and how they are asked."""
    main = [question for question in folder.of(experiment, "main") if question.unit is not None]
    table = pd.DataFrame([question.unit for question in main], columns=list(KEY))
    units = table.groupby(KEY, sort=True).size().rename("tasks").reset_index()
    trials = int(folder.study["trials_a_session"])
    return units, widths.Asked(max(round(float(units["tasks"].mean())), 1), min(trials, len(units)), CONFIDENCE)


def planned_sessions(folder: Folder, n_units: int) -> int:
    """Sessions that count until each unit of an experiment has its answers."""
    trials = min(int(folder.study["trials_a_session"]), n_units)
    return math.ceil(n_units * int(folder.study["responses_a_unit"]) / trials)


def _counted(own: pd.DataFrame) -> dict[str, int]:
    return {"accepted": int(own["accepted"].sum()), "running": int(own["outcome"].isna().sum())}


def _progress(recorded: Recorded, name: str, own: pd.DataFrame, now: float) -> dict[str, Any]:
    folder = recorded.folder
    units, asked = asked_of(folder, name)
    wanted = int(folder.study["responses_a_unit"])
    counts = own.groupby(KEY).size().reindex(pd.MultiIndex.from_frame(units[list(KEY)]), fill_value=0)
    people = int(own["participant"].nunique())
    planned = planned_sessions(folder, len(units))
    score = _score(own, people)
    # a unit that has more answers than wanted takes nothing from what others lack
    missing = int((wanted - counts).clip(lower=0).sum())
    return {
        "units": {
            "all": len(units),
            "wanted": wanted,
            "min": int(counts.min()),
            "median": float(counts.median()),
            "max": int(counts.max()),
            "answers": units.assign(answers=counts.to_numpy())[["layer", "unit", "answers"]].to_dict("records"),
        },
        "planned_sessions": planned,
        "more_sessions": max(math.ceil(missing / asked.n_trials), 0),
        "his": score,
        "forecast": _forecast(recorded, own, (len(units), asked, planned), score["width"], now),
    }


def _score(own: pd.DataFrame, people: int) -> dict[str, Any]:
    """Mean HIS so far, and its interval for other units and other people once that can be relied on."""
    if own.empty:
        return {"mean": None, "low": None, "high": None, "width": None, "why": "no answers that count yet"}
    units = human_scores(own)
    found: dict[str, Any] = {"mean": float(units["his"].mean()), "low": None, "high": None, "width": None, "why": None}
    if people < FEWEST_PEOPLE or len(units) < FEWEST_UNITS:
        return found | {
            "why": f"no interval below {FEWEST_PEOPLE} sessions that count and {FEWEST_UNITS} units: it would promise more "
            f"than it holds (so far {people} and {len(units)})"
        }
    row = two_way.means_of_units(own, CONFIDENCE, by=("experiment",)).iloc[0]
    return found | {"low": row["low"], "high": row["high"], "width": row["high"] - row["low"]}


def _forecast(
    recorded: Recorded, own: pd.DataFrame, design: tuple[int, widths.Asked, int], width: float | None, now: float
) -> dict[str, Any]:
    """When the interval will be as narrow as the settings want it: in sessions that count, and in time.

    design: units, how they are asked, sessions that the plan has; width: of the interval so far
    """
    n_units, asked, planned = design
    wanted = recorded.settings.wanted_width
    done = int(own["participant"].nunique())
    found = width_forecast.forecast(own, asked, n_units, wanted) if n_units >= 2 else None
    if found is None:
        words = f"no forecast below {width_forecast.FEWEST_PEOPLE} sessions that count (so far {done})"
        return {"wanted": wanted, "state": "early", "words": words}
    shown: dict[str, Any] = {
        "wanted": wanted,
        "narrowest": found.narrowest,
        "at_end": widths.his_width(found.spread, asked, n_units, max(planned, 2)),
        "sessions": {"expected": found.people, "low": found.low, "high": found.high},
    }
    if width is not None and width <= wanted:
        return shown | {"state": REACHED, "words": f"with {done} sessions that count"}
    if found.people is None:
        units = widths.units_for_width(found.spread, asked, planned * asked.n_trials / n_units, wanted)
        more = f"; about {units} units with as many answers each would do" if units else ""
        words = f"endlessly many people would leave it {found.narrowest:.3f} wide with these {n_units} units{more}"
        return shown | {"state": NOT_SO, "words": words}
    needed = max(found.people, done + 1)
    most = "many more" if found.high is None else f"{max(found.high, needed):,}"
    words = f"at about {needed:,} sessions that count ({max(found.low or 0, done + 1):,} to {most})"
    if needed > planned:
        answers = math.ceil(needed * asked.n_trials / n_units)
        words += f"; the plan has {planned}, so it takes about {answers} answers a unit"
        return shown | {"state": DOUBTFUL if (found.low or 0) <= planned else NOT_SO, "words": words}
    return shown | {"state": EXPECTED, "words": words, "date": _dates(recorded, done, found, now)}


def _dates(recorded: Recorded, done: int, found: width_forecast.Forecast, now: float) -> dict[str, float | None]:
    """From when to when, at the pace so far: the earliest for the fewest sessions at the fastest pace that is compatible with
    the sessions that came so far (an exact interval of a Poisson rate), the latest for the most at the slowest."""
    elapsed = now - float(recorded.sessions["started"].min())
    if elapsed <= 0:
        return {"from": None, "to": None}
    tail = (1 - CONFIDENCE) / 2
    slow = float(stats.chi2.ppf(tail, 2 * done)) / 2 / elapsed
    fast = float(stats.chi2.ppf(1 - tail, 2 * done + 2)) / 2 / elapsed
    low = max((found.low or 0) - done, 1)
    latest = None if found.high is None else now + max(found.high - done, 1) / slow
    return {"from": now + low / fast, "to": latest}
