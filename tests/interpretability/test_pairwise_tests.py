"""Tests between groups whose members depend on each other: clusters of layers, people, blocks."""

from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from interpretability import statistics
from interpretability.analysis import answer_tests, block_tests, cluster_tests, group_tests, pairs

# --------------------------------------------------------------------------- what they share


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), max_size=12))
def test_holm_is_that_of_statsmodels_over_the_values_that_are_there(p):
    p = np.array(p)
    there = np.isfinite(p)
    found = statistics.holm(p)
    assert np.isnan(found[~there]).all()
    if there.any():
        with mock.patch("gc.collect"):  # of statsmodels, at every call: a second in a process with many objects
            wanted = multipletests(p[there], method="holm")[1]
        assert found[there].tolist() == pytest.approx(wanted.tolist())


def test_stars_change_strictly_below_the_limits_and_are_none_without_a_test():
    marks = [pairs.stars(p) for p in (0.0009, 0.001, 0.0099, 0.01, 0.049, 0.05, np.nan)]
    assert marks == ["***", "**", "**", "*", "*", "NS", ""]


def test_the_papers_test_stands_beside_ours_under_its_name():
    values, groups = [1, 2, 2, 2, 3, 4, 5, 6], list("aaabbbcc")
    papers = group_tests.conover(values, groups)
    ours = pd.DataFrame({"first": ["a", "a", "a"], "second": ["b", "c", "d"], "stars": ["NS", "*", ""]})
    both = pairs.beside_papers(ours, papers)
    assert both["paper_p"].tolist()[:2] == papers["p"].tolist()[:2]
    assert both["stars"].tolist() == ["NS", "*", ""]
    assert np.isnan(both["paper_effect"][2])
    assert set(both.columns) == {"first", "second", "stars", *pairs.PAPER_COLUMNS}


# --------------------------------------------------------------------------- clusters of layers

CLUSTERS = {("a", "norm"): "conv", ("a", "conv"): "conv"}


def scored():
    rows = [
        *(("a", "natural", "norm", 3, value) for value in (0.6, 0.8)),
        *(("a", "natural", "conv", 2, value) for value in (0.5, 0.5, 0.6)),
        ("a", "natural", "first", 1, 0.9),
        ("a", "hard95", "conv", 2, 0.1),
        ("b", "natural", "norm", 1, 0.4),
    ]
    return pd.DataFrame(rows, columns=["model", "condition", "layer", "layer_index", "mis"])


@pytest.mark.parametrize("category", [False, True])
def test_cluster_means_by_hand(category):
    units = scored().astype(dict.fromkeys(("model", "condition", "layer"), "category" if category else object))
    found = cluster_tests.cluster_means(units, "mis", CLUSTERS)
    assert list(found.columns) == cluster_tests.MEAN_COLUMNS
    natural = found[found["condition"] == "natural"].drop(columns="condition").to_numpy().tolist()
    assert natural == [
        ["a", "first", 1, 1, 1, 0.9],
        ["a", "conv", 2, 2, 5, pytest.approx(0.6)],  # of (.6 + .8 + .5 + .5 + .6) / 5
        ["b", "norm", 1, 1, 1, 0.4],  # a layer that no table names stands for itself
    ]
    assert found.loc[found["condition"] == "hard95", "mean"].tolist() == [0.1]


def of_clusters(**networks):
    rows = [
        (model, i, float(value), 2 if i else 4) for model, values in networks.items() for i, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["model", "position", "mean", "n_units"])
    return table.assign(condition="natural", cluster="c", n_layers=1)


def test_levels_by_hand():
    row = cluster_tests.levels(of_clusters(a=[0.2, 0.4, 0.6, 0.8])).iloc[0]
    assert row["unit_mean"] == pytest.approx((4 * 0.2 + 2 * (0.4 + 0.6 + 0.8)) / 10)
    assert row["cluster_mean"] == pytest.approx(0.5)
    assert (row["n_units"], row["n_layers"], row["n_clusters"]) == (10, 4, 4)
    assert row["lag1"] == pytest.approx(1.0)
    assert cluster_tests.lag1(np.array([1.0, 2, 1, 2])) == pytest.approx(-1.0)
    assert np.isnan(cluster_tests.lag1(np.array([1.0, 2, 3])))
    values = np.random.default_rng(0).random(9)
    assert cluster_tests.lag1(values) == pytest.approx(stats.pearsonr(values[:-1], values[1:]).statistic)


