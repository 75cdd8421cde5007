"""Which networks share a pass, and what the whole extraction will take: time, memory and disk, before it begins."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.extraction.grouping import costs, extremes_bytes, in_store, jobs_by_pass, memory_budget, networks_a_pass
from study.extraction.job import Job, sees_pack
from study.files.store import WorkStore
from study.images.ahead import decoders
from study.images.feed import Feed
from study.images.manifest import ImageSet, open_images
from study.images.packs import pack_bytes
from study.log import clock, in_words, logger
from study.networks import building
from study.workers.device import Failure, device, guarded
from study.workers.jobs import devices, run_jobs

log = logger("activations")


_PROBE_PICTURES, _PROBE_BATCH = 64, 8


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

    from interpretability.networks.capture import PRECISIONS
    from interpretability.networks.preprocessing import Preprocessing

    job, flops = probe
    images, there = open_images(job.images, job.params.images.root, quick=True), device()
    network = building.constructor(job.row, job.code)(**json.loads(job.row["kwargs"] or "{}")).eval().to(there)
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
    from interpretability.extremes.moments import N_BINS

    return n_units * (2 * (k + 1) * 8 + 2 * N_BINS * 8 + 8)


def _line(row: dict[str, Any], k: int) -> str:
    return (
        f"  {row['name']:38s} {row['n_units']:9,d} {row['flops'] / 1e9:8.3g} {in_words(row['memory']):>9s} "
        f"{in_words(extremes_bytes(row['n_units'], k)):>9s}"
    )


def forecast(jobs: list[Job], images: ImageSet) -> str:
    """What would run, how long and how large."""
    if not jobs:
        return "The roster has no networks, only controls; they take a moment."
    given, store = jobs[0].params.activations, WorkStore.open()
    rows = costs(jobs, len(images))
    for job, row in zip(jobs, rows, strict=True):
        row["found"] = in_store(job, images, store)
    missing = [i for i, row in enumerate(rows) if not row["found"]]
    packed = [guarded(sees_pack, jobs[i]) is True for i in missing]
    parts = jobs_by_pass(
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
