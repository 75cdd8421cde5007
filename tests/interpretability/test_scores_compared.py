"""Scores beside each other and beside people: tables made by hand, whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.analysis import scores_compared as compared


def units(n_layers=6, n=20, seed=0):
    """Units of two networks: `mis` says what people do within layers, `rho` between layers alone, `firing` nothing."""
    rng = np.random.default_rng(seed)
    layer = np.repeat(np.arange(n_layers), n)
    level, own = rng.normal(size=n_layers)[layer], rng.normal(size=len(layer))
    table = pd.DataFrame(
        {
            "model": np.where(layer % 2 == 0, "net", "other"),
            "layer": [f"layer{number}" for number in layer],
            "unit": np.tile(np.arange(n), n_layers),
            "his": level + own,
            "mis": own + 0.3 * rng.normal(size=len(layer)),
            "rho": level + 0.3 * rng.normal(size=len(layer)),
            "firing": rng.normal(size=len(layer)),
        }
    )
    return table.sample(frac=1, random_state=seed)


def row(table, **wanted):
    found = table[np.logical_and.reduce([table[name] == value for name, value in wanted.items()])]
    assert len(found) == 1
    return found.iloc[0]


def test_agreement_with_people_over_units_and_within_layers():
    table = units()
    found = compared.with_people(table, "oracle", 0, 400, 0.95)
    assert list(found.columns) == compared.COLUMNS
    whole = row(found, level="unit", coefficient="pearson", first="rho")
    assert whole["value"] == pytest.approx(np.corrcoef(table["rho"], table["his"])[0, 1])
    assert (whole["n"], whole["n_groups"]) == (120, 2)
    centred = table[["rho", "his", "mis"]] - table.groupby(["model", "layer"])[["rho", "his", "mis"]].transform("mean")
    within = row(found, level="layer", coefficient="spearman", first="rho")
    assert within["value"] == pytest.approx(stats.spearmanr(centred["rho"], centred["his"])[0])
    assert within["low"] < 0 < within["high"], "it knows layers alone"
    assert within["n_groups"] == 6
    mis = row(found, level="layer", coefficient="pearson", first="mis")
    assert mis["low"] > 0.8
    assert np.isnan(mis[["difference", "difference_low", "p", "p_holm"]].astype(float)).all()
    rho = row(found, level="layer", coefficient="pearson", first="rho")
    assert rho["difference"] == pytest.approx(rho["value"] - mis["value"])
    assert rho["difference_high"] < 0
    assert rho["p"] < 1e-6


def test_a_score_that_equals_mis_differs_by_nothing_and_order_of_rows_changes_nothing():
    table = units().assign(index=lambda rows: rows["mis"])
    found = compared.with_people(table, "oracle", 0, 200, 0.95)
    same = row(found, level="unit", coefficient="pearson", first="index")
    assert same[["difference", "difference_low", "difference_high"]].astype(float).abs().max() < 1e-12
    assert np.isnan(same["p"])
    other = compared.with_people(table.sample(frac=1, random_state=3), "oracle", 0, 200, 0.95)
    pd.testing.assert_frame_equal(found, other)


def test_scores_are_compared_with_mis_over_the_units_that_have_both():
    table = units().assign(ms=lambda rows: np.where(rows["model"] == "net", rows["firing"], np.nan))
    found = compared.with_people(table, "oracle", 0, 100, 0.95)
    part = table[table["model"] == "net"]
    ms = row(found, level="unit", coefficient="pearson", first="ms")
    assert ms["n"] == len(part)
    both = [np.corrcoef(part[name], part["his"])[0, 1] for name in ("ms", "mis")]
    assert ms["difference"] == pytest.approx(both[0] - both[1])
    assert row(found, level="unit", coefficient="pearson", first="mis")["n"] == len(table)


def test_too_few_units_have_no_agreement():
    found = compared.with_people(units(n_layers=4, n=1), "oracle", 0, 50, 0.95)
    layer = found[found["level"] == "layer"]
    assert len(layer)
    assert layer[["value", "low", "difference"]].isna().all(axis=None)


def test_intervals_within_layers_hold_the_truth():
    """Layers of four units, as people answer about: coverage of the difference of two correlations in 200 studies."""
    rng, covered = np.random.default_rng(1), []
    mix = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.5, 0.2, np.sqrt(0.71)]])
    truth = mix[0] @ mix[2] - mix[0] @ mix[1]  # all three have variance 1
    layer = np.repeat(np.arange(30), 4)
    for seed in range(200):
        drawn = rng.normal(size=(120, 3)) @ mix.T + rng.normal(size=(30, 3))[layer]
        table = pd.DataFrame(drawn, columns=["his", "mis", "rho"])
        table = table.assign(model="net", layer=layer.astype(str), unit=np.arange(120))
        found = compared.with_people(table, "oracle", seed, 100, 0.95)
        rho = row(found, level="layer", coefficient="pearson", first="rho")
        covered.append(rho["difference_low"] <= truth <= rho["difference_high"])
    assert 0.90 <= np.mean(covered) <= 0.995  # three standard errors around .95


def test_scores_with_each_other():
    table = units()
    found = compared.with_each_other(table, "oracle", {}, 0.95)
    assert list(found.columns) == compared.COLUMNS
    assert (found["part"] == "scores").all()
    whole = row(found, level="unit", first="mis", second="rho")
    assert whole["value"] == pytest.approx(stats.spearmanr(table["mis"], table["rho"])[0])
    assert (whole["n"], whole["n_groups"]) == (120, 2)
    within = row(found, level="layer", first="mis", second="rho")
    layers = [stats.spearmanr(part["mis"], part["rho"])[0] for _, part in table.groupby(["model", "layer"])]
    assert within["value"] == pytest.approx(np.mean(layers))
    assert within["n_groups"] == 6
    assert len(found) == 2 * 3


def test_intervals_within_layers_are_over_clusters_of_layers():
    table = units()
    layers = [stats.spearmanr(part["mis"], part["rho"])[0] for _, part in table.groupby(["model", "layer"])]
    found = row(compared.with_each_other(table, "oracle", {}, 0.95), level="layer", first="mis", second="rho")
    wanted = stats.t.interval(0.95, 5, np.mean(layers), stats.sem(layers))
    assert found[["low", "high"]].tolist() == pytest.approx(list(wanted))
    # each layer behind itself once more, as a norm repeats its convolution: no layers of their own, so nothing is surer
    again = pd.concat([table, table.assign(layer=table["layer"] + ".norm")])
    owners = table[["model", "layer"]].drop_duplicates().itertuples(index=False)
    repeats = {(model, f"{layer}.norm"): layer for model, layer in owners}
    twice = row(compared.with_each_other(again, "oracle", repeats, 0.95), level="layer", first="mis", second="rho")
    assert twice["n_groups"] == 12
    assert twice[["value", "low", "high"]].tolist() == pytest.approx(found[["value", "low", "high"]].tolist())
    naive = row(compared.with_each_other(again, "oracle", {}, 0.95), level="layer", first="mis", second="rho")
    assert naive["high"] - naive["low"] < 0.8 * (found["high"] - found["low"])


def test_few_layers_have_no_interval_and_none_leaves_the_scale():
    few = row(compared.with_each_other(units(n_layers=3), "oracle", {}, 0.95), level="layer", first="mis", second="rho")
    assert np.isfinite(few["value"])
    assert np.isnan(few[["low", "high"]].astype(float)).all()
    table = units().assign(accuracy=lambda rows: rows["mis"] + 0.1 * rows["firing"])
    near = row(compared.with_each_other(table, "oracle", {}, 0.9999), level="layer", first="mis", second="accuracy")
    assert near["high"] == 1.0
    whole = compared.with_each_other(table, "oracle", {}, 0.95)
    assert whole.loc[whole["level"] == "unit", ["low", "high"]].isna().all(axis=None)


def test_layers_in_which_a_score_is_constant_or_missing_are_no_layers():
    table = units().sort_values(["layer", "unit"], ignore_index=True)
    table.loc[table["layer"] == "layer0", "firing"] = 1.0
    table.loc[table["layer"] == "layer1", "firing"] = np.nan
    found = row(compared.with_each_other(table, "oracle", {}, 0.95), level="layer", first="mis", second="firing")
    assert (found["n"], found["n_groups"]) == (80, 4)


def test_means_of_networks_and_layers():
    table = units().assign(backend="oracle").reindex(columns=["backend", "model", "layer", *compared.MEANS])
    table["rho"] = np.arange(120.0)
    table.loc[table["rho"] == 7, "rho"] = np.nan
    found = compared.label_free_means(table)
    assert list(found.columns) == compared.MEAN_COLUMNS
    for model, part in table.groupby("model"):
        whole = row(found, model=model, layer="")
        assert whole["rho_mean"] == pytest.approx(part["rho"].mean())
        assert whole["rho_se"] == pytest.approx(part["rho"].std(ddof=1) / np.sqrt(part["rho"].notna().sum()))
        assert whole["n_units"] == 60
    assert len(found) == 2 + 6
    assert list(compared.label_free_means(table.head(0)).columns) == compared.MEAN_COLUMNS
