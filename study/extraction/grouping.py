"""What networks cost, and passes of as many of them as memory and other workers allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from study.environment import Environment
from study.errors import StudyError
from study.extraction.columns import IMAGES
from study.extraction.compiling import is_compiled
from study.extraction.counting import CountJob, NetworkCount, count_networks
from study.extraction.job import Extraction, is_stored
from study.extraction.ordering import grouped_by_view, longest_first, longest_share, work
from study.extraction.pass_memory import ahead_bytes, device_bytes, host_bytes, pinned
from study.extraction.windows import state_bytes_of_windows
from study.files.store import WorkStore
from study.images.ahead import decoders, n_buffers
from study.images.manifest import ImageSet
from study.log import in_words, logger
from study.networks import unit_lists
from study.workers.device import Failure, device, guarded
from study.workers.jobs import ask_worker, devices
from study.workers.placement import workers_here

log = logger("activations")

_ON_A_GPU = 8  # networks that share each image there, where decoding takes longer than most networks do
_FOR_STATES = 0.5  # of the free memory; on a CPU networks, batches and maps need the rest, on a GPU libraries
_WORTH_COUNTING = 10_000  # images from which a pass takes so long that its networks are counted for the order alone
GIB = 2**30
UNLIMITED = float("inf")


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
    """Bytes for the passes of one worker, which are selections on a CPU and all that `pass_memory` counts on a GPU: MIS_MEMORY_GB
    for all workers together, else half of what is free.
    """
    total = Environment.read().memory_gb
    if total is not None:
        return total * GIB / len(devices())
    return _FOR_STATES * _asked(FreeMemoryJob())


def columns_budget() -> float:
    """Bytes beside a GPU for the columns that one worker keeps: half of its share of what is free on its machine."""
    return _FOR_STATES * _asked(FreeMemoryJob(beside=True))


def check_columns(name: str, n_units: int, n_images: int) -> None:
    """Refuse the second pass of a network, which keeps the whole columns of so many units, where this worker lacks memory for
    them: nobody could plan for them, since which units a first pass refuses is known only at its end.
    """
    total = Environment.read().memory_gb
    if total is not None and device().startswith("cpu"):
        budget = total * GIB / workers_here()
    else:
        budget = _FOR_STATES * FreeMemoryJob(beside=True).run()
    needed = 2 * columns_bytes(n_units, n_images)  # they are copied once, while they are saved or written
    if needed > budget:
        raise StudyError(
            f"{name}: the windows of {n_units:,} units are not exact, and the whole columns of these take {in_words(needed)} of "
            f"memory; a worker has {in_words(budget)}. Name fewer windows in activations.windows, or the units that matter in "
            "activations.keep instead, or give workers more memory (on a CPU, MIS_MEMORY_GB says how much)"
        )


def _asked(job: FreeMemoryJob) -> float:
    free = ask_worker(job)
    if isinstance(free, Failure):
        raise StudyError(f"the free memory of a worker cannot be told ({free.reason}); set MIS_MEMORY_GB")
    return free


@dataclass(frozen=True)
class FreeMemoryJob:
    """Bytes that a worker may have where it runs: of its GPU, or, without one or `beside` it, its share of the machine."""

    name: str = "free memory"
    size: float = 1.0
    beside: bool = False

    def run(self) -> float:
        if self.beside or device().startswith("cpu"):
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
    """Memory of the selection of one network: buffers of candidates on a CPU, and the state while it is written; on a device keys
    that wait, their bounds and numbers; lists, moments, and a batch of values.
    """
    from interpretability.extremes.moments import N_BINS
    from interpretability.extremes.on_gpu import slots_for

    final = 2 * (k + 1) * 8
    bounds = 2 * 4 + 2 * 8 + 4 + 8  # of two sides, as values and as keys; how many keys wait; the key of the unit
    held = 8 * slots_for(batch_size) + bounds if on_device else 2 * final
    return n_units * (held + final + 2 * N_BINS * 8 + 8 + 4 * batch_size)


def extremes_bytes(n_units: int, k: int) -> int:
    """Size of the file of a network: images and values of both sides, and statistics."""
    return n_units * (2 * k * 8 + 2 + 2 * 4 + 3 * 8)


def columns_bytes(n_kept: int, n_images: int) -> int:
    """Size of the whole columns that are kept, which lie in the memory of the machine, also beside a GPU."""
    return 4 * n_kept * n_images


@dataclass(frozen=True)
class NetworkCost:
    """What a network will cost: units, operations of a forward pass and numbers that it writes, bytes of memory where it runs,
    of columns that it keeps, of windows of harder conditions, and of memory `beside` its GPU, where columns and windows lie.
    On a GPU also what `pass_memory` counts: `weights`, `maps`, a `batch` of its `view`, and `ahead`, what compiling it beside
    another pass takes, 0 where it is not compiled.

    `reason` says why it cannot be counted without its weights; it may run all the same: alone, as if it filled the memory.
    """

    name: str
    n_units: int = 0
    flops: int = 0
    activations: int = 0
    memory: float = float("inf")
    columns: int = 0
    beside: int = 0
    windows: int = 0
    reason: str = ""
    weights: int = 0
    maps: int = 0
    batch: int = 0
    view: str = ""
    ahead: int = 0

    @property
    def work(self) -> float:
        """How long it takes, as `ordering.work`."""
        return work(self.flops, self.activations)


def network_costs(extractions: Sequence[Extraction], n_images: int) -> list[NetworkCost]:
    """Costs of networks in their order.

    Counted beside selections are the kept columns and the windows, also values for them that wait on a GPU and the pinned room in
    which they arrive. On a GPU weights, maps and batches are counted as well. Not counted, for the half of the memory that no
    pass is given: what libraries work in, what the allocator cannot use, and on a CPU networks and their batches.
    """
    counts = count_networks([CountJob(one.row, one.params.units, one.code) for one in extractions])
    on_device = devices()[0] != "cpu"
    costs = []
    for one, count in zip(extractions, counts, strict=True):
        if isinstance(count, Failure):
            costs.append(NetworkCost(one.name, reason=count.reason))
            continue
        n_kept = guarded(partial(_count_kept, widths=count["widths"]), one)
        # the run itself says what is wrong
        kept = 0 if isinstance(n_kept, Failure) else n_kept
        columns = columns_bytes(kept, n_images)
        settings = one.params.activations
        memory = state_bytes(count["n_units"], settings.n_extremes, settings.batch_size, on_device=on_device)
        memory += count["direction_bytes"]
        windows = count["n_units"] * state_bytes_of_windows(one.windows, n_images, one.params.tasks.n_tasks)
        held = 2 * (columns + windows)  # they are copied once, while they are saved or written
        travelling = kept + (count["n_units"] if windows else 0)
        waiting = _waiting_columns(travelling, settings.batch_size) if on_device else 0
        memory += waiting if on_device else held
        arriving = sum(pinned(_waiting_columns(n, settings.batch_size)) for n in (kept, travelling - kept))
        beside = held + arriving if on_device else 0
        costs.append(
            NetworkCost(
                *(one.name, count["n_units"], count["flops"], count["activations"], memory),
                columns=columns,
                windows=windows,
                beside=beside,
                **(_on_a_gpu(one, count, n_images) if on_device else {}),
            )
        )
    return costs


def _on_a_gpu(extraction: Extraction, count: NetworkCount, n_images: int) -> dict[str, Any]:
    """What `NetworkCost` holds of a network on a GPU alone."""
    n = extraction.params.activations.batch_size
    weights, batch = 4 * count["n_params"], 3 * n * count["input_size"] ** 2
    return {
        "weights": weights,
        "maps": n * count["map_bytes"],
        "batch": batch,
        "view": extraction.row["preprocessing"],
        "ahead": ahead_bytes(weights, batch) if is_compiled(extraction, n_images, devices()[0]) else 0,
    }


def _waiting_columns(n_kept: int, batch_size: int) -> int:
    """Bytes of a GPU for the kept columns of images that wait there for one journey, as `DeviceColumns` says."""
    return columns_bytes(n_kept, max(IMAGES, 4 * batch_size))


def _count_kept(extraction: Extraction, widths: dict[str, int]) -> int:
    """Units of a network whose whole column is kept."""
    keep = extraction.params.activations.keep
    if not (keep or extraction.listed or extraction.explained):
        return 0
    owners = [(layer, unit) for layer, width in widths.items() for unit in range(width)]
    kept = unit_lists.indices_of(extraction.name, owners, keep, extraction.listed)
    return len({*kept, *extraction.explained.indices(extraction.name, owners)})


def fits_into(memory: float, costs: Sequence[NetworkCost]) -> Callable[[Sequence[NetworkCost]], bool]:
    """Whether some of the networks fit together into so many bytes, and on a GPU also into the memory beside it."""
    name = devices()[0]
    on_device = name != "cpu"
    beside = columns_budget() if on_device and any(cost.beside or cost.batch for cost in costs) else UNLIMITED
    graphs = on_device and Environment.read().cuda_graphs
    buffers = n_buffers(decoders(name)) if on_device else 0

    def fit(part: Sequence[NetworkCost]) -> bool:
        if not on_device:
            return sum(cost.memory for cost in part) <= memory
        return device_bytes(part, graphs=graphs) <= memory and host_bytes(part, buffers) <= beside

    return fit


def in_store(extraction: Extraction, images: ImageSet, store: WorkStore) -> bool:
    """Whether a network has been computed; what cannot be asked for fails with its reason when it runs."""
    return guarded(partial(is_stored, images=images, store=store), extraction) is True


def shared_passes(extractions: Sequence[Extraction], n_images: int) -> list[list[Extraction]]:
    """Networks that share each image, as many as memory allows, in the order in which their passes begin."""
    most, several = networks_per_pass(len(extractions) or 1), len(extractions) > len(devices()) > 1
    costs: list[NetworkCost] = []
    if most > 1 or (several and n_images >= _WORTH_COUNTING):
        costs = network_costs(extractions, n_images)
    passes = planned_passes(extractions, [bool(one.packed) for one in extractions], most, costs)
    return [[extractions[index] for index in indices] for indices in passes]


def planned_passes(
    extractions: Sequence[Extraction], packed: Sequence[bool], most: int, costs: Sequence[NetworkCost]
) -> list[list[int]]:
    """Indices of networks by pass, the longest pass first where their costs are known; a pass sees the images, or their pack."""
    fits = None
    if not costs:
        loads, limits = [], []
    else:
        works = [cost.work for cost in costs]
        loads, limits = [(cost.work,) for cost in costs], [longest_share(works, len(devices()))]
        if most > 1:
            memory = memory_budget() - max(cost.ahead for cost in costs)  # one network is compiled beside a pass
            fits = fits_into(memory, costs)
            log.info("networks share passes, up to %d and %s of memory in each", most, in_words(max(memory, 0)))
    passes = []
    for kind in (False, True):
        chosen = [index for index, sees_pack in enumerate(packed) if sees_pack == kind]
        if costs:  # alike in length, so that the last passes are short
            chosen.sort(key=lambda index: (-costs[index].work, index))
        views = [extractions[index].row["preprocessing"] for index in chosen]
        chosen_loads = [loads[index] for index in chosen] if loads else []

        def together(part: Sequence[int], chosen: Sequence[int] = chosen) -> bool:
            return fits is None or fits([costs[chosen[i]] for i in part])

        parts = grouped_by_view(views, most, chosen_loads, limits, together)
        passes += [[chosen[i] for i in part] for part in parts]
    return longest_first(passes, [cost.work for cost in costs]) if costs else passes
