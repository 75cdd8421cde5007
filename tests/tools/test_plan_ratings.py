"""The tool that plans ratings."""

from __future__ import annotations

import pytest

from study.files.tables import read_csv
from tools import plan_ratings

SMALL = ["--units", "8", "--images", "12,30", "--setting", "embedded_like", "--probing", "600", "--studies", "2"]


def test_a_plan_names_designs_targets_and_winners(tmp_path, capsys):
    out = tmp_path / "plan.csv"
    wanted = ["--target-width", "0.9", "--target-rce", "0.0001", "--methods", "ours=.4,theirs=.1", "--out", str(out)]
    plan_ratings.main([*SMALL, *wanted])
    table = read_csv(out)
    assert table["images"].tolist() == [12, 30]
    assert (table["ratings"] == 8 * 3 * table["images"] + 60 * 3).all()
    said = capsys.readouterr().out
    assert "For a width of a score's interval of 0.9: " in said
    assert "No design here reaches a relative correlation error of 0.0001" in said
    assert said.count("ours wins with 90% probability") == 2


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--methods", "a"], "'a' is no list such as LE=.21"),
        (["--studies", "1"], "--studies is 1"),
        (["--guide", "x"], "x"),
        (["--methods", "a=.2,a=.1"], "'a=.2,a=.1' must name two methods or more, each once"),
        (["--methods", "a=.2"], "must name two methods"),
        (["--methods", "a=.2,b=nan"], "the mean of b is nan"),
        (["--target-width", "0"], "--target-width is 0; it must be above 0"),
        (["--target-rce", "-1"], "--target-rce is -1; it must be above 0"),
        (["--sure", "1"], "--sure is 1; it must be above 0 and below 1"),
        (["--spread", "-1"], "--spread is -1; it must be at least 0"),
        (["--alike", "1"], "--alike is 1; it must be at least 0 and below 1"),
        (["--out", "gone/plan.csv"], "there is no folder gone"),
    ],
)
def test_what_is_no_plan_is_refused(given, told, capsys):
    with pytest.raises(SystemExit):
        plan_ratings.main(given)
    assert told in capsys.readouterr().err
