"""Rotations, random directions and principal components, and the units nearest to a direction."""

from __future__ import annotations

import numpy as np
import pytest

from interpretability.directions.built_in import principal, random_directions, rotation
from interpretability.directions.nearest import nearest_units
from interpretability.errors import InputError


def test_rotations_are_orthogonal_and_keyed_by_seed_and_layer():
    one = rotation(0, "layer1", 40)
    np.testing.assert_allclose(one.T @ one, np.eye(40), atol=1e-12)
    np.testing.assert_array_equal(one, rotation(0, "layer1", 40))
    assert not any(np.allclose(one, other) for other in (rotation(1, "layer1", 40), rotation(0, "layer2", 40)))


def test_rotations_are_drawn_evenly():
    # of a rotation drawn evenly, entries have mean 0, variance 1 / d and fourth moment 3 / d(d + 2); without the signs of R
    # the diagonal of a QR decomposition has a mean of its own
    d, n = 3, 4000
    drawn = np.stack([rotation(seed, "layer", d) for seed in range(n)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=4 * np.sqrt(1 / d / n))
    np.testing.assert_allclose((drawn**2).mean(axis=0), 1 / d, atol=4 * np.sqrt(4 / 45 / n))
    np.testing.assert_allclose((drawn**4).mean(axis=0), 3 / (d * (d + 2)), atol=4 * np.sqrt(0.08 / n))
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 4 * np.sqrt(0.25 / n)


def test_random_directions_are_of_length_one_and_do_not_depend_on_their_number():
    some = random_directions(3, "layer", 20, 7)
    assert some.shape == (20, 7)
    np.testing.assert_allclose(np.linalg.norm(some, axis=0), 1)
    np.testing.assert_array_equal(random_directions(3, "layer", 20)[:, :7], some)


def test_principal_components_are_uncorrelated_by_decreasing_variance():
    values = np.random.default_rng(0).normal(size=(300, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
    components = principal(values)
    covariance = np.cov(values @ components, rowvar=False)
    np.testing.assert_allclose(covariance - np.diag(np.diagonal(covariance)), 0, atol=1e-10)
    assert (np.diff(np.diagonal(covariance)) < 0).all()
    np.testing.assert_allclose(components.T @ components, np.eye(6), atol=1e-12)
    assert (components[np.abs(components).argmax(axis=0), np.arange(6)] > 0).all()
    np.testing.assert_allclose(principal(-values), components, atol=1e-9)


def test_directions_without_variance_are_no_components():
    values = np.random.default_rng(0).normal(size=(50, 4))
    values[:, 2] = 7
    assert principal(values).shape == (4, 3)
    assert principal(values[:3]).shape == (4, 2)
    for few in (values[:1], np.ones((5, 4))):
        with pytest.raises(InputError, match="values"):
            principal(few)


def test_nearest_units_are_those_of_the_largest_cosines():
    axes = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, -2.0]])
    units, cosines = nearest_units(axes, 5)
    assert units.tolist() == [[1, 0, 2, -1, -1], [-1] * 5, [2, 0, 1, -1, -1]]
    np.testing.assert_allclose(cosines[0, :3], [-0.8, 0.6, 0], atol=1e-7)
    np.testing.assert_allclose(cosines[2, :3], np.array([-2, 1, 1]) / np.sqrt(6), atol=1e-7)
    assert np.isnan(cosines[1]).all()
    assert np.isnan(cosines[:, 3:]).all()
