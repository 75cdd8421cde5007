"""The score with a gradient beside slow loops, the hard score, finite differences and what chance must give."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit

import interpretability as it
from interpretability import soft
from interpretability.synthetic.draws import draw_factors
from interpretability.synthetic.factors import factor_vectors

SLOPE = 6.25
OF_STUDY = it.shares(20, 9, 4000)
WIDE = (0.15, 0.05)  # enough for batches of some dozens


def drawn(n, units, dimensions, seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    values, rows = (torch.randn(n, wide, generator=draw, dtype=dtype) for wide in (units, dimensions))
    return values, rows


def slowly(values, rows, temperature, slope, shares):
    """The definition in float64: one unit, one image and one pair of images after the other."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n, scores = len(values), []
    for column in values.T:
        z = (column - column.mean()) / column.std()
        sides = []
        for side in (z, -z):

            def held(threshold, side=side):
                return expit((side - threshold) / temperature)

            def at(share, held=held, side=side):
                return brentq(lambda threshold: held(threshold).mean() - share, side.min() - 50, side.max() + 50)

            explains = held(at(shares[0]))
            asked = held(at(sum(shares))) - explains
            sides.append((explains / explains.sum(), asked / asked.sum()))
        likeness = np.zeros(n)
        for i in range(n):
            for sign, (explains, _) in zip((1, -1), sides, strict=True):
                others = [j for j in range(n) if j != i]
                weights = explains[others] / explains[others].sum()
                likeness[i] += sign * sum(
                    weight * (rows[i] @ rows[j]) for weight, j in zip(weights, others, strict=True)
                )
        scores.append(
            sum(
                sides[0][1][i] * sides[1][1][j] * expit(slope * (likeness[i] - likeness[j]))
                for i in range(n)
                for j in range(n)
            )
        )
    return np.array(scores)


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("at_once", [1 << 21, 90, 7])
def test_it_is_the_definition_in_blocks_of_every_size(temperature, at_once, monkeypatch):
    monkeypatch.setattr(soft, "_AT_ONCE", at_once)
    values, rows = drawn(30, 3, 4)
    found = it.soft_mis(values, rows, temperature, SLOPE, WIDE)
    expected = slowly(values.numpy(), rows.numpy(), temperature, SLOPE, WIDE)
    assert np.allclose(found, expected, rtol=0, atol=1e-9)
    assert np.ptp(expected) > 0.05
    in_float32 = it.soft_mis(values.float(), rows.float(), temperature, SLOPE, WIDE)
    assert in_float32.dtype == torch.float32
    assert np.allclose(in_float32, expected, rtol=0, atol=1e-4 if temperature < 0.1 else 1e-5)


@pytest.mark.parametrize(("temperature", "at_once"), [(0.1, 1 << 21), (0.3, 500), (1.0, 1 << 21)])
def test_gradients_are_those_of_finite_differences(temperature, at_once, monkeypatch):
    monkeypatch.setattr(soft, "_AT_ONCE", at_once)
    values, rows = drawn(40, 2, 5)

    def score(values):
        return it.soft_mis(values, rows, temperature, SLOPE, WIDE)

    assert torch.autograd.gradcheck(score, values.requires_grad_(), atol=1e-6, rtol=1e-6)


def test_gradients_of_what_is_watched_are_those_of_finite_differences():
    values = drawn(12, 3, 1)[0].requires_grad_()
    assert torch.autograd.gradcheck(it.decorrelation, values, atol=1e-6)
    assert torch.autograd.gradcheck(it.participation, values, atol=1e-6)


def test_a_gradient_of_a_gradient_is_refused():
    values, rows = drawn(40, 2, 5)
    score = it.soft_mis(values.requires_grad_(), rows, 0.3, SLOPE, WIDE).sum()
    with pytest.raises(
        it.InputError, match="soft_mis has no second derivatives: take its gradient without create_graph"
    ):
        torch.autograd.grad(score, values, create_graph=True)


def test_embeddings_take_no_gradient():
    values, rows = drawn(40, 2, 5)
    assert not it.soft_mis(values, rows.requires_grad_(), 0.3, SLOPE, WIDE).requires_grad


# --------------------------------------------------------------------------- beside the hard score


@pytest.fixture(scope="module")
def scenes():
    """Factors of scenes as embeddings, and units that follow them more and less clearly."""
    rows = factor_vectors(draw_factors(1500, seed=0, stream="soft", n_categories=24)).astype(np.float64)
    draw = np.random.default_rng(0)
    seen = (rows - rows.mean(axis=0)) @ draw.standard_normal((rows.shape[1], 40))
    noise = seen.std(axis=0) * draw.standard_normal(seen.shape)
    return (seen + np.linspace(0, 4, 40) * noise).astype(np.float32), rows


