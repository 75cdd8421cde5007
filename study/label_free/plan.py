"""What the pass over the sample will take: time, measured on two batches of each network, and memory of its sums."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from study.extraction.grouping import memory_budget
from study.images.manifest import ImageSet, open_images
from study.label_free.job import Folders, LabelFreeJob
from study.label_free.parameters import LabelFreeParams
from study.label_free.run import jobs_of
from study.label_free.sources import Source
from study.label_free.summing import BlockSums, bytes_a_unit
from study.log import clock, in_words
from study.workers.jobs import devices


def plan_text(params: LabelFreeParams, folders: Folders) -> str:
    """All in words and a table. Embeds nothing but one image a similarity."""
    images = open_images(folders.images, params.images.root)
    jobs = jobs_of(params, folders, images, embed=False)
    if not jobs:
        return "label_free.models names no network with units: nothing would run"
    widths = [each.width for each in jobs[0].embedded]
    named = ", ".join(f"{each.backend} ({each.width})" for each in jobs[0].embedded)
    lines = [
        f"{len(jobs[0].sample.images):,} of {len(images):,} images, predictions held against "
        f"{len(jobs[0].sample.probes):,} of them; numbers of an embedding: {named or 'no similarity embeds'}",
        f"{'network':40s} {'units':>9s} {'sums':>9s} {'passes':>6s} {'time':>9s}",
    ]
    total = 0.0
    for job in jobs:
        seconds = len(job.groups()) * job.source.held(partial(_seconds, job=job, images=images))
        total += seconds
        size = in_words(job.n_units * bytes_a_unit(widths, len(job.sample.probes)))
        lines.append(f"  {job.name:38s} {job.n_units:9,d} {size:>9s} {len(job.groups()):6d} {clock(seconds):>9s}")
    workers = devices()
    lines.append(
        f"about {clock(total / len(workers))} on {len(workers)} workers ({workers[0]}), {in_words(memory_budget())} for the sums "
        "of each, besides the embeddings of images that the stage scores has not embedded; what is in the store is not computed "
        "again"
    )
    return "\n".join(lines)


def _seconds(source: Source, job: LabelFreeJob, images: ImageSet) -> float:
    """Seconds of a pass: those until the first batch, and for each batch those of the second one and of its sums."""
    sample, size = job.sample, job.params.activations.batch_size
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    batches = job.batches(source, images, sample.images[: 2 * size])
    batch = next(batches)
    ready = time.perf_counter()
    batch = next(batches, batch)
    block = BlockSums(slice(0, job.n_units), sample.probes, len(job.embedded))
    rows = [rng.standard_normal((len(batch.places), each.width)).astype(np.float32) for each in job.embedded]
    rows = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in rows]
    values = batch.values if isinstance(batch.values, np.ndarray) else batch.values.cpu().numpy()
    block.add(batch.places, values, batch.local, rows)
    each = time.perf_counter() - ready
    return ready - began + each * max(len(sample.images) / size - 1, 0)
