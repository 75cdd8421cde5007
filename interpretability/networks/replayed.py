"""Batches of a network recorded once as a CUDA graph and replayed: the same kernels on the same memory, launched as one.

A small network is over sooner than Python has launched its kernels; replaying asks nothing of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from interpretability.networks.capture import Capture

_COPIES = ("aten::_to_copy", "aten::copy_", "aten::_pin_memory")
_WRITES = ("aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
# solvers, which look at what they have found or leave the device; but for those that only add and multiply
_SOLVERS = ("aten::linalg_", "aten::_linalg_")
_SUMS = ("aten::linalg_vector_norm", "aten::linalg_cross")
_ENDED = "not currently recording"  # what torch's allocator says of a pool whose recording has ended


class Recorder(Protocol):
    """What turns calls of a function into something that can be replayed; several networks that take turns share one."""

    def warm(self, function: Callable[[], object]) -> None:
        """Call a function where `record` will, so that what libraries set up at a first call is there."""
        ...

    def record(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call a function while what it launches is written down; returns what launches it again, on the same memory."""
        ...

    def input_like(self, batch: Tensor) -> Tensor:
        """The one tensor of the shape, type and layout of a batch that recordings read, on the device of the recorder."""
        ...


class CudaRecorder:
    """Records CUDA graphs on one GPU.

    Its graphs share one pool of memory, as large as the largest needs alone, and one input of a shape. That is safe because
    they run one after another on one stream, and nothing of a graph is read once the next one runs but the buffer of
    its units, which lies outside of the pool.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        self._stream = torch.cuda.Stream(self._device)
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._inputs: list[Tensor] = []

    def warm(self, function: Callable[[], object]) -> None:
        """Call a function on the stream of recordings, behind all that is under way."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function()
        current.wait_stream(self._stream)

    def record(self, function: Callable[[], object]) -> Callable[[], object]:
        """Record a function. The graph is freed with what is returned."""
        if not self._graphs:  # a pool that no graph holds may be on its way out
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            # a recording that fails may leave its stream the current one; other threads decode and pin memory meanwhile, which
            # it forbids to all unless it is told otherwise
            with (
                torch.cuda.stream(self._stream),
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                function()
        except BaseException:
            self._end(graph)
            raise
        self._graphs.add(graph)
        return graph.replay

    def _end(self, graph: torch.cuda.CUDAGraph) -> None:
        """Let the allocator know that a recording is over that has failed.

        While it takes one to be under way it keeps back all memory that other streams have used, to the end of the process.
        A graph of newer releases of torch says so itself when it is reset, one of older ones, which also name the function
        otherwise, leaves it.
        """
        graph.reset()
        allocator: Any = torch._C  # pyright: ignore[reportPrivateUsage]
        end = getattr(allocator, "_cuda_endAllocateToPool", None) or allocator._cuda_endAllocateCurrentStreamToPool
        try:
            end(self._stream.device_index, self._pool)
        except RuntimeError as error:
            if _ENDED not in str(error):
                raise
        self._pool = torch.cuda.graph_pool_handle()  # other allocators may still take the old one to be recorded into

    def input_like(self, batch: Tensor) -> Tensor:
        """The input of recordings for batches like this one."""
        for known in self._inputs:
            if _alike(known, batch):
                return known
        self._inputs.append(torch.empty_like(batch))
        return self._inputs[-1]


class Waits(TorchDispatchMode):
    """Notes the first operation that cannot be replayed: one that waits for the device, or whose shape hangs on values."""

    def __init__(self) -> None:
        super().__init__()
        self.found = ""

    def __torch_dispatch__(
        self, func: Any, types: Collection[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.found and _waits(func, args, result):
            self.found = str(func)
        return result


def _waits(func: Any, args: tuple[Any, ...], result: object) -> bool:
    name = func.name()
    if func is torch.ops.aten.index.Tensor or name in _WRITES:
        return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    if {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(func.tags):
        return True
    if name == "aten::lift_fresh":  # numbers of Python as a tensor, which have come from the host
        return isinstance(result, Tensor) and result.device.type != "cpu"
    if name.startswith(_SOLVERS):
        return not name.startswith(_SUMS)
    if name not in _COPIES:
        return False
    devices = {value.device.type for value in (*args[:2], result) if isinstance(value, Tensor)}
    return len(devices) > 1


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether tensors have the same shape, type, layout and device."""
    return (one.shape, one.dtype, one.stride(), one.device) == (other.shape, other.dtype, other.stride(), other.device)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether float32 values are the same, NaN by NaN."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


@dataclass(frozen=True)
class _Recording:
    """What is launched again, and the memory that it reads, which other recordings read too, and fills."""

    input: Tensor
    values: Tensor
    replay: Callable[[], object]

    def of(self, batch: Tensor) -> Tensor:
        """Values of a batch, valid until the next one."""
        self.input.copy_(batch)
        self.replay()
        return self.values


class Replayed:
    """A capture whose batches are recorded and replayed, as soon and as long as that gives the same bytes.

    capture    entered, and left by whoever entered it
    recorder   of its device

    `replayed(batch)` gives what `capture(batch)` gives, valid until the next call. The first batch runs plainly; at the second
    one the capture is recorded on the first, replayed on the second, and compared with a plain run of that. `form` says
    how the last batch ran, "plain" or "graph", and `reason` why nothing will be recorded: a batch runs in pieces, the network
    reads values back from its device or makes shapes of them, recording fails, or a replay gives other values.
    Batches of another shape than the first run plainly.
    """

    def __init__(self, capture: Capture, recorder: Recorder) -> None:
        self._capture, self._recorder = capture, recorder
        self._first: Tensor | None = None  # a batch to record on
        self._recording: _Recording | None = None
        self.form, self.reason = "plain", ""

    @property
    def records_next(self) -> bool:
        """Whether the next batch, if it is like the first, will be recorded."""
        return self._first is not None

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        """Unit values (images, units) float32 for a batch (images, C, H, W)."""
        if self._recording is not None and _alike(self._recording.input, batch):
            self.form = "graph"
            return self._recording.of(batch)
        self.form = "plain"
        values = self._capture(batch)
        if self._recording is None and not self.reason:
            if self._capture.pieces > 1:
                self._give_up("its batches run in parts for want of memory")
            elif self._first is None:
                self._first = batch.clone()
            elif _alike(self._first, batch):
                values = values.clone()
                self._try(self._first, batch, values)
        return values

    def _try(self, first: Tensor, second: Tensor, right: Tensor) -> None:
        """Record the capture on a first batch, if that gives the right values of a second one."""
        self._first = None
        try:
            self._recording = self._recorded(first)
            if self._capture.pieces > 1:
                self._give_up("there is no memory to record it")
            elif self._recording is not None and not _same_bits(self._recording.of(second), right):
                self._give_up("a replayed batch gives other values than a plain one")
        except Exception as error:  # a plain run has shown that the network works: what fails here is recording
            self._give_up(f"recording failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})")
        self._capture.pieces = 1  # a plain batch has fitted whole, and goes on as before

    def _recorded(self, first: Tensor) -> _Recording | None:
        fixed, waits = self._recorder.input_like(first), Waits()
        fixed.copy_(first)
        values: list[Tensor] = []

        def run() -> None:
            values[:] = [self._capture(fixed)]

        def watched() -> None:
            with waits:
                run()

        self._recorder.warm(watched)
        if waits.found:
            self._give_up(f"it waits for values of its device ({waits.found})")
            return None
        replay = self._recorder.record(run)
        return _Recording(fixed, values[0], replay)

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self.close()

    def close(self) -> None:
        """Free the recording; batches run plainly from now on."""
        self._recording = self._first = None
        self.reason = self.reason or "it is closed"
