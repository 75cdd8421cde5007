"""Kinds of explanation: that the choice among them is honest, in simulation and by hand."""

import numpy as np
import pytest

from benchmarks.explanation_kinds import bias_row
from interpretability.analysis.explanation_kinds import CHOSEN, COLUMNS, between_sets, choose, kinds_table
from interpretability.errors import InputError

NAMES, IMAGES, MADE = ["natural", "synthetic"], [9, 9], [False, True]


def scores_of(natural, *made):
    """Scores (1, kinds, sets, 2) of one unit: halves of the natural kind, and for each made kind those of every set."""
    sets = len(made[0]) if made else 1
    return np.array([[[natural] * sets, *made]], dtype=float)


def test_the_highest_score_flatters_where_kinds_are_alike_and_the_honest_choice_does_not():
    for n_kinds, naive in ((3, 0.015), (5, 0.02)):
        row = bias_row(n_kinds, 0.0, 0.0, 1)
        assert row["naive_bias"] > naive
        assert row["naive_gain"] > 0.007  # although nothing is to be gained
        assert abs(row["bias"]) < 0.003
        assert row["gain"] == pytest.approx(row["true_gain"], abs=0.003)
        assert row["gain"] < 0


def test_the_luck_of_one_seed_set_is_in_both_halves_and_that_of_two_is_not():
    one, two = (bias_row(5, 0.0, 0.03, n_sets) for n_sets in (1, 2))
    assert 0.013 < one["bias"] < 0.022
    assert abs(two["bias"]) < 0.003
    assert two["gain"] == pytest.approx(two["true_gain"], abs=0.003)


def test_true_differences_are_gained_and_less_than_those_of_the_best_kind():
    row = bias_row(5, 0.06, 0.03, 2)
    assert abs(row["bias"]) < 0.003
    assert 0 < row["gain"] < row["gain_of_best"] < row["naive_gain"]


def test_directions_of_one_unit_by_hand():
    # set 0 makes the synthetic kind look good in the even half, set 1 bad everywhere
    choice = choose(scores_of([0.7, 0.8], [[0.9, 0.6], [0.5, 0.4]]))
    # directions: chosen with set 0 on even, on odd, then with set 1; told with the other set and half
    assert choice.kinds.tolist() == [[1, 0, 0, 0]]
    assert choice.scores[0] == pytest.approx([0.4, 0.7, 0.8, 0.7])
    assert choice.gains[0] == pytest.approx([-0.4, 0, 0, 0])
    assert choice.gain[0] == pytest.approx(-0.1)
    assert choice.naive[0] == 0  # over both sets and halves natural is ahead, .75 to .6


def test_one_set_is_told_by_itself_and_of_equal_kinds_the_first_is_chosen():
    choice = choose(scores_of([0.7, 0.8], [[0.7, 0.9]]))
    assert choice.kinds.tolist() == [[0, 1]]
    assert choice.gains[0] == pytest.approx([0, 0])


def test_three_sets_are_chosen_with_and_told_by_every_other_one():
    choice = choose(np.zeros((4, 2, 3, 2)))
    assert choice.kinds.shape == (4, 12)
    assert not choice.kinds.any()


def test_a_kind_that_a_unit_lacks_in_any_set_is_never_chosen():
    lacking = scores_of([0.1, 0.1], [[0.9, 0.9], [np.nan, 0.9]])
    assert not choose(lacking).kinds.any()
    assert choose(lacking).naive[0] == 0


def test_a_unit_without_a_base_has_no_choice():
    choice = choose(scores_of([np.nan, 0.5], [[0.9, 0.9], [0.8, 0.8]]))
    assert (choice.kinds == -1).all()
    assert np.isnan(choice.gains).all()
    assert np.isnan(choice.naive).all()


