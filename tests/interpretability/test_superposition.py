"""Features in superposition: the planted truth, the codes that look for it, and the order that their scores must have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import nnls

from interpretability import score_units
from interpretability.analysis.superposed import superposed_summary
from interpretability.directions.encoding import encode
from interpretability.errors import InputError
from interpretability.schema import NATURAL, ONE_SIDED
from interpretability.synthetic import superposition
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors, label_factors
from interpretability.synthetic.sparse_autoencoder import train_autoencoder
from interpretability.synthetic.sparse_inference import infer_features
from interpretability.synthetic.superposition import LAYERS, SPARSE, superposed

NEEDED = 200  # images a side of the tasks, 20 * (9 + 1)
MIXTURE, ROTATION, READOUT, TRAINED, INFERENCE, FEATURES = LAYERS


@pytest.fixture(scope="module")
def factors() -> pd.DataFrame:
    return draw_factors(4000, seed=0, stream="images", n_categories=24)


@pytest.fixture(scope="module")
def truth(factors):
    return superposition.superposition(factors, seed=0)


@pytest.fixture(scope="module")
def layers(factors):
    return {layer.layer: layer for layer in superposed(factors, seed=0)}


@pytest.fixture(scope="module")
def scores(factors, layers):
    """One-sided and raw scores of every unit of every layer."""
    embeddings = factor_vectors(factors)
    found = {}
    for name, layer in layers.items():
        for kind in (ONE_SIDED, NATURAL):
            table = score_units(layer.values, embeddings, layer=name, one_sided=kind == ONE_SIDED)
            found[name, kind] = table["mis"].to_numpy()
    return found


def mean(values):
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_features_are_conjunctions_of_two_factors_of_the_wanted_frequency(truth, factors):
    assert truth.features.shape == (4000, 96)
    counts = (truth.features > 0).sum(axis=0)
    assert 215 <= counts.min() <= counts.max() <= 420
    assert len(set(truth.labels)) == 96
    assert all(len(label_factors(label)) == 2 for label in truth.labels)
    active = truth.features[truth.features > 0]
    assert 0.5 <= active.min() < 0.51
    assert 1.49 < active.max() <= 1.5
    assert np.allclose(np.linalg.norm(truth.dictionary, axis=1), 1)
    label = truth.labels[0]
    present = np.ones(len(factors), dtype=bool)
    for part in label.split("|"):
        name, cell = part.rsplit(":", 1)
        factor = next(each for each in superposition.FACTORS if each.name == name.partition(":")[0])
        column = name.replace(":", "_")
        if factor.kind == "categorical":
            cells = pd.Index(factor.levels).get_indexer(factors[column]) // (len(factor.levels) // 4)
        else:
            cells = np.floor(factor.scaled(factors[column].to_numpy()) * 4).clip(max=3)
        present &= cells == int(cell)
    assert np.array_equal(truth.features[:, 0] > 0, present)


def test_the_draws_of_an_image_do_not_depend_on_the_others(factors, truth):
    """Amplitudes are keyed by feature and image: a feature that both studies have is the same in the images of both."""
    fewer = superposition.superposition(factors[:3000], seed=0)
    shared = set(fewer.labels) & set(truth.labels)
    assert len(shared) > 20
    for label in shared:
        assert np.array_equal(
            fewer.features[:, fewer.labels.index(label)], truth.features[:3000, truth.labels.index(label)]
        )
    other = superposition.superposition(factors, seed=1)
    assert set(other.labels) != set(truth.labels)


def test_too_few_conjunctions_are_told(factors):
    with pytest.raises(
        InputError, match=r"conjunctions of two factors that 5\.4% to 10\.5% of its 4000 scenes show; 2000"
    ):
        superposition.superposition(factors, seed=0, n_features=2000)


def test_the_same_seed_gives_the_same_bytes(factors, layers):
    again = superposed(factors, seed=0)
    assert [layer.layer for layer in again] == list(LAYERS)
    for layer in again:
        assert layer.values.tobytes() == layers[layer.layer].values.tobytes()
        assert layer.labels == layers[layer.layer].labels
        assert layer.values.dtype == np.float32


def test_rotation_is_the_mixture_turned(layers):
    turned, units = (layers[name].values.astype(np.float64) for name in (ROTATION, MIXTURE))
    assert np.allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(units, axis=1), rtol=1e-5, atol=1e-5)
    assert np.allclose(turned @ turned.T, units @ units.T, atol=1e-4)


def test_sparse_layers_are_silent_for_most_images(layers):
    for name in SPARSE:
        assert layers[name].values.min() == 0
        assert (layers[name].values > 0).mean() < 0.5
    assert {name for name in LAYERS if layers[name].values.min() < 0} == {MIXTURE, ROTATION}


def test_one_sided_scores_have_the_known_order(scores):
    """Mixtures and their rotation alike, a trained code above them, sparse inference at the features themselves."""
    means, errors = zip(*(mean(scores[name, ONE_SIDED]) for name in LAYERS), strict=True)
    level, error = dict(zip(LAYERS, means, strict=True)), dict(zip(LAYERS, errors, strict=True))
    for name, known in ((MIXTURE, 0.58), (TRAINED, 0.68), (INFERENCE, 0.73)):
        assert level[name] == pytest.approx(known, abs=0.02)
    assert abs(level[ROTATION] - level[MIXTURE]) <= 3 * np.hypot(error[ROTATION], error[MIXTURE])
    assert abs(level[INFERENCE] - level[FEATURES]) <= 3 * np.hypot(error[INFERENCE], error[FEATURES])
    assert level[TRAINED] - level[MIXTURE] >= 0.06
    assert level[INFERENCE] - level[TRAINED] >= 0.03
    assert level[MIXTURE] < level[READOUT] < level[INFERENCE]


def test_the_usual_score_turns_the_order_round(scores):
    """Signed units have an informative negative side, which latents do not have: mixture above trained."""
    assert scores[MIXTURE, NATURAL].mean() == pytest.approx(0.70, abs=0.02)
    assert scores[MIXTURE, NATURAL].mean() > scores[TRAINED, NATURAL].mean()


def test_few_trained_latents_are_dead_or_too_sparse(layers, scores):
    fires = (layers[TRAINED].values > 0).sum(axis=0)
    assert (fires == 0).sum() <= 5
    assert (fires < NEEDED).sum() <= 20
    apart = scores[TRAINED, ONE_SIDED]
    assert apart[fires >= NEEDED].mean() > apart[fires < NEEDED].mean() + 0.1


def test_latents_name_the_true_feature_that_is_nearest(layers):
    cosines = [float(label.partition("/")[0]) for label in layers[TRAINED].labels]
    assert np.median(cosines) > 0.9
    assert all(len(label_factors(label)) == 2 for label in layers[TRAINED].labels)


# --------------------------------------------------------------------------- inference


def test_inference_is_the_minimum(truth):
    """The conditions of Karush, Kuhn and Tucker, on rows with enough steps."""
    units, dictionary, penalty = truth.units[:200], truth.dictionary, 0.1
    found = infer_features(units, dictionary, penalty=penalty, steps=5000)
    gradient = (found @ dictionary - units) @ dictionary.T + penalty
    assert found.min() >= 0
    assert np.abs(gradient[found > 1e-9]).max() < 1e-6
    assert gradient[found <= 1e-9].min() > -1e-6


def test_inference_without_penalty_is_least_squares_of_numbers_above_zero():
    draw = np.random.default_rng(3)
    dictionary, values = draw.standard_normal((5, 8)), draw.standard_normal((6, 8))
    wanted = np.stack([nnls(dictionary.T, row)[0] for row in values])
    assert np.allclose(infer_features(values, dictionary, penalty=0.0, steps=20_000), wanted, atol=1e-6)


def test_inference_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="values has 2 dimensions and dictionary has 3; they must be the same"):
        infer_features(np.ones((1, 2)), np.ones((4, 3)))


# --------------------------------------------------------------------------- autoencoder


def test_an_autoencoder_finds_features_at_right_angles():
    """Four features that are never mixed up: the code has one latent for each, and rebuilds the rows."""
    draw = np.random.default_rng(0)
    active = np.eye(4)[draw.integers(4, size=600)] * draw.uniform(0.5, 1.5, (600, 1))
    directions = np.linalg.qr(draw.standard_normal((6, 6)))[0][:4]
    code = train_autoencoder(active @ directions, 4, 1, steps=600, batch_size=100, seed=1)
    assert code.decoder is not None
    assert torch.allclose(code.decoder.norm(dim=1), torch.ones(4), atol=1e-5)
    values = torch.from_numpy((active @ directions).astype(np.float32))
    rebuilt = encode(code, values) @ code.decoder + code.pre_bias
    assert (rebuilt - values).square().sum() < 0.1 * (values - values.mean(dim=0)).square().sum()
    assert ((encode(code, values) > 0).sum(dim=1) <= 1).all()


def test_an_autoencoder_depends_on_seed_and_name_alone():
    values = np.random.default_rng(0).standard_normal((300, 5))
    one, same = (train_autoencoder(values, 7, 2, steps=30, batch_size=64, seed=2, name="a") for _ in range(2))
    other = train_autoencoder(values, 7, 2, steps=30, batch_size=64, seed=2, name="b")
    assert torch.equal(one.encoder, same.encoder)
    assert torch.equal(one.decoder, same.decoder)
    assert not torch.equal(one.encoder, other.encoder)


def test_an_autoencoder_refuses_more_active_latents_than_it_has():
    with pytest.raises(InputError, match="k is 5, more than n_latents = 4 latents"):
        train_autoencoder(np.ones((10, 3)), 4, 5)


# --------------------------------------------------------------------------- judgement


def table_of(scores, condition, shift=None):
    rows = []
    for name in LAYERS:
        values = scores[name, condition] + (shift or {}).get(name, 0.0)
        rows.append(pd.DataFrame({"layer": name, "condition": condition, "backend": "oracle", "mis": values}))
    return superposed_summary(pd.concat(rows, ignore_index=True), 0.95).set_index("control")


def test_sound_scores_pass(scores):
    table = table_of(scores, ONE_SIDED)
    assert table.index.tolist() == list(LAYERS)
    assert table.loc[[ROTATION, TRAINED, INFERENCE, FEATURES], "passed"].tolist() == [1, 1, 1, 1]
    assert table.loc[[MIXTURE, READOUT], "passed"].isna().all()
    assert table.loc[TRAINED, "expectation"].startswith("above 0.5")


def test_wrong_orders_are_missed(scores):
    table = table_of(scores, ONE_SIDED, {ROTATION: 0.06, TRAINED: -0.1, INFERENCE: -0.06})
    assert table.loc[[ROTATION, TRAINED, INFERENCE], "passed"].tolist() == [0, 0, 0]
    assert table.loc[[ROTATION, TRAINED, INFERENCE], "missed"].tolist() == ["mean"] * 3


def test_natural_tasks_and_blind_similarities_have_no_order(scores):
    assert table_of(scores, NATURAL)["passed"].isna().all()
    blind = {name: 0.5 - scores[name, ONE_SIDED].mean() for name in LAYERS}
    table = table_of(scores, ONE_SIDED, blind)
    assert table["passed"].isna().all()
    assert set(table["expectation"]) == {"none: the backend does not see the features"}


def test_without_such_a_control_there_is_no_row():
    units = pd.DataFrame({"layer": ["factor"], "condition": NATURAL, "backend": "oracle", "mis": 0.6})
    assert superposed_summary(units, 0.95).empty
