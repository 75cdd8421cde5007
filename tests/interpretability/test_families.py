"""Differences of layer types when networks come in families."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from interpretability.analysis import families
from interpretability.randomness import generator


def means(values, condition="natural"):
    """values: network -> (mean of Conv, mean of Linear), None where the network has none."""
    rows = [
        (model, condition, kind, value)
        for model, pair in values.items()
        for kind, value in zip(("Conv", "Linear"), pair, strict=True)
        if value is not None
    ]
    return pd.DataFrame(rows, columns=["model", "condition", "layer_type", "mis"])


def found(table, of, n_bootstrap=4000):
    return families.family_bootstrap(table, "mis", of, "b", "natural", 0, n_bootstrap, 0.95).iloc[0]


def test_weights_draw_families_then_their_networks():
    family = np.array([0, 0, 0, 1, 2, 2])
    weights = families.draw_weights(family, 20_000, generator(0, "weights"))
    times = np.stack([weights[:, family == code].sum(axis=1) for code in range(3)], axis=1)
    # a family comes whole times, with all its networks each time
    assert (times % [3, 1, 2] == 0).all()
    assert ((times // [3, 1, 2]).sum(axis=1) == 3).all()
    # each network once on average; a lone one has the variance of its family, 3 (1/3) (2/3)
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.05)
    assert weights[:, 3].var() == pytest.approx(2 / 3, abs=0.03)


def test_without_families_it_is_the_paired_t_interval():
    rng = np.random.default_rng(0)
    pairs = {f"m{i}": tuple(0.7 + rng.normal(0, 0.1, 2)) for i in range(12)}
    row = found(means(pairs), {})
    change = np.array([a - b for a, b in pairs.values()])
    expected = stats.ttest_1samp(change, 0)
    ends = expected.confidence_interval(0.95)
    assert (row["n_first"], row["n_second"], row["n_families"]) == (12, 12, 12)
    assert row["difference"] == pytest.approx(change.mean())
    assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high), abs=0.004)
    assert row["p"] == pytest.approx(expected.pvalue, rel=0.1)


def test_copies_of_a_network_in_one_family_add_no_certainty():
    rng = np.random.default_rng(1)
    pairs = {f"m{i}": tuple(0.7 + rng.normal(0, 0.1, 2)) for i in range(8)}
    copies = {f"{model}-{copy}": pair for model, pair in pairs.items() for copy in range(5)}
    alone = found(means(pairs), {})
    family = found(means(copies), {name: name.split("-")[0] for name in copies})
    assert family["n_families"] == 8
    assert family["difference"] == pytest.approx(alone["difference"])
    assert family["high"] - family["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.05)
    # taken as 40 networks the interval is far too narrow
    apart = found(means(copies), {})
    assert apart["high"] - apart["low"] < 0.5 * (alone["high"] - alone["low"])


def test_p_is_adjusted_over_all_pairs_of_types():
    rng = np.random.default_rng(2)
    rows = [
        (f"m{i}", kind, rng.normal(shift, 0.1)) for i in range(6) for kind, shift in (("A", 0), ("B", 0.1), ("C", 0.3))
    ]
    table = pd.DataFrame(rows, columns=["model", "layer_type", "mis"]).assign(condition="natural")
    pairs = families.family_bootstrap(table, "mis", {}, "b", "natural", 0, 200, 0.95)
    assert pairs["p_holm"].tolist() == pytest.approx(multipletests(pairs["p"], method="holm")[1].tolist())
    assert (pairs["p_holm"] > pairs["p"]).any()


def test_too_few_families_give_a_point_alone():
    pairs = {f"m{i}": (0.8 + i / 100, 0.7 if i < 3 else None) for i in range(6)}
    row = found(means(pairs), {})
    assert row["difference"] == pytest.approx(0.825 - 0.7)
    assert (row["n_first"], row["n_second"]) == (6, 3)
    assert np.isnan(row[["low", "high", "p"]].astype(float)).all()


def test_other_conditions_and_no_networks_give_an_empty_table():
    for table in (means({"a": (0.5, 0.6)}, "hard95"), means({})):
        empty = families.family_bootstrap(table, "mis", {}, "b", "natural", 0, 100, 0.95)
        assert list(empty.columns) == families.COLUMNS
        assert len(empty) == 0
