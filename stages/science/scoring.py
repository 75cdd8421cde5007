"""Margins of tasks from image embeddings, without ever gathering the embeddings of many tasks.

With unit rows x and the mean as aggregation, s(q, E) = mean_e q.e = q . mean(E), so the margin of a task is

    Delta+ - Delta- = (q+ - q-) . (mean E+ - mean E-)

(paper, equations 1 to 3). Each row is read once, straight from the embedding table; a task keeps two vectors.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

VERSION = 1
_LINE = 16  # float32 values of a cache line of 64 bytes
_STRETCH = 128  # values added between two requests for the next rows; a fixed length compiles to vector code


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


def _in_parts(kernel, embeddings, tasks, n_explanations, threads):
    tasks = np.ascontiguousarray(tasks, dtype=np.int32)
    if tasks.ndim != 3 or tasks.shape[2] != 2 * (n_explanations + 1):
        raise ValueError(f"tasks have shape {tasks.shape}, the last axis must be 2 * ({n_explanations} + 1)")
    if tasks.size and (tasks.min() < 0 or tasks.max() >= len(embeddings)):
        raise ValueError(f"tasks name images {tasks.min()}..{tasks.max()}, there are {len(embeddings)}")
    out = np.empty(tasks.shape[:2], dtype=np.float32)
    flat, margins = tasks.reshape(-1, tasks.shape[2]), out.reshape(-1)
    step = max(1, -(-len(flat) // threads))
    starts = range(0, len(flat), step)
    if len(starts) <= 1:
        kernel(embeddings, flat, n_explanations, margins)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(
                pool.map(
                    lambda s: kernel(embeddings, flat[s : s + step], n_explanations, margins[s : s + step]),
                    starts,
                )
            )
    return out


@intrinsic
def _prefetch(_typing_context, rows, row, column):
    """Start loading rows[row, column] into the second-level cache without waiting; changes no result."""

    def generate(context, builder, _signature, arguments):
        array = context.make_array(rows)(context, builder, arguments[0])
        address = builder.bitcast(
            cgutils.get_item_pointer(context, builder, rows, array, arguments[1:]), cgutils.voidptr_t
        )
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        instruction = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        to_read, second_level, data = number(0), number(2), number(1)
        builder.call(instruction, [address, to_read, second_level, data])
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp), generate


@numba.njit(nogil=True, cache=True, inline="always")
def _fetch(rows, plus, minus, first, last):
    for i in range(first, last, _LINE):
        _prefetch(rows, plus, i)
        _prefetch(rows, minus, i)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _margins(rows, tasks, k, out):
    """While two rows are added, the next two are on their way: most of the time would go into waiting for them."""
    d = rows.shape[1]
    stretches = d // _STRETCH
    scale = np.float32(1.0 / k)
    difference = np.empty(d, dtype=np.float32)
    for n in range(len(tasks)):
        task, following = tasks[n], tasks[min(n + 1, len(tasks) - 1)]
        difference[:] = np.float32(0)
        for j in range(k):
            plus, minus = np.uint64(task[j]), np.uint64(task[k + j])
            last = j == k - 1
            next_plus = np.intp(task[2 * k if last else j + 1])
            next_minus = np.intp(task[2 * k + 1 if last else k + j + 1])
            for stretch in range(stretches):
                start = stretch * _STRETCH
                _fetch(rows, next_plus, next_minus, start, start + _STRETCH)
                for i in range(_STRETCH):
                    difference[start + i] += rows[plus, start + i] - rows[minus, start + i]
            for i in range(stretches * _STRETCH, d):
                difference[i] += rows[plus, i] - rows[minus, i]
        _fetch(rows, np.intp(following[0]), np.intp(following[k]), 0, d)
        query_pos, query_neg = rows[task[2 * k]], rows[task[2 * k + 1]]
        total = np.float32(0)
        for i in range(d):
            total += (query_pos[i] - query_neg[i]) * difference[i]
        out[n] = total * scale


@numba.njit(nogil=True, cache=True, fastmath=True)
def _nearest(rows, tasks, k, out):
    d = rows.shape[1]
    for n in range(len(tasks)):
        task = tasks[n]
        query_pos, query_neg = rows[task[2 * k]], rows[task[2 * k + 1]]
        largest = np.float32(-2)
        for j in range(2 * k):
            explanation = rows[task[j]]
            a, b = np.float32(0), np.float32(0)
            for i in range(d):
                a += query_pos[i] * explanation[i]
                b += query_neg[i] * explanation[i]
            largest = max(largest, a, b)
        out[n] = largest
