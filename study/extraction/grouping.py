"""Which networks share a pass, by the memory that their selections take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from study.environment import Environment
from study.errors import StudyError
from study.extraction.counting import CountJob, count_networks
from study.extraction.job import Extraction, is_stored
from study.files.store import WorkStore
from study.images.manifest import ImageSet
from study.log import in_words, logger
from study.networks import unit_lists
from study.workers.device import Failure, device, guarded
from study.workers.jobs import ask_worker, devices
from study.workers.placement import workers_here

log = logger("activations")

_ON_A_GPU = 8  # networks that share each image there, where decoding takes longer than most networks do
_FOR_STATES = 0.5  # of the free memory; networks, batches and the maps of a forward pass need the rest
GIB = 2**30


def networks_per_pass(n_networks: int) -> int:
    """Most networks that share a pass, from MIS_NETWORKS_PER_PASS; else one on a CPU, where decoding is cheap beside a
    forward pass, more on a GPU.

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
    free = ask_worker(FreeMemoryJob())
    if isinstance(free, Failure):
        raise StudyError(f"the free memory of a worker cannot be told ({free.reason}); set MIS_MEMORY_GB")
    return _FOR_STATES * free


@dataclass(frozen=True)
class FreeMemoryJob:
    """Bytes that a worker may have where it runs: of its GPU, or its share of the machine."""

    name: str = "free memory"
    size: float = 1.0

    def run(self) -> float:
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
    """Size of the whole columns that are kept, which lie in the memory of the machine, also beside a GPU."""
    return 4 * n_kept * n_images


@dataclass(frozen=True)
class NetworkCost:
    """What a network will cost: units, operations of a forward pass, bytes of memory and of columns that it keeps.

    `reason` says why it cannot be counted without its weights; it may run all the same: alone, as if it filled the memory.
    """

    name: str
    n_units: int = 0
    flops: int = 0
    memory: float = float("inf")
    columns: int = 0
    reason: str = ""


def network_costs(extractions: Sequence[Extraction], n_images: int) -> list[NetworkCost]:
    """Costs of networks in their order."""
    counts = count_networks([CountJob(one.row, one.params.units, one.code) for one in extractions])
    on_device = devices()[0] != "cpu"
    costs = []
    for extraction, count in zip(extractions, counts, strict=True):
        if isinstance(count, Failure):
            costs.append(NetworkCost(extraction.name, reason=count.reason))
            continue
        n_kept = guarded(partial(_count_kept, widths=count["widths"]), extraction)
        # the run itself says what is wrong
        columns = columns_bytes(0 if isinstance(n_kept, Failure) else n_kept, n_images)
        settings = extraction.params.activations
        memory = state_bytes(count["n_units"], settings.n_extremes, settings.batch_size, on_device=on_device)
        memory += count["direction_bytes"]
        memory += 0 if on_device else 2 * columns  # columns are copied once, while they are saved or written
        costs.append(NetworkCost(extraction.name, count["n_units"], count["flops"], memory, columns))
    return costs


def _count_kept(extraction: Extraction, widths: dict[str, int]) -> int:
    """Units of a network whose whole column is kept."""
    keep = extraction.params.activations.keep
    if not (keep or extraction.listed or extraction.explained):
        return 0
    owners = [(layer, unit) for layer, width in widths.items() for unit in range(width)]
    kept = unit_lists.indices_of(extraction.name, owners, keep, extraction.listed)
    return len({*kept, *extraction.explained.indices(extraction.name, owners)})


def in_store(extraction: Extraction, images: ImageSet, store: WorkStore) -> bool:
    """Whether a network has been computed; what cannot be asked for fails with its reason when it runs."""
    return guarded(partial(is_stored, images=images, store=store), extraction) is True


def shared_passes(extractions: Sequence[Extraction], n_images: int) -> list[list[Extraction]]:
    """Networks that share each image, as many as memory allows."""
    most = networks_per_pass(len(extractions) or 1)
    sizes, budget = [], float("inf")
    if most > 1:
        sizes, budget = [cost.memory for cost in network_costs(extractions, n_images)], memory_budget()
        log.info("networks share passes, up to %d and %s of states in each", most, in_words(budget))
    passes = indices_by_pass(extractions, [bool(one.packed) for one in extractions], most, sizes, budget)
    return [[extractions[index] for index in indices] for indices in passes]


def indices_by_pass(
    extractions: Sequence[Extraction], packed: Sequence[bool], most: int, sizes: Sequence[float], budget: float
) -> list[list[int]]:
    """Indices of networks by pass; a pass sees the images, or their pack."""
    passes = []
    for kind in (False, True):
        chosen = [index for index, sees_pack in enumerate(packed) if sees_pack == kind]
        views = [extractions[index].row["preprocessing"] for index in chosen]
        chosen_sizes = [sizes[index] for index in chosen] if sizes else ()
        passes += [[chosen[i] for i in part] for part in grouped_by_view(views, most, chosen_sizes, budget)]
    return passes


def grouped_by_view(
    views: Sequence[str], most: int, sizes: Sequence[float] = (), budget: float = float("inf")
) -> list[list[int]]:
    """Indices of networks by pass: at most `most` in each, whose `sizes` stay within the budget together (one that is larger
    runs alone); those with the same view of an image sit together.
    """
    first = {view: index for index, view in reversed(list(enumerate(views)))}
    order = sorted(range(len(views)), key=lambda index: (first[views[index]], index))
    passes: list[list[int]] = []
    used = 0.0
    for index in order:
        size = sizes[index] if sizes else 0.0
        if not passes or len(passes[-1]) == most or used + size > budget:
            passes.append([])
            used = 0.0
        passes[-1].append(index)
        used += size
    return passes
