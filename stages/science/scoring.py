"""Margins of tasks from image embeddings, without ever gathering the embeddings of many tasks.

With unit rows x and the mean as aggregation, s(q, E) = mean_e q.e = q . mean(E), so the margin of a task is

    Delta+ - Delta- = (q+ - q-) . (mean E+ - mean E-)

(paper, equations 1 to 3). Each row is read once, straight from the embedding table; a task keeps two vectors.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numpy.typing import NDArray

VERSION = 1


def unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to length 1 in float32. A row of zeros stays zero: it is equally unlike everything."""
    rows = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0).astype(np.float32)


def cosine_margins(
    embeddings: NDArray[np.float32], tasks: NDArray[np.int32], n_explanations: int, *, threads: int = 1
) -> NDArray[np.float32]:
    """Margins (units, N) of tasks (units, N, 2(K + 1)) over unit rows `embeddings` (images, D); in [-4, 4], higher is easier."""
    return _in_parts(_margins, embeddings, tasks, n_explanations, threads)


def nearest_explanation(
    embeddings: NDArray[np.float32], tasks: NDArray[np.int32], n_explanations: int, *, threads: int = 1
) -> NDArray[np.float32]:
    """Largest cosine (units, N) of a task's queries with any explanation of either side."""
    return _in_parts(_nearest, embeddings, tasks, n_explanations, threads)


def _in_parts(kernel, embeddings, tasks, n_explanations, threads):  # noqa: ANN001, ANN202
    tasks = np.ascontiguousarray(tasks, dtype=np.int32)
    if tasks.ndim != 3 or tasks.shape[2] != 2 * (n_explanations + 1):
        raise ValueError(f"tasks have shape {tasks.shape}, the last axis must be 2 * ({n_explanations} + 1)")
    if tasks.size and (tasks.min() < 0 or tasks.max() >= len(embeddings)):
        raise ValueError(f"tasks name images {tasks.min()}..{tasks.max()}, there are {len(embeddings)}")
    out = np.empty(tasks.shape[:2], dtype=np.float32)
    step = max(1, -(-len(tasks) // threads))
    starts = range(0, len(tasks), step)
    if len(starts) <= 1:
        kernel(embeddings, tasks, n_explanations, out)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(
                pool.map(
                    lambda s: kernel(embeddings, tasks[s : s + step], n_explanations, out[s : s + step]),
                    starts,
                )
            )
    return out


@numba.njit(nogil=True, cache=True, fastmath=True)
def _margins(rows, tasks, k, out):  # noqa: ANN001, ANN202
    d = rows.shape[1]
    scale = np.float32(1.0 / k)
    difference = np.empty(d, dtype=np.float32)
    for u in range(tasks.shape[0]):
        for t in range(tasks.shape[1]):
            task = tasks[u, t]
            difference[:] = np.float32(0)
            for j in range(k):
                positive, negative = rows[task[j]], rows[task[k + j]]
                for i in range(d):
                    difference[i] += positive[i] - negative[i]
            query_pos, query_neg = rows[task[2 * k]], rows[task[2 * k + 1]]
            total = np.float32(0)
            for i in range(d):
                total += (query_pos[i] - query_neg[i]) * difference[i]
            out[u, t] = total * scale


@numba.njit(nogil=True, cache=True, fastmath=True)
def _nearest(rows, tasks, k, out):  # noqa: ANN001, ANN202
    d = rows.shape[1]
    for u in range(tasks.shape[0]):
        for t in range(tasks.shape[1]):
            task = tasks[u, t]
            query_pos, query_neg = rows[task[2 * k]], rows[task[2 * k + 1]]
            largest = np.float32(-2)
            for j in range(2 * k):
                explanation = rows[task[j]]
                a, b = np.float32(0), np.float32(0)
                for i in range(d):
                    a += query_pos[i] * explanation[i]
                    b += query_neg[i] * explanation[i]
                largest = max(largest, a, b)
            out[u, t] = largest
