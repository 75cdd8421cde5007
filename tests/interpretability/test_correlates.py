"""Facts of networks and layers against scores."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from interpretability.analysis import correlates


def network_tables(n, seed=0):
    rng = np.random.default_rng(seed)
    models = pd.DataFrame(
        {
            "model": [f"m{i}" for i in range(n)],
            "top1": rng.uniform(60, 90, n),
            "params": 10.0 ** rng.uniform(6, 9, n),
            "input_size": 224,
        }
    )
    layers = pd.DataFrame(
        [(model, "Conv", place / 4, 10 * (place + 1)) for model in models["model"] for place in range(5)],
        columns=["model", "layer_type", "depth", "width"],
    )
    return models, layers


def test_facts_of_networks():
    models, layers = network_tables(3)
    facts = correlates.model_facts(models.assign(params=[1e6, 1e8, 0]), layers)
    assert list(facts.columns) == list(correlates.MODEL_FACTS)
    assert facts["n_layers"].tolist() == [5, 5, 5]
    assert facts["width_median"].tolist() == pytest.approx([np.log10(30)] * 3)
    # a network without parameters has no logarithm of them
    assert facts["params"].tolist()[:2] == [6, 8]
    assert np.isnan(facts["params"].iloc[2])


def test_correlations_over_networks_are_those_of_the_library():
    models, layers = network_tables(12)
    scores = pd.Series(np.random.default_rng(1).random(12), index=models["model"])
    rows = correlates.model_correlations(scores, correlates.model_facts(models, layers), 0.95)
    table = correlates.correlation_table(rows, "b").set_index("x")
    expected = stats.pearsonr(models["top1"], scores)
    ends = expected.confidence_interval(0.95)
    assert table.loc["top1", ["pearson", "low", "high", "p"]].tolist() == pytest.approx(
        [expected.statistic, ends.low, ends.high, expected.pvalue]
    )
    assert table.loc["params", "spearman"] == pytest.approx(stats.spearmanr(models["params"], scores).statistic)
    # a fact that is the same everywhere has no correlation and no test
    assert table.loc[["n_layers", "input_size"], ["pearson", "p", "p_holm"]].isna().all().all()
    tested = table.loc[["top1", "params"]]
    assert tested["p_holm"].tolist() == pytest.approx(multipletests(tested["p"], method="holm")[1].tolist())


def few_networks(n):
    models, layers = network_tables(n)
    models["input_size"] = 32 * np.arange(1, n + 1)
    scores = pd.Series(np.random.default_rng(1).random(n), index=models["model"])
    rows = correlates.model_correlations(scores, correlates.model_facts(models, layers), 0.95)
    layers = layers.assign(mis=np.random.default_rng(0).random(len(layers)))
    return correlates.correlation_table(rows + correlates.layer_correlations(layers, "mis", 0, 100, 0.95), "b")


def test_below_five_networks_a_row_has_its_numbers_of_points_alone():
    numbers = ["pearson", "low", "high", "p", "p_holm", "spearman"]
    four = few_networks(4)
    assert four[numbers].isna().all().all()
    assert four[["n", "n_networks"]].drop_duplicates().to_numpy().tolist() == [[4, 4], [20, 4]]
    five = few_networks(5).set_index(["level", "layer_type", "x"])
    varied = five.drop(index=[("model", "", name) for name in ("n_layers", "width_mean", "width_median")])
    assert varied[numbers].notna().all().all()
    assert varied["n_networks"].eq(5).all()


def test_a_fact_that_four_networks_have_has_no_correlation():
    models, layers = network_tables(9)
    models.loc[4:, "top1"] = np.nan
    scores = pd.Series(np.random.default_rng(1).random(9), index=models["model"])
    rows = correlates.model_correlations(scores, correlates.model_facts(models, layers), 0.95)
    table = correlates.correlation_table(rows, "b").set_index("x")
    assert table.loc["top1", "n"] == 4
    assert np.isnan(table.loc["top1", "pearson"])
    assert np.isfinite(table.loc["params", "p"])


def layer_table(n_networks, slope, seed=0):
    """Six Conv layers and one Linear a network; a network's level and slope vary."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n_networks):
        level, own = rng.normal(0, 1), slope + rng.normal(0, 0.05)
        values = level + own * np.arange(6) / 6 + rng.normal(0, 0.02, 6)
        rows += [(f"m{i}", "Conv", place / 6, 2**place, value) for place, value in enumerate(values)]
        rows.append((f"m{i}", "Linear", 1.0, 1000, level + 5))
    return pd.DataFrame(rows, columns=["model", "layer_type", "depth", "width", "mis"])


def test_layers_are_compared_inside_a_network_and_type():
    table = pd.DataFrame(correlates.layer_correlations(layer_table(10, 0.2), "mis", 0, 400, 0.95))
    # a single Linear layer of a network is compared with nothing, its level enters nowhere
    assert table["layer_type"].tolist() == ["", "", "Conv", "Conv"]
    depth = table[(table["layer_type"] == "") & (table["x"] == "depth")].iloc[0]
    assert (depth["n"], depth["n_networks"]) == (60, 10)
    layers = layer_table(10, 0.2).query("layer_type == 'Conv'")
    centred = layers[["depth", "mis"]] - layers.groupby("model")[["depth", "mis"]].transform("mean")
    assert depth["pearson"] == pytest.approx(centred.corr().iloc[0, 1])
    assert depth["low"] < depth["pearson"] < depth["high"]
    assert depth["p"] < 1e-4


def test_interval_over_networks_covers_no_effect_about_as_often_as_it_says():
    covered = []
    for seed in range(100):
        rows = pd.DataFrame(correlates.layer_correlations(layer_table(8, 0.0, seed), "mis", seed, 200, 0.9))
        row = rows.query("layer_type == '' and x == 'depth'").iloc[0]
        covered.append(row["low"] <= 0 <= row["high"])
    assert 80 <= sum(covered) <= 98  # 90 with standard deviation 3


def test_no_layers_give_rows_without_values():
    rows = correlates.layer_correlations(layer_table(3, 0.1).iloc[:0], "mis", 0, 100, 0.95)
    table = correlates.correlation_table(rows, "b")
    assert list(table.columns) == correlates.COLUMNS
    assert table["pearson"].isna().all()
