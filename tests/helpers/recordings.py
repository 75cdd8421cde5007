"""A stand-in for CUDA graphs on the CPU: operations are written down with the memory that they used, and run again on it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def _tensors(values):
    for value in values if isinstance(values, list | tuple) else [values]:
        if isinstance(value, torch.Tensor):
            yield value


class _Written(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


class Graphs:
    """Stands in for what torch.cuda needs for graphs, on the CPU; `said` tells what was asked for, in order."""

    def __init__(self, monkeypatch):
        self.said = []
        cuda = torch.cuda
        monkeypatch.setattr(cuda, "Stream", lambda device: self._stream("side"))
        monkeypatch.setattr(cuda, "current_stream", lambda device: self._stream("current"))
        monkeypatch.setattr(cuda, "stream", lambda stream: self._within(f"on {stream.name}"))
        monkeypatch.setattr(cuda, "graph_pool_handle", lambda: "pool")
        monkeypatch.setattr(cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(cuda, "graph", self._graph)

    def _stream(self, name):
        wait = lambda other: self.said.append(f"{name} waits for {other.name}")  # noqa: E731
        return SimpleNamespace(name=name, device_index=0, wait_stream=wait)

    @contextmanager
    def _within(self, name):
        self.said.append(name)
        try:
            yield
        finally:
            self.said.append(f"end {name}")

    def reset(self):
        self.said.append("reset")

    @contextmanager
    def _graph(self, graph, **options):
        self.said.append({**options, "stream": options["stream"].name})
        with _Written() as written:
            yield
        self._again = lambda: again(written.calls)

    def replay(self):
        self._again()


def again(calls):
    """Run operations again on the memory that they used."""
    for func, args, kwargs, result in calls:
        for old, new in zip(_tensors(result), _tensors(func(*args, **kwargs)), strict=True):
            if new.data_ptr() != old.data_ptr():
                old.copy_(new)


class WrittenDown:
    """A recorder. As with a graph, a replay runs no Python of what was recorded, and knows no memory but the recording's."""

    def __init__(self, broken=None):
        self.broken = broken  # called with the operations that were written down, before any of them is replayed
        self.inputs, self.replays = [], 0

    def warm(self, function):
        function()

    def record(self, function):
        with _Written() as written:
            function()
        calls = written.calls if self.broken is None else self.broken(written.calls)

        def replay():
            self.replays += 1
            again(calls)

        return replay

    def input_like(self, batch):
        for known in self.inputs:
            if known.shape == batch.shape and known.dtype == batch.dtype and known.stride() == batch.stride():
                return known
        self.inputs.append(torch.empty_like(batch))
        return self.inputs[-1]
