"""`python -m experiment plan`: the record's known figures, wanted widths, runs, and what it refuses."""

import re

import pytest

from experiment.__main__ import main
from experiment.commands.prepare import prepare
from study.errors import StudyError
from tests.experiment import folders
from tests.experiment.filled_runs import filled_run


def told(capsys, *words):
    main(["plan", *words])
    return capsys.readouterr().out


def test_the_known_figures(capsys):
    words = "--units 84 --answers 30 --trials 40 --pass 0.57 --fee 2.79 --experiments 23 --platform-share 0.25"
    text = told(capsys, *words.split())
    assert "1,449 = 23 x 63" in text
    assert "sessions to pay: 2,542 on average" in text
    assert "2,542 sessions x 2.79 = 7,092.18 USD for people, 8,865.23 USD with what the platform takes" in text
    assert "sessions to pay: 111 on average" in told(capsys, "--pass", "76000/133310")


def test_rating_pages(capsys):
    text = told(
        capsys, *["--pictures", "180", "--raters", "3", "--page", "15", "--fee", "0.05", "--platform-share", "0.2"]
    )
    assert "12 pages x 3 = 36 to pay" in text
    assert "1.80 USD for people, 2.16 USD" in text
    assert "36 pages x 0.05 = 1.80 USD" in told(capsys, "--pictures", "180")  # the fee of a page, not of a session


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--pictures 180 --units 3 --pass 0.4", "rating pages; leave --units, --pass out"),
        ("--raters 3", "without --pictures .*; leave --raters out"),
        ("--width 3", "--width is 3; .* above 0 and at most 1"),
    ],
)
def test_options_without_meaning_are_refused(capsys, line, words):
    with pytest.raises(StudyError, match=words):
        told(capsys, *line.split())


def test_backwards_from_a_width(capsys):
    text = told(capsys, "--width", "0.05")
    people, answers, units = re.search(
        r"(\d+) sessions that count, ([\d.]+) answers a unit; or (\d+) units", text
    ).groups()
    assert f"sessions that count: {people}" in text
    assert "about 0.050 wide" in text
    assert float(answers) == pytest.approx(int(people) * 40 / 84, abs=0.01)
    assert 84 < int(units) < 120
    assert "no number of people" in told(capsys, "--width", "0.03")


def test_from_a_run(capsys, tmp_path):
    folders.two_alternative(tmp_path / "exported", n_units=20, n_tasks=2, size=10, n_sessions=12, responses=10)
    changes = {number: {"caught": 1} for number in (2, 5)}
    settings = {"pay.amount": 2.0, "checks.min_row": 0}
    filled_run(tmp_path / "run", tmp_path / "exported", lambda _: 0.8, changes=changes, settings=settings)
    text = told(capsys, "--run", str(tmp_path / "run"))
    assert "sessions that count: 20, 10 of them are there" in text
    assert "0.833 (seen 10 of 12" in text
    assert "more sessions to pay: 12 on average" in text
    assert "24 sessions x 2 = 48.00 USD" in text
    assert "spread seen so far" in text
    assert "is simulated: what it shows so far no person gave" in text
    more = told(capsys, "--run", str(tmp_path / "run"), "--answers", "20", "--pass", "0.5")
    assert "more sessions to pay: 60 on average" in more
    with pytest.raises(StudyError, match="--units, --trials and --experiments are those of the run"):
        told(capsys, "--run", str(tmp_path / "run"), "--units", "5")


@pytest.mark.parametrize("kind", ["localize", "name"])
def test_runs_of_picking_pages_are_no_rating_pages(capsys, tmp_path, kind):
    folders.picking(tmp_path / "exported", kind)
    prepare(tmp_path / "run", tmp_path / "exported", simulated=True)
    told_of = rf"run asks picking pages \({kind}\), which this planner does not know; leave --run out"
    with pytest.raises(StudyError, match=told_of):
        told(capsys, "--run", str(tmp_path / "run"))


def test_what_is_no_share_is_told(capsys):
    for wrong in ("57 %", "3/2", "0/9", "1.5"):
        with pytest.raises(SystemExit):
            told(capsys, "--pass", wrong)
        assert "is no share such as 0.57" in capsys.readouterr().err
    with pytest.raises(StudyError, match="at least 1"):
        told(capsys, "--experiments", "0")
