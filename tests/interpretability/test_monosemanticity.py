"""Monosemanticity by sums over a stream, against the double sum over all pairs and against permutations."""

from __future__ import annotations

import numpy as np
import pytest

from interpretability import InputError, MonosemanticitySums, interpretability_index, monosemanticity
from interpretability.label_free.embedding_sums import EmbeddingSums
from interpretability.label_free.index import mean_cosine
from interpretability.label_free.monosemanticity import scores, sums_bytes
from interpretability.label_free.value_sums import ValueSums
from interpretability.margins import unit_rows
from interpretability.randomness import generator
from interpretability.synthetic import planted_units
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors

N = 4000


@pytest.fixture(scope="module")
def factors():
    return draw_factors(N, seed=3, stream="study", n_categories=24)


@pytest.fixture(scope="module")
def layers(factors):
    return {layer.layer: layer.values for layer in planted_units.planted(factors, seed=3)}


@pytest.fixture(scope="module")
def rows(factors):
    return factor_vectors(factors)


@pytest.fixture(scope="module")
def few(layers, rows):
    """Units of five kinds over 1,000 images."""
    names = ("mixture_0.5", "mixture_rectified_0.5", "hash", "hash_rectified", "polysemantic")
    return np.concatenate([layers[name][:1000, :25] for name in names], axis=1), rows[:1000]


def double_sum(values, rows, low=None):
    """The score as it is written: all pairs of different images."""
    weights = values.astype(np.float64)
    weights -= weights.min(axis=0) if low is None else low
    cosines = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.fill_diagonal(cosines, 0.0)
    pairs = weights.sum(axis=0) ** 2 - (weights**2).sum(axis=0)
    return np.einsum("iu,ij,ju->u", weights, cosines, weights, optimize=True) / pairs


def summed(values, rows, precision, batch=256, order=None):
    sums = MonosemanticitySums(precision)
    order = np.arange(len(values)) if order is None else order
    for start in range(0, len(values), batch):
        part = order[start : start + batch]
        sums.update(values[part], rows[part])
    return sums.table()


def test_doubles_give_the_double_sum(few):
    values, rows = few
    found = summed(values.astype(np.float64), rows, "float64")["ms"]
    assert found.to_numpy() == pytest.approx(double_sum(values, rows), rel=1e-9)


@pytest.mark.parametrize("offset", [0, 1, 1000])
def test_single_products_are_right_to_a_millionth(few, offset):
    """Also with a large common value, of which the values themselves keep what float32 keeps."""
    values, rows = few
    shifted = (values.astype(np.float64) + offset).astype(np.float32)
    found = summed(shifted, rows, "float32")["ms"]
    assert found.to_numpy() == pytest.approx(double_sum(shifted, rows), rel=1e-6)


@pytest.mark.parametrize(("precision", "reach"), [("float64", 1e-12), ("float32", 1e-6)])
def test_batches_and_their_order_change_the_last_digits_alone(few, precision, reach):
    values, rows = few[0].astype(precision), few[1]
    whole = summed(values, rows, precision, 1000)
    order = generator(0, "order").permutation(1000)
    for other in (summed(values, rows, precision, 77), summed(values, rows, precision, 77, order)):
        assert other["ms"].to_numpy() == pytest.approx(whole["ms"].to_numpy(), rel=reach)
        assert other["n_active"].tolist() == whole["n_active"].tolist()
    assert summed(values, rows, precision, 77).equals(summed(values, rows, precision, 77))


@pytest.mark.parametrize(("precision", "reach"), [("float64", 1e-12), ("float32", 1e-6)])
def test_other_units_of_a_layer_change_the_last_digits_alone(few, precision, reach):
    values, rows = few[0].astype(precision), few[1]
    whole, part = summed(values, rows, precision), summed(values[:, 40:53], rows, precision)
    assert part["ms"].to_numpy() == pytest.approx(whole["ms"].to_numpy()[40:53], rel=reach)


@pytest.mark.parametrize("length", [1, 1.004])
def test_rows_that_are_not_exactly_of_length_one_count_as_they_are(few, length):
    values, rows = few
    kept = (rows * length).astype(np.float16)
    found = summed(values.astype(np.float64), kept, "float64")["ms"]
    assert found.to_numpy() == pytest.approx(double_sum(values, kept), rel=1e-9)


def test_rows_of_zeros_are_alike_to_none(few):
    values, rows = few[0], few[1].copy()
    rows[::7] = 0
    found = summed(values.astype(np.float64), rows, "float64")["ms"]
    assert found.to_numpy() == pytest.approx(double_sum(values, rows), rel=1e-9)


def test_the_least_value_may_be_that_of_more_images(few):
    values, rows = few
    low = values.min(axis=0) - np.linspace(0, 2, values.shape[1])
    sums = MonosemanticitySums("float64")
    sums.update(values[:500].astype(np.float64), rows[:500])
    found = sums.table(np.minimum(low, values[:500].min(axis=0)))
    least = np.minimum(low, values[:500].min(axis=0))
    assert found["ms"].to_numpy() == pytest.approx(double_sum(values[:500], rows[:500], least), rel=1e-9)
    assert found["n_active"].tolist() == (values[:500] > least).sum(axis=0).tolist()
    with pytest.raises(InputError, match="none above the least"):
        sums.table(values[:500].max(axis=0))


