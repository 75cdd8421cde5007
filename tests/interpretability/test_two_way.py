"""Means of answers for other units and other people."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from interpretability.design import drawn_studies
from interpretability.people import two_way
from interpretability.randomness import generator


def answers(rows):
    """Rows of (network, unit, participant, right or wrong)."""
    return pd.DataFrame(rows, columns=["model", "unit", "participant", "correct"]).assign(
        layer="l", condition="natural"
    )


def test_interval_of_a_mean_by_hand():
    # two units and two people, answers 1 1 / 1 0, mean .75, errors .25 .25 / .25 -.75. Sums by unit .5 -.5, by person
    # .5 -.5: squares .5 each; single answers 3 * .0625 + .5625 = .75. .5 + .5 - .75 = .25 is below either: .5 / 16
    table = answers([("a", 0, "p", 1), ("a", 0, "q", 1), ("a", 1, "p", 1), ("a", 1, "q", 0)])
    row = two_way.means_of_units(table, 0.5).iloc[0]
    # t with one degree of freedom: quartile 1
    assert (row["low"], row["high"]) == pytest.approx((0.75 - np.sqrt(0.5 / 16), 0.75 + np.sqrt(0.5 / 16)))
    assert two_way.means_of_units(table[table["unit"] == 0], 0.5)["low"].isna().all()


def test_interval_of_a_mean_equals_sums_in_a_loop():
    study = drawn_studies.draw_study(drawn_studies.Design(n_models=2, n_units=30, n_trials=15), generator(0, "study"))
    table = drawn_studies.responses_frame(study)
    found = two_way.means_of_units(table, 0.95).set_index("model")
    for model, rows in table.groupby("model", observed=True):
        error = rows["correct"] - rows["correct"].mean()
        parts = [
            sum(error[rows[name] == each].sum() ** 2 for each in set(rows[name])) for name in ("unit", "participant")
        ]
        variance = max(sum(parts) - (error**2).sum(), *parts) / len(rows) ** 2
        reach = 2.0452296 * np.sqrt(variance)  # 30 units, 60 people
        assert found.loc[model, "high"] - found.loc[model, "low"] == pytest.approx(2 * reach)


def test_every_unit_counts_the_same():
    # shares 1 of one answer and .5 of four: mean .75; parts (correct - .75) / (answers * 2): .125, and +.03125 -.09375
    # twice. Units: .125 and -.125, squares .03125. People p (.125, .03125), q -.09375, r .03125, s -.09375:
    # .0244140625 + 2 * .0087890625 + .0009765625 = .04296875. Answers: .015625 + 2 * .0009765625 + 2 * .0087890625 =
    # .03515625. Variance .03125 + .04296875 - .03515625 = .0390625 is below that of people: .04296875
    table = answers([("a", 0, "p", 1), ("a", 1, "p", 1), ("a", 1, "q", 0), ("a", 1, "r", 1), ("a", 1, "s", 0)])
    row = two_way.means_of_units(table, 0.5).iloc[0]
    assert row["mean"] == 0.75
    # two units: t with one degree of freedom has the quartile 1
    assert row["low"] == pytest.approx(0.75 - np.sqrt(0.04296875))
    assert row["high"] == pytest.approx(0.75 + np.sqrt(0.04296875))


def test_levels_of_confidence_are_means_of_their_own():
    table = answers([("a", unit, f"p{person}", unit % 2) for unit in range(6) for person in range(4)])
    table["confidence"] = [1, 2] * 12
    found = two_way.means_of_units(table, 0.95, ["model", "condition", "confidence"])
    alone = two_way.means_of_units(table[table["confidence"] == 2], 0.95)
    assert found["confidence"].tolist() == [1, 2]
    assert found.loc[1, ["mean", "low", "high"]].tolist() == alone.loc[0, ["mean", "low", "high"]].tolist()


def test_interval_of_the_logit_by_hand():
    # parts of two units and two people as above: error sqrt(.5) / 4 around .75; on the scale of the logit / (.75 * .25)
    table = answers([("a", 0, "p", 1), ("a", 0, "q", 1), ("a", 1, "p", 1), ("a", 1, "q", 0)])
    row = two_way.means_of_units(table, 0.5, logit=True).iloc[0]
    ends = expit(np.log(3) + np.array([-1, 1]) * np.sqrt(0.5 / 16) / 0.1875)
    assert (row["low"], row["high"]) == pytest.approx(tuple(ends))
    # all right: nothing says how far from 1 the share of other units may lie
    right = two_way.means_of_units(table.assign(correct=1), 0.5, logit=True).iloc[0]
    assert (right["mean"], np.isnan(right["low"])) == (1.0, True)