@pytest.mark.parametrize("wrong", [np.zeros((2, 2, 1)), np.zeros((2, 2, 1, 3))])
def test_scores_of_another_shape_are_refused(wrong):
    with pytest.raises(InputError, match="scores"):
        choose(wrong)


def test_the_table_by_hand():
    # six units; the made kind is .1 behind in all, .2 ahead in one, where both sets agree
    scores = np.full((6, 2, 2, 2), 0.6)
    scores[:, 1] = 0.5
    scores[5, 1] = 0.8
    scores[0, 1, 1] = 0.46  # of the first unit the second set is .04 less
    table = kinds_table(scores, NAMES, IMAGES, MADE, 0.95).set_index("kind")
    assert list(table.reset_index().columns) == COLUMNS
    assert table.index.tolist() == [*NAMES, CHOSEN]
    made, chosen = table.loc["synthetic"], table.loc[CHOSEN]
    assert made["difference"] == pytest.approx((0.48 + 3 * 0 + 4 * 0.5 + 0.8 - 6 * 0.6) / 6)
    assert made["mean"] - made["base_mean"] == pytest.approx(made["difference"])
    assert made["low"] < made["difference"] < made["high"]
    assert made["share"] == pytest.approx(1 / 6)
    assert table.loc["natural", "share"] == pytest.approx(5 / 6)
    assert np.isnan(table.loc["natural", ["difference", "low", "high"]].astype(float)).all()
    assert chosen["difference"] == pytest.approx(0.2 / 6)
    assert chosen["naive"] == pytest.approx(0.2 / 6)
    assert chosen["mean"] - chosen["base_mean"] == pytest.approx(chosen["difference"])
    # two values that differ by .04 have the standard deviation .04 / sqrt(2)
    assert made["between_sd"] == pytest.approx(np.sqrt(0.04**2 / 2 / 6))
    assert made["between_sd"] == pytest.approx(between_sets(scores[:, 1]))
    assert (made["n_sets"], chosen["n_sets"], table.loc["natural", "n_sets"]) == (2, 2, 0)


def test_the_interval_of_the_gain_is_that_of_a_mean_over_units():
    rng = np.random.default_rng(0)
    scores = 0.5 + 0.1 * rng.standard_normal((10, 2, 2, 2))
    scores[:, 0] = scores[:, 0, :1]
    row = kinds_table(scores, NAMES, IMAGES, MADE, 0.95).set_index("kind").loc[CHOSEN]
    gain = choose(scores).gain
    reach = 2.262157 * gain.std(ddof=1) / np.sqrt(10)  # t quantile of 9 degrees of freedom
    assert row["low"] == pytest.approx(gain.mean() - reach, abs=1e-6)
    assert row["high"] == pytest.approx(gain.mean() + reach, abs=1e-6)


def test_a_kind_is_chosen_for_a_share_of_the_units_that_have_it():
    scores = np.full((6, 2, 1, 2), 0.6)
    scores[:, 1] = np.nan
    scores[:2, 1] = 0.8
    scores[2, 1] = 0.5
    table = kinds_table(scores, NAMES, IMAGES, MADE, 0.95).set_index("kind")
    assert table.loc["synthetic", ["n_units", "share"]].tolist() == pytest.approx([3, 2 / 3])
    assert table.loc["natural", "share"] == pytest.approx(4 / 6)


def test_a_kind_that_nobody_has_keeps_its_row():
    scores = np.full((5, 2, 1, 2), 0.6)
    scores[:, 1] = np.nan
    row = kinds_table(scores, NAMES, IMAGES, MADE, 0.95).set_index("kind").loc["synthetic"]
    assert (row["n_units"], row["n_sets"]) == (0, 0)
    assert np.isnan(row[["mean", "share"]].astype(float)).all()
    empty = kinds_table(np.zeros((0, 2, 1, 2)), NAMES, IMAGES, MADE, 0.95)
    assert empty["n_units"].tolist() == [0, 0, 0]
    assert empty["mean"].isna().all()