def test_networks_are_compared_by_conover_on_their_clusters():
    draw = np.random.default_rng(0)
    networks = {"a": draw.random(9), "b": draw.random(7) + 0.7, "c": draw.random(12)}
    found = cluster_tests.network_tests(of_clusters(**networks))
    values, groups = np.concatenate(list(networks.values())), np.repeat(list(networks), [9, 7, 12])
    papers = group_tests.conover(values, groups)
    assert list(found.columns) == cluster_tests.COLUMNS
    for name in ("statistic", "p", "p_holm"):
        assert found[name].tolist() == pytest.approx(papers[name].tolist())
    assert found["df"].tolist() == [25, 25, 25]
    assert found[["n_first", "n_second"]].to_numpy().tolist() == [[9, 7], [9, 12], [7, 12]]
    assert found["difference"][0] == pytest.approx(networks["a"].mean() - networks["b"].mean())
    assert found["stars"].tolist() == [pairs.stars(p) for p in papers["p_holm"]]
    assert found["stars"].tolist() == ["**", "NS", "**"]
    assert set(found["reason"]) == {""}
    lagged = cluster_tests.with_lags(found, cluster_tests.levels(of_clusters(**networks)))
    assert lagged["lag1_second"][0] == pytest.approx(cluster_tests.lag1(networks["b"]))


def test_networks_of_few_clusters_have_a_reason_and_take_no_part():
    full = {"a": [1, 2, 3, 4, 5], "c": [11, 12, 13, 14]}
    found = cluster_tests.network_tests(of_clusters(**full, b=[100, 101, 102])).set_index(["first", "second"])
    few = found.drop(index=("a", "c"))
    assert few[["statistic", "df", "p", "p_holm"]].isna().all().all()
    assert few["stars"].tolist() == ["", ""]
    assert few["reason"].tolist() == ["too few clusters"] * 2
    assert few["difference"].tolist() == [3 - 101, 101 - 12.5]
    alone = cluster_tests.network_tests(of_clusters(**full)).iloc[0]
    assert found.loc[("a", "c"), "p_holm"] == alone["p_holm"] == alone["p"]


def test_clusters_that_are_all_alike_cannot_be_compared():
    found = cluster_tests.network_tests(of_clusters(a=[1] * 4, b=[1] * 5))
    assert found[["reason", "stars"]].to_numpy().tolist() == [["all values alike", ""]]
    assert cluster_tests.network_tests(of_clusters(a=[1, 2, 3, 4])).empty
    nothing = cluster_tests.network_tests(pd.DataFrame(columns=cluster_tests.MEAN_COLUMNS))
    assert list(nothing.columns) == cluster_tests.COLUMNS


# --------------------------------------------------------------------------- answers


def responses(seed=0, networks=("a", "b", "c"), n_layers=6, n_people=8, n=300, shared=0):
    """Answers to random units; `shared` people answer for all networks."""
    draw = np.random.default_rng(seed)
    layer, person = draw.integers(n_layers, size=n), draw.integers(n_people, size=n)
    model = np.array(networks)[draw.integers(len(networks), size=n)]
    own = np.char.add(np.char.add(model, " "), person.astype(str))
    return pd.DataFrame(
        {
            "model": model,
            "layer": [f"layer{number}" for number in layer],
            "unit": 0,
            "participant": np.where(person < shared, person.astype(str), own),
            "correct": draw.random(n) < 0.6 + 0.05 * (layer % 3) + 0.2 * (model == "a"),
        }
    )


