"""Which networks are compiled: those whose pass over the images is long beside what compiling costs.

That is decided from what a network and a study are, before anything runs, because compiled kernels round otherwise than plain
ones: the decision is among the ingredients of a network's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from study.environment import Environment, set_unless_given
from study.extraction.counting import CountJob, count_networks
from study.workers.device import Failure, guarded
from study.workers.jobs import devices, kind_of_workers

if TYPE_CHECKING:
    from study.extraction.job import Extraction

SECONDS = 60.0  # that compiling a network takes on 16 cores; by public measurements 30 to 120
LONGER = 3.0  # than compiling is a pass that is worth it: so many times
# Operations, and numbers of maps written and read, a second of plain passes on one H200: its peaks and its bandwidth over the
# constants of a fit to public throughput of 120 networks, 1.551 and 11.25 (benchmarks/throughput.py). No card of a study is
# asked: the choice must not hang on its mood.
OPERATIONS = {"float32": 43.2e12, "tf32": 319e12, "float16": 638e12, "bfloat16": 638e12}
NUMBERS = {"float32": 0.107e12, "tf32": 0.107e12, "float16": 0.213e12, "bfloat16": 0.213e12}


_KERNELS = "compiled"  # folder of the work store in which compilers keep what they have made


def keep_kernels() -> None:
    """Let compilers of this process find what they have made, for it serves every network of the same operations, in other
    processes and later runs too.
    """
    set_unless_given({"TORCHINDUCTOR_CACHE_DIR": str(Environment.read().store.resolve() / _KERNELS)})


def pass_seconds(flops: float, activations: float, n_images: int, precision: str) -> float:
    """Seconds that a network is expected to take for all images in plain passes, by its operations and the numbers that it
    writes for one image.
    """
    return n_images * (flops / OPERATIONS[precision] + activations / NUMBERS[precision])


def is_long(flops: float, activations: float, n_images: int, precision: str) -> bool:
    """Whether a pass is so long that compiling pays."""
    return pass_seconds(flops, activations, n_images, precision) > LONGER * SECONDS


def is_compiled(extraction: Extraction, n_images: int, kind: str) -> bool:
    """Whether a network is to be compiled on this kind of device.

    Never on a CPU, where passes are bound by arithmetic, nor where directions or codes are read in place of units, nor a
    network whose operations cannot be counted without its weights.
    """
    settings = extraction.params.activations
    if settings.compile == "none" or kind == "cpu" or extraction.row["directions"]:
        return False
    count = guarded(CountJob.run, _job(extraction))
    return not isinstance(count, Failure) and is_long(
        count["flops"], count["activations"], n_images, settings.precision
    )


def of_later_pass(passes: Sequence[Sequence[Extraction]], index: int, n_images: int) -> tuple[Extraction, ...]:
    """Networks to be compiled of the pass that a worker who is at pass `index` will probably take next: workers take passes in
    their order, and all of them find what one has made.
    """
    workers = devices()
    if workers[0] == "cpu" or index + len(workers) >= len(passes):
        return ()
    kind = kind_of_workers()
    return tuple(one for one in passes[index + len(workers)] if is_compiled(one, n_images, kind))


def count_ahead(extractions: Sequence[Extraction]) -> None:
    """Count networks side by side where that decides which are compiled, so that each is found counted when it is asked for."""
    chosen = [one for one in extractions if one.params.activations.compile != "none" and not one.row["directions"]]
    if chosen:
        count_networks([_job(extraction) for extraction in chosen])


def _job(extraction: Extraction) -> CountJob:
    return CountJob(extraction.row, extraction.params.units, extraction.code)
