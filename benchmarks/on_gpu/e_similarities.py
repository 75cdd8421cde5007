"""LPIPS and DISTS on a card, with random weights: the margins of the CPU, launches and waits of a block, tasks a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu import alone
from interpretability.similarity.features import FeatureSimilarity
from study.workers.device import exact
from tests.helpers import random_weights

SECONDS = 35
NAMES = ("lpips-alex", "lpips-vgg", "dists")
K, UNITS, TASKS = 9, 8, 20  # of a block
IMAGES = 120
LAUNCHES, WAITS, TOLERANCE = 20.0, 1.0, 1e-5
_WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")

Row = tuple[str, str, float, float | None, bool | None]


def block(units: int, tasks: int, images: int) -> NDArray[np.int32]:
    """Tasks (units, tasks, 2 (K + 1)), each of distinct images."""
    rng = np.random.default_rng(0)
    every = [rng.permutation(images)[: 2 * (K + 1)] for _ in range(units * tasks)]
    return np.reshape(every, (units, tasks, 2 * (K + 1))).astype(np.int32)


def opened(name: str, device: str, size: int, images: int) -> FeatureSimilarity:
    """A similarity whose table holds all images; on a GPU it has been compared with its package's own calls there."""
    shown = random_weights.pictures(size, images)
    check = device != "cpu"
    made = random_weights.opened(name, shown, check=check, device=device, size=size, cache_bytes=2**34)
    assert isinstance(made, FeatureSimilarity)
    return made


def counted(similarity: FeatureSimilarity, tasks: NDArray[np.int32], on_gpu: bool) -> tuple[int, int]:
    """Launches, copies included, and waits of a block whose features are kept; without a GPU the operations of torch.

    A profiler waits for the device itself as it ends, which may stand among what it saw: what one sees of nothing is no wait
    of a block.
    """
    launches, waits = _seen(lambda: similarity.margins(tasks, K), on_gpu)
    return launches, waits - _seen(lambda: None, on_gpu)[1]


def _seen(work: Callable[[], object], on_gpu: bool) -> tuple[int, int]:
    """Launches and waits in what a profiler sees."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as seen:
        work()
    events = seen.events() or []
    there = "CUDA" if on_gpu else "CPU"
    launches = sum(event.device_type.name == there for event in events)
    return launches, sum(event.name in _WAITING for event in events)


def seconds(similarity: FeatureSimilarity, tasks: NDArray[np.int32]) -> float:
    began = perf_counter()
    similarity.margins(tasks, K)  # ends with a wait for its numbers
    return perf_counter() - began


def of_similarity(
    name: str, device: str, sizes: tuple[int, int], images: int, tasks: NDArray[np.int32]
) -> Iterator[Row]:
    """Margins at the small size beside those of the CPU; rates, launches and waits at the large one."""
    what, on_gpu, (small, large) = f"12 {name}", device.startswith("cuda"), sizes
    there = opened(name, device, small, images)
    here = opened(name, "cpu", small, images) if on_gpu else there
    worst = float(np.abs(there.margins(tasks, K) - here.margins(tasks, K)).max())
    yield f"{what}, margins from the CPU's", "", worst, TOLERANCE, worst <= TOLERANCE
    if large != small:
        there = opened(name, device, large, images)
    there._table, before = None, there.forwards  # pyright: ignore[reportPrivateUsage]
    cold = seconds(there, tasks)
    yield f"{what}, images/s first seen", "images/s", (there.forwards - before) / cold, None, None
    kept = float(np.median([seconds(there, tasks) for _ in range(5)]))
    yield f"{what}, tasks/s of kept features", "tasks/s", tasks[..., 0].size / kept, None, None
    launches, waits = counted(there, tasks, on_gpu)
    yield f"{what}, launches a block", "launches", launches, LAUNCHES, 0 < launches <= LAUNCHES
    yield f"{what}, waits a block", "waits", waits, WAITS, waits <= WAITS


def checks(device: str, quick: bool) -> Iterator[Row]:
    """Rows of each similarity; quick: a few small pictures."""
    if device.startswith("cuda"):
        exact(device)
    small, large = (32, 32) if quick else (64, 224)
    images, tasks = (20, block(1, 2, 20)) if quick else (IMAGES, block(UNITS, TASKS, IMAGES))
    for name in NAMES:
        yield from alone(f"12 {name}", of_similarity(name, device, (small, large), images, tasks))
    yield from alone("12 dists, kernel in use", kernel_in_use(device))


def kernel_in_use(device: str) -> Iterator[Row]:
    """Whether the kernel of DISTS was built."""
    from interpretability.similarity.backends import (
        dists,
    )  # imports piq, without which the others are checked all the same

    built = dists._kernel(torch.device(device)) is not None  # pyright: ignore[reportPrivateUsage]
    yield "12 dists, kernel in use", "equal", float(built), 1.0, built
