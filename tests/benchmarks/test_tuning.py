"""Ranges of tuned similarities on few studies; benchmarks/tuning.py draws more."""

from benchmarks import tuning


def test_ranges_cover_mostly_and_nothing_is_found_where_nothing_is():
    found, none = tuning.row(60, 30, 7, 12), tuning.row(60, 30, 8, 12)
    assert all(found[f"{name}_covered"] >= 0.5 for name in tuning.QUANTITIES)
    assert found["gain"] > none["gain"]
    assert found["accepted"] > none["accepted"]
    assert none["accepted"] <= 1 / 12
