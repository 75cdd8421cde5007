"""Scores of texts row by row against the score of one text, and the control texts."""

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.explanations.correlation import correlation, correlation_se
from interpretability.explanations.paired import dealt, paired_scores


def test_rows_have_the_scores_of_single_texts():
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(7, 400)).astype(np.float32) * 100 + 1e4
    presence = (rng.random((7, 400)) < 0.2).astype(np.float32)
    found = paired_scores(activations, presence)
    for row in range(7):
        assert found.rho[row] == pytest.approx(correlation(activations[row], presence[row]), abs=1e-12)
        assert found.se[row] == pytest.approx(correlation_se(activations[row], presence[row]), abs=1e-12)


def test_the_values_by_hand():
    a, c = np.array([[0, 1, 2, 3, 4, 8.0]]), np.array([[0, 0, 0, 1, 0, 1.0]])
    assert paired_scores(a, c).rho[0] == pytest.approx((5 / 6) / np.sqrt(40 / 27), abs=1e-12)


def test_a_row_depends_on_itself_alone():
    rng = np.random.default_rng(1)
    a, c = rng.normal(size=(2, 50, 333))
    whole, alone = paired_scores(a, c), [paired_scores(a[row : row + 1], c[row : row + 1]) for row in range(50)]
    np.testing.assert_array_equal(whole.rho, [each.rho[0] for each in alone])
    np.testing.assert_array_equal(whole.se, [each.se[0] for each in alone])


def test_what_is_alike_everywhere_has_no_score():
    a = np.array([[1.0, 2, 3, 4], [5, 5, 5, 5], [0.1, 0.1, 0.1, 0.1]])
    c = np.array([[1.0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1]])
    assert np.isnan(paired_scores(a, c).rho).all()
    assert np.isnan(paired_scores(a, c).se).all()
    sure = np.array([[1e-12, 3e-12, 1e-12, 2e-12]])
    assert paired_scores(a[:1], sure).rho[0] == pytest.approx(correlation(a[0], 1e12 * sure[0]), abs=1e-6)
    shifted = np.array([[1e9, 1e9 + 1, 1e9 + 2, 1e9 + 4]])
    assert paired_scores(shifted, c[1:2]).rho[0] == pytest.approx(correlation(shifted[0], c[1]), abs=1e-6)


def test_standard_errors_are_those_of_repeated_draws():
    """The spread of the score over many draws of images from one population, whatever the distributions."""
    rng = np.random.default_rng(2)
    n, repeats = 500, 800
    present = rng.random((repeats, n)) < 0.15
    values = np.maximum(present * 1.0 + rng.exponential(1.0, size=(repeats, n)), 0.5)
    found = paired_scores(values, present.astype(float))
    assert found.se.mean() == pytest.approx(found.rho.std(), rel=0.08)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_must_be_finite(value):
    good, bad = np.zeros((1, 4)), np.array([[0, 1, value, 2.0]])
    with pytest.raises(InputError, match="predicted holds"):
        paired_scores(good, bad)
    with pytest.raises(InputError, match="activations holds"):
        paired_scores(bad, good)


def test_each_text_takes_the_next_other_one_of_its_group():
    groups = np.array([0, 1, 0, 0, 1, 2, 3, 3])
    same = np.array([7, 1, 8, 9, 2, 3, 4, 4])
    keys = np.array([30, 5, 10, 20, 6, 0, 1, 2], dtype=np.uint64)
    # group 0 in the order of its keys: 2, 3, 0; group 2 has one text, and those of group 3 say the same
    assert dealt(groups, same, keys).tolist() == [2, 4, 3, 0, 1, -1, -1, -1]
    assert dealt(groups[:0], same[:0], keys[:0]).tolist() == []


def test_a_text_never_takes_one_that_says_the_same():
    rng = np.random.default_rng(3)
    groups, same = rng.integers(0, 5, 200), rng.integers(0, 4, 200)
    keys = rng.integers(0, 2**63, 200).astype(np.uint64)
    found = dealt(groups, same, keys)
    assert (found >= 0).all()
    assert (groups[found] == groups).all()
    assert (same[found] != same).all()
    order = rng.permutation(200)
    again = dealt(groups[order], same[order], keys[order])
    np.testing.assert_array_equal(order[again], found[order])