def slow(table, first, second, clusters):
    """Difference, standard error and degrees of freedom from all pairs of answers."""
    names = [clusters.get(key, key[1]) for key in zip(table["model"], table["layer"], strict=True)]
    rows = table.assign(cluster=table["model"] + names)
    sides = [rows[rows["model"] == name] for name in (first, second)]
    parts, variances, degrees = [], [], []
    for sign, side in zip((1, -1), sides, strict=True):
        parts.append(side.assign(error=sign * (side["correct"] - side["correct"].mean()) / len(side)))
        variances.append(pairwise(parts[-1]))
        degrees.append(min(side["cluster"].nunique(), side["participant"].nunique()) - 1)
    df = sum(variances) ** 2 / sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    difference = sides[0]["correct"].mean() - sides[1]["correct"].mean()
    return difference, np.sqrt(pairwise(pd.concat(parts))), df


def pairwise(rows):
    products = np.multiply.outer(rows["error"].to_numpy(), rows["error"].to_numpy())
    layer, person = (
        np.equal.outer(rows[name].to_numpy(), rows[name].to_numpy()) for name in ("cluster", "participant")
    )
    return max(products[layer | person].sum(), products[layer].sum(), products[person].sum())


@pytest.mark.parametrize("shared", [0, 3, 8])
@pytest.mark.parametrize("clusters", [{}, {("a", "layer1"): "layer0", ("b", "layer5"): "layer4"}])
def test_the_two_way_test_is_that_of_all_pairs_of_answers(shared, clusters):
    table = responses(shared, shared=shared)
    found = answer_tests.network_tests(answer_tests.answers_of(table, clusters))
    assert list(found.columns) == cluster_tests.COLUMNS
    for row in found.itertuples():
        difference, error, df = slow(table, row.first, row.second, clusters)
        assert (row.difference, row.statistic, row.df) == pytest.approx((difference, difference / error, df))
        assert row.p == pytest.approx(2 * stats.t.sf(abs(difference / error), df))
    assert found["p_holm"].tolist() == pytest.approx(multipletests(found["p"], method="holm")[1].tolist())
    assert found["n_first"].tolist() == [6 - bool(clusters), 6 - bool(clusters), 6 - bool(clusters)]
    assert found["people_first"].tolist() == [8, 8, 8]


def test_two_networks_by_hand():
    # four layers of one answer each, by four people: errors are independent, their sum of squares the variance
    rows = [
        (model, f"layer{i}", f"{model}{i}", right)
        for model, answers in (("a", (1, 1, 1, 0)), ("b", (1, 0, 0, 0)))
        for i, right in enumerate(answers)
    ]
    table = pd.DataFrame(rows, columns=["model", "layer", "participant", "correct"])
    row = answer_tests.network_tests(answer_tests.answers_of(table, {})).iloc[0]
    assert row["difference"] == 0.5
    variance = 2 * (3 * 0.25**2 + 0.75**2) / 16
    assert row["statistic"] == pytest.approx(0.5 / np.sqrt(variance))
    assert row["df"] == pytest.approx(6)  # 3 + 3, equal variances


def test_a_person_who_answers_for_both_networks_does_not_make_them_differ():
    table = responses(1, ("a", "b"), n_people=12)
    apart = answer_tests.network_tests(answer_tests.answers_of(table, {})).iloc[0]
    good = table["participant"].str[-1].isin(["1", "3"])  # right in both networks
    table = table.assign(correct=table["correct"] | good, participant=table["participant"].str[2:])
    together = answer_tests.network_tests(answer_tests.answers_of(table, {})).iloc[0]
    alone = table.assign(participant=table["model"] + table["participant"])
    parted = answer_tests.network_tests(answer_tests.answers_of(alone, {})).iloc[0]
    assert abs(together["statistic"]) > abs(parted["statistic"])
    assert together["difference"] == parted["difference"] != apart["difference"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[~((rows["model"] == "b") & (rows["layer"] > "layer2"))], "too few clusters"),
        (lambda rows: rows[~((rows["model"] == "b") & (rows["participant"] > "b 2"))], "too few people"),
        (lambda rows: rows.assign(participant=rows["participant"].where(rows["model"] != "b", "")), "no person ids"),
        (lambda rows: rows.assign(participant=rows["participant"].where(rows["model"] != "b")), "no person ids"),
    ],
)
def test_a_pair_without_a_test_says_why(change, reason):
    found = answer_tests.network_tests(answer_tests.answers_of(change(responses()), {})).set_index(["first", "second"])
    without = found.drop(index=("a", "c"))
    assert without["reason"].tolist() == [reason] * 2
    assert without["stars"].tolist() == ["", ""]
    assert without[["statistic", "df", "p", "p_holm"]].isna().all().all()
    assert without["difference"].notna().all()
    kept = found.loc[("a", "c")]
    assert kept["p_holm"] == kept["p"], "adjusted for the pairs that are tested"


