"""All networks of the roster through their passes, results as they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from study.extraction import grouping, passes
from study.extraction.controls import facts, make
from study.extraction.job import Extracted, Job, sees_pack
from study.files.store import WorkStore, link_out
from study.images.manifest import ImageSet
from study.images.packs import pack
from study.log import logger
from study.networks import roster
from study.workers.device import Failure, guarded
from study.workers.jobs import run_jobs

log = logger("activations")


def all(jobs: list[Job], images: ImageSet) -> Iterator[tuple[Job, dict[str, Any] | Failure]]:
    """Jobs and their results as they end: networks in passes, controls each alone."""
    controls = [[job] for job in jobs if roster.is_planted(job.row)]
    studied = [job for job in jobs if not roster.is_planted(job.row)]
    store = WorkStore.open()
    there = [grouping.in_store(job, images, store) for job in studied]
    if any(there):
        log.info("%d of %d networks are in the store", sum(there), len(studied))
    missing = _packed([job for job, known in zip(studied, there, strict=True) if not known], images)
    found = [[job] for job, known in zip(studied, there, strict=True) if known]
    waiting = found + grouping.share_passes(missing, len(images)) + controls
    while waiting:
        again = []
        for place, results in run_jobs(
            _extract, waiting, [", ".join(each.row["name"] for each in part) for part in waiting]
        ):
            part = waiting[place]
            lost = isinstance(results, Failure)  # as a whole: its worker died
            for job, result in zip(part, [results] * len(part) if lost else results, strict=True):
                if len(part) > 1 and (lost or _lacked_memory(result)):
                    again.append([job])  # alone, and then only the cause fails
                else:
                    yield job, result
        waiting = again


def _lacked_memory(result: dict[str, Any] | Failure) -> bool:
    from interpretability.networks.capture import lacks_memory

    return isinstance(result, Failure) and lacks_memory(result.reason)


def _packed(jobs: list[Job], images: ImageSet) -> list[Job]:
    """The same jobs; those of networks that may see a pack of smaller pictures with its files, made first."""
    wants = [guarded(sees_pack, job) is True for job in jobs]
    files = pack(images, jobs[0].params.activations.pack) if any(wants) else ()
    return [replace(job, packed=files) if want else job for job, want in zip(jobs, wants, strict=True)]


def _extract(jobs: list[Job]) -> list[dict[str, Any] | Failure]:
    """Put the extremes of the networks of a pass, or of one control, into the out; layers, labels and device of each."""
    if not roster.is_planted(jobs[0].row):
        found = passes.extract(jobs)
        return [
            each if isinstance(each, Failure) else guarded(partial(_place, each), job)
            for job, each in zip(jobs, found, strict=True)
        ]
    return [guarded(make, job) for job in jobs]


def _place(found: Extracted, job: Job) -> dict[str, Any]:
    name = job.row["name"]
    link_out(found["path"], job.out / f"{name}.safetensors")
    if found["kept"]:
        link_out(found["kept"], job.out / "kept" / f"{name}.parquet")
    timing = {each: found[each] for each in ("computed", "seconds", "forward") if each in found}
    return facts(job, found["layers"], device=found["device"], pieces=found["pieces"], timing=timing)
