"""Compiling the networks of the next pass while the GPU is at this one.

A compiler keeps kernels by the operations that they were made from, so a process beside the worker can make them before they
are asked for. A pass that finds nothing made compiles as ever: nothing hangs on this.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from study.extraction.compiling import SECONDS, keep_kernels
from study.images.manifest import open_images
from study.log import logger
from study.networks.building import load_network
from study.networks.readout import open_units
from study.workers.device import Failure, at_work, device, free_device, start

if TYPE_CHECKING:
    from study.extraction.job import Extraction

log = logger("activations")

_BEHIND = 10  # niceness: threads that decode pictures and start kernels go first


@dataclass(frozen=True)
class AheadJob:
    """Kernels of one network for the batches of its pass, as its worker will ask for them."""

    extraction: Extraction
    size: float = 1.0

    @property
    def name(self) -> str:
        return self.extraction.name

    def run(self) -> None:
        import torch

        from interpretability.networks.compiled import Compiled
        from interpretability.networks.precision import laid_out, prepared

        keep_kernels()
        row, params = self.extraction.row, self.extraction.params
        network = load_network(row, self.extraction.models, self.extraction.code, params.seed)
        images = open_images(self.extraction.images, params.images.root, quick=True)
        found = open_units(network, row, images, params, device())
        model = prepared(laid_out(found.model, found.precision, device()), found.precision)
        shape = params.activations.batch_size, 3, found.view.crop, found.view.crop
        batch = torch.zeros(shape, dtype=torch.uint8, device=device()).contiguous(memory_format=torch.channels_last)
        Compiled(model, found.read.layers, found.view.normalised(batch), precision=found.precision)


@contextmanager
def compiled_ahead(extractions: Sequence[Extraction]) -> Generator[None]:
    """While the body runs, make the kernels of networks that this worker, or another of its kind, will need after it.

    At the end what is left to make is waited for, as long as compiling one network takes: a pass that follows would have to
    begin it anew. An error ends it at once.
    """
    if not extractions:
        yield
        return
    context = multiprocessing.get_context("spawn")
    ended, end = context.Pipe(duplex=False)
    given = tuple(extractions), device(), ended, os.getpid()
    process = context.Process(target=_make, args=given, name="compiling ahead", daemon=True)
    process.start()
    try:
        yield
        process.join(SECONDS)
    finally:
        end.close()
        process.terminate()
        process.join()
        ended.close()


def _make(extractions: Sequence[Extraction], name: str, ended: Connection, parent: int) -> None:
    """What the process does: one network after another. What fails is told, again, by the pass that needs it."""
    with suppress(OSError):
        os.nice(_BEHIND)
    start(name, ended, parent)
    for extraction in extractions:
        made = at_work(AheadJob(extraction))
        if isinstance(made, Failure):
            log.info("%s could not be compiled ahead of its pass: %s", extraction.name, made.reason)
        else:
            log.info("%s is compiled ahead of its pass", extraction.name)
        if name.startswith("cuda"):
            free_device()
