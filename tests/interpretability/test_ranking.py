"""Easiest and hardest units: how much of their lead is luck."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.analysis import ranking
from interpretability.randomness import generator

N_TASKS, SLOPE = 20, 6.25


def network(n, seed, spread=0.06, noise=0.25):
    """Margins (n, tasks) of units with known means, and their true scores: the mean over many more tasks."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.25, spread, n)
    margins = rng.normal(level[:, None], noise, (n, N_TASKS))
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    p = 1 / (1 + np.exp(-SLOPE * (level[:, None] + noise * nodes)))
    return margins, p @ (weights / weights.sum())


def keyed(margins, model="m"):
    scores = ranking.half_scores(margins, SLOPE)
    return scores.assign(model=model, layer="l", unit=np.arange(len(scores)), condition="natural")


def test_halves_are_even_and_odd_tasks():
    margins = np.zeros((2, 4))
    margins[:, ::2] = 100.0
    scores = ranking.half_scores(margins, 1.0)
    assert scores[["mis", "even", "odd"]].iloc[0].tolist() == pytest.approx([0.75, 1.0, 0.5])
    near = np.array([[True, False, False, False], [False] * 4])
    dropped = ranking.half_scores(margins, 1.0, near, drop=True)
    assert dropped["mis"].tolist() == pytest.approx([2 / 3, 0.75])


def test_shrinking_by_hand():
    # scores .6 and .8: variance .02, mean square error .01, prior variance .01, weight one half
    mean, sd = ranking.shrink(np.array([0.6, 0.8]), np.array([0.1, 0.1]))
    assert mean.tolist() == pytest.approx([0.65, 0.75])
    assert sd.tolist() == pytest.approx([np.sqrt(0.005)] * 2)
    # nothing but noise: everybody is average
    mean, sd = ranking.shrink(np.array([0.6, 0.8]), np.array([0.5, 0.5]))
    assert mean.tolist() == pytest.approx([0.7, 0.7])
    assert sd.tolist() == [0.0, 0.0]
    # no noise: scores stand
    mean, sd = ranking.shrink(np.array([0.6, 0.8]), np.zeros(2))
    assert mean.tolist() == pytest.approx([0.6, 0.8])


def test_shrunken_scores_are_closer_to_the_truth():
    margins, truth = network(2000, 0)
    scores = ranking.half_scores(margins, SLOPE)
    shrunken, sd = ranking.shrink(scores["mis"].to_numpy(), scores["mis_se"].to_numpy())
    naive = np.sqrt(((scores["mis"] - truth) ** 2).mean())
    assert np.sqrt(((shrunken - truth) ** 2).mean()) < 0.9 * naive
    # their spread is right on average
    assert np.sqrt(((shrunken - truth) ** 2).mean()) == pytest.approx(np.sqrt((sd**2).mean()), rel=0.15)


def test_cross_fitting_is_unbiased_where_the_naive_mean_is_not():
    gaps = {"naive": [], "cross": [], "se": [], "shrunken": []}
    for seed in range(40):
        margins, truth = network(300, seed)
        units = keyed(margins)
        row = ranking.rank_network(units, "b", 15, 0)[0].set_index("group").loc["easiest"]
        by_half = [truth[np.argsort(-units[half].to_numpy(), kind="stable")[:15]].mean() for half in ("even", "odd")]
        best = truth[np.argsort(-units["mis"].to_numpy(), kind="stable")[:15]].mean()
        gaps["naive"].append(row["naive"] - best)
        gaps["shrunken"].append(row["shrunken"] - best)
        gaps["cross"].append(row["cross_fitted"] - np.mean(by_half))
        gaps["se"].append(row["cross_fitted_se"])
    mean = {name: np.mean(values) for name, values in gaps.items()}
    error = np.mean(gaps["se"]) / np.sqrt(40)
    assert abs(mean["cross"]) < 3 * error
    assert np.std(gaps["cross"]) == pytest.approx(mean["se"], rel=0.35)
    assert mean["naive"] > 20 * error  # far too high
    assert abs(mean["shrunken"]) < 0.3 * mean["naive"]


def test_the_hardest_are_biased_downwards_and_random_ones_not_at_all():
    margins, _ = network(400, 1)
    table = ranking.rank_network(keyed(margins), "b", 20, 0)[0].set_index("group")
    assert table.loc["hardest", "naive"] < table.loc["hardest", "shrunken"]
    assert table.loc["hardest", "naive"] < table.loc["hardest", "cross_fitted"]
    assert table.loc["random", "naive"] == pytest.approx(table.loc["random", "cross_fitted"])
    assert table.loc["easiest", "naive"] > table.loc["random", "naive"] > table.loc["hardest", "naive"]
    assert np.isnan(table.loc["random", "chosen_again"])


