"""Which sessions of the experiment count: their facts from the database, judged by the rules that the study judges IMI's by.

demo_blocks          blocks of practice that were begun; one more where the last of them was not all right, since that person
                     would have needed another
catch_share          share of right answers to the catch trials, missing without any; a session without any passes
seconds              from the first page to the end by the server's clock, over reloads and other tabs; missing until the end
instruction_seconds  from consent to the end of the instructions by the same clock; missing until then
n_upper, n_lower     answers in the upper and in the lower row of buttons, catch trials included, practice not

A session counts if it is complete and passes all checks of `settings.checks` (IMI appendix A.3).

Departure: IMI refuses all sessions of a person who came more than once. Here the database knows which one came first: that
one counts, later ones are marked `returned` and do not, unless multi_participation is `ignore`.

`verdict` is for the server, at the end of one session: it needs no data frames, which take longer to load than a server that
was killed may take to be back. `facts` and `judged` are for all sessions at once. Both say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

COMPLETE = "complete"
NOT_COMPLETE = "not complete"
UPPER_ROW = 2  # buttons 0 to 2 are the upper row, 3 to 5 the lower one
IGNORE = "ignore"
_DIGITS = 3  # of seconds: what is exported is what was judged


class Checks(Protocol):
    """Bounds of the checks, inclusive: human.checks of params.yaml, or those of a run's settings."""

    @property
    def max_demo_blocks(self) -> int: ...
    @property
    def min_catch_share(self) -> float: ...
    @property
    def min_seconds(self) -> float: ...
    @property
    def max_seconds(self) -> float: ...
    @property
    def min_row(self) -> int: ...
    @property
    def min_instruction_seconds(self) -> float: ...
    @property
    def multi_participation(self) -> str: ...


@dataclass(frozen=True)
class Verdict:
    """Whether a session counts, and every reason why it does not (`; ` between them)."""

    accepted: bool
    reason: str


def verdict(
    session: Mapping[str, Any],
    answers: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    checks: Checks,
) -> Verdict:
    """Verdict on one session, from its rows of the tables session, answer and event."""
    fact = _facts_of(session, answers, events)
    passed = {
        "demo_trials": fact["demo_blocks"] <= checks.max_demo_blocks,
        "catch_trials": fact["catch_share"] is None or fact["catch_share"] >= checks.min_catch_share - 1e-9,
        "total_response_time": _at_least(fact["seconds"], checks.min_seconds) and fact["seconds"] <= checks.max_seconds,
        "row_variability": min(fact["n_upper"], fact["n_lower"]) >= checks.min_row,
        "instruction_time": _at_least(fact["instruction_seconds"], checks.min_instruction_seconds),
        "multi_participation": checks.multi_participation == IGNORE or not session["returned"],
    }
    failed = [name for name, right in passed.items() if not right]
    if session["outcome"] != COMPLETE:
        failed.insert(0, NOT_COMPLETE)
    return Verdict(not failed, "; ".join(failed))


def _at_least(fact: float | None, bound: float) -> bool:
    return fact is not None and fact >= bound


def _facts_of(
    session: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Facts of one session; None where one is missing."""
    practice = [row for row in answers if row["kind"] == "practice"]
    shown = [row for row in answers if row["kind"] != "practice"]
    caught = [bool(row["correct"]) for row in shown if row["kind"] == "catch"]
    blocks = max((int(row["block"]) for row in practice), default=0)
    failed = any(not row["correct"] for row in practice if row["block"] == blocks)
    upper = sum(row["button"] <= UPPER_ROW for row in shown)
    at: dict[str, float] = {}
    for event in events:
        at.setdefault(event["name"], event["at"])
    ended, read = session["ended"], "consent" in at and "instructions" in at
    return {
        "demo_blocks": blocks + failed,
        "catch_share": sum(caught) / len(caught) if caught else None,
        "seconds": None if ended is None else round(ended - session["started"], _DIGITS),
        "instruction_seconds": round(at["instructions"] - at["consent"], _DIGITS) if read else None,
        "n_upper": upper,
        "n_lower": len(shown) - upper,
    }


def facts(sessions: pd.DataFrame, answers: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Facts of every session, in the order of `sessions`, indexed by its public id.

    `sessions`, `answers`, `events`: rows of the tables session, answer and event. Columns as of
    `interpretability.people.sessions.sessions` (task_id is the experiment and the number of arrival, response_index the attempt,
    participant_id the keyed hash of the person, or a name of the session's own where nobody is named), n_caught (right catch
    trials) and outcome. stored_CHECK says what becomes of a missing fact: it fails, but for catch trials.
    """
    import pandas as pd

    from interpretability.people import sessions as rules

    index = pd.Index(sessions["session"], name="session")
    practice, shown = answers[answers["kind"] == "practice"], answers[answers["kind"] != "practice"]
    last = practice.groupby("session")["block"].transform("max") == practice["block"]
    failed = practice[last & (practice["correct"] == 0)]["session"].unique()
    blocks = practice.groupby("session")["block"].max().reindex(index).fillna(0).astype("int64")
    rows = shown.assign(upper=shown["button"] <= UPPER_ROW, lower=shown["button"] > UPPER_ROW)
    pressed = rows.groupby("session")[["upper", "lower"]].sum().reindex(index).fillna(0).astype("int64")
    caught = shown[shown["kind"] == "catch"].groupby("session")["correct"].agg(["mean", "sum"]).reindex(index)
    first = events.sort_values(["session", "number"], kind="stable").drop_duplicates(["session", "name"])
    at = {
        name: first[first["name"] == name].set_index("session")["at"].reindex(index)
        for name in ("consent", "instructions")
    }
    of = sessions.set_index(index)
    returned = of["returned"].astype(bool)
    return pd.DataFrame(
        {
            "task_id": of["experiment"].astype(str) + "-" + of["number"].astype(str),
            "response_index": of["attempt"].astype("int64"),
            "participant_id": [
                person if isinstance(person, str) else f"session-{name}" for name, person in of["person"].items()
            ],
            "demo_blocks": blocks + index.isin(failed),
            "catch_share": caught["mean"].astype(float),
            "n_caught": caught["sum"].fillna(0).astype("int64"),
            "seconds": _rounded(of["ended"] - of["started"]),
            "instruction_seconds": _rounded(at["instructions"] - at["consent"]),
            "n_upper": pressed["upper"],
            "n_lower": pressed["lower"],
            **{f"stored_{check}": check == "catch_trials" for check in rules.CHECKS},
            "stored_passed": (of["accepted"] == 1).fillna(False).astype(bool),
            f"stored_{rules.REPEATED}": returned,
            "outcome": of["outcome"],
        },
        index=index,
    )


def _rounded(seconds: pd.Series) -> list[float]:
    return [round(float(value), _DIGITS) for value in seconds]


def judged(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """Verdict on every session of `facts`: one column a check (True: passed), multi_participation, accepted and reason."""
    from dataclasses import fields, replace

    from interpretability.people import sessions as rules

    bounds = rules.Bounds(**{name.name: getattr(checks, name.name) for name in fields(rules.Bounds)})
    if bounds.multi_participation != IGNORE:
        bounds = replace(
            bounds, multi_participation="stored"
        )  # the database knows which session of a person came first
    found = rules.judge(table, bounds)
    done = table["outcome"] == COMPLETE
    words = found["reason"].astype(object)  # of no session at all it would be a column of numbers
    reason = words.where(done, NOT_COMPLETE + "; " + words).str.removesuffix("; ")
    return found.assign(accepted=found["accepted"] & done, reason=reason)
