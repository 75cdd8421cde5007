"""Which slopes are called identified, on forty simulated studies; benchmarks/slopes.py does it on thousands."""

import pytest
from scipy import stats

from benchmarks import slopes

N = 40


@pytest.fixture(scope="module")
def simulated():
    return slopes.rows_of(N).groupby(["similarity", "n_units"])["identified"].mean()


def test_similarities_that_know_nothing_are_hardly_ever_identified(simulated):
    for name in ("null", "hash"):
        assert (simulated[name] <= 1 / N).all()  # once in 40 studies is seen in one of five sizes at a true .5 %
    assert (simulated["pixel"] <= stats.binom.ppf(0.999, N, 0.02) / N).all()


def test_good_similarities_are_identified(simulated):
    # true shares of .80 and .95 fall below these once in a thousand times
    assert simulated["good", 10] >= stats.binom.ppf(0.001, N, 0.8) / N
    assert simulated["good", 20] >= stats.binom.ppf(0.001, N, 0.95) / N


def test_summary_holds_the_shares_of_the_studies():
    rows = slopes.rows_of(2)
    table = slopes.summary(rows).set_index(["similarity", "n_units"])
    assert len(table) == len(slopes.SIMILARITIES) * len(slopes.SPLITS)
    assert set(table["n_studies"]) == {2}
    # what is identified fulfils each of the three conditions
    assert (table["identified"] <= table[["inside", "narrow", "beats_half"]].min(axis=1)).all()
    assert (rows["identified"] == rows[["inside", "narrow", "beats_half"]].all(axis=1)).all()
