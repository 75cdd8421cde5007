"""Bases of features in superposition, on few units made by hand; benchmarks/superposition.py scores those of five seeds."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import superposition
from interpretability.synthetic.planted_units import ControlLayer, chance


def units(seed, scores, active, layer="a"):
    columns = {"one_sided": scores, "natural": scores, "active": active}
    return pd.DataFrame(columns).assign(similarity="oracle", layer=layer, seed=seed)


def test_latents_that_are_too_sparse_are_counted_and_reported_apart():
    table = superposition.summary(
        pd.concat(
            [
                units(0, [0.8, 0.6, 0.5, 0.5], [300, 200, 199, 0]),
                units(1, [0.9, 0.7, 0.6, 0.8], [300, 200, 1, 200]),
                units(0, [0.6, 0.6], [500, 500], "b"),
                units(1, [0.6, 0.6], [500, 500], "b"),
            ]
        )
    ).set_index("layer")
    first = table.loc["a"]
    assert first["one_sided"] == pytest.approx((0.6 + 0.75) / 2)
    assert first["one_sided_sd"] == pytest.approx(0.15 / np.sqrt(2))
    assert first["one_sided_enough"] == pytest.approx((0.7 + 0.8) / 2)
    assert first["one_sided_too_sparse"] == pytest.approx((0.5 + 0.6) / 2)
    assert first["n_sparse"] == 1.5
    assert first["n_dead"] == 0.5
    errors = [np.std(scores, ddof=1) / 2 for scores in ([0.8, 0.6, 0.5, 0.5], [0.9, 0.7, 0.6, 0.8])]
    assert first["se"] == pytest.approx(np.mean(errors))
    assert table.loc["b", "n_sparse"] == 0
    assert np.isnan(table.loc["b", "one_sided_too_sparse"])


def test_each_similarity_scores_every_layer_in_both_ways(monkeypatch):
    factors, known = superposition.generated(2000)
    hashes = chance(len(factors), 0)[0]
    shown = (factors["texture"] == "bricks").to_numpy(np.float32)[:, None] * (1 + hashes.values[:, :20] ** 2)
    monkeypatch.setattr(superposition, "superposed", lambda *_: [ControlLayer("shown", ("",) * 20, shown), hashes])
    blind = np.random.default_rng(0).standard_normal((len(factors), 16))
    units = superposition.of_seed(factors, {**known, "blind": blind}, 1)
    level = units.groupby(["similarity", "layer"])[["one_sided", "natural"]].mean()
    assert (units["active"] == 0).sum() == 0
    assert len(units) == 2 * (20 + 200)
    assert (level.loc[("oracle", "shown")] > 0.6).all()
    # means of 200 units with a spread of .1; those of 20 share their pictures and are less sure
    assert np.allclose(level.loc[[("oracle", "hash"), ("blind", "hash")]], 0.5, atol=0.03)
    assert np.allclose(level.loc[("blind", "shown")], 0.5, atol=0.1)
    assert not np.array_equal(units["one_sided"], units["natural"])
