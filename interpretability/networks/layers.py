"""Layers of a network whose outputs are units: which there are, in what order, and how an output becomes values."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.networks.taps import Tap
from interpretability.schema import LAYER_TYPES, SCORED_TYPES

UNITS_VERSION = 4
LINEAR, NORM_ACT = ("all", "blocks"), ("before", "after")


@dataclass(frozen=True)
class Layer:
    """One tap: the output of a module (or the input of its fused activation) at one of its calls.

    name        what the layer is called: the module's path, or what a tap is called
    width       U, its units: one a channel
    depth       0 for the first of the wanted layers to 1 for the last
    """

    name: str  # module path, or what a tap is called; later calls of a shared module end in #2, #3, ...
    layer_type: str
    layer_index: int  # order of the first call among the wanted layers, before the first and last are left out
    depth: float  # layer_index / (number of wanted layers - 1)
    width: int  # units
    module: str
    call: int
    tap: str  # "output", or the path of the child whose input is read
    batch_axis: int
    channel_axis: int


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


def check_network(model: object) -> None:
    """Refuse what is no network."""
    if not isinstance(model, nn.Module):
        raise arguments.wrong("model", "is of type {kind}; it must be a torch.nn.Module", kind=type(model).__name__)


def checked_device(device: torch.device | str) -> torch.device:
    """The device of this name, if torch knows it."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        text = " ".join(str(error).split())
        raise arguments.wrong(
            "device", "is {given!r}, which torch cannot use ({text}); cpu and cuda are usual", given=device, text=text
        ) from None


def check_batch(batch: object, argument: str, least: int = 1) -> None:
    """Refuse what are no prepared images (n, C, H, W), or fewer than `least`."""
    if not isinstance(batch, Tensor):
        raise arguments.wrong(argument, "is of type {kind}; it must be a torch.Tensor", kind=type(batch).__name__)
    if batch.dim() != 4 or len(batch) < least:
        shape = tuple(batch.shape)
        raise arguments.wrong(
            argument, "has shape {shape}; it must be ({least} or more images, C, H, W)", shape=shape, least=least
        )
    if not batch.is_floating_point():
        raise arguments.wrong(
            argument,
            "holds values of type {kind}; it must be floating-point, as the network's preprocessing gives images",
            kind=batch.dtype,
        )


@torch.no_grad()
def find_layers(
    model: nn.Module,
    example: Tensor,
    *,
    layer_types: Sequence[str] = SCORED_TYPES,
    drop_first_last: bool = True,
    linear: str = "all",
    norm_act: str = "before",
    taps: Sequence[Tap] = (),
) -> list[Layer]:
    """The layers of a network whose units are to be scored, in the order of their first call (MIS paper, section 4.2.1).

    model            in evaluation mode; it runs twice
    example          3 or more images (n, C, H, W), floating-point as the network's preprocessing gives them, on its device
    layer_types      of Conv, Linear, BatchNorm, LayerNorm, GroupNorm, Other (any other module with declared channels)
    drop_first_last  leave out the first and the last of these layers, as the paper does
    linear           "blocks" leaves out, in a network that has attention, linear layers outside of attention and
                     feed-forward blocks (a patch embedding, the merging of patches, a position bias), which are told by the
                     class of a module around them
    norm_act         "before" reads a norm layer with a built-in activation in front of that activation, "after" behind it
    taps             further places to read, whatever their type

    Layers that the pass does not reach are not listed; a module that runs twice is two layers, NAME and NAME#2. Raises
    InputError if no layer is left, and for a network whose units do not depend on images one by one.

    >>> import torch
    >>> from interpretability import find_layers
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3)
    ... ).eval()
    >>> [(layer.name, layer.width) for layer in find_layers(network, torch.rand(3, 3, 8, 8), drop_first_last=False)]
    [('0', 4), ('1', 4), ('3', 5)]
    """
    check_network(model)
    if model.training:  # its values depend on the whole batch and on chance, and a pass would change its statistics
        raise arguments.wrong("model", "is in training mode; call its eval() first")
    check_batch(example, "example", least=2)
    for kind in [layer_types] if isinstance(layer_types, str) else layer_types:
        if kind not in LAYER_TYPES:
            words = ", ".join(LAYER_TYPES)
            raise arguments.wrong("layer_types", "names {kind!r}, allowed: {words}", kind=kind, words=words)
    arguments.choice(linear, "linear", LINEAR)
    arguments.choice(norm_act, "norm_act", NORM_ACT)
    small = example[:1]
    calls = [_trace(model, batch, norm_act, taps) for batch in (small, example)]
    if [call[:4] for call in calls[0]] != [call[:4] for call in calls[1]]:
        raise InputError("the network calls other modules for one image than for several; its units are not defined")
    ratio = len(example)
    tap_of = {(entry.name, entry.tap): entry for entry in taps}
    wanted = []
    for (name, path, call, tap, one), (*_, many) in zip(*calls, strict=True):
        module = model.get_submodule(path)
        extra = tap_of.get((name, tap))
        kind = layer_type(module) if tap == "output" or extra is None else "Other"
        if extra is None and (kind not in layer_types or (kind == "Other" and declared_width(module) is None)):
            continue
        batch_axes = [axis for axis, (a, b) in enumerate(zip(one, many, strict=True)) if b == ratio * a]
        if not batch_axes or len(one) < 2:
            continue  # its output does not grow with the batch: a table of positions, not a value of an image
        if extra is None:
            width = declared_width(module) or one[1 if len(one) == 4 else -1]
            axis = channel_axis_of(module, many, batch_axes[0], width)
        else:
            axis = extra.channel_axis % len(many)
        wanted.append((name, path, call, tap, kind, batch_axes[0], axis, many[axis]))
    last = max(len(wanted) - 1, 1)
    layers = [
        Layer(
            name=name if call == 0 else f"{name}#{call + 1}",
            layer_type=kind,
            layer_index=i,
            depth=i / last,
            width=width,
            module=path,
            call=call,
            tap=tap,
            batch_axis=batch_axis,
            channel_axis=axis,
        )
        for i, (name, path, call, tap, kind, batch_axis, axis, width) in enumerate(wanted)
    ]
    layers = layers[1:-1] if drop_first_last else layers
    if linear == "blocks":  # after depth is counted, so that a layer has one depth under both rules
        outside = _outside_blocks(model)
        layers = [layer for layer in layers if layer.layer_type != "Linear" or layer.module not in outside]
    if not layers:
        dropped = " after the first and the last are left out ({drop_first_last})" if drop_first_last else ""
        raise InputError(
            "no layer is left of {count} with {layer_types} = {types}" + dropped,
            "layer_types",
            "drop_first_last",
            count=len(wanted),
            types=", ".join(layer_types),
        )
    return layers


