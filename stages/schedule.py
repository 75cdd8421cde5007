"""Which networks share a pass, and what the whole extraction will take: time, memory and disk, before it begins."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stages import counting
from stages.decoding import Feed, decoders
from stages.errors import StudyError
from stages.packing import pack_bytes
from stages.passes import Job, packs, stored
from stages.pipeline import networks, unit_lists
from stages.pipeline.log import clock, logger
from stages.pipeline.pictures import ImageSet, open_images
from stages.pipeline.store import WorkStore
from stages.pipeline.workers import Failure, device, devices, guarded, run_jobs, workers_here

log = logger("activations")
_ON_A_GPU = 8  # networks that share each picture there, where decoding takes longer than most networks do
_FOR_STATES = 0.5  # of the free memory; networks, batches and the maps of a forward pass need the rest
_PROBE_PICTURES, _PROBE_BATCH = 64, 8
GIB = 2**30


def networks_a_pass(n_networks: int) -> int:
    """From MIS_NETWORKS_PER_PASS; else one on a CPU, where decoding is cheap beside a forward pass, more on a GPU.

    Never so many that a worker has nothing to do.
    """
    text = os.environ.get("MIS_NETWORKS_PER_PASS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise StudyError(f"MIS_NETWORKS_PER_PASS is {text!r}, it must be a whole number of at least 1")
    workers = devices()
    most = int(text) if text else 1 if workers[0] == "cpu" else _ON_A_GPU
    return max(1, min(most, -(-n_networks // len(workers))))


def memory_budget() -> float:
    """Bytes for the selection states of one worker: MIS_MEMORY_GB for all workers together, else half of what is free."""
    text, workers = os.environ.get("MIS_MEMORY_GB", ""), devices()
    try:
        total = float(text) * GIB if text else 0.0
    except ValueError:
        total = -1.0
    if text and not 0 < total < float("inf"):
        raise StudyError(f"MIS_MEMORY_GB is {text!r}, it must be a number of gigabytes above 0")
    if total:
        return total / len(workers)
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
    from stages.science.device_selection import CHUNK
    from stages.science.selection import N_BINS

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
        sizes, budget = [row["memory"] for row in _counted(jobs, n_images)], memory_budget()
        log.info("networks share passes, up to %d and %s of states in each", most, in_words(budget))
    parts = _parts(jobs, [bool(job.packed) for job in jobs], most, sizes, budget)
    return [[jobs[place] for place in part] for part in parts]


def _parts(
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


def _counted(jobs: Sequence[Job], n_images: int) -> list[dict[str, Any]]:
    """What each network will cost. One that cannot be counted without its weights may run all the same: alone, as if it
    filled the memory.
    """
    rows = []
    counts = counting.count_all([counting.Job(job.row, job.params.units, job.code) for job in jobs])
    on_device = devices()[0] != "cpu"
    for job, found in zip(jobs, counts, strict=True):
        name, given = job.row["name"], job.params.activations
        row = {"name": name, "n_units": 0, "flops": 0, "memory": float("inf"), "columns": 0, "found": False, "reason": ""}
        if isinstance(found, Failure):
            row["reason"] = found.reason
        else:
            n_kept = guarded(partial(_n_kept, widths=found["widths"]), job)
            columns = columns_bytes(0 if isinstance(n_kept, Failure) else n_kept, n_images)  # the run itself says what is wrong
            memory = state_bytes(found["n_units"], given.n_extremes, given.batch_size, on_device=on_device)
            # columns are copied once, while they are saved or written
            row |= {"n_units": found["n_units"], "flops": found["flops"], "columns": columns,
                    "memory": memory + (0 if on_device else 2 * columns)}  # fmt: skip
        rows.append(row)
    return rows


def _n_kept(job: Job, widths: dict[str, int]) -> int:
    """Units of a network whose whole column is kept."""
    given = job.params.activations
    if not (given.keep or job.listed):
        return 0
    owners = [(layer, unit) for layer, width in widths.items() for unit in range(width)]
    return len(unit_lists.places(job.row["name"], owners, given.keep, job.listed))


# ---- the plan


@dataclass(frozen=True)
class Rates:
    """Measured on the machine at hand, for one worker: pictures decoded and fitted a second, and operations a second."""

    decode: float
    flops: float


def _measure(probe: tuple[Job, float]) -> Rates:
    """Decode some pictures, and run a few batches of one network, with any weights, that takes this many operations a
    picture.
    """
    import torch

    from stages.science.preprocessing import Preprocessing
    from stages.science.units import PRECISIONS

    job, flops = probe
    images, there = open_images(job.images, job.params.images.root, quick=True), device()
    network = networks.constructor(job.row, job.code)(**json.loads(job.row["kwargs"] or "{}")).eval().to(there)
    view = Preprocessing.parse(job.row["preprocessing"], job.row["name"])
    some = min(_PROBE_PICTURES, len(images))
    feed, began = Feed(images, [view], some, "cpu", threads=decoders(there)), time.perf_counter()
    next(iter(feed))
    decode = some / (time.perf_counter() - began)
    size = _PROBE_BATCH if there == "cpu" else job.params.activations.batch_size
    batch = torch.zeros((size, 3, view.crop, view.crop), device=there)
    dtype, taken = PRECISIONS[job.params.activations.precision], []
    cast = nullcontext() if dtype is None else torch.autocast(torch.device(there).type, dtype)
    with torch.no_grad(), cast:
        for _ in range(4):
            began = time.perf_counter()
            network(batch)
            if there.startswith("cuda"):
                torch.cuda.synchronize(there)
            taken.append(time.perf_counter() - began)
    return Rates(decode, size * flops / float(np.median(taken[1:])))


def _tell(
    rows: Sequence[dict[str, Any]],
    passes: Sequence[Sequence[int]],
    n_images: int,
    k: int,
    rates: Rates | None,
    store: Path,
    packed: Collection[int],
    side: int,
) -> str:
    """What would run, how long and how large, in words and a table.

    rows: name, n_units, flops, memory, columns (bytes), found (in the store) and reason (why it cannot be planned) of each
    network.
    passes: places in `rows` of those that would run together. packed: those that see a pack of squares of this side.
    """
    workers = len(devices())
    lines = [f"{'network':40s} {'units':>9s} {'GFLOP':>8s} {'state':>9s} {'extremes':>9s}  "]
    for number, together in enumerate(passes, 1):
        if len(together) > 1:
            memory = in_words(sum(rows[i]["memory"] for i in together))
            lines.append(f"pass {number}: {len(together)} networks, {memory} of states")
        lines += [_line(rows[i], k) for i in together]
    there = [row for row in rows if row["found"]]
    decodes = n_images * (sum(part[0] not in packed for part in passes) + bool(packed))
    pack = pack_bytes(n_images, side) if packed else 0
    if there:
        lines += [f"found in the store: {len(there)} networks", *(_line(row, k) for row in there)]
    unknown = [row for row in rows if row["reason"]]
    lines += [f"  {row['name']:38s} cannot be estimated and runs alone: {row['reason']}" for row in unknown]
    running = [rows[i] for together in passes for i in together]
    units, extra = sum(row["n_units"] for row in rows), sum(extremes_bytes(row["n_units"], k) for row in running)
    columns = sum(row["columns"] for row in running)
    states = [sum(2 * (state_file_bytes(rows[i]["n_units"], k) + rows[i]["columns"]) for i in part) for part in passes]
    saved = max(states, default=0) * workers
    where = store
    while not where.exists():
        where = where.parent
    free = shutil.disk_usage(where).free
    lines += [
        "",
        f"{len(rows)} networks, {units:,} units, {n_images:,} images; {len(there)} networks are in the store, "
        f"{len(running)} would run in {len(passes)} passes on {workers} workers ({devices()[0]})",
        f"pictures decoded {decodes:,} times, forward passes {len(running) * n_images:,}",
        f"disk: {in_words(extra)} of extremes, kept once for work store, DVC cache and data/activations if they lie on one file "
        f"system, and up to {in_words(saved)} of states meanwhile; {in_words(free)} are free at {where}",
    ]
    if columns:
        lines.append(f"and {in_words(columns)} of the columns that activations.keep names, which also lie in memory")
    if pack:
        lines.append(f"and {in_words(pack)} of packed pictures, once")
    if extra + saved + columns + pack > free:
        lines.append(
            "That is more than is free: point MIS_STORE to a larger disk, or lower activations.n_extremes, activations.pack "
            "or the units of activations.keep"
        )
    if rates and running:
        forward = sum(row["flops"] for row in running) * n_images / rates.flops
        decode = decodes / rates.decode
        alone = decoders(devices()[0]) == 0
        total = (forward + decode if alone else max(forward, decode)) / workers
        lines.append(
            f"time: about {clock(total)}, of which decoding {clock(decode / workers)} ({rates.decode:,.0f} pictures/s) and "
            f"forward passes {clock(forward / workers)} ({rates.flops / 1e9:,.0f} GFLOP/s) a worker"
            f"{', one after the other' if alone else ', side by side'}, as measured just now on one worker"
        )
    return "\n".join(lines)


def state_file_bytes(n_units: int, k: int) -> int:
    """Size of a saved state."""
    from stages.science.selection import N_BINS

    return n_units * (2 * (k + 1) * 8 + 2 * N_BINS * 8 + 8)


def _line(row: dict[str, Any], k: int) -> str:
    return (
        f"  {row['name']:38s} {row['n_units']:9,d} {row['flops'] / 1e9:8.3g} {in_words(row['memory']):>9s} "
        f"{in_words(extremes_bytes(row['n_units'], k)):>9s}"
    )


def in_words(n_bytes: float) -> str:
    """Bytes in words: 12 MB, 3.4 GB."""
    if n_bytes == float("inf"):
        return "unknown"
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes / 1e3:.3g} kB"


def plan(jobs: list[Job], images: ImageSet) -> str:
    """What would run, how long and how large."""
    if not jobs:
        return "The roster has no networks, only controls; they take a moment."
    given, store = jobs[0].params.activations, WorkStore.open()
    rows = _counted(jobs, len(images))
    for job, row in zip(jobs, rows, strict=True):
        row["found"] = in_store(job, images, store)
    missing = [i for i, row in enumerate(rows) if not row["found"]]
    packed = [guarded(packs, jobs[i]) is True for i in missing]
    parts = _parts(
        [jobs[i] for i in missing], packed, networks_a_pass(len(missing) or 1), [rows[i]["memory"] for i in missing],
        memory_budget() if missing else 0.0,
    )  # fmt: skip
    rates, known = None, sorted((i for i in missing if rows[i]["flops"]), key=lambda i: rows[i]["flops"])
    if known:
        # the network in the middle by arithmetic stands for all; its weights do not matter for the speed
        typical = known[len(known) // 2]
        probe = jobs[typical], rows[typical]["flops"]
        found = next(run_jobs(_measure, [probe], ["speed"]))[1]
        if isinstance(found, Failure):
            log.warning("the speed of this machine could not be measured: %s", found.reason)
        else:
            rates = found
    together = [[missing[place] for place in part] for part in parts]
    seen_packed = {i for i, each in zip(missing, packed, strict=True) if each}
    return _tell(rows, together, len(images), given.n_extremes, rates, store.folder, seen_packed, given.pack)


def summary(timings: list[dict[str, Any]], n_images: int) -> str:
    """Table of the networks that ran: seconds of their pass, images a second, share of the forward passes."""
    ran = [each for each in timings if each.get("computed")]
    lines = [f"{len(timings)} networks and controls, {len(ran)} of them computed now"]
    for each in sorted(ran, key=lambda each: -each["seconds"]):
        rate, share = n_images / max(each["seconds"], 1e-9), each["forward"] / max(each["seconds"], 1e-9)
        lines.append(f"  {each['name']:38s} {clock(each['seconds']):>13s} {rate:9,.1f} images/s {share:6.0%} forward")
    return "\n".join(lines)
