"""Which networks share a pass, by the memory that their selections take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from study.environment import Environment
from study.errors import StudyError
from study.extraction import counting
from study.extraction.job import Job, stored
from study.files.store import WorkStore
from study.images.manifest import ImageSet
from study.log import in_words, logger
from study.networks import unit_lists
from study.workers.device import Failure, device, guarded
from study.workers.jobs import devices, run_jobs
from study.workers.placement import workers_here

log = logger("activations")


_ON_A_GPU = 8  # networks that share each picture there, where decoding takes longer than most networks do
_FOR_STATES = 0.5  # of the free memory; networks, batches and the maps of a forward pass need the rest
GIB = 2**30


def networks_a_pass(n_networks: int) -> int:
    """From MIS_NETWORKS_PER_PASS; else one on a CPU, where decoding is cheap beside a forward pass, more on a GPU.

    Never so many that a worker has nothing to do.
    """
    most, workers = Environment.read().networks_per_pass, devices()
    if most is None:
        most = 1 if workers[0] == "cpu" else _ON_A_GPU
    return max(1, min(most, -(-n_networks // len(workers))))


def memory_budget() -> float:
    """Bytes for the selection states of one worker: MIS_MEMORY_GB for all workers together, else half of what is free."""
    total = Environment.read().memory_gb
    if total is not None:
        return total * GIB / len(devices())
    free = next(run_jobs(_free_for_a_worker, [None], ["free memory"]))[1]
    if isinstance(free, Failure):
        raise StudyError(f"the free memory of a worker cannot be told ({free.reason}); set MIS_MEMORY_GB")
    return _FOR_STATES * free


def _free_for_a_worker(_: None) -> float:
    """Bytes that a worker may have where it runs: of its GPU, or its share of the machine."""
    if device().startswith("cpu"):
        return _free_memory() / workers_here()
    import torch

    return float(torch.cuda.mem_get_info(device())[0])


def _free_memory() -> int:
    """Bytes that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def state_bytes(n_units: int, k: int, batch_size: int, *, on_device: bool) -> int:
    """Memory of the selection of one network, at its highest: buffers of candidates or a chunk of keys (on a device also
    while it is merged and a batch becomes keys), the state while it is written, moments, and a batch of values.
    """
    from interpretability.extremes.moments import N_BINS
    from interpretability.extremes.on_gpu import CHUNK

    final = 2 * (k + 1) * 8
    merging = 8 * (k + 1 + CHUNK) + 16 * (k + 1) + 48 * min(batch_size, CHUNK)  # joined keys, topk, keys of a batch
    candidates = 8 * CHUNK + final + merging if on_device else 2 * final
    return n_units * (candidates + final + 2 * N_BINS * 8 + 8 + 4 * batch_size)


def extremes_bytes(n_units: int, k: int) -> int:
    """Size of the file of a network: images and values of both sides, and statistics."""
    return n_units * (2 * k * 8 + 2 + 2 * 4 + 3 * 8)


def columns_bytes(n_kept: int, n_images: int) -> int:
    """Size of the whole columns that activations.keep asks for, which lie in the memory of the machine, also beside a GPU."""
    return 4 * n_kept * n_images


def grouped(
    views: Sequence[str], most: int, sizes: Sequence[float] = (), budget: float = float("inf")
) -> list[list[int]]:
    """Places of networks by pass: at most `most` in each, whose `sizes` stay within the budget together (one that is larger
    runs alone); those with the same view of a picture sit together.
    """
    first = {view: place for place, view in reversed(list(enumerate(views)))}
    order = sorted(range(len(views)), key=lambda place: (first[views[place]], place))
    passes: list[list[int]] = []
    used = 0.0
    for place in order:
        size = sizes[place] if sizes else 0.0
        if not passes or len(passes[-1]) == most or used + size > budget:
            passes.append([])
            used = 0.0
        passes[-1].append(place)
        used += size
    return passes


def in_store(job: Job, images: ImageSet, store: WorkStore) -> bool:
    """Whether a network has been computed; what cannot be asked for fails with its reason when it runs."""
    return guarded(partial(stored, images=images, store=store), job) is True


def share_passes(jobs: list[Job], n_images: int) -> list[list[Job]]:
    """Networks that share each picture, as many as memory allows."""
    most = networks_a_pass(len(jobs) or 1)
    sizes, budget = [], float("inf")
    if most > 1:
        sizes, budget = [row["memory"] for row in costs(jobs, n_images)], memory_budget()
        log.info("networks share passes, up to %d and %s of states in each", most, in_words(budget))
    parts = jobs_by_pass(jobs, [bool(job.packed) for job in jobs], most, sizes, budget)
    return [[jobs[place] for place in part] for part in parts]


def jobs_by_pass(
    jobs: Sequence[Job], packed: Sequence[bool], most: int, sizes: Sequence[float], budget: float
) -> list[list[int]]:
    """Places of jobs by pass; a pass sees the pictures, or their pack."""
    parts = []
    for kind in (False, True):
        own = [place for place, each in enumerate(packed) if each == kind]
        views = [jobs[place].row["preprocessing"] for place in own]
        sized = [sizes[place] for place in own] if sizes else ()
        parts += [[own[i] for i in part] for part in grouped(views, most, sized, budget)]
    return parts


def costs(jobs: Sequence[Job], n_images: int) -> list[dict[str, Any]]:
    """What each network will cost. One that cannot be counted without its weights may run all the same: alone, as if it
    filled the memory.
    """
    rows = []
    counts = counting.count_all([counting.Job(job.row, job.params.units, job.code) for job in jobs])
    on_device = devices()[0] != "cpu"
    for job, found in zip(jobs, counts, strict=True):
        name, given = job.row["name"], job.params.activations
        row = {
            "name": name,
            "n_units": 0,
            "flops": 0,
            "memory": float("inf"),
            "columns": 0,
            "found": False,
            "reason": "",
        }
        if isinstance(found, Failure):
            row["reason"] = found.reason
        else:
            n_kept = guarded(partial(number_kept, widths=found["widths"]), job)
            columns = columns_bytes(
                0 if isinstance(n_kept, Failure) else n_kept, n_images
            )  # the run itself says what is wrong
            memory = state_bytes(found["n_units"], given.n_extremes, given.batch_size, on_device=on_device)
            # columns are copied once, while they are saved or written
            row |= {"n_units": found["n_units"], "flops": found["flops"], "columns": columns,
                    "memory": memory + (0 if on_device else 2 * columns)}  # fmt: skip
        rows.append(row)
    return rows


def number_kept(job: Job, widths: dict[str, int]) -> int:
    """Units of a network whose whole column is kept."""
    given = job.params.activations
    if not (given.keep or job.listed):
        return 0
    owners = [(layer, unit) for layer, width in widths.items() for unit in range(width)]
    return len(unit_lists.places(job.row["name"], owners, given.keep, job.listed))