_ATTENTION = re.compile("attn|attention|^xca$", re.I)
_BLOCKS = re.compile("attn|attention|^xca$|mlp|feedforward|ffn|swiglu", re.I)
_OTHER_MLPS = re.compile(
    "posbias$|positionbias$|^relpos|head$", re.I
)  # a position bias inside an attention; a classifier


def _outside_blocks(model: nn.Module) -> set[str]:
    """Paths of linear layers outside of attention and feed-forward blocks, if the network has attention at all."""
    kind = {path: type(module).__name__ for path, module in model.named_modules()}
    if not any(_ATTENTION.search(name) for path, name in kind.items() if path):
        return set()

    def inside(path: str) -> bool:
        around = [kind[path.rsplit(".", up)[0]] for up in range(1, path.count(".") + 1)]
        return any(_BLOCKS.search(name) for name in around) and not any(_OTHER_MLPS.search(name) for name in around)

    return {path for path, module in model.named_modules() if isinstance(module, nn.Linear) and not inside(path)}


def _trace(
    model: nn.Module, batch: Tensor, norm_act: str, taps: Sequence[Tap]
) -> list[tuple[str, str, int, str, tuple[int, ...]]]:
    """(layer name, module path, call number, tap, shape) of every call of a module with a tensor output, and of every
    tap, in order.
    """
    seen: list[tuple[str, str, int, str, tuple[int, ...]]] = []
    counts: dict[tuple[str, str], int] = {}
    watched = [(tap.name, tap.module, tap.tap) for tap in taps]
    tapped = {tap.module for tap in taps if tap.tap == "output"}
    for name, module in model.named_modules():
        if not name or name in tapped or (any(True for _ in module.children()) and layer_type(module) == "Other"):
            continue
        act = fused_activation(module)
        child = "output"
        if act is not None and norm_act == "before":
            child = next(child for child, candidate in module.named_children() if candidate is act)
        watched.append((name, name, child))
    with hooks() as add:
        for name, path, tap in watched:

            def note(value: object, name: str = name, path: str = path, tap: str = tap) -> None:
                if isinstance(value, Tensor):
                    call = counts.get((path, tap), 0)
                    seen.append((name, path, call, tap, tuple(value.shape)))
                    counts[path, tap] = call + 1

            read(add, model.get_submodule(path), tap, note)
        model(batch)
    return seen


def read(add: Callable[[RemovableHandle], None], module: nn.Module, tap: str, note: Callable[[object], None]) -> None:
    """Hand the output of a module, or the input of its child `tap`, to `note` at every call."""
    if tap == "output":
        add(module.register_forward_hook(lambda _, args, out: note(out)))
    else:
        add(module.get_submodule(tap).register_forward_pre_hook(lambda _, args: note(args[0])))


@contextmanager
def hooks() -> Generator[Callable[[RemovableHandle], None], None, None]:
    handles: list[RemovableHandle] = []
    try:
        yield handles.append
    finally:
        for handle in handles:
            handle.remove()


def unit_values(output: Tensor, batch_size: int, batch_axis: int, channel_axis: int) -> Tensor:
    """Mean of a module's output over everything but images and channels: (batch_size, channels) float32.

    A batch axis longer than the batch (windows of Swin and its kin, image-major) is regrouped by image.
    """
    value = output.movedim((batch_axis, channel_axis), (0, -1))
    return value.reshape(batch_size, -1, value.shape[-1]).mean(dim=1, dtype=torch.float32)
