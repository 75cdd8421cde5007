"""Margins of tasks whose explanations are grouped by topic.

Somebody who sees a side's images in groups looks for the group that a new image belongs to. So the similarity of a query to a
side is that to its most similar topic, and to a topic that to its images, made one by the aggregation of all other tasks.
With one topic a side these are the margins of all other tasks.

Departure: the paper averages over all images of a side (equation 1), which holds against a unit of two topics that a query is
like one of them alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.margins import aggregated

VERSION = 1


def topic_margins(
    values: NDArray[np.floating], topics: NDArray[np.integer], aggregation: str = "mean", temperature: float = 1.0
) -> NDArray[np.float32]:
    """Margins (units, N) float32 from the similarities (units, N, 2, 2K) of both queries with all explanations.

    topics          (units, N, 2K): topic of each explanation, 0, 1, ..., each side by itself
    aggregation     of the similarities to the images of a topic: those of `aggregated_margins`, with its `temperature`

    Higher is easier, 0 chance; swapping the queries changes the sign. Raises InputError for topics of another shape.
    """
    values = np.asarray(values, dtype=np.float64)
    if topics.shape != (*values.shape[:2], values.shape[-1]):
        raise InputError(
            "{topics} has shape {shape}; it must be {wanted}: a topic for each explanation",
            "topics",
            shape=topics.shape,
            wanted=(*values.shape[:2], values.shape[-1]),
        )
    size = values.shape[-1] // 2
    flat, of = values.reshape(-1, 2, 2, size), topics.reshape(-1, 2, size)
    sides = np.full(flat.shape[:3], -np.inf)
    for topic in range(int(topics.max(initial=-1)) + 1):
        # a task and side at a time: their topics have different numbers of images
        for task, side in np.argwhere((of == topic).any(axis=-1)):
            shown = flat[task, :, side][:, of[task, side] == topic]
            sides[task, :, side] = np.maximum(sides[task, :, side], aggregated(shown, aggregation, temperature))
    delta = sides[..., 0] - sides[..., 1]
    return (delta[:, 0] - delta[:, 1]).reshape(values.shape[:2]).astype(np.float32)