def test_the_least_value_of_a_batch_is_not_above_itself(few):
    """Whatever float32 makes of its distance to the origin."""
    values, rows = few[0] * 1e3 + np.float32(0.1), few[1]
    sums = MonosemanticitySums()
    for part in (slice(500, 1000), slice(0, 500)):
        sums.update(values[part], rows[part])
    assert sums.table(values.min(axis=0)).equals(sums.table())


def test_null_and_distance_are_those_of_permutations(few):
    values, rows = few[0].astype(np.float64), few[1]
    found = summed(values, rows, "float64")
    permuted = []
    for draw in range(120):
        order = generator(draw, "permutations").permutation(1000)
        permuted.append(summed(values[order], rows, "float64")["ms"].to_numpy())
    assert found["null"].iloc[0] == pytest.approx(mean_cosine(rows), rel=1e-12)
    spread = (found["ms"] - found["null"]) / found["z"]
    assert np.mean(permuted, axis=0) == pytest.approx(found["null"].to_numpy(), abs=5 * spread.max() / np.sqrt(120))
    ratio = np.std(permuted, axis=0, ddof=1) / spread
    # a spread of 120 draws is known to 6.5 %, its mean over 25 units of a kind to 1.3 %, but the units share their draws
    for kind in range(5):
        assert ratio[25 * kind : 25 * (kind + 1)].mean() == pytest.approx(1, abs=0.05)


def test_the_null_s_variance_is_exact():
    """All 120 ways to deal five values to five images, also where the values are nearly alike."""
    from itertools import permutations

    rows = unit_rows(generator(0, "five").standard_normal((5, 3)))
    for values in ([0.0, 1, 4, 2, 9], [0.0, 0, 0, 3, 1], [-1e4, 1.0, 0.5, 0.75, 0.25]):
        dealt = np.array(list(permutations(values))).T  # (images, orders)
        found = monosemanticity(dealt, rows)
        spread = (found["ms"] - found["null"]) / found["z"]
        assert found["ms"].mean() == pytest.approx(found["null"].iloc[0], rel=1e-9)
        assert spread.to_numpy() == pytest.approx(np.full(120, found["ms"].std(ddof=0)), rel=1e-6)


def test_units_without_meaning_lie_at_the_null(rows, layers):
    for name in ("hash", "hash_rectified"):
        found = monosemanticity(layers[name], rows)
        error = found["ms"].std() / np.sqrt(len(found))
        assert abs(found["ms"].mean() - mean_cosine(rows)) < 3 * error
        assert abs(found["z"].mean()) < 0.25
    values = planted_units.hash_units(np.arange(N), 7, 800)
    # 800 units: the spread is known to 2.5 %
    assert 0.9 < monosemanticity(values, rows)["z"].std() < 1.1


def test_distances_rise_with_meaning_and_raw_scores_of_dense_units_do_not(rows, layers):
    null = mean_cosine(rows)
    for rho, expected in ((0.25, 2.5), (0.5, 14), (0.75, 24), (1, 43)):
        z = monosemanticity(layers[f"mixture_rectified_{rho:g}"], rows)["z"].mean()
        assert z == pytest.approx(expected, rel=0.25)
    for rho in (0.25, 0.5, 0.75):
        assert abs(monosemanticity(layers[f"mixture_{rho:g}"], rows)["ms"].mean() - null) < 0.005
    # ten times the distance to the null for the same units, because zeros weigh nothing
    assert monosemanticity(layers["mixture_rectified_0.75"], rows)["ms"].mean() - null > 0.1


def test_shift_and_scale_change_nothing_and_an_outlier_everything(few):
    values, rows = few[0].astype(np.float64), few[1]
    plain = monosemanticity(values, rows)
    assert monosemanticity(3 * values - 5, rows)["z"].to_numpy() == pytest.approx(plain["z"].to_numpy(), rel=1e-6)
    far = values.copy()
    far[0] = values.min(axis=0) - 100 * np.ptp(values, axis=0)
    assert (
        np.abs(monosemanticity(far, rows)["ms"] - plain["null"]).max()
        < 0.05 * np.abs(plain["ms"] - plain["null"]).max()
    )


def test_without_a_pair_there_is_no_score(rows):
    values = np.zeros((N, 4), np.float32)
    values[:2, 1] = values[5, 2] = 1
    values[:, 3] = 7
    found = monosemanticity(values, rows)
    assert found["n_active"].tolist() == [0, 2, 1, 0]
    assert found["ms"].isna().tolist() == found["z"].isna().tolist() == [True, False, True, True]
    assert found["ms"][1] == pytest.approx(float(rows[0] @ rows[1]), rel=1e-6)


