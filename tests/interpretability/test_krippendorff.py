"""Krippendorff's alpha: published examples, an obvious reference that walks all pairs, gaps, and what kappa says beside it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from interpretability.errors import InputError
from interpretability.explanations import rater_agreement
from interpretability.randomness import generator

GAP = np.nan
# Krippendorff 2011, examples A (two raters, binary) and C (four raters, gaps, nominal)
TWO = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
FOUR = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, GAP, GAP, GAP],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, GAP, 3],
    [GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, GAP],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, GAP],
]


def alpha_of(values):
    return rater_agreement.krippendorff_alpha(rater_agreement.value_counts(values))


def by_pairs(values):
    """1 - observed / expected disagreement, walking every pair of ratings."""
    items = [[value for value in column if not np.isnan(value)] for column in np.asarray(values, float).T]
    items = [item for item in items if len(item) > 1]
    everything = [value for item in items for value in item]
    observed = sum(sum(a != b for a, b in itertools.permutations(item, 2)) / (len(item) - 1) for item in items) / len(
        everything
    )
    pairs = list(itertools.permutations(everything, 2))
    return 1 - observed / (sum(a != b for a, b in pairs) / len(pairs))


@pytest.mark.parametrize(("values", "published"), [(TWO, 0.095), (FOUR, 0.743)])
def test_published_examples_to_three_digits(values, published):
    assert round(alpha_of(values), 3) == published
    assert alpha_of(values) == pytest.approx(by_pairs(values), abs=1e-12)


@pytest.mark.parametrize("gaps", [0.0, 0.3, 0.7])
def test_alpha_is_that_of_all_pairs(gaps):
    draw = generator(0, "alpha", gaps)
    for _ in range(20):
        values = draw.integers(0, 4, (4, 9)).astype(float)
        values[draw.random(values.shape) < gaps] = np.nan
        if len(np.unique(values[:, (~np.isnan(values)).sum(axis=0) > 1])) > 1:
            assert alpha_of(values) == pytest.approx(by_pairs(values), abs=1e-12)


def test_alpha_of_full_tables_is_kappa_and_its_correction():
    """With m ratings of each of N items, alpha = kappa + (1 - kappa) / (N m)."""
    yes = generator(0, "full").binomial(5, 0.3, 40)
    counts = np.stack([5 - yes, yes], axis=1)
    kappa = fleiss_kappa(counts)
    assert rater_agreement.krippendorff_alpha(counts) == pytest.approx(kappa + (1 - kappa) / 200, abs=1e-12)


def test_single_ratings_add_nothing_and_agreement_alone_has_no_alpha():
    counts = [[2, 0], [0, 2], [1, 1]]
    assert rater_agreement.krippendorff_alpha([*counts, [1, 0], [0, 0]]) == rater_agreement.krippendorff_alpha(counts)
    assert rater_agreement.krippendorff_alpha([[2, 0], [0, 3]]) == 1
    for nothing in (np.empty((0, 2)), [[1, 0], [0, 1]], [[2, 0], [3, 0]]):
        assert np.isnan(rater_agreement.krippendorff_alpha(nothing))


def test_alpha_of_a_table_takes_pairs_of_text_and_image_as_items():
    rows = [
        (f"r{rater}", text, image, int(said))
        for rater, of in enumerate(TWO)
        for (text, image), said in zip(itertools.product(("dog", "cat"), range(5)), of, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["rater", "text", "image", "rating"])
    assert round(rater_agreement.alpha(table), 3) == 0.095
    assert rater_agreement.alpha(table.sample(frac=1, random_state=0)) == rater_agreement.alpha(table)


@pytest.mark.parametrize("counts", [[[1.5, 1]], [[-1, 3]], [1, 2], [[np.nan, 1]]])
def test_what_is_no_table_of_counts_is_refused(counts):
    with pytest.raises(InputError, match="counts"):
        rater_agreement.krippendorff_alpha(counts)
