"""What a module is, where its channels lie, and how what it gives is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interpretability.errors import InputError

Add = Callable[[RemovableHandle], None]


def layer_type(module: nn.Module) -> str:
    """Conv, Linear, BatchNorm, LayerNorm, GroupNorm or Other, by class and by the name of its parent classes."""
    names = [cls.__name__ for cls in type(module).__mro__]
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
        return "Conv"
    if isinstance(module, nn.Linear):
        return "Linear"
    if isinstance(module, nn.modules.batchnorm._BatchNorm) or any("BatchNorm" in name for name in names):  # pyright: ignore[reportPrivateUsage]
        return "BatchNorm"
    if isinstance(module, nn.LayerNorm) or any(
        name.startswith(("LayerNorm", "RmsNorm", "SimpleNorm")) for name in names
    ):
        # an RMS norm does the same job in the same place; the paper's list has no type of its own for it
        return "LayerNorm"
    if isinstance(module, nn.GroupNorm):
        return "GroupNorm"
    return "Other"


def declared_width(module: nn.Module) -> int | None:
    """Number of channels that a module declares, if it does."""
    for name in ("out_channels", "out_features", "num_features", "num_channels"):
        if isinstance(getattr(module, name, None), int):
            return int(getattr(module, name))
    shape = getattr(module, "normalized_shape", None)
    return int(shape[-1]) if shape else None


def fused_activation(module: nn.Module) -> nn.Module | None:
    """The activation inside a norm layer that applies one itself (timm's BatchNormAct2d and its kin)."""
    act = getattr(module, "act", None)
    return act if isinstance(act, nn.Module) and "Norm" in type(module).__name__ else None


def channel_axis_of(module: nn.Module, shape: Sequence[int], batch_axis: int, width: int) -> int:
    """The axis of a module's output that its channels lie on."""
    kind = layer_type(module)
    first = kind in ("Conv", "BatchNorm", "GroupNorm") or "2d" in type(module).__name__
    axes = [axis for axis in range(len(shape)) if axis != batch_axis and shape[axis] == width]
    if not axes:
        raise InputError(f"output of shape {tuple(shape)} has no axis of {width} channels")
    preferred = 1 if first else len(shape) - 1
    return preferred if preferred in axes else axes[-1]


_ATTENTION = re.compile("attn|attention|^xca$", re.I)
_BLOCKS = re.compile("attn|attention|^xca$|mlp|feedforward|ffn|swiglu", re.I)
_OTHER_MLPS = re.compile(
    "posbias$|positionbias$|^relpos|head$", re.I
)  # a position bias inside an attention; a classifier


def has_attention(model: nn.Module) -> bool:
    """Whether any module of a network is an attention, by the name of its class."""
    return any(_ATTENTION.search(type(module).__name__) for path, module in model.named_modules() if path)


def outside_blocks(model: nn.Module) -> set[str]:
    """Paths of linear layers outside of attention and feed-forward blocks, if the network has attention at all."""
    if not has_attention(model):
        return set()
    kind = {path: type(module).__name__ for path, module in model.named_modules()}

    def inside(path: str) -> bool:
        around = [kind[path.rsplit(".", up)[0]] for up in range(1, path.count(".") + 1)]
        return any(_BLOCKS.search(name) for name in around) and not any(_OTHER_MLPS.search(name) for name in around)

    return {path for path, module in model.named_modules() if isinstance(module, nn.Linear) and not inside(path)}


def first_tensor(value: object) -> Tensor | None:
    """The tensor that stands for what a module gives: itself, or the first one in a tuple, a list or the values of a dict, in
    their order; None where there is none.
    """
    if isinstance(value, Tensor):
        return value
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((found for each in inside if (found := first_tensor(each)) is not None), None)


def read(add: Add, module: nn.Module, tap: str, note: Callable[[object], None]) -> None:
    """Hand the output of a module, or the input of its child `tap`, to `note` at every call."""
    if tap == "output":
        add(module.register_forward_hook(lambda _, args, out: note(out)))
    else:
        add(module.get_submodule(tap).register_forward_pre_hook(lambda _, args: note(args[0] if args else None)))


@contextmanager
def hooks() -> Generator[Add, None, None]:
    """A place for handles of hooks, which are removed at the end."""
    handles: list[RemovableHandle] = []
    try:
        yield handles.append
    finally:
        for handle in handles:
            handle.remove()
