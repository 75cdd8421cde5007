"""What a rehearsal finds, held against what is known of the people it made up: verdicts, scores of units, and the slope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import Participant
from experiment.rehearsal.walking import Walked
from experiment.settings import Settings
from experiment.study_folder import CATCH, MAIN, PRACTICE, Folder
from experiment.verdicts import UPPER_ROW
from interpretability.people.calibration import fit_slope
from interpretability.people.human_scores import human_scores
from interpretability.schema import KEY
from study.people.fitting import CalibrationParams, fitted_slope, tasks_of


def margins_of(folder: Folder, scores: Path) -> dict[str, float]:
    """Margin of every question of the folder under the similarity whose scores lie in a file, by the question's name."""
    asked = [question for question in folder.questions.values() if question.unit is not None]
    keys = pd.DataFrame([question.unit for question in asked], columns=pd.Index(KEY))
    units = keys.drop_duplicates(ignore_index=True)
    margins = tasks_of(scores, units, drop_near=False).margins
    row = {key: place for place, key in enumerate(units.itertuples(index=False, name=None))}
    return {question.name: float(margins[row[question.unit], question.task]) for question in asked if question.unit}


# --------------------------------------------------------------------------- verdicts


def expected_reasons(walked: Walked, settings: Settings) -> set[str]:
    """The checks that a complete session fails, as the participant knows its answers and times.

    Computed anew from what the participant sent, not from what the server kept; checks of time only where the participant told
    the time.
    """
    checks = settings.checks
    practice = [answer for answer in walked.answers if answer.kind == PRACTICE]
    blocks = {answer.trial // settings.practice_block for answer in practice}
    shown = [answer for answer in walked.answers if answer.kind != PRACTICE]
    caught = [answer.right for answer in shown if answer.kind == CATCH]
    upper = sum(answer.button <= UPPER_ROW for answer in shown)
    failed = {
        "demo_trials": len(blocks) > checks.max_demo_blocks,
        "catch_trials": sum(caught) < checks.min_catch_share * len(caught),
        "row_variability": min(upper, len(shown) - upper) < checks.min_row,
        "total_response_time": walked.seconds is not None
        and not checks.min_seconds <= walked.seconds <= checks.max_seconds,
        "instruction_time": walked.instruction_seconds is not None
        and walked.instruction_seconds < checks.min_instruction_seconds,
    }
    return {name for name, is_so in failed.items() if is_so}


def surprises(walked: Iterable[Walked], verdicts: pd.DataFrame, settings: Settings) -> list[str]:
    """Sessions on which the server's verdict is another one than what the participant expects: a line each.

    verdicts: index session; accepted, reason
    """
    lines = []
    by_session = verdicts.to_dict("index")
    for each in walked:
        found = by_session[each.session]
        expected = expected_reasons(each, settings) if each.outcome == "complete" else {"not complete"}
        told = set(filter(None, str(found["reason"]).split("; ")))
        agree = told == expected if each.outcome == "complete" else not bool(found["accepted"])
        if not agree:
            lines.append(f"{each.name}: expected {sorted(expected) or 'accepted'}, found {sorted(told) or 'accepted'}")
    return lines


# --------------------------------------------------------------------------- scores and slope


@dataclass(frozen=True)
class Recovered:
    """Known truth and what the answers say of it.

    units        key, n_responses, p_true, his, low, high, inside; a row a unit
    slope, low, high   the study's own calibration, from these answers
    known_slope  the same from the true shares instead of answers
    """

    units: pd.DataFrame
    slope: float
    low: float | None
    high: float | None
    known_slope: float

    @property
    def share_inside(self) -> float:
        """Share of units whose true score lies in the interval of the measured one."""
        return float(self.units["inside"].mean())

    @property
    def slope_inside(self) -> bool:
        """Whether the interval of the slope holds the one that is known."""
        return self.low is not None and self.high is not None and self.low <= self.known_slope <= self.high


def recovered(
    answers: pd.DataFrame,
    keys: Keys,
    person: Callable[[int], Participant],
    params: CalibrationParams,
    scores: Path,
) -> Recovered:
    """Hold answers (model, layer, unit, condition, task, participant, correct), read back from the record, against their people.

    p_true is the mean over the answers of a unit of the probability that the person who gave it is right about that task, be it
    somebody careless whom the checks let pass. The interval of a score is Wilson's; the MIS paper gives none of single units.
    """
    main = [question for question in keys.folder.questions.values() if question.kind == MAIN]
    asked = {(question.unit, question.task): question for question in main}
    columns = [*KEY, "task", "participant"]
    p = [
        person(_number(who)).probability(
            question := asked[(model, layer, unit, condition), task], keys.margin(question)
        )
        for model, layer, unit, condition, task, who in answers[columns].itertuples(index=False, name=None)
    ]
    units = human_scores(answers)
    true = answers.assign(p_true=p).groupby(KEY, sort=True, observed=True)["p_true"].mean().reset_index()
    units = units.merge(true, on=KEY)
    low, high = wilson(units["his"].to_numpy(), units["n_responses"].to_numpy(), params.stats.confidence)
    inside = units["p_true"].between(low, high)
    units = units.assign(low=low, high=high, inside=inside)
    every = tasks_of(scores, units, drop_near=params.mis.drop_near_duplicates)
    entry, _ = fitted_slope(params.scores.backends[0], every, units, params)
    known: NDArray[np.float64] = units["p_true"].to_numpy(np.float64)
    noiseless = fit_slope(every.margins, known, params.calibration.objective, every.used)
    columns = [*KEY, "n_responses", "p_true", "his", "low", "high", "inside"]
    return Recovered(units[columns], entry["slope"], entry["low"], entry["high"], noiseless.slope)


def _number(participant: str) -> int:
    """Number of arrival of a session of the record: EXPERIMENT-NUMBER/ATTEMPT."""
    return int(participant.rpartition("/")[0].rpartition("-")[2])


def wilson(
    share: NDArray[np.float64], n: NDArray[np.integer], confidence: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of Wilson's interval of shares of n answers (1927): the shares from which this one is no further than chance takes
    it. Inside 0 to 1 also where all answers are right."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return centre - reach, centre + reach


def kinds_and_ends(kinds: Sequence[str], walked: Sequence[Walked], verdicts: pd.DataFrame) -> pd.DataFrame:
    """How many people of each kind came, and what became of them: kind, came, accepted, refused, not complete."""
    table = pd.DataFrame(
        {
            "kind": kinds,
            "complete": [each.outcome == "complete" for each in walked],
            "accepted": [bool(verdicts.at[each.session, "accepted"]) for each in walked],
        }
    )
    grouped = table.groupby("kind", sort=True)
    counts = grouped.agg(came=("complete", "size"), complete=("complete", "sum"), accepted=("accepted", "sum"))
    counts["refused"] = counts["complete"] - counts["accepted"]
    counts["not complete"] = counts["came"] - counts["complete"]
    return counts.drop(columns="complete").reset_index()
