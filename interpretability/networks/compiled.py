"""A network with the reading of its units as one compiled function, whose kernels read a map while they make it.

Hooks and whatever else Python decides run once, while the function is traced with tensors that have shapes and no values; what
is left is one graph of operations, for one shape of batch, whose weights are arguments. So networks that differ in weights alone
share what is compiled, and no part of a graph is left to Python.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer
from interpretability.networks.precision import arithmetic, is_depthwise

# choices of kernels by formula instead of by a stopwatch, so that they and the order of their sums are those of any other run
_OPTIONS = {"deterministic": True}
# Largest difference of a compiled value from a plain one, relative to its layer's largest: for kernels that are wrong. Compiled
# kernels skip roundings between operations, and such differences grow with depth.
TOLERANCES = {"float32": 1e-3, "tf32": 1e-2, "float16": 3e-2, "bfloat16": 1e-1}

Call = Callable[..., Any]
Compiler = Callable[[GraphModule, list[Tensor]], Call]


class _Reading(nn.Module):
    """A network that gives the values of its units in place of its output."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], precision: str) -> None:
        super().__init__()
        self.model, self._layers, self._precision = model, layers, precision

    def forward(self, batch: Tensor) -> Tensor:
        with Capture(
            self.model, self._layers, len(batch), batch.device, precision=self._precision, shortcut=False
        ) as capture:
            return capture(batch).clone()


@dataclass(frozen=True)
class Traced:
    """One graph of operations, and tensors of the shapes of its arguments without values: weights by name, then the batch."""

    graph: GraphModule
    names: tuple[str, ...]
    arguments: list[Tensor]


def _weights(reading: nn.Module) -> dict[str, Tensor]:
    """All tensors of a network by name, each once."""
    return {**dict(reading.named_parameters()), **dict(reading.named_buffers())}


@torch.no_grad()
def traced(model: nn.Module, layers: Sequence[Layer], example: Tensor, precision: str = "float32") -> Traced:
    """A network with the reading of its units as one graph.

    model      in evaluation mode, on the device of the example; hooks that lie on it become part of the graph
    layers     what `find_layers` gives for it
    example    a batch (n, C, H, W) like all that are to come; its values are not looked at
    precision  as of `Capture`

    Raises InputError for a network that cannot be traced, because what it does depends on values.
    """
    reading = _Reading(model, layers, precision)
    named = _weights(reading)
    names = tuple(named)

    def run(*given: Tensor) -> Any:
        *weights, batch = given
        return functional_call(reading, dict(zip(names, weights, strict=True)), (batch,))

    fixed = ShapeEnv(allow_scalar_outputs=False, allow_dynamic_output_shape_ops=False)
    with FakeTensorMode(allow_non_fake_inputs=True, shape_env=fixed) as mode:
        shapes: list[Tensor] = [
            mode.from_tensor(value.detach(), static_shapes=True) for value in (*named.values(), example)
        ]
        try:
            graph = make_fx(run)(*shapes)
        except Exception as error:  # code of a network may fail in any way on tensors without values
            words = " ".join(str(error).split())[:200]
            raise InputError(f"the network cannot be traced ({type(error).__name__}: {words})") from error
    return Traced(graph, names, shapes)


def inductor(graph: GraphModule, arguments: list[Tensor]) -> Call:
    """Compile a graph by torch's own compiler: Triton on a GPU, C++ on a CPU."""
    from torch._inductor import compile as compiled

    call: Any = compiled(graph, list(arguments), options=dict(_OPTIONS))
    return call


class Compiled:
    """A network whose units are read by one compiled function.

    Arguments are those of `traced`; `compiler` turns its graph into a function. Takes seconds to minutes. Raises InputError
    for a network that cannot be traced or compiled.

    `compiled(batch)`, of images (n, C, H, W) in the shape of the example, gives values (n, U) float32 as `Capture` does, equal
    but for rounding: kernels keep between operations what plain ones round.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        example: Tensor,
        *,
        precision: str = "float32",
        compiler: Compiler = inductor,
    ) -> None:
        if precision == "tf32" and any(is_depthwise(module) for module in model.modules()):
            # one switch of a device, which is set while a compiled function runs
            raise InputError(
                "the network cannot be compiled: it has depthwise convolutions in float32 beside products in TF32"
            )
        self._shape, self._device = example.shape, example.device
        self._arithmetic = arithmetic(model, precision, example.device)
        found = traced(model, layers, example, precision)
        try:
            with torch.no_grad(), self._lowered():
                self._call = compiler(found.graph, found.arguments)
        except Exception as error:  # of a compiler of another project, and of all that it starts
            words = " ".join(str(error).split())[:200]
            raise InputError(f"the network cannot be compiled ({type(error).__name__}: {words})") from error
        named = _weights(_Reading(model, layers, precision))
        self._weights = [named[name].detach() for name in found.names]

    @contextmanager
    def _lowered(self) -> Generator[None]:
        """The arithmetic of a graph whose casts are operations of its own.

        Compilers trace it again, and autocast would then cast those products too that are float32 on purpose.
        """
        with self._arithmetic, torch.autocast(self._device.type, enabled=False):
            yield

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        """Unit values (images, units) float32 for a batch of the example's shape. Raises InputError for another shape."""
        if batch.shape != self._shape:
            raise InputError(
                f"the batch has shape {tuple(batch.shape)}; the network was compiled for {tuple(self._shape)}"
            )
        with self._lowered():  # for products that stay torch's own
            values = self._call(*self._weights, batch)
        return values if isinstance(values, Tensor) else values[0]


def largest_difference(values: Tensor, right: Tensor, layers: Sequence[Layer]) -> float:
    """Largest difference of values (images, units) from right ones, relative to the largest right value of the layer, at least
    1; infinite where one is finite and the other is not.
    """
    worst, start = torch.zeros((), device=values.device), 0
    for layer in layers:
        mine, theirs = (each[:, start : start + layer.width] for each in (values, right))
        start += layer.width
        finite = torch.isfinite(theirs)
        other = (torch.isfinite(mine) != finite).any()
        kept = torch.where(finite, theirs, 0)
        difference = (torch.where(finite, mine, 0) - kept).abs().max() / kept.abs().max().clamp(min=1)
        worst = torch.maximum(worst, torch.where(other, torch.inf, difference))
    return worst.item()
