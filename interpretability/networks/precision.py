"""In what arithmetic a network runs: float32, or a faster kind for its own products alone.

Means of units, their order and similarities are in float32 whatever is chosen here.

| name     | convolutions and matrix products | depthwise convolutions |
|----------|----------------------------------|------------------------|
| float32  | float32                          | float32                |
| tf32     | float32, inputs rounded to 10 bits of mantissa on a GPU | float32 |
| float16  | autocast: 10 bits, nothing above 65504 | float32          |
| bfloat16 | autocast: 7 bits                 | as the others          |

A convolution is depthwise if each of its outputs sees one channel alone. It does hardly any arithmetic, so float32 costs
it little, and where it ran in 10 bits scores of units moved twice as far (docs/scale.md). Convolutions in groups of two
channels and more run like all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from interpretability import arguments

PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": None,
    "tf32": None,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
_WITH_EXACT_DEPTHWISE = ("tf32", "float16")
# modules that do nothing with their weights but hand them to one product, by their very class: a subclass may do more
_PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_TF32, _FLOAT32 = "tf32", "ieee"  # as torch names them
_AMPERE = 8  # the first compute capability whose tensor cores know TF32


def used(precision: str, device: torch.device | str) -> str:
    """The precision in which networks run on a device that is asked for another: tf32 is float32 where there is none."""
    arguments.choice(precision, "precision", PRECISIONS)
    device = torch.device(device)
    if precision == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device)[0] < _AMPERE):
        return "float32"
    return precision


def arithmetic(model: nn.Module, precision: str, device: torch.device | str) -> AbstractContextManager[None]:
    """The context in which a network runs in a precision, for any number of passes; torch's settings are as before outside.

    It may be entered again and again, which costs microseconds, but not inside itself. Raises InputError for an unknown
    precision.
    """
    return _Arithmetic(model, used(precision, device), torch.device(device))


class _Arithmetic(AbstractContextManager[None]):
    def __init__(self, model: nn.Module, precision: str, device: torch.device) -> None:
        self._precision, self._device = precision, device
        exact = precision in _WITH_EXACT_DEPTHWISE
        self._depthwise = [module for module in model.modules() if exact and is_depthwise(module)]
        self._stack = ExitStack()

    def __enter__(self) -> None:
        dtype = PRECISIONS[self._precision]
        with ExitStack() as stack:
            for module in self._depthwise:
                stack.callback(_with_forward(module, self._exact(module.forward)))
            if dtype is not None:
                stack.enter_context(torch.autocast(self._device.type, dtype=dtype))
            if self._device.type == "cuda":  # where torch's own convolutions are in TF32
                stack.enter_context(_tf32(self._precision == "tf32"))
            self._stack = stack.pop_all()

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _exact(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The forward pass of a module in float32."""
        kind, half = self._device.type, self._precision == "float16"

        def run(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(kind, enabled=False) if half else products_in_float32():
                return forward(
                    *(_in_float32(value) for value in args), **{name: _in_float32(kwargs[name]) for name in kwargs}
                )

        return run


def is_depthwise(module: nn.Module) -> bool:
    """Whether a module is a convolution each of whose outputs sees one channel alone."""
    return (
        isinstance(module, nn.modules.conv._ConvNd)  # pyright: ignore[reportPrivateUsage]
        and module.groups > 1
        and module.groups == module.in_channels
    )


def _with_forward(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], object]:
    """Give a module another forward pass; returns what takes it away."""
    own = vars(module)  # not by attribute, of which torch makes a search
    before = own.get("forward")
    own["forward"] = forward
    if before is None:
        return lambda: own.pop("forward", None)
    return lambda: own.__setitem__("forward", before)


def _in_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def products_in_float32() -> AbstractContextManager[None]:
    """A context without TF32, as inside of `arithmetic` what is not the network's own must be computed."""
    return _tf32(False)


class _Switch(Protocol):
    fp32_precision: str


# whether torch has a switch for each kind of operation; before 2.9 there are two switches by other names alone
_BY_OPERATION = hasattr(torch.backends, "fp32_precision")


def _switches() -> tuple[_Switch, ...]:
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    return cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul  # pyright: ignore[reportReturnType]


def _settings() -> tuple[str, ...]:
    """Arithmetic of products, convolutions and recurrent layers of a GPU, and of products of a processor.

    Reading it by the old names fails where others were set. Products of both have one old name, so they move together.
    """
    if _BY_OPERATION:
        return tuple(switch.fp32_precision for switch in _switches())
    convolutions = _TF32 if torch.backends.cudnn.allow_tf32 else _FLOAT32
    products = _TF32 if torch.backends.cuda.matmul.allow_tf32 else _FLOAT32
    return products, convolutions, convolutions, _FLOAT32


def _set(settings: tuple[str, ...]) -> None:
    # the old names too, by which code of networks reads them; alone they leave convolutions to what is set for all
    torch.backends.cuda.matmul.allow_tf32 = settings[0] == _TF32
    torch.backends.cudnn.allow_tf32 = settings[1] == _TF32
    if _BY_OPERATION:
        for switch, value in zip(_switches(), settings, strict=True):
            switch.fp32_precision = value


@contextmanager
def _tf32(on: bool) -> Generator[None]:
    before, wanted = _settings(), (*(_TF32 if on else _FLOAT32,) * 3, _FLOAT32)
    if before == wanted:
        yield
        return
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def prepared(model: nn.Module, precision: str) -> nn.Module:
    """The same network with weights cast once to its precision, which autocast else does in every batch.

    From here on it runs inside of `arithmetic` of this precision alone, where its numbers are what they were. Cast are
    weights and biases of plain linear layers and convolutions that nobody else holds; all others, such as those of layers
    that standardise their weights, are left to autocast. What is to be known of the weights as they are, such as a digest,
    must be found out before. Raises InputError for an unknown precision.
    """
    arguments.choice(precision, "precision", PRECISIONS)
    dtype = PRECISIONS[precision]
    if dtype is None:
        return model
    modules = list(model.modules())
    holders = Counter(id(value) for module in modules for value in _own(module).values())
    for module in modules:
        if _is_plain(module) and not (precision in _WITH_EXACT_DEPTHWISE and is_depthwise(module)):
            for value in _own(module).values():
                if holders[id(value)] == 1 and value.dtype == torch.float32:
                    value.data = value.data.to(dtype)  # the object stays, by which layers know their weights
    return model


def laid_out(model: nn.Module, precision: str, device: torch.device | str) -> nn.Module:
    """The same network with its weights in the order in which a device reads them in a precision.

    Tensor cores of a GPU read maps channel by channel, so outside of float32 its convolutions have their channels last.
    Raises InputError for an unknown precision.
    """
    arguments.choice(precision, "precision", PRECISIONS)
    if torch.device(device).type != "cpu" and precision != "float32":
        model.to(memory_format=torch.channels_last)
    return model


def _own(module: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of a module itself."""
    return dict(module.named_parameters(recurse=False, remove_duplicate=False))


def _is_plain(module: nn.Module) -> bool:
    """Whether weights of a module go into its product and nowhere else, as far as the module says."""
    return (
        type(module) in _PLAIN
        and "forward" not in vars(module)
        and not module._forward_pre_hooks  # pyright: ignore[reportPrivateUsage]  # may compute weights anew
        and set(_own(module)) <= {"weight", "bias"}
    )