def test_layers_may_share_the_sums_of_embeddings(few):
    values, rows = few
    shared, layers = EmbeddingSums(), [ValueSums("float32"), ValueSums("float32")]
    for start in range(0, 1000, 256):
        shared.update(rows[start : start + 256])
        for sums, part in zip(layers, (values[:, :50], values[:, 50:]), strict=True):
            sums.update(part[start : start + 256], rows[start : start + 256])
    whole = summed(values, rows, "float32")
    found = np.concatenate([scores(sums, shared)["ms"] for sums in layers])
    assert found == pytest.approx(whole["ms"].to_numpy(), rel=1e-6)
    shared.update(rows[:1])
    with pytest.raises(InputError, match="both need the same"):
        scores(layers[0], shared)


def test_tensors_give_what_arrays_give(few):
    torch = pytest.importorskip("torch")
    values, rows = few
    sums = MonosemanticitySums()
    for start in range(0, 1000, 256):
        sums.update(torch.from_numpy(values[start : start + 256]), torch.from_numpy(rows[start : start + 256]))
    assert sums.table().equals(summed(values, rows, "float32"))


def test_sums_on_a_device_are_those_of_arrays(few):
    """The form for GPUs, run on tensors of the processor."""
    from interpretability.label_free import value_sums

    torch = pytest.importorskip("torch")
    values, rows = few
    for precision, reach in (("float32", 1e-6), ("float64", 1e-12)):
        first = value_sums._in_numpy(values, rows, values.min(axis=0), precision)
        tensors = (torch.from_numpy(each) for each in (values, rows, values.min(axis=0)))
        second = {name: each.numpy() for name, each in value_sums._on_device(*tensors, precision).items()}
        assert set(first) == set(second)
        for name, part in first.items():
            assert second[name] == pytest.approx(part, rel=reach, abs=reach * np.abs(part).max()), name


def test_sums_are_exact_whatever_arithmetic_the_caller_has_set(few, monkeypatch):
    from interpretability.label_free import value_sums

    torch = pytest.importorskip("torch")
    values, rows = few
    matmul, seen = torch.backends.cuda.matmul, []
    before = matmul.fp32_precision
    product = torch.Tensor.__matmul__

    def watched(one, two):
        seen.append(matmul.fp32_precision)
        return product(one, two)

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    try:
        matmul.fp32_precision = "tf32"  # alone, after which torch refuses to read the older name
        value_sums._on_device(*map(torch.from_numpy, (values, rows, values.min(axis=0))), "float32")
        assert (seen[0], matmul.fp32_precision) == ("ieee", "tf32")
    finally:
        matmul.allow_tf32 = False
        matmul.fp32_precision = before


@pytest.mark.parametrize(
    ("values", "rows", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "same images"),
        (np.ones(3), np.ones((3, 2)), "images, units"),
        (np.ones((2, 2)), np.array([[1.0, 0], [2, 0]]), "row 1 of squared length 4"),
        (np.array([[1.0, np.nan], [0, 0]]), np.array([[1.0, 0], [1, 0]]), "values holds nan"),
        (np.array([[0.0, np.inf], [0, 0]]), np.array([[1.0, 0], [1, 0]]), "values holds"),
        (np.ones((2, 3)), np.array([[1.0, 0], [1, 0]]), "has 3 units, after 2"),
        (np.ones((2, 2)), np.array([[1.0, 0, 0], [1, 0, 0]]), "3 numbers, after rows of 2"),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_batch_that_does_not_fit_is_refused_and_changes_nothing(values, rows, message, precision):
    sums = MonosemanticitySums(precision)
    sums.update(np.array([[1.0, 2], [3, 5], [0, 1]]), np.eye(2)[[0, 1, 0]])
    before = sums.table()
    with pytest.raises(InputError, match=message):
        sums.update(values, rows)
    assert sums.table().equals(before)


def test_sums_refuse_other_precisions_and_empty_tables():
    with pytest.raises(InputError, match="float16"):
        MonosemanticitySums("float16")
    with pytest.raises(InputError, match="at least one"):
        MonosemanticitySums().table()
    assert sums_bytes(10, 4) == 10 * 14 * 8


def test_the_index_is_the_mean_cosine_of_pairs(rows, layers):
    top = np.argsort(-layers["mixture_0.75"], axis=0, kind="stable")[:20].T
    exact = rows.astype(np.float64)
    looped = [np.mean([exact[a] @ exact[b] for a in own for b in own if a != b]) for own in top[:10]]
    found = interpretability_index(rows, top)
    assert found[:10] == pytest.approx(looped, rel=1e-9)
    assert np.array_equal(interpretability_index(rows, top[3:5], threads=2), found[3:5])
    assert mean_cosine(rows) == pytest.approx((exact @ exact.T).sum() / N / (N - 1) - 1 / (N - 1), rel=1e-6)
    chance = interpretability_index(rows, np.argsort(layers["hash"], axis=0, kind="stable")[:20].T)
    assert abs(chance.mean() - mean_cosine(rows)) < 3 * chance.std() / np.sqrt(len(chance))
    for images in (top[:, :1], top + N, top.astype(float)):
        with pytest.raises(InputError, match="must name at least two rows"):
            interpretability_index(rows, images)
