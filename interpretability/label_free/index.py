"""The interpretability index of units: how alike the images are that excite them most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.label_free.embedding_sums import EmbeddingSums
from interpretability.label_free.row_sums import row_sums, squared_lengths
from interpretability.similarity.arrays import length_one

_TOGETHER = 1024  # units whose sums are held at once


def interpretability_index(
    embeddings: NDArray[np.floating], images: NDArray[np.integer], *, threads: int | None = None
) -> NDArray[np.float64]:
    """Mean cosine (U,) of all pairs of the images that excite each unit most (Klindt et al., arXiv 2310.11431): -1 to 1.

    embeddings   (D, E): lengths of rows do not matter
    images       (U, m): rows of `embeddings`, m >= 2, each once a unit; the paper takes the top images
    threads      all cores by default; no result depends on it

    Of a unit without meaning it is expected to be `mean_cosine` of all images, exactly, however many images are taken. Raises
    InputError for rows that are not there and fewer than two images.

    >>> import numpy as np
    >>> from interpretability import interpretability_index
    >>> interpretability_index(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), np.array([[0, 1], [0, 2]])).tolist()
    [1.0, 0.0]
    """
    workers = arguments.threads(threads)
    rows = arguments.array(embeddings, "embeddings", ("images", "dimensions"))
    named = arguments.array(images, "images", ("units", "top images"))
    if named.dtype.kind not in "iu" or named.min() < 0 or named.max() >= len(rows) or named.shape[1] < 2:
        raise arguments.wrong("images", "must name at least two rows of {count} a unit", count=len(rows))
    rows = np.ascontiguousarray(narrowed(length_one(rows, workers), np.float32, "embeddings"))
    squares, m = squared_lengths(rows), named.shape[1]
    found = np.empty(len(named))
    for start in range(0, len(named), _TOGETHER):
        part = np.ascontiguousarray(named[start : start + _TOGETHER], np.int64)
        sums = row_sums(rows, part, workers)
        found[start : start + len(part)] = np.einsum("ue,ue->u", sums, sums) - squares[part].sum(axis=1)
    return found / (m * (m - 1))


def mean_cosine(embeddings: NDArray[np.floating]) -> float:
    """Mean cosine of all pairs of different images (D, E): what the index, and `monosemanticity`, expect without meaning.

    >>> import numpy as np
    >>> mean_cosine(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 1.0]])) == 1 / 3
    True
    """
    sums = EmbeddingSums()
    sums.update(length_one(arguments.array(embeddings, "embeddings", ("images", "dimensions"))))
    return sums.mean_cosine
