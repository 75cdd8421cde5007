"""The first screen: what it says of every kind of study, which tasks it asks, and how it looks and answers in a browser."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from interpretability.analysis.training_series import ALL_SERIES
from interpretability.people.slope_status import CALIBRATED, NOT_CALIBRATED, NOT_IDENTIFIED, PUBLISHED
from study.report.figures.base import Study
from study.report.page import distribution, first

MEANS = {"alder": 0.812, "beech": 0.77, "cedar": 0.733, "dogwood": 0.684}
LEAD = "encoder"


def models_table(means=MEANS, *, accuracy=None, units=100, reach=0.01):
    rows = [
        {
            "model": name,
            "backend": LEAD,
            "role": "study",
            "series": name,
            "step": 0,
            "last": 1,
            "n_units": units,
            "n_constant": 5,
            "mis_mean": mean,
            "mis_low": mean - reach,
            "mis_high": mean + reach,
            "p50": mean + 0.02,
            "accuracy_mean": (accuracy or {}).get(name, mean + 0.1),
            "p5": mean - 0.2,
            "p95": mean + 0.1,
        }
        for name, mean in means.items()
    ]
    return pd.DataFrame(rows, columns=None if rows else ["model", "backend", "role", "last", "mis_mean", "n_units"])


def between(found=(), *, untested=(), means=MEANS):
    """Tests between all pairs of networks: `found` differ, `untested` were not tested, of the rest nothing is found."""
    rows = []
    for one, other in combinations(sorted(means), 2):
        missing = {one, other} in [set(pair) for pair in untested]
        stars = "***" if {one, other} in [set(pair) for pair in found] else "NS"
        rows.append(
            {
                "backend": LEAD,
                "first": one,
                "second": other,
                "difference": means[one] - means[other],
                "p_holm": np.nan if missing else 0.001 if stars == "***" else 0.6,
                "stars": "" if missing else stars,
                "reason": "too few clusters" if missing else "",
            }
        )
    return pd.DataFrame(rows, columns=["backend", "first", "second", "difference", "p_holm", "stars", "reason"])


def study_of(models, tests=None, status=CALIBRATED, gain=None):
    empty = pd.DataFrame()
    fits = pd.DataFrame({"backend": [LEAD], "status": [status]})
    if gain is None:
        gain = pd.DataFrame(columns=["backend", "series", "n_units", "difference", "low", "high"])
    sizes = pd.DataFrame(columns=["model", "of", "input_size"])
    tested = between(means={}) if tests is None else tests
    known = {"input_sizes": sizes, "models": models, "network_tests": tested, "calibration": fits}
    return Study((LEAD,), 0.95, 20, 9, known | {"training_gain": gain}, empty, empty, empty)


def sentence(study):
    return "".join(word.text for word in first.headline(study))


EVERY = tuple(combinations(MEANS, 2))
ENDS = ("alder", "dogwood")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (EVERY, "Units of alder are the easiest to understand, units of dogwood the hardest: 0.81 against 0.68"),
        (
            [("alder", other) for other in ("beech", "cedar", "dogwood")],
            "Units of alder are the easiest to understand, ahead of dogwood: 0.81 against 0.68",
        ),
        (
            [(other, "dogwood") for other in ("alder", "beech", "cedar")],
            "Units of dogwood are the hardest to understand, behind alder: 0.68 against 0.81",
        ),
        ([ENDS], "Units of alder are easier to understand than units of dogwood: 0.81 against 0.68"),
        ([], "No network stands out: units of alder score 0.81, units of dogwood 0.68"),
        ([("beech", "dogwood")], "Units of alder score 0.81, units of dogwood 0.68"),
    ],
)
def test_the_headline_claims_what_the_tests_between_networks_mark(found, said):
    assert sentence(study_of(models_table(), between(found))) == f"{said}, where guessing scores 0.50"


def test_a_difference_the_other_way_round_is_no_ground_for_a_claim():
    turned = {
        "alder": 0.6,
        "beech": 0.65,
        "cedar": 0.7,
        "dogwood": 0.75,
    }  # means over clusters, which the test compares
    study = study_of(models_table(), between(EVERY, means=turned))
    assert sentence(study).startswith("Units of alder score 0.81, units of dogwood 0.68")


def test_networks_without_a_test_are_set_side_by_side_and_the_reason_is_named():
    study = study_of(models_table(), between(untested=[ENDS]))
    assert sentence(study) == "Units of alder score 0.81, units of dogwood 0.68, where guessing scores 0.50"
    assert first.untested(study) == "too few clusters"
    assert first.untested(study_of(models_table(), between())) == ""
    assert first.untested(study_of(models_table())) == "no test between networks was made"


def test_of_two_networks_none_is_called_the_easiest():
    two = {name: MEANS[name] for name in ENDS}
    study = study_of(models_table(two), between([ENDS], means=two))
    assert sentence(study).startswith("Units of alder are easier to understand than units of dogwood: ")


def test_scores_that_differ_are_never_written_alike():
    close = {"alder": 0.7841, "beech": 0.7799}
    study = study_of(models_table(close), between([("alder", "beech")], means=close))
    assert "0.784 against 0.780, where guessing scores 0.50" in sentence(study)
    study = study_of(models_table(close, accuracy={"alder": 0.914, "beech": 0.911}), status=NOT_CALIBRATED)
    assert "91.4 % of the tasks of units of alder, 91.1 %" in sentence(study)


def test_one_network_is_not_ranked():
    alone = models_table({"alder": 0.76})
    assert sentence(study_of(alone)) == "Half of the units of alder score above 0.78, where guessing scores 0.50"
    said = "The machine solves 86 % of the tasks of units of alder, where guessing solves 50 %"
    assert sentence(study_of(alone, status=NOT_CALIBRATED)) == said


def test_a_study_without_a_scored_unit_says_so():
    study = study_of(models_table({}))
    assert sentence(study) == "No unit was scored"
    assert first.four_numbers(study, {}, distribution.Spread((), 0.4, (np.nan, np.nan), (np.nan, np.nan))) == []


@pytest.mark.parametrize("status", [NOT_CALIBRATED, NOT_IDENTIFIED])
def test_without_a_slope_the_headline_counts_solved_tasks(status):
    tests = between(EVERY)
    said = sentence(study_of(models_table(), tests, status))
    assert said == (
        "Units of alder are the easiest to understand, units of dogwood the hardest: the machine solves 91 % of their tasks "
        "against 78 %, where guessing solves 50 %"
    )
    # solved tasks that contradict the score support no claim
    against = models_table(accuracy={"alder": 0.7, "dogwood": 0.9})
    said = sentence(study_of(against, tests, status))
    assert said.startswith("The machine solves 70 % of the tasks of units of alder, 90 % of those of dogwood")
    alike = sentence(study_of(models_table(), between(), status))
    assert alike.startswith("No network stands out: the machine solves 91 % of the tasks of units of alder, 78 %")


def test_the_published_slope_gives_levels():
    assert "0.81 against 0.68" in sentence(study_of(models_table(), between(EVERY), PUBLISHED))


def test_many_networks_keep_a_colour_for_the_two_of_the_headline_alone():
    means = {f"net{i:03}": 0.9 - i / 2500 for i in range(835)}
    ends = ("net000", "net834")
    words = first.headline(study_of(models_table(means), between([ends], means={name: means[name] for name in ends})))
    assert [(word.text, word.colour) for word in words if word.colour] == [
        ("net000", "var(--n0)"),
        ("net834", "var(--n3)"),
    ]
    assert "".join(word.text for word in words).startswith(
        "Units of net000 are easier to understand than units of net834: 0.90 "
    )
    colours = distribution.colours_of(835)
    assert {*colours[1:-1]} == {distribution.OTHERS}
    assert len({*distribution.colours_of(8)}) == 8


def test_guessing_is_what_a_phone_leaves_out():
    words = first.headline(study_of(models_table(), between(EVERY)))
    assert [word.text for word in words if word.wide] == [", where guessing scores 0.50"]
    assert [word.text for word in words if word.bold] == ["0.81 against 0.68"]


# ---------------------------------------------------------------- limits and numbers
FACTS = {
    "n_models": 4,
    "generated": True,
    "images": {"n": 50000},
    "has_human": True,
    "failed_controls": [],
    "n_judged": 164,
    "n_passed": 164,
    "n_units": 400,
    "n_compared": 60,
    "agreement": None,
    "ceiling": None,
    "share": None,
}
AGREEMENT = {"pearson": 0.4882, "pearson_low": 0.41, "pearson_high": 0.553, "n": 476}
SHARE = {"share": 0.7, "share_low": 0.604, "share_high": 0.787}


@pytest.mark.parametrize(
    ("simulated", "facts", "wide", "narrow"),
    [
        (
            True,
            {},
            "Four small networks, generated pictures, simulated observers.",
            "Small networks, simulated observers.",
        ),
        (
            False,
            {"generated": False, "n_models": 835},
            "835 networks, 50,000 pictures, answers of people.",
            "835 networks, answers of people.",
        ),
        (
            False,
            {"generated": False, "n_models": 1, "has_human": False},
            "One network, 50,000 pictures, no human answers.",
            "One network, no human answers.",
        ),
        (
            True,
            {"failed_controls": [{}, {}]},
            "2 of 164 controls failed, four small networks, generated pictures, simulated observers.",
            "2 of 164 controls failed, simulated observers.",
        ),
    ],
)
def test_the_limits_name_what_the_study_is_made_of(simulated, facts, wide, narrow):
    study = replace(study_of(models_table()), simulated=simulated)
    assert first.limits(study, FACTS | facts) == (wide, narrow)


def test_a_network_at_several_sizes_is_counted_once_in_the_limits():
    study = replace(study_of(models_table()), simulated=True)
    sizes = pd.DataFrame({"model": ["alder", "beech", "cedar"], "of": "alder", "input_size": [64, 32, 96]})
    several = replace(study, tables=study.tables | {"input_sizes": sizes})
    assert first.limits(several, FACTS)[0].startswith(
        "Two small networks at several sizes of input, generated pictures"
    )


def test_a_level_by_convention_is_named_in_the_limits():
    study = replace(study_of(models_table(), status=NOT_IDENTIFIED), simulated=True)
    assert first.limits(study, FACTS)[0].endswith("simulated observers, level of scores by convention.")


SPREAD = distribution.Spread((), 0.4, (0.66, 0.801), (0.85, 1.0))
GAIN = pd.DataFrame(
    [
        (LEAD, "alder", 100, 0.08, 0.06, 0.1),
        (LEAD, "beech", 300, 0.04, 0.03, 0.05),
        (LEAD, ALL_SERIES, 400, 0.06, 0.05, 0.07),
    ],
    columns=["backend", "series", "n_units", "difference", "low", "high"],
)


def numbers(study, **facts):
    return [(each.value, each.between, each.of) for each in first.four_numbers(study, FACTS | facts, SPREAD)]


def test_four_numbers_of_a_study_with_everything():
    # the level: four intervals of ± 0.01 over 100 units each make one of ± 0.005 over all
    study = replace(study_of(models_table(), gain=GAIN), simulated=True)
    assert numbers(study, agreement=AGREEMENT, share=SHARE, ceiling={"variant": "V4w"}) == [
        ("0.750", "0.745 to 0.755", "mean MIS of 400 units; guessing scores 0.500"),
        ("+0.060", "0.050 to 0.070", "gained by training, unit by unit"),
        ("0.49", "0.41 to 0.55", "correlation with simulated observers, 476 units"),
        ("70 %", "60 to 79 %", "of the correlation that noise in simulated answers allows"),
    ]


def test_intervals_say_what_they_are_over_and_the_slope_comes_before_units():
    study = replace(study_of(models_table(), gain=GAIN), simulated=True)
    assert first.intervals_words(study, first.four_numbers(study, FACTS, SPREAD)) == "Intervals: 95 %, over units."
    fits = study.tables["calibration"].assign(mis_slope_low=0.71, mis_slope_high=0.79)
    fitted = replace(study, tables={**study.tables, "calibration": fits})
    found = first.four_numbers(fitted, FACTS, SPREAD)
    assert (found[0].value, found[0].between) == ("0.750", "0.710 to 0.790")
    assert first.intervals_words(fitted, found) == (
        "Intervals: 95 %, over the interval of the slope (mean MIS, 0.745 to 0.755 over units alone), the others over units."
    )
    assert first.intervals_words(study, []) == ""


def test_a_share_of_a_ceiling_that_errs_low_is_called_an_upper_bound():
    study = study_of(models_table())
    [share] = [
        of for _, _, of in numbers(study, agreement=AGREEMENT, share=SHARE, ceiling={"variant": "V4"}) if "noise" in of
    ]
    assert share == "at most, of the correlation that noise in answers allows"


def test_what_a_study_lacks_gives_way_to_what_it_has():
    assert numbers(study_of(models_table()), has_human=False, n_judged=0) == [
        ("0.750", "0.745 to 0.755", "mean MIS of 400 units; guessing scores 0.500"),
        ("0.66 to 0.80", "", "MIS of the middle half of all units"),
        ("85 %", "", "of tasks solved by the machine; guessing solves 50 %"),
        ("4.8 %", "", "of units never change, so they have no score"),
    ]
    # without a slope nothing on the first screen is a level; answers that are not scored here are no agreement
    assert numbers(
        study_of(models_table(), status=NOT_CALIBRATED, gain=GAIN), has_human=False, n_judged=0, agreement=AGREEMENT
    ) == [
        ("85 %", "", "of tasks solved by the machine; guessing solves 50 %"),
        ("85 to 100 %", "", "tasks solved of the middle half of all units"),
        ("4.8 %", "", "of units never change, so they have no score"),
        ("400", "", "units scored, of four networks"),
    ]


def test_an_interval_stands_only_where_the_tables_have_one():
    gap = models_table()
    gap.loc[1, "mis_low"] = np.nan
    lost = AGREEMENT | {"pearson_low": np.nan, "pearson_high": np.nan}
    unknown = SHARE | {"share_low": np.nan, "share_high": np.nan}
    assert [between for _, between, _ in numbers(study_of(gap), agreement=lost, share=unknown)[:3]] == ["", "", ""]
