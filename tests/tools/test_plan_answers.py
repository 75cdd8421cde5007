"""The planner: expected widths, the search for a number of units, and the power analysis of IMI."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.design import drawn_studies, precision
from interpretability.errors import InputError
from interpretability.people import agreement, noise
from interpretability.randomness import generator
from tools import plan_answers

SMALL = drawn_studies.Design(n_models=4, n_units=30)


def test_power_analysis_of_imi():
    # appendix A.5: difference .10, SD .15, alpha .05 / 5, power .95: 86 units. One less for d rounded to .67
    assert precision.power_units() == 86
    assert precision.power_units(effect=0.67) == 85
    assert precision.power_units(effect=-2 / 3) == 86
    # the noncentral t by hand: 86 units count as 86 * 3 / pi
    for n, enough in ((86, True), (85, False)):
        effective = n * 3 / np.pi
        shift = 2 / 3 * np.sqrt(effective / 2)
        limit = stats.t.ppf(0.995, 2 * effective - 2)
        power = stats.nct.sf(limit, 2 * effective - 2, shift) + stats.nct.cdf(-limit, 2 * effective - 2, shift)
        assert bool(power >= 0.95) is enough
    with pytest.raises(InputError, match="alpha 0"):
        precision.power_units(alpha=0)


def test_a_test_of_that_many_units_finds_the_difference_as_often_as_promised():
    draw = generator(0, "power")
    # d = 1.2, alpha .05: simulated power of the Mann-Whitney test against what the plan says
    n = precision.power_units(effect=1.2, alpha=0.05, power=0.8)
    found = [stats.mannwhitneyu(draw.normal(size=n), draw.normal(1.2, size=n)).pvalue < 0.05 for _ in range(400)]
    # standard error .02
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_expected_widths_are_those_of_the_statistics_of_drawn_studies():
    row = precision.expected(SMALL, 3, 2, 40, 0.95)
    widths, limits = [], []
    for number in range(2):
        draw = generator(3, "plan", number)
        study = drawn_studies.draw_study(SMALL, draw)
        units = drawn_studies.units_frame(study, 6.25)
        within = noise.noise_within_tasks(drawn_studies.responses_frame(study))
        limits.append(noise.ceiling_of_noise(units["his"].to_numpy(), within["noise_within"].to_numpy()))
        found = agreement.unit_agreement(units, False, 40, 0.95, generator(0, "other"))
        widths.append(found["pearson_high"] - found["pearson_low"])
    assert row["ceiling"] == pytest.approx(np.median(limits))
    assert row["agreement_width"] == pytest.approx(np.median(widths), rel=0.3)
    # 30 units * 30 answers / 30 trials (a network has no more units) = 30 people of each of four networks
    assert (row["n_people"], row["n_split"], row["n_units"]) == (120, 20, 30)
    assert list(row) == precision.COLUMNS
    assert precision.expected(SMALL, 3, 2, 40, 0.95) == row


def test_more_units_and_answers_narrow_every_interval():
    few = precision.expected(SMALL, 0, 4, 60, 0.95)
    many = precision.expected(drawn_studies.Design(n_models=4, n_units=270, n_responses=60), 0, 4, 60, 0.95)
    for name in ("slope", "agreement", "his", "ceiling"):
        assert many[f"{name}_width"] < 0.6 * few[f"{name}_width"], name
    assert many["ceiling"] > few["ceiling"]


def test_search_ends_at_the_wanted_width():
    seen = []
    row = precision.units_for_width(SMALL, "agreement", 0.15, 0, 4, 60, 0.95, seen.append)
    assert row["agreement_width"] <= 0.15 * 1.02
    assert len(seen) <= precision._MOST_STEPS
    less = precision.expected(drawn_studies.Design(n_models=4, n_units=int(row["n_units"] * 0.7)), 0, 4, 60, 0.95)
    assert less["agreement_width"] > 0.15


def test_search_goes_by_the_square_root_and_then_by_the_last_two_trials():
    # half the width: four times the units; then a slope of -1/4 in logarithms: another 16 times
    assert precision._next_units({50: 0.2}, 0.1) == 200
    assert precision._next_units({50: 0.4, 800: 0.2}, 0.1) == 12_800
    assert precision._next_units({50: 0.101}, 0.1) == 50
    assert precision._next_units({50: 0.2}, 1e-9) == precision.MOST_UNITS
    assert precision._next_units({50: 0.2}, 1e9) == precision.FEWEST_UNITS


def test_what_cannot_be_planned_is_an_error(monkeypatch):
    with pytest.raises(InputError, match="no plan for 'mis'; allowed are slope, agreement, his, ceiling"):
        precision.units_for_width(SMALL, "mis", 0.1, 0, 1, 10, 0.95)
    with pytest.raises(InputError, match="wanted width is 0"):
        precision.units_for_width(SMALL, "his", 0.0, 0, 1, 10, 0.95)
    single = drawn_studies.Design(n_models=2, n_units=10, n_responses=1)
    with pytest.raises(InputError, match="interval of ceiling is not defined with 10 units"):
        precision.units_for_width(single, "ceiling", 0.1, 0, 1, 10, 0.95)
    monkeypatch.setattr(precision, "MOST_UNITS", 60)
    with pytest.raises(InputError, match=r"stays wider than 0.001: .* with 60 units of each of 4 networks"):
        precision.units_for_width(SMALL, "his", 0.001, 0, 1, 10, 0.95)


# ---- the command


def test_command_prints_and_writes_one_row_a_combination(tmp_path, capsys):
    out = tmp_path / "plan.csv"
    few = ["--networks=3", "--studies=1", "--bootstrap=10"]
    plan_answers.main(["--units=20,30", "--responses=5,10.5", *few, f"--out={out}"])
    table = pd.read_csv(out)
    assert list(table.columns) == precision.COLUMNS
    assert table[["n_units", "n_responses"]].to_numpy().tolist() == [[20, 5], [20, 10.5], [30, 5], [30, 10.5]]
    assert table.notna().all().all()
    shown = capsys.readouterr().out
    assert "agreement" in shown
    assert "half of the interval's expected width" in shown
    design = drawn_studies.Design(n_models=3, n_units=20, n_responses=5)
    expected = precision.expected(design, 0, 1, 10, 0.95)
    assert table.iloc[0].to_dict() == pytest.approx(expected, rel=1e-5)


def test_command_searches_and_says_what_it_found(capsys, caplog):
    plan_answers.main(["--target-width=0.4", "--networks=3", "--units=30", "--studies=1", "--bootstrap=10"])
    assert "no wider than 0.4: about" in caplog.text
    assert capsys.readouterr().out


def test_command_prints_the_power_analysis(capsys):
    plan_answers.main(["--power"])
    assert capsys.readouterr().out.startswith("86 units of each of two networks")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--units=4,x", "no list of numbers such as 10,30,60"),
        ("--units=4.5", "no list of whole numbers"),
        ("--studies=0", "it must be at least 1"),
        ("--confidence=95", "it must be between 0 and 1"),
        ("--of=mis", "invalid choice"),
    ],
)
def test_wrong_options_say_what_is_allowed(option, message, capsys):
    with pytest.raises(SystemExit):
        plan_answers.main([option])
    assert message in capsys.readouterr().err


def test_impossible_study_is_refused():
    with pytest.raises(InputError, match="agreement is 2; allowed are -1 to 1"):
        plan_answers.main(["--agreement=2"])
