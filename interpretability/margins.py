"""Margins of tasks from image embeddings or feature vectors, without ever gathering those of many tasks.

With unit rows x and the mean as aggregation, s(q, E) = mean_e q.e = q . mean(E), so the margin of a task is

    Delta+ - Delta- = (q+ - q-) . (mean E+ - mean E-)

(paper, equations 1 to 3). Each row is read once, straight from the table; a task keeps two vectors. The same holds up to
a factor for every similarity of the form -|x - y|^2: the squared lengths of queries and of explanations cancel. Other
aggregations need all 2 x 2K similarities of a task, which `values` kernels give and `aggregated_margins` reduces.

Rows may be float32 or float16; sums are always taken in float32 or better.
"""

# intrinsics of numba get their first parameter from the compiler
# pyright: reportCallIssue=false

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.intrinsics import prefetch

VERSION = 1
AGGREGATIONS = ("mean", "max", "median", "softmax")
_LINE = 16  # float32 values of a cache line of 64 bytes
_STRETCH = 128  # values added between two requests for the next rows; a fixed length compiles to vector code
_CHUNK = 2048  # floats of a long row taken at a time: those of a whole task then stay in the second-level cache


def unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows scaled to length 1 in float32. A row of zeros stays zero: it is equally unlike everything.

    Squares are added in double precision and in one fixed order, so a row's bits depend on that row alone.
    """
    rows = np.asarray(embeddings)
    if rows.dtype.name not in ("float32", "float64"):
        rows = rows.astype(np.float64)
    scaled = np.empty(rows.shape, dtype=np.float32)
    _scale(np.ascontiguousarray(rows), _pairwise(rows.shape[1]), scaled)
    return scaled


def row_lengths(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lengths (images,) of rows float32 or float64, as `unit_rows` takes them."""
    lengths = np.empty(len(rows))
    _lengths(np.ascontiguousarray(rows), _pairwise(rows.shape[1]), lengths)
    return lengths


def cosine_margins(
    embeddings: NDArray[np.floating], tasks: NDArray[np.integer], n_explanations: int, *, threads: int = 1
) -> NDArray[np.float32]:
    """Margins (units, N) of tasks (units, N, 2(K + 1)) over unit rows `embeddings` (images, D); in [-4, 4], higher is easier."""
    return _in_parts(_margins, embeddings, tasks, n_explanations, threads)


def nearest_explanation(
    embeddings: NDArray[np.floating], tasks: NDArray[np.integer], n_explanations: int, *, threads: int = 1
) -> NDArray[np.float32]:
    """Largest cosine (units, N) of a task's queries with any explanation of either side."""
    return _in_parts(_nearest, embeddings, tasks, n_explanations, threads)


def cosine_values(
    embeddings: NDArray[np.floating], tasks: NDArray[np.integer], n_explanations: int, *, threads: int = 1
) -> NDArray[np.float32]:
    """Cosines (units, N, 2, 2K) of both queries (positive first) with all explanations (positive ones first)."""
    return _in_parts(_values, embeddings, tasks, n_explanations, threads, (2, 2 * n_explanations))


def distance_margins(rows: NDArray[np.float32], tasks: NDArray[np.integer], n_explanations: int) -> NDArray[np.float32]:
    """Margins (units, N) under the similarity -|x - y|^2 of long rows (slots, P), mean aggregation: 2 (q+ - q-) . (E+ - E-)."""
    return _in_parts(_distance_margins, rows, tasks, n_explanations, 1)


def distance_values(rows: NDArray[np.float32], tasks: NDArray[np.integer], n_explanations: int) -> NDArray[np.float32]:
    """Similarities -|x - y|^2 (units, N, 2, 2K) of long rows (slots, P), from differences: no cancellation."""
    return _in_parts(_distance_values, rows, tasks, n_explanations, 1, (2, 2 * n_explanations))


