"""The monosemanticity score of units, by sums over a stream of images, with its null and its distance from it.

For a unit with values v and w = v - min v, and images of embeddings e of length 1,

    MS = sum over pairs i != j of w_i w_j e_i.e_j  /  sum over pairs i != j of w_i w_j

is the mean cosine of pairs of images, weighted by how much they excite the unit (Pach et al., arXiv 2504.02821, section 3.2; the
division of w by its range cancels). With A = sum v e, Z = sum e and d = v - mean v nothing needs all pairs: the numerator is a
squared length less the pairs of an image with itself.

Dealing the weights to the images anew leaves the denominator as it is. So the expected score of a unit without meaning is exactly
the mean cosine of all pairs, and its variance follows from the first four moments of w and two sums over the cosines (Mantel,
1967: the moments of sum w_i w_j c_ij under permutation).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.label_free.embedding_sums import EmbeddingSums, check_rows
from interpretability.label_free.value_sums import PRECISIONS, ValueSums, host, same_images
from interpretability.similarity.arrays import length_one

_TOGETHER = 512  # images added at a time by the call for arrays: part of the definition of the last bits
_FLOAT = 4  # bytes of a value whose products float32 holds
_FEWEST_DEALT = 4  # images below which four different ones cannot be dealt


class MonosemanticitySums:
    """Sums over images from which the monosemanticity scores of a layer's units follow.

    precision   of the products of values and embeddings within a batch: float32 (scores right to 1e-6), or float64 (1e-9).
                Sums over batches are float64, and each unit's least value of the first batch is subtracted from all
                before: the score has no shift, and a large common value would cost digits

    Memory: 8 bytes for each unit and dimension of the embeddings (`sums_bytes`), and while a batch is added 4 to 8 bytes for each
    of its values. Batches may have any sizes and come in any order, which changes the last bits alone (1e-12 of float64, 1e-6 of
    float32 products): equal bytes need equal batches of the same units. Tensors on a GPU are added there, all others in
    numpy. Raises InputError for another precision.

    >>> import numpy as np
    >>> from interpretability import MonosemanticitySums
    >>> sums = MonosemanticitySums()
    >>> sums.update(np.array([[1.0], [1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    >>> sums.update(np.array([[0.0], [0.0]]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    >>> sums.table()[["ms", "n_active"]].values.tolist()
    [[1.0, 2.0]]
    """

    def __init__(self, precision: str = "float32") -> None:
        self.values = ValueSums(arguments.choice(precision, "precision", PRECISIONS))
        self.embeddings = EmbeddingSums()

    @property
    def n_images(self) -> int:
        return self.embeddings.n_images

    def update(self, values: Any, embeddings: Any) -> None:
        """Add a batch: values (B, U) and embeddings (B, E) of the same images, arrays or tensors on one device.

        Rows of the embeddings have length 1 but for rounding, also that of float16, or are all zeros. Raises InputError for
        other shapes and lengths, and values that are not finite.
        """
        same_images(values, embeddings)
        rows = host(embeddings)
        check_rows(rows, len(self.embeddings.total))  # before anything is added
        self.values.update(values, embeddings)
        self.embeddings.update(rows)

    def table(self, low: NDArray[np.floating] | None = None) -> pd.DataFrame:
        """A row a unit in order: unit and the columns of `monosemanticity`.

        low   (U,): least values of the units over more images than were added, at most those of the added ones
        """
        return scores(self.values, self.embeddings, low)


def sums_bytes(n_units: int, n_dimensions: int) -> int:
    """Bytes that sums of as many units, with embeddings of as many numbers, take.

    >>> sums_bytes(16_384, 768)
    101974016
    """
    return 8 * n_units * (n_dimensions + 10)


def scores(values: ValueSums, embeddings: EmbeddingSums, low: NDArray[np.floating] | None = None) -> pd.DataFrame:
    """A row a unit: unit, ms, null, z, n_active. Several layers, added in the same batches, may share one `embeddings`."""
    if values.n_images != embeddings.n_images or not values.n_images:
        raise InputError(
            "{values} has sums over {images} images and {embeddings} over {others}; both need the same, at least one",
            "values",
            "embeddings",
            images=values.n_images,
            others=embeddings.n_images,
        )
    n = values.n_images
    moments = values.moments(low)
    total, null = embeddings.total, embeddings.mean_cosine
    pull = values.weighted - moments.mean[:, None] * total  # sum of d e
    own = values.own - moments.mean * embeddings.squares  # sum of d |e|^2
    squared = values.own_squared - 2 * moments.mean * values.own + moments.mean**2 * embeddings.squares
    excess = 2 * moments.height * (pull @ total - own)
    excess += np.einsum("ue,ue->u", pull, pull) - squared + null * moments.powers[2]
    pairs = (n * moments.height) ** 2 - (moments.powers[2] + n * moments.height**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        above = np.where((moments.n_active >= 2) & ~moments.constant, excess / pairs, np.nan)
        spread = np.sqrt(_null_variance(moments.height, moments.powers, embeddings)) / pairs
        z = np.where(spread > 0, above / spread, np.nan)
    return pd.DataFrame(
        {"unit": np.arange(len(above)), "ms": null + above, "null": null, "z": z, "n_active": moments.n_active}
    )


def _null_variance(
    height: NDArray[np.float64], powers: dict[int, NDArray[np.float64]], embeddings: EmbeddingSums
) -> NDArray[np.float64]:
    """Variance over permutations of sum over i != j of w_i w_j c_ij, c the cosines less their mean.

    w = height + d with sum d = 0, so the sum is 2 height sum d_i R_i + sum d_i d_j c_ij, R_i = sum_j c_ij. Written in d,
    nothing cancels where all weights are nearly alike. powers: sums of d^2, d^3, d^4.
    """
    n = float(embeddings.n_images)
    if n < _FEWEST_DEALT:
        return np.full(len(height), np.nan)
    second, third = embeddings.pair_moments()  # sums of c_ij^2 and of R_i^2
    square, cube, fourth = powers[2], powers[3], powers[4]
    linear = 4 * height**2 * square * third / (n - 1)
    both = -8 * height * cube * third / ((n - 1) * (n - 2))
    s1, s2, s3 = -square, square**2 - fourth, fourth
    quadratic = 2 * s2 * second / (n * (n - 1))
    # sums over i, j, k all different of d_i^2 d_j d_k, here 2 d4 - d2^2, and of four different ones
    quadratic += 4 * (s3 - s2) * (third - second) / (n * (n - 1) * (n - 2))
    quadratic += (s1**2 - 4 * s3 + 2 * s2) * (2 * second - 4 * third) / (n * (n - 1) * (n - 2) * (n - 3))
    return linear + both + quadratic


def monosemanticity(activations: NDArray[np.floating], embeddings: NDArray[np.floating]) -> pd.DataFrame:
    """The monosemanticity score of the units of a layer, from arrays (Pach et al., arXiv 2504.02821, section 3.2).

    activations   (D, U): values of D images and U units, finite
    embeddings    (D, E): of the same images, whose cosines say how alike they are; lengths of rows do not matter

    Returns a row a unit, in order: unit; ms (mean cosine of pairs of images, weighted by values less the least one; -1 to 1,
    higher is of one meaning); null (what it is expected to be of a unit without meaning: the mean cosine of all pairs); z (ms
    less null, over the standard deviation of the score when values are dealt to the images anew); n_active (images above the
    least value). Below two active images there is no pair, and ms and z are NaN; they are, too, where all values are alike.

    Compare units by z: a dense unit weights nearly all pairs alike, so its ms stays at the null whatever it means, and raw scores
    mostly order units by sparseness. The score has neither shift nor scale, but it has outliers: one value at 100 times the
    range of the others decides a unit's score alone, and one as far below lays the score at the null. Raises InputError for other
    shapes and values that are not finite. Layers too large for the memory, or values on a GPU: `MonosemanticitySums`.
    Departure: the paper prints the raw score; null, z and n_active are ours.

    >>> import numpy as np
    >>> from interpretability import monosemanticity
    >>> embeddings = np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0)
    >>> activations = np.zeros((100, 3))
    >>> activations[:5, 0] = activations[45:55, 1] = activations[0, 2] = 1
    >>> units = monosemanticity(activations, embeddings)
    >>> units[["ms", "null", "n_active"]].round(3).values.tolist()
    [[1.0, 0.495, 5.0], [0.444, 0.495, 10.0], [nan, 0.495, 1.0]]
    """
    values = arguments.array(activations, "activations", ("images", "units"))
    rows = arguments.array(embeddings, "embeddings", ("images", "dimensions"))
    same_images(values, rows, "activations")
    arguments.finite(values, "activations")
    rows = length_one(rows)
    sums = MonosemanticitySums("float64" if values.dtype.itemsize > _FLOAT else "float32")
    for start in range(0, len(values), _TOGETHER):
        sums.update(values[start : start + _TOGETHER], rows[start : start + _TOGETHER])
    return sums.table()
