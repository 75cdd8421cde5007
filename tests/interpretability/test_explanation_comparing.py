"""Methods side by side: means, tests of pairs on the same units, and the published test beside them."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.errors import InputError
from interpretability.explanations import comparing
from interpretability.randomness import generator
from interpretability.statistics import holm

METHODS = ("a", "b", "c")


def scores_of(n=30, models=("m1", "m2"), shift=(0.0, 0.03, 0.06), seed=0):
    draw = generator(seed, "methods")
    rows = []
    for model in models:
        unit = draw.normal(0.2, 0.15, n)
        for method, more in zip(METHODS, shift, strict=True):
            values = unit + more + draw.normal(0, 0.05, n)
            rows += [(model, "layer4", k, method, value) for k, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["model", "layer", "unit", "method", "rho"])


def test_means_by_hand():
    scores = pd.DataFrame(
        [("m", "l", k, "a", v) for k, v in enumerate([0.1, 0.2, 0.3, 0.4, 0.5])]
        + [("m", "l", k, "b", v) for k, v in enumerate([0.0, np.nan, 0.6])],
        columns=["model", "layer", "unit", "method", "rho"],
    )
    found = comparing.method_table(scores).set_index("method")
    assert found.loc["a", ["n_units", "n_undefined", "n_common"]].tolist() == [5, 0, 2]
    assert found.loc["b", ["n_units", "n_undefined", "n_common"]].tolist() == [2, 1, 2]
    assert found.loc["a", ["mean", "se"]].tolist() == pytest.approx([0.3, np.sqrt(0.025 / 5)])
    assert (found.loc["a", "low"], found.loc["a", "high"]) == pytest.approx(
        stats.t.interval(0.95, 4, 0.3, np.sqrt(0.025 / 5))
    )
    assert found["mean_common"].tolist() == pytest.approx([0.2, 0.3])
    assert found.loc["b", ["low", "high"]].isna().all()


def test_pairs_are_those_of_scipy_and_adjusted_within_a_model():
    scores = scores_of()
    found = comparing.paired_tests(scores)
    assert len(found) == 6
    for row in found.itertuples():
        own = scores[scores["model"] == row.model]
        first, second = (own[own["method"] == name]["rho"].to_numpy() for name in (row.first, row.second))
        assert first.mean() > second.mean()
        t = stats.ttest_rel(first, second)
        assert (row.t, row.p_t) == pytest.approx((t.statistic, t.pvalue))
        interval = t.confidence_interval(0.95)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
        w = stats.wilcoxon(first, second)
        assert (row.w, row.p_wilcoxon) == pytest.approx((w.statistic, w.pvalue))
        published = stats.ttest_ind(first, second, alternative="greater")
        assert (row.published_t, row.published_p, row.published_df) == pytest.approx(
            (published.statistic, published.pvalue, 58)
        )
        assert row.wins == np.mean(first > second)
    for _, own in found.groupby("model"):
        assert own["p_t_holm"].tolist() == holm(own["p_t"]).tolist()
        assert own["p_wilcoxon_holm"].tolist() == holm(own["p_wilcoxon"]).tolist()
    within = comparing.paired_tests(scores.assign(study="one"), by=("study", "model"), family=("study",))
    assert within["p_t_holm"].tolist() == holm(found["p_t"]).tolist()


def test_paired_tests_see_what_the_published_one_does_not():
    found = comparing.paired_tests(scores_of(models=("m1",), shift=(0, 0.03, 0.06)))
    row = found[(found["first"] == "c") & (found["second"] == "a")].iloc[0]
    assert row["p_wilcoxon_holm"] < 0.01 < row["published_p"]


def test_the_best_is_tested_against_each_other_with_the_adjustment_of_all_pairs():
    scores = scores_of()
    every, best = comparing.paired_tests(scores), comparing.paired_tests(scores, against="best")
    assert (best["first"] == "c").all()
    wanted = every[every["first"] == "c"].reset_index(drop=True)
    pd.testing.assert_frame_equal(best, wanted)


def test_families_may_span_groups():
    scores = pd.concat([scores_of().assign(aggregation=name) for name in ("majority", "bragg")], ignore_index=True)
    found = comparing.paired_tests(scores, by=("model", "aggregation"), family=("model",))
    assert len(found) == 12
    for _, own in found.groupby("model"):
        assert own["p_t_holm"].tolist() == holm(own["p_t"]).tolist()
    assert len(comparing.method_table(scores, by=("model", "aggregation"))) == 12


def test_pairs_without_a_test_say_why():
    few = comparing.paired_tests(scores_of(5))
    assert (few["reason"] == comparing.TOO_FEW).all()
    assert few["p_t"].isna().all()
    assert few["difference"].notna().all()
    same = scores_of(10, models=("m1",))
    same.loc[same["method"] == "b", "rho"] = same.loc[same["method"] == "a", "rho"].to_numpy()
    found = comparing.paired_tests(same).set_index(["first", "second"])
    assert found.loc[("a", "b"), "reason"] == comparing.ALIKE
    assert found.loc[("a", "b"), "wins"] == 0.5
    assert found.loc[("c", "a"), "reason"] == ""
    apart = scores_of(8, models=("m1",))
    apart = apart[(apart["method"] != "b") | (apart["unit"] < 0)]
    other = apart[apart["method"] == "a"].assign(method="b", unit=lambda t: t["unit"] + 100)
    none = comparing.paired_tests(pd.concat([apart, other], ignore_index=True)).set_index(["first", "second"])
    assert none.loc[("a", "b"), "n_units"] == 0
    assert none.loc[("a", "b"), "reason"] == comparing.TOO_FEW


def test_tables_do_not_depend_on_the_order_of_rows():
    scores = scores_of()
    mixed = scores.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(comparing.method_table(scores), comparing.method_table(mixed), check_exact=True)
    pd.testing.assert_frame_equal(comparing.paired_tests(scores), comparing.paired_tests(mixed), check_exact=True)


def test_empty_tables_have_their_columns():
    empty = scores_of().iloc[:0]
    assert list(comparing.method_table(empty).columns) == ["model", *comparing.TABLE]
    assert list(comparing.paired_tests(empty).columns) == ["model", *comparing.TESTS]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="method"), "lacks the column method"),
        (lambda t: t.assign(rho=np.inf), "column rho"),
        (lambda t: t.assign(unit=0.5), "column unit"),
        (lambda t: pd.concat([t, t.iloc[[7]]], ignore_index=True), "more than one score of method"),
    ],
)
def test_scores_that_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        comparing.paired_tests(change(scores_of()))


def test_a_method_without_any_score_does_not_hide_the_best():
    scores = scores_of(models=("m1",))
    scores.loc[scores["method"] == "b", "rho"] = np.nan
    found = comparing.paired_tests(scores, against="best")
    assert set(zip(found["first"], found["second"], strict=True)) >= {("c", "a")}
    assert found["p_t"].notna().tolist() == (found["reason"] == "").tolist()
    apart = scores_of(models=("m1",))
    apart = apart[(apart["unit"] < 10) == (apart["method"] == "b")]  # no unit has a score of all
    assert len(comparing.paired_tests(apart, against="best")) == 2


def test_the_same_difference_in_every_unit_has_no_t():
    scores = scores_of(10, models=("m1",))
    first = scores.loc[scores["method"] == "a", "rho"].to_numpy()
    scores.loc[scores["method"] == "b", "rho"] = first - 0.1
    row = comparing.paired_tests(scores).set_index(["first", "second"]).loc[("a", "b")]
    assert np.isnan(row["t"])
    assert row["p_wilcoxon"] == pytest.approx(2 / 2**10)


def test_no_group_is_lost():
    scores = scores_of().assign(score="crowd")
    scores.loc[4, "score"] = None
    for call in (comparing.method_table, comparing.paired_tests):
        with pytest.raises(InputError, match="nothing in the column score, row 4"):
            call(scores, by=("model", "score"))
        with pytest.raises(InputError, match="by is empty"):
            call(scores, by=())
    for family in ((), ("score",)):
        with pytest.raises(InputError, match="family is"):
            comparing.paired_tests(scores, family=family)


def clustered_scores(seed, clusters=12, size=4, shift=0.0):
    """Two methods whose difference is shared by the units of a cluster."""
    draw = generator(seed, "clusters")
    unit, moved = draw.normal(0.2, 0.1, clusters * size), np.repeat(draw.normal(shift, 0.1, clusters), size)
    rows = [
        ("m", "l", k, method, value, f"c{k // size}")
        for method, values in (("a", unit), ("b", unit + moved + draw.normal(0, 0.02, len(unit))))
        for k, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["model", "layer", "unit", "method", "rho", "cluster"])


def test_means_and_tests_of_clusters_are_those_of_their_means():
    scores = clustered_scores(1)
    of_clusters = scores.groupby(["method", "cluster"], sort=True)["rho"].mean().unstack("method")
    table = comparing.method_table(scores).set_index("method")
    assert table["mean"].tolist() == pytest.approx(of_clusters.mean().tolist())
    assert table["se"].tolist() == pytest.approx((of_clusters.std() / np.sqrt(12)).tolist())
    assert table["n_units"].tolist() == [48, 48]
    assert table["n_clusters"].tolist() == [12, 12]
    test = comparing.paired_tests(scores).iloc[0]
    expected = stats.ttest_rel(of_clusters[test["first"]], of_clusters[test["second"]])
    assert (test["t"], test["p_t"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert test["p_wilcoxon"] == pytest.approx(stats.wilcoxon(of_clusters["a"] - of_clusters["b"]).pvalue)


def test_false_alarms_are_held_where_units_move_together():
    alarms = {"clusters": 0, "units": 0}
    for seed in range(200):
        scores = clustered_scores(seed)
        alarms["clusters"] += comparing.paired_tests(scores).loc[0, "p_t"] < 0.05
        alarms["units"] += comparing.paired_tests(scores.drop(columns="cluster")).loc[0, "p_t"] < 0.05
    assert alarms["clusters"] <= 20  # 10 are expected; more than 20 have a chance of a thousandth
    assert alarms["units"] > 40


def test_joint_draws_widen_means_and_tests_by_what_they_share():
    scores = scores_of(models=("m1",))
    draw = generator(3, "draws")
    shared = draw.normal(0, 0.1, 400)
    draws = scores["rho"].to_numpy()[:, None] + shared  # all scores of a draw are off by the same
    plain, joint = comparing.method_table(scores), comparing.method_table(scores, draws=draws)
    expected = np.hypot(plain["se"], comparing.WIDER * shared.std(ddof=1))
    assert joint["se"].tolist() == pytest.approx(expected.tolist())
    assert comparing.paired_tests(scores, draws=draws)["t"].tolist() == pytest.approx(
        comparing.paired_tests(scores)["t"].tolist()
    )  # what all share cancels in differences
    draws[(scores["method"] == "a").to_numpy()] += draw.normal(0, 0.5, 400)
    assert comparing.paired_tests(scores, draws=draws)["p_t"].iloc[0] > comparing.paired_tests(scores)["p_t"].iloc[0]


def test_a_unit_has_one_cluster():
    scores = clustered_scores(1)
    scores.loc[0, "cluster"] = "other"
    with pytest.raises(InputError, match="holds no cluster, or two, of the unit m/l/0"):
        comparing.method_table(scores)
    with pytest.raises(InputError, match=r"draws has shape \(3, 2\); scores has 96 rows"):
        comparing.method_table(clustered_scores(1), draws=np.zeros((3, 2)))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [6, 9, 12])
def test_signed_ranks_are_those_of_all_assignments_of_signs(n, ties):
    draw = generator(n, "signed ranks", int(ties))
    values = draw.integers(-3, 5, n).astype(float) if ties else draw.normal(0.3, 1, n)
    there = values[values != 0]
    ranks = stats.rankdata(np.abs(there))
    sums = np.array([ranks[list(signs)].sum() for signs in product([False, True], repeat=len(there))])
    above = ranks[there > 0].sum()
    expected = min(1.0, 2 * min(np.mean(sums <= above + 1e-9), np.mean(sums >= above - 1e-9)))
    w, p = comparing.signed_ranks(values)
    assert p == pytest.approx(expected, abs=1e-12)
    assert w == min(above, ranks.sum() - above)
    if not ties:
        assert p == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_many_signed_ranks_are_nearly_normal():
    values = generator(1, "many").normal(0.1, 1, 200)
    assert comparing.signed_ranks(values)[1] == pytest.approx(stats.wilcoxon(values, method="approx").pvalue)