def looked_up(
    table: NDArray[np.floating],
    tasks: NDArray[np.integer],
    n_explanations: int,
    aggregate: Callable[[NDArray[np.floating]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Margins (units, N) of tasks from the similarities (images, images) of all pairs.

    `aggregate` makes margins of the similarities (units, N, 2, 2K) of both queries with all explanations.
    """
    parts = [np.empty((0, tasks.shape[1]), np.float32)]
    for start in range(0, len(tasks), _LOOKED_UP):
        part = tasks[start : start + _LOOKED_UP]
        parts.append(aggregate(table[part[..., 2 * n_explanations :, None], part[..., None, : 2 * n_explanations]]))
    return np.concatenate(parts)


@functools.lru_cache(maxsize=64)
def _pairwise(n: int) -> NDArray[np.int64]:
    """How n numbers are added pairwise: runs (start, length, joins), where joins counts the sums that end after a run.

    Runs longer than 128 are halved, at a multiple of 8. This order is numpy's, and part of the definition of the last bits
    of embeddings.
    """
    runs: list[list[int]] = []

    def add(start: int, length: int) -> None:
        if length <= _RUN:
            runs.append([start, length, 0])
            return
        half = length // 2 - length // 2 % 8
        add(start, half)
        add(start + half, length - half)
        runs[-1][2] += 1

    add(0, n)
    return np.array(runs, dtype=np.int64)


@numba.njit(nogil=True, cache=True)
def _length(row, runs, sums):
    """Length of a row, its squares added in eight sums a run, and runs joined as `_pairwise` says; `sums` is a stack."""
    height = 0
    for run in range(len(runs)):
        start, length = runs[run, 0], runs[run, 1]
        whole = start + length - length % 8
        a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(start, whole, 8):
            a += np.float64(row[i]) * np.float64(row[i])
            b += np.float64(row[i + 1]) * np.float64(row[i + 1])
            c += np.float64(row[i + 2]) * np.float64(row[i + 2])
            d += np.float64(row[i + 3]) * np.float64(row[i + 3])
            e += np.float64(row[i + 4]) * np.float64(row[i + 4])
            f += np.float64(row[i + 5]) * np.float64(row[i + 5])
            g += np.float64(row[i + 6]) * np.float64(row[i + 6])
            h += np.float64(row[i + 7]) * np.float64(row[i + 7])
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
        for i in range(whole, start + length):
            total += np.float64(row[i]) * np.float64(row[i])
        for _ in range(runs[run, 2]):
            height -= 1
            total = sums[height] + total
        sums[height] = total
        height += 1
    return np.sqrt(sums[0])


@numba.njit(nogil=True, cache=True)
def _lengths(rows, runs, out):
    sums = np.empty(64)
    for i in range(len(rows)):
        out[i] = _length(rows[i], runs, sums)


@numba.njit(nogil=True, cache=True)
def _scale(rows, runs, out):
    sums = np.empty(64)
    for i in range(len(rows)):
        length = _length(rows[i], runs, sums)
        for j in range(rows.shape[1]):
            out[i, j] = np.float32(np.float64(rows[i, j]) / length) if length > 0 else np.float32(0)


def aggregated_margins(values: NDArray[np.floating], aggregation: str, temperature: float = 1.0) -> NDArray[np.float32]:
    """Margins (units, N) from the similarities (units, N, 2, 2K) of both queries with all explanations.

    aggregation  mean; max; median; softmax: the mean weighted by exp(similarity / temperature), which tends to the
                 maximum for small temperatures and to the mean for large ones
    Departure: the paper takes the mean; the others are ablations.
    """
    values = np.asarray(values, dtype=np.float64)
    k = values.shape[-1] // 2
    sides = aggregated(values.reshape(*values.shape[:-1], 2, k), aggregation, temperature)
    delta = sides[..., 0] - sides[..., 1]
    return (delta[..., 0] - delta[..., 1]).astype(np.float32)


def aggregated(values: NDArray[np.float64], aggregation: str, temperature: float) -> NDArray[np.float64]:
    """One similarity of those along the last axis, as `aggregated_margins` says."""
    if aggregation == "mean":
        return values.mean(axis=-1)
    if aggregation == "max":
        return values.max(axis=-1)
    if aggregation == "median":
        return np.median(values, axis=-1)
    if aggregation == "softmax":
        weights = np.exp((values - values.max(axis=-1, keepdims=True)) / temperature)
        return (weights * values).sum(axis=-1) / weights.sum(axis=-1)
    raise arguments.wrong(
        "aggregation", "is {given!r}, allowed: {words}", given=aggregation, words=", ".join(AGGREGATIONS)
    )


def _in_parts(
    kernel: Callable[..., None],
    rows: NDArray[np.floating],
    tasks: NDArray[np.integer],
    n_explanations: int,
    threads: int,
    shape: tuple[int, ...] = (),
) -> NDArray[np.float32]:
    tasks = np.ascontiguousarray(narrowed(np.asarray(tasks), np.int32, "tasks"))
    if tasks.ndim != 3 or tasks.shape[2] != 2 * (n_explanations + 1):
        raise InputError(
            "{tasks} has shape {shape}; it must be (units, tasks, 2 * ({n_explanations} + 1)), {last} at the end",
            "tasks",
            "n_explanations",
            shape=tasks.shape,
            last=2 * (n_explanations + 1),
        )
    if tasks.size and (tasks.min() < 0 or tasks.max() >= len(rows)):
        raise InputError(
            "{tasks} names images {low} to {high}, but there are {count} images",
            "tasks",
            low=tasks.min(),
            high=tasks.max(),
            count=len(rows),
        )
    # compiled code knows no half; `widened` turns the bits into float32
    table = rows.view(np.uint16) if rows.dtype == np.float16 else rows
    flat = tasks.reshape(-1, tasks.shape[2])
    out = np.empty((len(flat), *shape), dtype=np.float32)
    step = max(1, -(-len(flat) // threads))
    starts = range(0, len(flat), step)
    if len(starts) <= 1:
        kernel(table, flat, n_explanations, out)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda s: kernel(table, flat[s : s + step], n_explanations, out[s : s + step]), starts))
    return out.reshape(*tasks.shape[:2], *shape)


_RUN = 128  # numbers of a row that are added in one go
_LOOKED_UP = 1024  # units at a time
_HAS_HALF = bool(llvmlite.binding.get_host_cpu_features().get("f16c"))


@intrinsic
def widened(typing_context, number):  # noqa: ANN201
    """A number of a row as float32: float32 as it is, the bits of a half (uint16) exactly converted."""
    if number == types.float32:
        return types.float32(number), lambda context, builder, signature, args: args[0]
    if number == types.uint16:
        return types.float32(number), _widen_half if _HAS_HALF else _widen_bits
    return None


def _widen_half(context, builder, signature, args):
    return builder.fpext(builder.bitcast(args[0], ir.HalfType()), ir.FloatType())


def _widen_bits(context, builder, signature, args):
    """The same without an instruction for it: exponent and fraction moved in place, then the bias put right."""
    word, real = ir.IntType(32), ir.FloatType()
    bits = builder.zext(args[0], word)
    size = builder.shl(builder.and_(bits, word(0x7FFF)), word(13))
    # both exponents start at the bottom of their range; 2^112 is the difference of the biases 127 and 15
    scaled = builder.fmul(builder.bitcast(size, real), real(2.0**112))
    sign = builder.shl(builder.and_(bits, word(0x8000)), word(16))
    return builder.bitcast(builder.or_(builder.bitcast(scaled, word), sign), real)


@numba.njit(nogil=True, cache=True, inline="always")
def _fetch(rows, plus, minus, first, last):
    for i in range(first, last, _LINE):
        prefetch(rows, plus, i)
        prefetch(rows, minus, i)


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
                    difference[start + i] += widened(rows[plus, start + i]) - widened(rows[minus, start + i])
            for i in range(stretches * _STRETCH, d):
                difference[i] += widened(rows[plus, i]) - widened(rows[minus, i])
        _fetch(rows, np.intp(following[0]), np.intp(following[k]), 0, d)
        query_pos, query_neg = rows[task[2 * k]], rows[task[2 * k + 1]]
        total = np.float32(0)
        for i in range(d):
            total += (widened(query_pos[i]) - widened(query_neg[i])) * difference[i]
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
                a += widened(query_pos[i]) * widened(explanation[i])
                b += widened(query_neg[i]) * widened(explanation[i])
            largest = max(largest, a, b)
        out[n] = largest


@numba.njit(nogil=True, cache=True, fastmath=True)
def _values(rows, tasks, k, out):
    d = rows.shape[1]
    for n in range(len(tasks)):
        task = tasks[n]
        query_pos, query_neg = rows[task[2 * k]], rows[task[2 * k + 1]]
        for j in range(2 * k):
            explanation = rows[task[j]]
            a, b = np.float32(0), np.float32(0)
            for i in range(d):
                a += widened(query_pos[i]) * widened(explanation[i])
                b += widened(query_neg[i]) * widened(explanation[i])
            out[n, 0, j] = a
            out[n, 1, j] = b


@numba.njit(nogil=True, cache=True, fastmath=True)
def _distance_margins(rows, tasks, k, out):
    p = rows.shape[1]
    difference = np.empty(_CHUNK, dtype=np.float32)
    for n in range(len(tasks)):
        task = tasks[n]
        whole = 0.0
        for start in range(0, p, _CHUNK):
            stop = min(start + _CHUNK, p)
            difference[:] = np.float32(0)
            for j in range(k):
                positive, negative = rows[task[j], start:stop], rows[task[k + j], start:stop]
                for i in range(stop - start):
                    difference[i] += positive[i] - negative[i]
            query_pos, query_neg = rows[task[2 * k], start:stop], rows[task[2 * k + 1], start:stop]
            total = np.float32(0)
            for i in range(stop - start):
                total += (query_pos[i] - query_neg[i]) * difference[i]
            whole += total
        out[n] = 2 * whole / k


@numba.njit(nogil=True, cache=True, fastmath=True)
def _distance_values(rows, tasks, k, out):
    p = rows.shape[1]
    whole = np.empty((2, 2 * k), dtype=np.float64)
    for n in range(len(tasks)):
        task = tasks[n]
        whole[:] = 0.0
        for start in range(0, p, _CHUNK):
            stop = min(start + _CHUNK, p)
            for q in range(2):
                query = rows[task[2 * k + q], start:stop]
                for j in range(2 * k):
                    explanation = rows[task[j], start:stop]
                    total = np.float32(0)
                    for i in range(stop - start):
                        total += (query[i] - explanation[i]) * (query[i] - explanation[i])
                    whole[q, j] += total
        out[n] = -whole
