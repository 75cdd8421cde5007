"""The form in which a network runs its batches: plainly, replayed as a CUDA graph, or compiled.

What cannot be recorded or compiled runs plainly, and the log says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from interpretability.errors import InputError
from study.environment import Environment
from study.extraction.compiling import keep_kernels
from study.extraction.job import Seat, State
from study.log import logger
from study.networks.forms import COMPILED, GRAPH, PARTLY, PLAIN
from study.workers.device import device

if TYPE_CHECKING:
    from torch import Tensor

    from interpretability.networks.capture import Capture
    from interpretability.networks.compiled import Compiled
    from interpretability.networks.replayed import Recorder

log = logger("activations")

_SAVED = (PLAIN, COMPILED, PARTLY)  # by the number that a state holds
_FEWEST = 32  # batches that are still to come, for which recording pays: it takes three, and a moment
_STATE = "compiled"  # name of what a state holds


def recorder() -> Recorder | None:
    """What networks of a pass share to be recorded on this worker's GPU; None where nothing is recorded."""
    if not device().startswith("cuda") or not Environment.read().cuda_graphs:
        return None
    from interpretability.networks.replayed import CudaRecorder

    return CudaRecorder(device())


class Forward:
    """Runs the batches of one network.

    capture   entered
    shared    recorder of the pass, or None
    n_batches batches that are still to come
    state     of an earlier run that this one goes on from

    `form` is "plain", "graph" (the same bytes), "compiled", or "compiled in part": a run that went on from a compiled one
    could not compile.
    """

    def __init__(
        self, capture: Capture, seat: Seat, shared: Recorder | None, n_batches: int, state: State | None = None
    ) -> None:
        from interpretability.networks.replayed import Replayed

        self._capture, self._seat = capture, seat
        self._before = _SAVED[int(state[_STATE][0])] if state and _STATE in state else ""
        # a run that has met what cannot be compiled goes on as it began
        self._to_compile = bool(seat.shared.get("compiled")) and self._before in ("", COMPILED)
        self._compiled: Compiled | None = None
        self._replayed = Replayed(capture, shared) if shared is not None and n_batches >= _FEWEST else None
        self._recorded = self._told = False

    def __call__(self, batch: Tensor) -> Tensor:
        """Unit values (images, units) float32, valid until the next call."""
        if self._to_compile:
            self._to_compile = False
            if self._capture.pieces == 1:
                self._compile(batch)
            else:
                log.info("%s runs without compiling: its batches run in parts for want of memory", self._seat.name)
        if self._compiled is not None:
            try:
                return self._compiled(batch)
            except RuntimeError as error:
                from interpretability.networks.memory import lacks_memory

                if not lacks_memory(f"{type(error).__name__}: {error}"):
                    raise
            # plain batches may run in parts
            log.warning("%s goes on without compiling: the device ran out of memory", self._seat.name)
            self._compiled, self._before = None, PARTLY
        if self._replayed is None:
            return self._capture(batch)
        values = self._replayed(batch)
        if self._replayed.form == GRAPH and not self._recorded:
            self._recorded = True
            log.info("%s runs as a CUDA graph", self._seat.name)
        if self._replayed.reason and not self._told:
            self._told = True
            log.info("%s runs without a CUDA graph: %s", self._seat.name, self._replayed.reason)
        return values

    @property
    def prepares(self) -> bool:
        """Whether the next batch will be spent on compiling or recording, too."""
        return self._to_compile or (
            self._compiled is None and self._replayed is not None and self._replayed.records_next
        )

    def _compile(self, batch: Tensor) -> None:
        """Compile the network, and compare a first batch with a plain one."""
        from interpretability.networks.compiled import TOLERANCES, Compiled, largest_difference

        keep_kernels()
        seat, precision = self._seat, self._seat.precision
        log.info("%s is being compiled", seat.name)
        began = time.monotonic()
        try:
            compiled = self._without_hooks(partial(Compiled, seat.model, seat.read.layers, batch, precision=precision))
            difference = largest_difference(compiled(batch), self._capture(batch), seat.read.layers)
            if not difference <= TOLERANCES[precision]:
                raise InputError(
                    f"compiled values are off by {difference:.1e} of their layer's largest, more than {TOLERANCES[precision]:g}"
                )
        except (
            Exception
        ) as error:  # of a compiler, or of its first run; what is wrong with the network shows in a plain one
            log.warning("%s runs without compiling: %s", seat.name, " ".join(str(error).split())[:300])
        else:
            log.info("%s is compiled; it took %.0f s", seat.name, time.monotonic() - began)
            self._compiled = compiled
            self._capture.pieces = 1  # if a plain batch beside the compiled one had too little memory

    def _without_hooks(self, make: Callable[[], Compiled]) -> Compiled:
        """What is made while the capture's hooks are away, which a trace would follow."""
        self._capture.__exit__(None, None, None)
        try:
            return make()
        finally:
            self._capture.__enter__()

    @property
    def form(self) -> str:
        """How the batches of all runs have gone."""
        if self._compiled is not None:
            return COMPILED
        if self._before in (COMPILED, PARTLY):
            return PARTLY
        return GRAPH if self._recorded else PLAIN

    def state(self) -> State:
        """What a later run must know; nothing of a network that was not to be compiled."""
        if not self._seat.shared.get("compiled"):
            return {}
        kept = COMPILED if self._to_compile else PLAIN if self.form == GRAPH else self.form
        return {_STATE: np.array([_SAVED.index(kept)])}

    def close(self) -> None:
        """Give back the memory of a recording and of compiled kernels."""
        self._compiled = None
        if self._replayed is not None:
            self._replayed.close()
