"""Weights that act without a call of their module, so that no hook of the module sees what comes out.

Attention of torch hands the weights of its projections to one function; BEiT, EVA-02 and Swin hand those of `qkv` to
`torch.nn.functional.linear`. Here such functions are watched during a pass: what a function gives is the output of the layer
whose own parameter (the very object) it was given as weights. Nothing is computed twice and nothing of torch is replaced.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from interpretability.networks.modules import declared_width, first_tensor, layer_type

_TAP = "weights:"  # begins the tap of a layer that is read so; then the name of the parameter
# functions whose result is the output of a layer of this type, if they were given its weights
_FUNCTIONS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv_transpose2d"), "Conv"),
    "linear": "Linear",
    "batch_norm": "BatchNorm",
    **dict.fromkeys(("layer_norm", "rms_norm"), "LayerNorm"),
    "group_norm": "GroupNorm",
}
# parameters of attention that are weights of a linear layer without a module: queries, keys and values in one, or each
_OF_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_ATTENTION = F.multi_head_attention_forward
_ARGUMENTS = inspect.signature(_ATTENTION)


@dataclass(frozen=True)
class Weights:
    """Weights that may act without a call: parameter `parameter` of a module, and the layer that is named after them."""

    layer: str
    layer_type: str
    module: str
    parameter: str
    width: int  # channels that come out; 0 where they are not declared

    @property
    def tap(self) -> str:
        return _TAP + self.parameter

    @property
    def of_module(self) -> bool:
        """Whether they are those of a module of this type, which may be called too."""
        return self.parameter == "weight"


# told of weights that act: whose they are, the layer's output, and its input where that is known
Seen = Callable[[Sequence[Weights], Tensor, Tensor | None], object]


def parameter_of(tap: str) -> str | None:
    """Name of the parameter by which a layer with this tap is read; None for an output or input of a module."""
    return tap.removeprefix(_TAP) if tap.startswith(_TAP) else None


def weights_of(model: nn.Module) -> dict[int, list[Weights]]:
    """All weights of a network's layers by their identity; tied ones are those of several layers, in order of the modules."""
    found: dict[int, list[Weights]] = {}
    for path, module in model.named_modules():
        kind = layer_type(module)
        names = _OF_ATTENTION if isinstance(module, nn.MultiheadAttention) else ("weight",) if kind != "Other" else ()
        for name in names:
            value = module._parameters.get(name)  # pyright: ignore[reportPrivateUsage]  # a computed one is new at each use
            if value is None or (not path and name == "weight"):
                continue
            plain = name == "weight"
            layer = path if plain else ".".join(filter(None, (path, name.removesuffix("_weight"))))
            # a lazy layer has no shape before its first call
            width = declared_width(module) or 0 if plain or is_lazy(value) else int(value.shape[0])
            found.setdefault(id(value), []).append(Weights(layer, kind if plain else "Linear", path, name, width))
    return found


class Acting(TorchFunctionMode):
    """Watches the functions of a pass that are given one of these weights, by identity.

    seen     is called with the output of a layer whose weights acted in one of its own functions
    through  is called with the name of any other function that was given weights and gave a tensor, which is not read
    """

    def __init__(
        self,
        weights: Mapping[int, list[Weights]],
        seen: Seen,
        through: Callable[[Sequence[Weights], str], object] | None = None,
    ) -> None:
        super().__init__()
        self._weights, self._seen, self._through = weights, seen, through
        self._later: list[int] = []  # weights whose output attention gives once it has its shape

    def __torch_function__(
        self, func: Any, types: Collection[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _ATTENTION:
            return self._attention(args, kwargs)
        result = func(*args, **kwargs)
        for value in _flat(args, kwargs):
            if (weights := self._weights.get(id(value))) is not None and id(value) not in self._later:
                self._note(func, weights, value, result, args, kwargs)
        return result

    def _note(
        self,
        func: Any,
        weights: list[Weights],
        own: Tensor,
        result: object,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        name = getattr(func, "__name__", "")
        source = kwargs.get("input", args[0] if args else None)  # as all these functions call it
        if _FUNCTIONS.get(name) == weights[0].layer_type and isinstance(result, Tensor) and source is not own:
            self._seen(weights, result, source if isinstance(source, Tensor) else None)
        elif self._through is not None and first_tensor(result) is not None:
            called = name if name != "__get__" else getattr(getattr(func, "__self__", None), "__name__", name)
            self._through(weights, called)

    def _attention(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Attention with its inside in sight. Its last projection runs on rows of (positions, images), and is read when these
        have been given their shape.
        """
        own: Tensor = _ARGUMENTS.bind(*args, **kwargs).arguments["out_proj_weight"]
        self._later.append(id(own))
        try:
            with self:
                result = _attention_in_sight(*args, **kwargs)
        finally:
            self._later.pop()
        if (weights := self._weights.get(id(own))) is not None:
            self._seen(weights, result[0], None)
        return result


def _nobody_else(*_: object) -> bool:
    return False


# The function of torch, line by line, but without the question whether somebody watches it as a whole: then it would be
# handed over as one piece each time, and what it calls would never be seen.
_attention_in_sight = types.FunctionType(
    _ATTENTION.__code__,
    {
        **_ATTENTION.__globals__,
        **dict.fromkeys(
            ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), _nobody_else
        ),
    },
    _ATTENTION.__name__,
    _ATTENTION.__defaults__,
    _ATTENTION.__closure__,
)
_attention_in_sight.__kwdefaults__ = _ATTENTION.__kwdefaults__


def is_own_call(owners: Sequence[Weights], running: Mapping[str, int]) -> bool:
    """Whether weights act inside a call of their module, whose hooks see it; `running`: calls under way by module."""
    return any(owner.of_module and running.get(owner.module, 0) for owner in owners)


def _flat(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """Tensors among arguments, and in lists among them."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from (each for each in value if isinstance(each, Tensor))


@contextmanager
def layer_by_layer() -> Generator[None]:
    """Torch has one fused function for a whole attention, or for a whole block of a transformer, in which layers are neither
    called nor seen; not here.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
