"""Similarity of images that are at hand as embeddings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.margins import (
    AGGREGATIONS,
    aggregated_margins,
    cosine_margins,
    cosine_values,
    row_lengths,
    unit_rows,
)

_TOGETHER = 256  # rows scaled by one call


def task_margins(
    embeddings: NDArray[np.floating],
    tasks: NDArray[np.integer],
    n_explanations: int,
    aggregation: str = "mean",
    *,
    softmax_temperature: float = 1.0,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """How clearly images' embeddings solve tasks (MIS paper, equations 1 to 3): margins (U, N) float32, higher is easier.

    embeddings      (D, E): a row an image; similarity is the cosine, so lengths of rows do not matter
    tasks           (U, N, 2(K + 1)): rows of `embeddings`, as `build_tasks` orders them
    n_explanations  K, explanations a side of a task
    aggregation     of the similarities to K explanations: mean; max; median; softmax, which weights them by
                    exp(similarity / softmax_temperature)
    threads         all cores by default; no result depends on it

    A margin is the positive query's similarity to the positive minus to the negative explanations, less the same of the
    negative query: -4 to 4, above 0 where the task is solved. Raises InputError for tasks of another shape or of images that
    are not there, embeddings that are not finite and unknown aggregations.
    Departure: the paper takes the mean; the other aggregations are ablations.

    >>> import numpy as np
    >>> from interpretability import task_margins
    >>> embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> task_margins(embeddings, np.array([[[0, 1, 2, 3]]]), n_explanations=1).tolist()
    [[2.0]]
    """
    rows = arguments.array(embeddings, "embeddings", ("images", "dimensions"))
    built = arguments.array(tasks, "tasks", ("units", "tasks", "2 (n_explanations + 1)"), empty=True)
    if built.dtype.kind not in "iu":
        raise arguments.wrong("tasks", "holds values of type {kind}; it must hold numbers of images", kind=built.dtype)
    arguments.count(n_explanations, "n_explanations")
    arguments.choice(aggregation, "aggregation", AGGREGATIONS)
    arguments.number(softmax_temperature, "softmax_temperature", above=0)
    workers = arguments.threads(threads)
    rows = length_one(rows, workers)
    if aggregation == "mean":
        return cosine_margins(rows, built, n_explanations, threads=workers)
    values = cosine_values(rows, built, n_explanations, threads=workers)
    return aggregated_margins(values, aggregation, softmax_temperature)


def length_one(embeddings: NDArray[np.floating], threads: int = 1) -> NDArray[np.floating]:
    """Rows of length 1 as `unit_rows` makes them, a few at a time; rows that it has made, float32 or kept as float16, as they
    are, because a second scaling would change their last bits.

    Raises InputError for values that are not finite.
    """
    kept_with = {"float32": 2.0**-24, "float16": 2.0**-11}.get(embeddings.dtype.name, -1.0)
    scaled = np.empty((0, 0), dtype=np.float32)

    def is_done(start: int) -> bool:
        part = embeddings[start : start + _TOGETHER]
        lengths = row_lengths(part.astype(np.float32) if part.dtype == np.float16 else part)
        return bool(((np.abs(lengths - 1) <= kept_with) | (lengths == 0)).all())

    def scale(start: int) -> None:
        part = embeddings[start : start + _TOGETHER]
        scaled[start : start + len(part)] = unit_rows(part)
        if not np.isfinite(scaled[start : start + len(part), 0]).all() or not np.isfinite(part).all():
            arguments.finite(part, "embeddings", first=start)

    starts = range(0, len(embeddings), _TOGETHER)
    with ThreadPoolExecutor(threads) as pool:
        if kept_with > 0 and is_done(0) and all(pool.map(is_done, starts)):
            return np.ascontiguousarray(embeddings)
        scaled = np.empty(embeddings.shape, dtype=np.float32)
        list(pool.map(scale, starts))
    return scaled