@pytest.mark.parametrize(("temperature", "least"), [(0.003, 0.975), (0.03, 0.96), (0.1, 0.95)])
def test_a_sharp_band_is_near_the_hard_score(scenes, temperature, least):
    values, rows = scenes
    # a single deal of images to tasks is itself off by more than the soft score
    deals = [it.score_units(values, rows, slope=SLOPE, seed=seed)["mis"].to_numpy() for seed in range(4)]
    hard = np.mean(deals, axis=0)
    of_study = it.shares(20, 9, len(values))
    found = it.soft_mis(torch.from_numpy(values), torch.from_numpy(rows), temperature, SLOPE, of_study).numpy()
    assert np.corrcoef(found, hard)[0, 1] >= least
    assert abs(found.mean() - hard.mean()) < 0.02
    assert np.ptp(hard) > 0.15


def test_a_climb_raises_the_hard_score():
    """Units that are mixtures of the embeddings' dimensions: steps along the gradient make them easier on other images."""
    rows = drawn(2000, 1, 6, dtype=torch.float32)[1]
    mixed = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2000, 4, generator=torch.Generator().manual_seed(2))
    seen = torch.full((4,), -0.5, requires_grad=True)

    def units(images):
        return torch.sigmoid(seen) * (rows @ mixed)[images] + (1 - torch.sigmoid(seen)) * 4 * noise[images]

    def hard():
        return it.score_units(units(slice(1000, None)).detach().numpy(), rows[1000:].numpy(), n_tasks=5)["mis"].mean()

    before = hard()
    optimizer = torch.optim.Adam([seen], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (1 - it.soft_mis(units(slice(0, 1000)), rows[:1000], 0.3, SLOPE, OF_STUDY).mean()).backward()
        optimizer.step()
    assert hard() > before + 0.05


# --------------------------------------------------------------------------- chance, and what must not matter


def permuted(units=300, n=256):
    """Deviation from 1/2, in standard errors, of units whose values say nothing of what the images show."""
    factors = factor_vectors(draw_factors(n, seed=0, stream="chance", n_categories=24))
    draw = np.random.default_rng(0)
    values = np.stack([draw.permutation(np.linspace(0, 1, n) ** 2) for _ in range(units)], axis=1)
    scores = it.soft_mis(torch.from_numpy(values), torch.from_numpy(factors), 0.3, SLOPE, OF_STUDY).numpy()
    return (scores.mean() - 0.5) / (scores.std(ddof=1) / np.sqrt(units))


def test_values_that_say_nothing_score_at_chance():
    assert abs(permuted()) < 4


def test_images_that_explain_themselves_would_lift_chance(monkeypatch):
    monkeypatch.setattr(soft, "_likeness", lambda weights, rows: weights @ rows @ rows.T)
    assert permuted() > 4


@pytest.mark.parametrize("temperature", [0.1, 0.3, 1.0])
def test_shift_scale_and_sign_do_not_matter(scenes, temperature):
    values, rows = torch.from_numpy(scenes[0][:512]), torch.from_numpy(scenes[1][:512])
    scores = it.soft_mis(values, rows, temperature, SLOPE, OF_STUDY)
    for changed in (3 * values - 7, 0.01 * values, -values, values - 5):
        assert torch.allclose(it.soft_mis(changed, rows, temperature, SLOPE, OF_STUDY), scores, rtol=0, atol=1e-5)
    lengths = torch.rand(512, 1, generator=torch.Generator().manual_seed(0)) + 0.1
    assert torch.allclose(it.soft_mis(values, rows * lengths, temperature, SLOPE, OF_STUDY), scores, atol=1e-5)


def test_values_near_the_end_of_float32_have_the_scores_of_small_ones():
    values, rows = drawn(60, 3, 4, dtype=torch.float32)
    expected = it.soft_mis(values, rows, 0.3, SLOPE, WIDE)
    for scale in (1e19, 1e30, 3e38 / values.abs().max().item()):
        large = (values * scale).requires_grad_()
        scores = it.soft_mis(large, rows, 0.3, SLOPE, WIDE)
        assert torch.allclose(scores, expected, rtol=0, atol=1e-5)
        scores.sum().backward()
        assert torch.isfinite(large.grad).all()
        assert it.decorrelation(large).item() == pytest.approx(it.decorrelation(values).item(), abs=1e-5)
        assert it.participation(large).item() == pytest.approx(it.participation(values).item(), abs=1e-4)


def test_a_unit_does_not_depend_on_others_nor_on_their_order(scenes):
    values, rows = torch.from_numpy(scenes[0][:300]), torch.from_numpy(scenes[1][:300])
    scores = it.soft_mis(values, rows, 0.3, SLOPE, OF_STUDY)
    assert torch.allclose(it.soft_mis(values.flip(1), rows, 0.3, SLOPE, OF_STUDY).flip(0), scores, atol=1e-6)
    assert torch.allclose(it.soft_mis(values[:, 3:4], rows, 0.3, SLOPE, OF_STUDY), scores[3:4], atol=1e-6)
    assert torch.equal(it.soft_mis(values, rows, 0.3, SLOPE, OF_STUDY), scores)


def test_constant_units_score_one_half_and_pull_nowhere():
    values, rows = drawn(60, 3, 4, dtype=torch.float32)
    values[:, 1] = 0.1
    values[:, 2] = 7 + 1e-9 * values[:, 0]
    values.requires_grad_()
    scores = it.soft_mis(values, rows, 0.3, SLOPE, WIDE)
    assert torch.allclose(scores[1:], torch.tensor(0.5), rtol=0, atol=1e-6)
    scores.sum().backward()
    assert torch.count_nonzero(values.grad[:, 1:]) == 0
    assert torch.count_nonzero(values.grad[:, 0]) > 50
    assert torch.isfinite(values.grad).all()


@pytest.mark.parametrize("temperature", [1e-4, 0.1, 100.0])
def test_ties_and_extreme_temperatures_stay_finite(temperature):
    """95 % zeros, and a unit of two values: the tied images share what is theirs."""
    values, rows = drawn(200, 2, 4, dtype=torch.float32)
    values[:190, 0] = 0
    values[:, 1] = (values[:, 1] > 0).float()
    values.requires_grad_()
    scores = it.soft_mis(values, rows, temperature, SLOPE, OF_STUDY)
    scores.sum().backward()
    assert torch.isfinite(scores).all()
    assert torch.isfinite(values.grad).all()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(it.soft_mis(values[order], rows[order], temperature, SLOPE, OF_STUDY), scores, atol=1e-5)


def test_mixed_precision_around_it_changes_nothing():
    values, rows = drawn(60, 3, 4, dtype=torch.float32)
    scores = it.soft_mis(values, rows, 0.3, SLOPE, WIDE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(it.soft_mis(values, rows, 0.3, SLOPE, WIDE), scores)
        assert it.decorrelation(values).item() == pytest.approx(it.decorrelation(values.double()).item(), rel=1e-5)
    assert it.soft_mis(values.bfloat16(), rows, 0.3, SLOPE, WIDE).dtype == torch.float32


def test_pairs_are_not_kept(monkeypatch):
    """What autograd saves grows with the images of a batch, not with their pairs."""
    sizes = []
    values, rows = drawn(300, 2, 4)

    def noted(saved):
        sizes.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(noted, lambda saved: saved):
        it.soft_mis(values.requires_grad_(), rows, 0.3, SLOPE, OF_STUDY)
    assert 0 < max(sizes) <= 300 * 4


# --------------------------------------------------------------------------- what is watched


def test_correlations_and_directions_are_those_of_numpy():
    values = drawn(50, 5, 1)[0] @ drawn(5, 5, 1, seed=1)[0]
    correlations = np.corrcoef(values.numpy().T)
    eigenvalues = np.linalg.eigvalsh(correlations)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert it.participation(values).item() == pytest.approx(expected, abs=1e-9)
    above = correlations[np.triu_indices(5, 1)]
    assert it.decorrelation(values).item() == pytest.approx((above**2).mean(), abs=1e-9)


def test_copies_and_constants():
    column = drawn(50, 1, 1)[0]
    copies = torch.cat([column, -2 * column, column + 3], dim=1)
    assert it.participation(copies).item() == pytest.approx(1)
    assert it.decorrelation(copies).item() == pytest.approx(1)
    assert it.participation(torch.ones(9, 3)).item() == 0
    assert it.participation(torch.cat([column, torch.ones(50, 2)], dim=1)).item() == pytest.approx(1)
    assert it.decorrelation(torch.cat([copies[:, :2], torch.ones(50, 1)], dim=1)).item() == pytest.approx(1 / 3)


def test_shares_are_those_of_the_hard_rule():
    assert it.shares(20, 9, 4000) == (0.045, 0.005)
    assert it.shares(2, 2, 12) == pytest.approx((1 / 3, 1 / 6))
