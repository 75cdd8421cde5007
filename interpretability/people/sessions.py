"""Which sessions of an online experiment count: five checks of attention and one of repeated participation.

The IMI record stores a verdict for every session and the raw facts behind it. The verdict is computed again here from
those facts, so that a bound is a choice, and is compared with the stored one (IMI appendix A.3; bounds inclusive):

demo_trials           at most max_demo_blocks blocks of practice trials
catch_trials          a share of right answers to the catch trials of at least min_catch_share
total_response_time   from min_seconds to max_seconds over the whole session, instructions included
row_variability       at least min_row answers in the upper and in the lower row of buttons, catch trials included
instruction_time      at least min_instruction_seconds before the first practice trial
multi_participation   the person has no other session

Departure: IMI section 3.1 allows two blocks of practice, its appendix and code allow three; three is the default. All
sessions of a person who came more than once are refused, since the tables do not say which one came first, unless they do:
where all sessions of a person but one have the stored flag, the one without came first and stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError

SESSION = ["task_id", "response_index"]
CHECKS = ("demo_trials", "catch_trials", "total_response_time", "row_variability", "instruction_time")
REPEATED = "multi_participation"
ANONYMOUS = ("anonymized", "")
UPPER_ROW = 2  # buttons 0 to 2 are the upper row, 3 to 5 the lower one
VERDICT_COLUMNS = ["check", "n_sessions", "n_agree", "n_stricter", "n_milder"]
EXCLUSION_COLUMNS = ["reason", "n_responses", "n_participants"]


@dataclass(frozen=True)
class Bounds:
    """Bounds of the checks; multi_participation is recomputed, stored or ignore."""

    max_demo_blocks: int
    min_catch_share: float
    min_seconds: float
    max_seconds: float
    min_row: int
    min_instruction_seconds: float
    multi_participation: str


def sessions(rows: pd.DataFrame) -> pd.DataFrame:
    """Facts of every session, one row each, sorted by SESSION.

    `rows`: one row a trial with SESSION, participant_id, is_demo, catch_trial, correct, button_pressed; and, the same in
    all rows of a session, passed_checks, multi_participation, CHECK_result, and demo_trials_details_extracted (blocks),
    total_response_time_details_extracted and instruction_time_details_extracted (seconds).

    Result: SESSION, participant_id, demo_blocks, catch_share (NaN without catch trials), seconds, instruction_seconds,
    n_upper, n_lower, and the stored verdicts stored_CHECK, stored_passed, stored_multi_participation.
    """
    verdicts = ["passed_checks", REPEATED, *(f"{check}_result" for check in CHECKS)]
    groups = rows.groupby(SESSION, sort=True, observed=True)
    differs = groups[verdicts].nunique() > 1
    if differs.to_numpy().any():
        session = differs.index[differs.any(axis=1)][0]
        column = differs.columns[differs.loc[session]][0]
        raise InputError(f"session {session[0]} / {session[1]} has both values of {column}; a session has one verdict")
    first = groups[["participant_id", *verdicts]].first()
    details = {
        "demo_blocks": "demo_trials",
        "seconds": "total_response_time",
        "instruction_seconds": "instruction_time",
    }
    facts = groups[[f"{check}_details_extracted" for check in details.values()]].first().set_axis(list(details), axis=1)
    block = rows[~rows["is_demo"]]
    pressed = block.assign(upper=block["button_pressed"] <= UPPER_ROW, lower=block["button_pressed"] > UPPER_ROW)
    presses = pressed.groupby(SESSION, observed=True)[["upper", "lower"]].sum().reindex(first.index, fill_value=0)
    caught = block[block["catch_trial"]].groupby(SESSION, observed=True)["correct"].mean().reindex(first.index)
    stored = {f"{check}_result": f"stored_{check}" for check in CHECKS}
    stored |= {"passed_checks": "stored_passed", REPEATED: f"stored_{REPEATED}"}
    table = first.rename(columns=stored).assign(
        catch_share=caught,
        n_upper=presses["upper"].astype(int),
        n_lower=presses["lower"].astype(int),
        **facts,  # pyright: ignore[reportArgumentType]
    )
    return table.reset_index()


def identified(table: pd.DataFrame) -> bool:
    """Whether the participants of the sessions have names of their own, so that repeats can be seen."""
    return len(table) > 0 and not table["participant_id"].isin(ANONYMOUS).any()


def judge(table: pd.DataFrame, bounds: Bounds) -> pd.DataFrame:
    """Verdict on every session: SESSION, one column a check (True: passed), multi_participation, accepted, reason.

    `table` as from `sessions`. A check whose fact is missing keeps its stored result. Without names of participants the
    stored flag of repeated participation stands. `reason` names all that failed, empty for an accepted session.
    """
    within = {
        "demo_trials": (table["demo_blocks"], table["demo_blocks"] <= bounds.max_demo_blocks),
        "catch_trials": (table["catch_share"], table["catch_share"] >= bounds.min_catch_share - 1e-9),
        "total_response_time": (table["seconds"], table["seconds"].between(bounds.min_seconds, bounds.max_seconds)),
        "row_variability": (table["n_upper"], table[["n_upper", "n_lower"]].min(axis=1) >= bounds.min_row),
        "instruction_time": (
            table["instruction_seconds"],
            table["instruction_seconds"] >= bounds.min_instruction_seconds,
        ),
    }
    verdict = table[SESSION].copy()
    for check, (fact, passed) in within.items():
        verdict[check] = passed.where(fact.notna(), table[f"stored_{check}"]).astype(bool)
    verdict[REPEATED] = _repeated(table, bounds.multi_participation)
    failed = pd.DataFrame({check: ~verdict[check] for check in CHECKS} | {REPEATED: verdict[REPEATED]})
    verdict["accepted"] = ~failed.any(axis=1)
    names = np.array(failed.columns, dtype=object)
    verdict["reason"] = ["; ".join(names[row]) for row in failed.to_numpy(dtype=bool)]
    return verdict


def _repeated(table: pd.DataFrame, rule: str) -> pd.Series:
    if rule == "ignore":
        return pd.Series(False, index=table.index)
    if rule == "stored" or not identified(table):
        return table[f"stored_{REPEATED}"].astype(bool)
    person, flagged = table["participant_id"], table[f"stored_{REPEATED}"].astype(bool)
    only = (~flagged).groupby(person).transform("sum") == 1
    # a flagged person's other session may be in a table that was not read
    return flagged | (person.duplicated(keep=False) & ~only)


def verdict_agreement(table: pd.DataFrame, verdict: pd.DataFrame) -> pd.DataFrame:
    """Recomputed against stored verdicts, one row a check and one for the whole: VERDICT_COLUMNS.

    n_stricter  sessions that the record accepts and these bounds refuse;  n_milder  the other way round
    """
    pairs = {check: (table[f"stored_{check}"], verdict[check]) for check in CHECKS}
    pairs[REPEATED] = (~table[f"stored_{REPEATED}"].astype(bool), ~verdict[REPEATED])
    pairs["accepted"] = (table["stored_passed"].astype(bool) & pairs[REPEATED][0], verdict["accepted"])
    rows = []
    for check, (stored, now) in pairs.items():
        stored, now = stored.to_numpy(dtype=bool), now.to_numpy(dtype=bool)
        counts = len(stored), (stored == now).sum(), (stored & ~now).sum(), (~stored & now).sum()
        rows.append((check, *map(int, counts)))
    return pd.DataFrame(rows, columns=VERDICT_COLUMNS)


def exclusions(rows: pd.DataFrame) -> pd.DataFrame:
    """Answers left out by reason, sorted: EXCLUSION_COLUMNS. `rows`: reason (empty: kept), participant, one an answer.

    An answer has one reason, so the numbers of answers add up.
    """
    groups = rows[rows["reason"] != ""].groupby("reason", sort=True, observed=True)["participant"]
    return groups.agg(n_responses="size", n_participants="nunique").reset_index()[EXCLUSION_COLUMNS]


CHECK_COLUMNS = ["check", "low", "high", "n_passed", "n_failed", "bound_low", "bound_high"]
_N_BINS = 24
_WIDEST = 1.5  # values beyond this many times the upper bound, or the 99th percentile, share the last bin


def check_histogram(table: pd.DataFrame, verdict: pd.DataFrame, bounds: Bounds) -> pd.DataFrame:
    """Values that the five checks look at, and how many sessions passed and failed each (IMI, figure 15): CHECK_COLUMNS.

    `table` as from `sessions`, `verdict` as from `judge`. One row a check and bin from low to high; a row without bin (low
    and high missing) has the sessions whose fact is not in the record. The counts of a check add up to all sessions.
    bound_low and bound_high are the smallest and largest values that pass, missing where there is none. Values that step
    through a small range get a bin each, empty ones between them too.
    """
    facts = {
        "demo_trials": (table["demo_blocks"], np.nan, bounds.max_demo_blocks),
        "catch_trials": (table["catch_share"], bounds.min_catch_share, np.nan),
        "total_response_time": (table["seconds"], bounds.min_seconds, bounds.max_seconds),
        "row_variability": (table[["n_upper", "n_lower"]].min(axis=1), bounds.min_row, np.nan),
        "instruction_time": (table["instruction_seconds"], bounds.min_instruction_seconds, np.nan),
    }
    rows = []
    for check, (fact, low, high) in facts.items():
        values = fact.to_numpy(np.float64, na_value=np.nan)
        passed = verdict[check].to_numpy(bool)
        known = np.isfinite(values)
        edges = _edges(values[known], low, high)
        bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        for number in range(len(edges) - 1):
            inside = known & (bins == number)
            ends = edges[number], edges[number + 1]
            rows.append((check, *ends, (inside & passed).sum(), (inside & ~passed).sum(), low, high))
        if (~known).any():
            rows.append((check, np.nan, np.nan, (~known & passed).sum(), (~known & ~passed).sum(), low, high))
    return pd.DataFrame(rows, columns=CHECK_COLUMNS).astype({"n_passed": "int64", "n_failed": "int64"})


def _edges(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Ends of bins of equal width: a bin a value where there are few from the least to the largest, else bins that hold both
    bounds."""
    distinct = np.unique(values)
    if len(distinct) == 0:
        return np.empty(0)
    if len(distinct) <= _N_BINS:
        gap = np.diff(distinct).min() if len(distinct) > 1 else 1.0
        n_bins = round((distinct[-1] - distinct[0]) / gap) + 1
        if n_bins <= _N_BINS:
            return distinct[0] + gap * (np.arange(n_bins + 1) - 0.5)
    wanted = [bound * _WIDEST for bound in (low, high) if np.isfinite(bound)]
    return np.linspace(0.0, max(float(np.percentile(values, 99)), *wanted), _N_BINS + 1)
