"""Units against directions of the same layers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interpretability.analysis import bases
from interpretability.randomness import generator
from interpretability.statistics import FEWEST, FEWEST_SCORES


def scores(layers, condition="one_sided"):
    """One row a score, layers in the order given."""
    parts = [
        pd.DataFrame({"layer": name, "layer_index": place, "depth": place / 10, "condition": condition, "mis": values})
        for place, (name, values) in enumerate(layers.items())
    ]
    return pd.concat(parts, ignore_index=True)


def compared(directions, units, clusters=None, kinds=None):
    return bases.compare_bases(
        directions,
        units,
        model="net-rotation",
        base="net",
        backend="oracle",
        kinds=kinds or {},
        clusters=clusters or {},
        confidence=0.95,
    )


def draws(n_layers, shift=0.0, n=20, key="draws"):
    draw = generator(0, key)
    names = [f"l{number}" for number in range(n_layers)]
    units = {name: draw.normal(0.7, 0.05, n) for name in names}
    return {name: draw.normal(0.7 + shift, 0.05, n + 5) for name in names}, units


def test_a_layer_is_compared_by_welch():
    directions, units = draws(1)
    row = compared(scores(directions), scores(units)).iloc[0]
    expected = stats.ttest_ind(directions["l0"], units["l0"], equal_var=False)
    ends = expected.confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high))
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["difference"] == pytest.approx(row["mis_directions"] - row["mis_units"])
    assert (row["n_directions"], row["n_units"], row["n_clusters"]) == (25, 20, 1)


def test_over_layers_each_cluster_counts_once():
    directions, units = draws(6)
    clusters = {("net", "l1"): "l0", ("net", "l3"): "l2"}
    table = compared(scores(directions), scores(units), clusters)
    by_layer, row = table.iloc[:-1], table.iloc[-1]
    d = by_layer["difference"].to_numpy()
    of_clusters = np.array([d[:2].mean(), d[2:4].mean(), d[4], d[5]])
    test = stats.ttest_1samp(of_clusters, 0)
    ends = test.confidence_interval(0.95)
    assert row["layer"] == ""
    assert (
        row["difference"]
        == pytest.approx(of_clusters.mean())
        == pytest.approx(row["mis_directions"] - row["mis_units"])
    )
    assert (row["low"], row["high"], row["p"]) == pytest.approx((ends.low, ends.high, test.pvalue))
    assert (row["n_clusters"], row["n_directions"], row["n_units"]) == (4, 150, 120)
    # clusters of another network are not those of the base
    assert compared(scores(directions), scores(units), {("other", "l1"): "l0"}).iloc[-1]["n_clusters"] == 6


def test_a_sign_needs_its_interval_and_holm():
    directions, units = draws(8, n=200)
    shifted = directions | {"l2": directions["l2"] + 0.1, "l5": directions["l5"] - 0.1}
    table = compared(scores(shifted), scores(units)).set_index("layer")
    assert table["sign"].drop(["l2", "l5"]).eq("").all()
    assert (table.loc["l2", "sign"], table.loc["l5", "sign"]) == (bases.ABOVE, bases.BELOW)
    # an interval that leaves out zero is not enough: here it would be claimed alone, and is not among many layers
    first, second = units["l0"], units["l0"] + 0.0108
    alone = compared(scores({"l0": second}), scores({"l0": first})).iloc[0]
    many = compared(scores(directions | {"l0": second}), scores(units)).iloc[0]
    assert alone["low"] > 0
    assert many["low"] > 0
    assert (alone["sign"], many["sign"]) == (bases.ABOVE, "")
    assert many["p"] < 0.05 <= many["p_holm"]


def test_layers_pooled_otherwise_stand_beside_the_same_units():
    directions, units = draws(4)
    kinds = {"l0@max": ("code", "max"), "l1": ("code", "mean"), "l2": ("rotation", "mean"), "l3": ("code", "mean")}
    renamed = {f"{name}@max" if name == "l0" else name: values for name, values in directions.items()}
    table = compared(scores(renamed), scores(units), kinds=kinds)
    assert table["layer"].tolist() == ["l0@max", "l1", "l2", "l3", ""]
    assert table.loc[0, ["n_units", "kind", "pooling"]].tolist() == [20, "code", "max"]
    assert table.loc[4, ["kind", "pooling"]].tolist() == ["code rotation", "max mean"]
    # read twice, its units are counted once and its cluster, too
    twice = compared(scores({"l0": directions["l0"], "l0@max": directions["l1"]}), scores(units)).iloc[-1]
    assert (twice["n_units"], twice["n_directions"], twice["n_clusters"]) == (20, 50, 1)


def test_a_layer_without_units_has_a_row_and_is_in_no_mean():
    directions, units = draws(5)
    kept = {name: values for name, values in units.items() if name != "l3"}
    table = compared(scores(directions), scores(kept)).set_index("layer")
    assert table.loc["l3", "n_units"] == 0
    assert table.loc["l3", ["mis_units", "difference", "low", "p"]].isna().all()
    assert table.loc["", "n_clusters"] == 4
    assert table.loc["", "difference"] == pytest.approx(table["difference"].drop("").mean())


def test_conditions_are_compared_apart():
    directions, units = draws(4)
    both = pd.concat([scores(directions), scores({k: v + 0.1 for k, v in directions.items()}, "natural")])
    table = compared(both, pd.concat([scores(units), scores(units, "natural")])).set_index(["condition", "layer"])
    change = table.loc["natural", "difference"] - table.loc["one_sided", "difference"]
    assert change.to_numpy() == pytest.approx(np.full(5, 0.1))
    assert table.loc[("one_sided", ""), ["low", "high"]].notna().all()
    assert table.loc[("natural", ""), ["low", "high", "p"]].isna().all(), "over layers it would be too sure"
    assert table.loc["natural", "low"].notna().sum() == 4, "single layers have theirs"


def test_too_few_scores_or_clusters_have_no_interval():
    few = {"l0": np.linspace(0.5, 0.6, FEWEST_SCORES - 1)}
    enough = {"l0": np.linspace(0.5, 0.6, FEWEST_SCORES)}
    assert compared(scores(few), scores(enough)).iloc[0][["low", "high", "p", "p_holm"]].isna().all()
    assert np.isfinite(compared(scores(enough), scores(enough)).iloc[0]["low"])
    alike = {"l0": np.full(9, 0.5)}
    row = compared(scores(alike), scores(alike)).iloc[0]
    assert (row["difference"], row["sign"]) == (0, "")
    assert np.isnan(row["low"])
    directions, units = draws(FEWEST - 1)
    assert np.isnan(compared(scores(directions), scores(units)).iloc[-1]["low"])


def test_nothing_to_compare_is_a_table_without_rows():
    directions, units = draws(2)
    table = compared(scores(directions).head(0), scores(units))
    assert table.empty
    assert table.columns.tolist() == bases.COLUMNS