def test_probability_of_two_units_is_that_of_their_difference():
    # the lead is .1 of a normal difference with sd sqrt(.02)
    easy, hard = ranking.p_among(np.array([0.8, 0.7]), np.array([0.1, 0.1]), 1, generator(0, "p"))
    assert easy[0] == pytest.approx(stats.norm.cdf(0.1 / np.sqrt(0.02)), abs=0.05)
    assert easy.sum() == pytest.approx(1.0)
    assert hard.tolist() == pytest.approx(easy[::-1].tolist())


@pytest.mark.parametrize(("n", "k"), [(10, 5), (1000, 7), (200_000, 3)])
def test_probabilities_add_up_to_the_number_of_places(n, k):
    rng = np.random.default_rng(0)
    for p in ranking.p_among(rng.normal(0.7, 0.1, n), np.full(n, 0.03), k, generator(0, "p", n)):
        assert p.sum() == pytest.approx(k)
        assert ((p >= 0) & (p <= 1)).all()


def test_probabilities_are_calibrated():
    # of the units said to be among the easiest with probability p, a share p is
    said, true = [], []
    for seed in range(30):
        margins, truth = network(200, seed)
        scores = ranking.half_scores(margins, SLOPE)
        mean, sd = ranking.shrink(scores["mis"].to_numpy(), scores["mis_se"].to_numpy())
        said.append(ranking.p_among(mean, sd, 20, generator(0, "p", seed))[0])
        true.append(np.isin(np.arange(200), np.argsort(-truth)[:20]))
    said, true = np.concatenate(said), np.concatenate(true)
    for low, high in ((0.05, 0.25), (0.25, 0.5)):
        part = (said >= low) & (said < high)
        assert true[part].mean() == pytest.approx(said[part].mean(), abs=0.1)
    assert true[said >= 0.5].mean() > said[said >= 0.5].mean()  # cautious


def test_extreme_units_are_the_ends_in_order_whatever_the_order_of_rows():
    margins, _ = network(60, 2)
    units = keyed(margins)
    table, extreme = ranking.rank_network(units, "b", 5, 0)
    again = ranking.rank_network(units.sample(frac=1, random_state=0), "b", 5, 0)
    pd.testing.assert_frame_equal(table, again[0])
    pd.testing.assert_frame_equal(extreme, again[1])
    easiest = extreme[extreme["end"] == "easiest"]
    assert easiest["mis"].tolist() == sorted(units["mis"], reverse=True)[:5]
    assert extreme.loc[extreme["end"] == "hardest", "mis"].tolist() == sorted(units["mis"])[:5]
    assert extreme["p_among"].between(0, 1).all()


def test_too_few_units_give_empty_tables():
    margins, _ = network(9, 0)
    for k in (0, 5):
        found = ranking.rank_network(keyed(margins), "b", k, 0)
        assert [list(table.columns) for table in found] == [ranking.COLUMNS, ranking.EXTREME_COLUMNS]
        assert [len(table) for table in found] == [0, 0]


def test_members_of_the_ends_are_those_of_a_stable_sort_also_with_ties():
    values = np.random.default_rng(0).integers(-3, 4, (200, 12)).astype(np.float32)
    for k in (1, 4, 6):
        expected = np.zeros(values.shape, dtype=bool)
        np.put_along_axis(expected, np.argsort(-values, axis=1, kind="stable")[:, :k], True, axis=1)
        edge = np.sort(values, axis=1)[:, [12 - k]]
        np.testing.assert_array_equal(ranking._among(values, edge, k), expected)


@pytest.mark.parametrize("steps", [0, 40, 3])  # scores as they are, and with more and more ties
@pytest.mark.parametrize("bound", [None, -1.0, 0.72, 2.0])
def test_units_beyond_a_bound_tell_who_is_among_the_first(monkeypatch, steps, bound):
    rng = np.random.default_rng(steps)
    n, k, rows = 300, 9, 40
    values = rng.normal(0.6, 0.1, (rows, n))
    values = (np.round(values * steps) / steps if steps else values).astype(np.float32)
    expected = np.zeros(n, dtype=int)
    for row in values:
        expected[sorted(range(n), key=lambda unit: (-row[unit], unit))[:k]] += 1
    monkeypatch.setattr(ranking, "_WORTH", 1)
    given = ranking._bound(values[0], k) if bound is None else bound
    assert np.isfinite(given)
    assert ranking._times_among(values, k, given).tolist() == expected.tolist()
    assert ranking._times_among(values, k, -np.inf).tolist() == expected.tolist()


def test_ways_to_count_rankings_agree(monkeypatch):
    mean = np.random.default_rng(2).normal(0.7, 0.1, 900)
    found = []
    for worth in (1, 10**9):
        monkeypatch.setattr(ranking, "_WORTH", worth)
        found.append(np.stack(ranking.p_among(mean, np.full(900, 0.05), 9, generator(0, "p"))))
    np.testing.assert_array_equal(*found)
