"""Margins of tasks from embeddings: the compiled kernel against gathering rows and taking 4K cosines a task.

    python -m benchmarks.scoring [--images 50000] [--dim 1792] [--units 1024] [--rounds 5]

Four forms score the same tasks (20 a unit, 9 explanations a side) on 2 threads:

gather_block   the rows of 128 units' tasks are gathered, each query meets each explanation in torch's cosine_similarity
gather_unit    the same one unit at a time, so that the rows stay in the cache; `ratio` is to this one
bag            the algebra of the kernel, portable: torch's embedding_bag with weights 1/K and -1/K
kernel         `cosine_margins`

A plain sum over all embeddings on 2 threads, in the same round, measures the read bandwidth; a scoring form reads
2(K + 1) rows a task. The error is that of the MIS at slope 6.25, against cosines in double precision from the
embeddings before they were scaled to length 1.

Units are noisy directions of a 64-dimensional latent space that the embeddings show too, so tasks reuse images and
their margins are as wide as those of real units.

Expected on 2 cores with AVX-512: `ratio`, and `share_of_read` of the kernel, as in results/scoring.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import THREADS, ratios, report, take_turns, use_threads
from interpretability import randomness
from interpretability.extremes.selection import Extremes
from interpretability.margins import cosine_margins, unit_rows
from interpretability.mis import probabilities
from interpretability.randomness import generator
from interpretability.tasks import natural, rules

if TYPE_CHECKING:
    from torch import Tensor

SEED = 0
N_TASKS, K = 20, 9
LATENT = 64
SLOPE = 6.25
CHECKED = 64  # units scored in double precision
BLOCK = 128  # units at once: 0.4 GB of gathered rows, or 18 MB of sums of embedding_bag
PASSES = 4  # of the plain read, so that it takes about as long as the kernel

Rows = NDArray[np.float32]
Tasks = NDArray[np.int32]
Table = TypeVar("Table", Tasks, "Tensor")


def embeddings(images: int, dim: int) -> tuple[Rows, Rows]:
    """Latent vectors (images, LATENT) and embeddings (images, dim) that show them among noise."""
    draw = generator(SEED, "benchmark", "embeddings")
    latent = draw.standard_normal((images, LATENT), dtype=np.float32)
    shown = draw.standard_normal((images, dim), dtype=np.float32)
    shown += latent @ draw.standard_normal((LATENT, dim), dtype=np.float32) / np.float32(4)
    return latent, shown


def build_tasks(latent: Rows, units: int) -> Tasks:
    """Tasks (units, N, 2(K + 1)) of units that follow a random latent direction, with as much noise as signal."""
    draw = generator(SEED, "benchmark", "directions")
    directions = draw.standard_normal((LATENT, units), dtype=np.float32)
    directions /= np.float32(np.sqrt(LATENT))
    keys = randomness.unit_keys(SEED, "benchmark", "units", np.arange(units))
    extremes = Extremes(keys, rules.needed(N_TASKS, K), threads=THREADS)
    for start in range(0, len(latent), 1024):
        values = latent[start : start + 1024] @ directions
        values += draw.standard_normal(values.shape, dtype=np.float32)
        extremes.update(values, np.arange(start, start + len(values)))
    ranked = extremes.ranked()
    return natural.build(ranked.top_images, ranked.bottom_images, keys, N_TASKS, K)


def parts(tasks: Table) -> tuple[Table, Table, Table, Table]:
    """Explanations of both sides and their queries, (..., K), (..., K), (..., 1), (..., 1)."""
    return tasks[..., :K], tasks[..., K : 2 * K], tasks[..., 2 * K : 2 * K + 1], tasks[..., 2 * K + 1 :]


def gather(rows: Rows, tasks: Tasks, at_once: int) -> Rows:
    """Margins from the cosines of each query with each explanation, of so many units at once."""
    import torch

    table, margins = torch.from_numpy(rows), np.empty(tasks.shape[:2], dtype=np.float32)
    for start in range(0, len(tasks), at_once):
        own = torch.from_numpy(tasks[start : start + at_once])
        margins[start : start + at_once] = direct_margins(*(table[part] for part in parts(own))).numpy()
    return margins


def direct_margins(positive: Tensor, negative: Tensor, query_pos: Tensor, query_neg: Tensor) -> Tensor:
    """Margins (..., N) of tasks from gathered rows, tensors as `parts` cuts them: 4K cosines a task."""
    import torch

    near = [
        torch.nn.functional.cosine_similarity(query, side, dim=-1).mean(dim=-1)
        for query in (query_pos, query_neg)
        for side in (positive, negative)
    ]
    return (near[0] - near[1]) - (near[2] - near[3])


def bag(rows: Rows, tasks: Tasks) -> Rows:
    """Margins from weighted sums of rows that are never gathered."""
    import torch

    table, margins = torch.from_numpy(rows), np.empty(tasks.shape[:2], dtype=np.float32)
    signs = torch.tensor([1.0] * K + [-1.0] * K) / K
    for start in range(0, len(tasks), BLOCK):
        own = torch.from_numpy(tasks[start : start + BLOCK]).reshape(-1, 2 * (K + 1))
        sums = [
            torch.nn.functional.embedding_bag(
                images.contiguous(), table, mode="sum", per_sample_weights=weights.expand(images.shape).contiguous()
            )
            for images, weights in ((own[:, : 2 * K], signs), (own[:, 2 * K :], torch.tensor([1.0, -1.0])))
        ]
        margins[start : start + BLOCK] = (sums[0] * sums[1]).sum(dim=1).reshape(-1, tasks.shape[1]).numpy()
    return margins


def exact(raw: Rows, tasks: Tasks) -> NDArray[np.float64]:
    """Margins from direct cosines in double precision."""
    margins = np.empty(tasks.shape[:2])
    for unit, own in enumerate(tasks):
        rows = raw[own].astype(np.float64)
        rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
        positive, negative, query_pos, query_neg = np.split(rows, [K, 2 * K, 2 * K + 1], axis=1)
        near = [
            (query * side).sum(axis=-1).mean(axis=-1)
            for query in (query_pos, query_neg)
            for side in (positive, negative)
        ]
        margins[unit] = (near[0] - near[1]) - (near[2] - near[3])
    return margins


@numba.njit(nogil=True, fastmath=True)
def _sum(values):
    total = np.float32(0)
    for i in range(len(values)):
        total += values[i]
    return total


def read(rows: Rows) -> None:
    """Read the table from memory PASSES times."""
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(PASSES):
            list(pool.map(_sum, np.array_split(rows.reshape(-1), THREADS)))


def measure(
    forms: Mapping[str, Callable[[], object]], bytes_read: Mapping[str, int], rounds: int
) -> list[dict[str, Any]]:
    """Rows of the result table: seconds, ratios to both gathers, bandwidth, and its share of the plain read's."""
    turns = [take_turns(forms, turn) for turn in range(rounds)]
    times = {name: [turn[name] for turn in turns] for name in forms}
    speeds = {name: count / 1e9 / np.array(times[name])[:, 0] for name, count in bytes_read.items()}
    rows = []
    for name, speed in speeds.items():
        row: dict[str, Any] = {"case": name, "seconds": np.median(times[name], axis=0)[0]}
        if name != "read":
            row |= ratios(times["gather_unit"], times[name])
            row["ratio_to_block"] = ratios(times["gather_block"], times[name])["ratio"]
        row["gigabytes_per_s"] = np.median(speed)
        row["share_of_read"] = np.median(speed / speeds["read"])
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("images", 50_000), ("dim", 1792), ("units", 1024), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    use_threads()
    latent, raw = embeddings(args.images, args.dim)
    tasks = build_tasks(latent, args.units)
    few = tasks[:CHECKED]
    right = probabilities(exact(raw, few), SLOPE).mean(axis=1)
    rows = np.concatenate([unit_rows(part) for part in np.array_split(raw, 16)])
    del raw
    scorers = {
        "gather_block": partial(gather, at_once=BLOCK),
        "gather_unit": partial(gather, at_once=1),
        "bag": bag,
        "kernel": partial(cosine_margins, n_explanations=K, threads=THREADS),
    }
    errors = {}
    for name, score in scorers.items():  # also compiles, and starts the threads
        errors[name] = float(np.abs(probabilities(score(rows, few), SLOPE).mean(axis=1) - right).max())
    read(rows[:THREADS])
    forms: dict[str, Callable[[], object]] = {"read": partial(read, rows)}
    forms |= {name: partial(score, rows, tasks) for name, score in scorers.items()}
    bytes_read = dict.fromkeys(scorers, int(tasks.size * rows.shape[1] * rows.itemsize))
    bytes_read["read"] = PASSES * rows.nbytes
    table = measure(forms, bytes_read, args.rounds)
    for row in table:
        name = str(row["case"])
        if name in errors:
            row |= {"us_per_unit": 1e6 * row["seconds"] / args.units, "mis_error": errors[name]}
    title = f"{args.units} units, {args.images} images, dimension {args.dim}, {THREADS} threads; mean MIS {right.mean():.3f}"
    report("scoring", title, table)


if __name__ == "__main__":
    main()
