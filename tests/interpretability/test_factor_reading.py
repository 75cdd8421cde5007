"""Factors read from an encoder: exact where they are linear in it, honest where they are not."""

import numpy as np
import pytest

from interpretability.errors import InputError
from interpretability.synthetic.factor_reading import FEWEST_IMAGES, PENALTIES, fit_reading

N, E, D = 300, 12, 5


def rows(n=N, width=E, seed=0):
    drawn = np.random.default_rng(seed).standard_normal((n, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_a_linear_reading_is_found_exactly():
    embeddings, turn = rows(), np.random.default_rng(1).standard_normal((E, D))
    vectors = embeddings @ turn + 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # lengths make it linear but for a scale an image: .97 and more, against chance for the mean vector
    reading = fit_reading(embeddings, vectors, 0)
    assert reading.held_out > 0.97
    assert reading.held_out > reading.alone + 0.3
    assert (reading.n_images, reading.n_held_out) == (N, N // 5)
    exact = fit_reading(embeddings, embeddings @ turn + 0.3, 0)
    assert exact.penalty == PENALTIES[0]
    np.testing.assert_allclose(exact.weights, turn, atol=1e-4)
    np.testing.assert_allclose(exact.constant, 0.3, atol=1e-4)
    assert exact.held_out == pytest.approx(1, abs=1e-8)
    fresh = rows(20, seed=2)
    wanted = fresh @ turn + 0.3
    np.testing.assert_allclose(exact.read(fresh), wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(exact.lengths(fresh), np.linalg.norm(wanted, axis=1), rtol=1e-3)


def test_what_has_nothing_to_do_with_the_factors_reads_no_more_than_the_mean():
    vectors = rows(width=D, seed=3) + np.array([1.0, 0, 0, 0, 0])
    reading = fit_reading(rows(), vectors, 0)
    assert reading.penalty == PENALTIES[-1], "the strongest penalty is best where there is nothing to read"
    assert abs(reading.held_out - reading.alone) < 0.05
    assert reading.alone > 0.4, "the mean vector alone agrees with vectors that have something in common"


def test_the_held_out_cosine_is_of_images_that_were_not_fitted():
    """With more numbers an image than images, a fit to all of them would be perfect on its own."""
    embeddings, vectors = rows(40, 200), rows(40, D, seed=4)
    reading = fit_reading(embeddings, vectors, 0)
    assert reading.held_out < 0.5


def test_the_same_images_and_seed_give_the_same_reading_and_another_seed_other_draws():
    embeddings, vectors = rows(), rows(width=D, seed=5)
    first, again = fit_reading(embeddings, vectors, 0), fit_reading(embeddings, vectors, 0)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert first.held_out == again.held_out
    assert fit_reading(embeddings, vectors, 1).held_out != first.held_out


def test_embeddings_without_variance_read_the_mean():
    vectors = rows(width=D, seed=6)
    reading = fit_reading(np.ones((N, E)), vectors, 0)
    assert not reading.weights.any()
    mean = vectors.mean(axis=0)
    np.testing.assert_allclose(reading.read(np.ones((2, E)))[0], mean / np.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize(
    ("embeddings", "vectors", "said"),
    [
        (rows(), rows(N - 1, D), f"embeddings has {N} images and vectors has {N - 1}"),
        (rows(FEWEST_IMAGES - 1), rows(FEWEST_IMAGES - 1, D), "embeddings has 9 images; at least 10"),
        (np.full((N, E), np.nan), rows(N, D), "embeddings holds nan"),
        (rows(), np.full((N, D), np.inf), "vectors holds inf"),
        (rows()[0], rows(N, D), "embeddings has shape"),
    ],
)
def test_what_cannot_be_fitted_is_refused(embeddings, vectors, said):
    with pytest.raises(InputError, match=said):
        fit_reading(embeddings, vectors, 0)


def test_embeddings_of_another_encoder_are_refused():
    reading = fit_reading(rows(), rows(width=D), 0)
    with pytest.raises(InputError, match="embeddings has 13 numbers an image; this reading was fitted to 12"):
        reading.read(rows(4, 13))