def test_answers_that_are_all_alike_cannot_be_compared():
    found = answer_tests.network_tests(answer_tests.answers_of(responses().assign(correct=True), {}))
    assert set(found["reason"]) == {"all values alike"}
    assert answer_tests.network_tests(answer_tests.answers_of(responses().head(0), {})).empty


def test_layers_of_one_name_in_two_networks_are_two_clusters():
    answers = answer_tests.answers_of(responses(), {})
    assert len(np.unique(answers.layer)) == 18
    shared = answer_tests.answers_of(responses(shared=8), {})
    assert len(np.unique(shared.person)) == 8


# --------------------------------------------------------------------------- blocks


def type_means(values, kinds="xyz"):
    rows = [
        (f"net{i}", kind, value)
        for i, row in enumerate(values)
        for kind, value in zip(kinds, row, strict=True)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=["model", "layer_type", "mis"])


def test_networks_as_blocks_are_the_paired_t_of_scipy():
    values = np.random.default_rng(0).random((6, 3))
    values[:, 1] += 0.6
    found = block_tests.layer_type_tests(type_means(values.tolist()), "mis", {})
    assert list(found.columns) == block_tests.COLUMNS
    for row, (i, j) in zip(found.itertuples(), ((0, 1), (0, 2), (1, 2)), strict=True):
        expected = stats.ttest_rel(values[:, i], values[:, j])
        assert (row.statistic, row.p, row.df) == pytest.approx((expected.statistic, expected.pvalue, 5))
    assert found["p_holm"].tolist() == pytest.approx(multipletests(found["p"], method="holm")[1].tolist())
    assert found["stars"].tolist() == [pairs.stars(p) for p in found["p_holm"]]


def test_families_are_blocks_and_networks_without_one_stand_alone():
    values = [[1, 0], [3, 0], [5, 1], [2, 1], [4, 2]]
    families = {"net0": "f", "net1": "f", "net2": ""}
    row = block_tests.layer_type_tests(type_means(values, "xy"), "mis", families).iloc[0]
    # differences 1 and 3 of family f, then 4, 1, 2
    blocks = np.array([2, 4, 1, 2])
    assert (row["n_blocks"], row["n_networks"]) == (4, 5)
    assert row["difference"] == pytest.approx(blocks.mean())
    assert row["statistic"] == pytest.approx(stats.ttest_1samp(blocks, 0).statistic)


def test_a_pair_uses_the_blocks_that_have_both_types():
    values = [[1, 0, None], [2, 0, 5], [4, 1, None], [3, 1, 1], [7, None, 2]]
    found = block_tests.layer_type_tests(type_means(values), "mis", {}).set_index(["first", "second"])
    assert found["n_blocks"].tolist() == [4, 3, 2]
    assert found.loc[("x", "y"), "statistic"] == pytest.approx(stats.ttest_1samp([1, 2, 3, 2], 0).statistic)
    assert found["reason"].tolist() == ["", "too few blocks", "too few blocks"]
    assert found["stars"].tolist()[1:] == ["", ""]
    assert found.loc[("x", "y"), "p_holm"] == found.loc[("x", "y"), "p"]


def test_types_that_never_meet_and_differences_all_alike():
    apart = block_tests.layer_type_tests(type_means([[1, None], [None, 2]], "xy"), "mis", {}).iloc[0]
    assert (apart["n_blocks"], apart["reason"]) == (0, "too few blocks")
    assert np.isnan(apart["difference"])
    alike = block_tests.layer_type_tests(type_means([[1, 0], [2, 1], [3, 2], [4, 3]], "xy"), "mis", {}).iloc[0]
    assert (alike["reason"], alike["stars"]) == ("all values alike", "")
    assert block_tests.layer_type_tests(type_means([[1]], "x"), "mis", {}).empty
