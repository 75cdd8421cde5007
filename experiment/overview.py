"""What a researcher sees while people answer, as plain data: who came, what counts, what is known so far, what it will cost.

Nothing here names a person: sessions go by their number of arrival.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiment import picks, progress, progress_of_ratings, verdicts
from experiment.flow import OUTCOMES, PAID
from experiment.settings import PICKING, TWO_ALTERNATIVE
from experiment.tidy import plain
from interpretability.design import price
from interpretability.people import sessions as rules

if TYPE_CHECKING:
    from experiment.recorded import Recorded
    from experiment.settings import Settings

SIMULATED = "simulated"
SHOWN_SESSIONS = 300
SHOWN_COMMENTS = 200
_CONFIDENCE = 0.95
_EQUAL = 24  # bins of equal width; fewer are one for each value


def overview(recorded: Recorded, now: float) -> dict[str, Any]:
    """All that the researcher's page shows, ready for JSON: no NaN, times in seconds of Unix unless they say otherwise.

    now   the time that paces and forecasts are counted to
    """
    sessions, settings = recorded.sessions, recorded.settings
    if recorded.source == SIMULATED and len(sessions):
        now = max(now, float(sessions["seen"].max()))  # made-up participants may have clocks that go faster than ours
    table = judged(recorded)
    shown = {
        "title": settings.title,
        "kind": recorded.folder.kind,
        "source": recorded.source,
        "now": now,
        "started": _first(sessions["started"]),
        "counts": _counts(table),
        "minutes": {
            "median": _median(table.loc[table["outcome"] == "complete", "seconds"] / 60),
            "of": "complete sessions",
        },
        "comments": _comments(sessions),
        "sessions": _sessions(recorded, table, now),
    }
    if recorded.folder.kind == TWO_ALTERNATIVE:
        shown |= {
            "pass_share": _pass_share(table),
            "checks": _checks(table, settings),
            "practice": _practice(table),
            "times": _times(recorded, table),
            "confidence": _confidence(recorded, table),
            "experiments": progress.experiments(recorded, table, now),
        }
    elif recorded.folder.kind in PICKING:
        shown |= {"picks": picks.progress(recorded)}
    else:
        shown |= {"ratings": progress_of_ratings.ratings(recorded, now)}
    shown["money"] = _money(recorded, table, shown)
    return plain(shown)


def judged(recorded: Recorded) -> pd.DataFrame:
    """Facts and verdicts of all sessions, in order of arrival: what `verdicts` has, number, experiment and outcome.
    reason is what speaks against a session: all checks of a complete one, practice, or that it is not complete."""
    sessions = recorded.sessions.sort_values("number", kind="stable").reset_index(drop=True)
    facts = verdicts.facts(sessions, recorded.answers, recorded.events)
    if recorded.folder.kind == TWO_ALTERNATIVE:
        found = verdicts.judged(facts, recorded.settings.checks)[[*rules.CHECKS, "accepted", "reason"]]
    else:
        complete = (
            facts["outcome"] == "complete"
        )  # raters are judged by the study's stage `crowd`, which sees all their pages
        found = pd.DataFrame(
            {"accepted": complete, "reason": np.where(complete, "", verdicts.NOT_COMPLETE)}, facts.index
        )
    # a session that was broken off was never asked what some checks look at
    broken = ~facts["outcome"].isin(PAID)
    reason = found["reason"].mask(facts["outcome"] == "practice", "demo_trials").mask(broken, verdicts.NOT_COMPLETE)
    of = sessions.set_index(facts.index)
    return facts.join(found.assign(reason=reason)).assign(number=of["number"], experiment=of["experiment"])


def _counts(table: pd.DataFrame) -> dict[str, int]:
    outcome = table["outcome"]
    ends = {name: int((outcome == name).sum()) for name in OUTCOMES}
    return {
        "arrived": len(table),
        "running": int(outcome.isna().sum()),
        **ends,
        "accepted": int(table["accepted"].sum()),
        "refused": int((outcome.isin(PAID) & ~table["accepted"]).sum()),
    }


def _pass_share(table: pd.DataFrame) -> dict[str, Any]:
    """Share of the sessions that are paid which count, and its interval."""
    paid = table[table["outcome"].isin(PAID)]
    passed = int(paid["accepted"].sum())
    if passed == 0:
        return {"value": None, "low": None, "high": None, "passed": 0, "of": len(paid)}
    share = price.PassShare.seen(passed, len(paid))
    low, high = share.interval(_CONFIDENCE)
    return {"value": share.value, "low": low, "high": high, "passed": passed, "of": len(paid)}


def _checks(table: pd.DataFrame, settings: Settings) -> list[dict[str, Any]]:
    """The histograms of the five checks over sessions that ended by themselves, as the study draws them (IMI, figure 15)."""
    bounds = _bounds(settings)
    complete = table[table["outcome"] == "complete"]
    # whom practice ended was never asked what the other checks look at
    practised = table[table["outcome"].isin(PAID)]
    bins = pd.concat(
        [
            rules.check_histogram(practised, practised, bounds).query("check == 'demo_trials'"),
            rules.check_histogram(complete, complete, bounds).query("check != 'demo_trials'"),
        ]
    )
    shown = []
    for check, rows in bins.groupby("check", sort=False):
        known = rows["low"].notna()
        width = (rows["high"] - rows["low"])[known]
        # few distinct values have a bin each, whose low end is half the narrowest bin below its value
        own = known.sum() < _EQUAL
        rows = rows.assign(value=rows["low"] + width.min() / 2 if own else np.nan)
        names = {"n_passed": "passed", "n_failed": "failed"}
        shown.append(
            {
                "check": check,
                "low": rows["bound_low"].iloc[0],
                "high": rows["bound_high"].iloc[0],
                "passed": rows["n_passed"].sum(),
                "failed": rows["n_failed"].sum(),
                "bins": rows.rename(columns=names)[["low", "high", "value", "passed", "failed"]].to_dict("records"),
            }
        )
    return shown


def _bounds(settings: Settings) -> rules.Bounds:
    return rules.Bounds(**{field.name: getattr(settings.checks, field.name) for field in fields(rules.Bounds)})


def _practice(table: pd.DataFrame) -> list[dict[str, int]]:
    """How many of the sessions that ended by themselves took how many blocks of practice."""
    blocks = table.loc[table["outcome"].isin(PAID), "demo_blocks"].value_counts().sort_index()
    return [{"blocks": int(number), "sessions": int(count)} for number, count in blocks.items()]  # pyright: ignore[reportArgumentType]


def _accepted_main(recorded: Recorded, table: pd.DataFrame) -> pd.DataFrame:
    counted = table.index[table["accepted"]]
    answers = recorded.answers
    return answers[(answers["kind"] == "main") & answers["session"].isin(counted)]


def _times(recorded: Recorded, table: pd.DataFrame) -> dict[str, Any]:
    rt = _accepted_main(recorded, table)["rt"] / 1000
    low, high = (float(rt.quantile(at)) if len(rt) else None for at in (0.1, 0.9))
    return {"median": _median(rt), "low": low, "high": high, "answers": len(rt)}


def _confidence(recorded: Recorded, table: pd.DataFrame) -> list[dict[str, Any]]:
    """How often answers of each confidence are right, in sessions that count."""
    groups = _accepted_main(recorded, table).groupby("confidence")["correct"].agg(["size", "mean"])
    return [
        {"confidence": level, "answers": int(groups["size"].get(level, 0)), "right": groups["mean"].get(level)}
        for level in (1, 2, 3)
    ]


def _comments(sessions: pd.DataFrame) -> dict[str, Any]:
    """What people wrote, newest first; as it was written, so whoever shows it must take it as text."""
    said = sessions[sessions["comment"].notna() & (sessions["comment"] != "")].sort_values("number", kind="stable")
    rows = said[["number", "comment"]].iloc[::-1].head(SHOWN_COMMENTS)
    listed = [{"number": int(number), "text": str(text)} for number, text in rows.itertuples(index=False)]
    return {"all": len(said), "newest": listed}


def _sessions(recorded: Recorded, table: pd.DataFrame, now: float) -> dict[str, Any]:
    """The newest sessions, without anything that says who they are."""
    trials = pd.concat([recorded.answers["session"], recorded.pages["session"]]).value_counts()
    of = recorded.sessions.set_index("session")[["stage", "started", "seen", "ended", "source"]]
    newest = table.join(of).assign(trials=trials.reindex(table.index, fill_value=0)).iloc[::-1].head(SHOWN_SESSIONS)
    rows = [_session(row, now) for row in newest.to_dict("records")]
    return {"all": len(table), "newest": rows}


def _session(row: dict[Hashable, Any], now: float) -> dict[str, Any]:
    running = row["outcome"] is None or pd.isna(row["outcome"])
    ended = now if running else row["ended"]
    return {
        "number": row["number"],
        "experiment": row["experiment"],
        "stage": row["stage"] if running else row["outcome"],
        "running": running,
        "trials": row["trials"],
        "minutes": max(ended - row["started"], 0.0) / 60,
        "silent": max(now - row["seen"], 0.0) if running else None,
        "verdict": "running" if running else "counts" if row["accepted"] else row["reason"],
        "source": row["source"],
    }


def _money(recorded: Recorded, table: pd.DataFrame, shown: dict[str, Any]) -> dict[str, Any]:
    """What was paid, what is promised to those who are here, and what the answers that are still wanted will cost."""
    pay = recorded.settings.pay
    fee = price.Fee(pay.amount, pay.platform_share)
    paid = int(table["outcome"].isin(PAID).sum())
    running = int(table["outcome"].isna().sum())
    money = {
        "currency": pay.currency,
        "amount": pay.amount,
        "platform_share": pay.platform_share,
        "paid_sessions": paid,
        "spent": fee.cost(paid),
        "promised": fee.cost(running),
        "more_sessions": None,
        "forecast": None,
    }
    if paged := shown.get("ratings") or shown.get("picks"):
        wanted = paged["sessions_to_come"]
        more = price.Sessions(wanted, wanted, wanted, wanted)
    else:
        share = shown["pass_share"]
        if not share["passed"]:
            return money
        wanted = sum(each["more_sessions"] for each in shown["experiments"])
        more = price.sessions_to_pay(wanted, price.PassShare.seen(share["passed"], share["of"]), _CONFIDENCE)
    sessions = {"expected": more.expected, "low": more.low, "high": more.high}
    return money | {
        "more_sessions": sessions,
        "forecast": {name: fee.cost(paid + number) for name, number in sessions.items()},
    }


def _median(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.median()) if len(known) else None


def _first(values: pd.Series) -> float | None:
    return float(values.min()) if len(values) else None
