"""Values behind the checks of sessions, as the figure of the IMI paper shows them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.people import sessions

BOUNDS = sessions.Bounds(3, 0.8, 135, 2500, 5, 15, "ignore")


def session_table(seconds, catch=None, demo=None):
    n = len(seconds)
    table = pd.DataFrame(
        {
            "task_id": [f"e-{i}" for i in range(n)],
            "response_index": 0,
            "participant_id": "anonymized",
            "demo_blocks": demo or [1] * n,
            "catch_share": catch or [1.0] * n,
            "seconds": seconds,
            "instruction_seconds": [20.0] * n,
            "n_upper": 20,
            "n_lower": [25] * n,
        }
    )
    stored = {f"stored_{check}": True for check in sessions.CHECKS}
    return table.assign(**stored, stored_passed=True, stored_multi_participation=False)


def histogram_of(table):
    return sessions.check_histogram(table, sessions.judge(table, BOUNDS), BOUNDS)


def test_every_session_is_counted_once_a_check():
    table = session_table(list(np.linspace(100, 9000, 60)), demo=[1, 2, 3, 4, 5, 1] * 10)
    found = histogram_of(table)
    assert (found.groupby("check")[["n_passed", "n_failed"]].sum().sum(axis=1) == 60).all()
    # few distinct values have a bin each: 4 and 5 blocks are too many
    demo = found[found["check"] == "demo_trials"]
    assert demo[["low", "high", "n_passed", "n_failed"]].to_numpy().tolist() == [
        [0.5, 1.5, 20, 0],
        [1.5, 2.5, 10, 0],
        [2.5, 3.5, 10, 0],
        [3.5, 4.5, 0, 10],
        [4.5, 5.5, 0, 10],
    ]
    assert demo["bound_high"].eq(3).all()
    assert demo["bound_low"].isna().all()
    # times between 135 and 2500 pass: 100 + 8900 i / 59 for i = 1 ... 15 does
    times = found[found["check"] == "total_response_time"]
    assert times["n_passed"].sum() == 15


def test_values_beyond_the_axis_are_in_its_last_bin():
    # 99 % of the sessions end within 1,000 seconds: the axis ends at 1.5 * 2,500
    found = histogram_of(session_table([*np.linspace(320, 1000, 198), 312.5, 90_000.0]))
    times = found[found["check"] == "total_response_time"]
    assert times["high"].max() == 3750
    assert times["n_failed"].tolist()[-1] == 1
    # 24 bins of 156.25 seconds; a value on an edge belongs to the bin that begins there
    assert times.loc[times["high"] == 312.5, "n_passed"].item() == 0


def test_sessions_without_a_fact_have_a_row_without_bin():
    found = histogram_of(session_table([200.0, 300.0], catch=[np.nan, 0.2]))
    catch = found[found["check"] == "catch_trials"]
    # one share of .2 fails; without catch trials the stored verdict, passed, stands
    assert catch[["n_passed", "n_failed"]].to_numpy().tolist() == [[0, 1], [1, 0]]
    assert np.isnan(catch["low"].iloc[1])


def test_values_that_nobody_has_are_empty_bins():
    # nobody has 2 to 19 answers in the rarer row: no bar may reach over the bound at 5
    rows = session_table([500.0] * 5).assign(n_upper=[0, 1, 20, 21, 22], n_lower=[45, 44, 25, 24, 23])
    row = histogram_of(rows).query("check == 'row_variability'")
    assert row["low"].tolist() == [number - 0.5 for number in range(23)]
    assert (row["high"] - row["low"] == 1).all()
    assert row.loc[row["n_failed"] > 0, "low"].tolist() == [-0.5, 0.5]
    assert row.loc[row["n_passed"] > 0, "low"].tolist() == [19.5, 20.5, 21.5]
