"""Layers of a network whose outputs are units: which there are, in what order, and how an output becomes values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.networks.acting import Weights, weights_of
from interpretability.networks.modules import channel_axis_of, declared_width, layer_type, outside_blocks
from interpretability.networks.reasons import (
    BESIDE,
    COMPLEX,
    FIRST,
    LAST,
    NEVER,
    NO_CHANNELS,
    NO_TENSOR,
    NOT_GROWING,
    OUTSIDE,
)
from interpretability.networks.taps import Tap
from interpretability.networks.tracing import Output, Trace, trace
from interpretability.schema import LAYER_TYPES, SCORED_TYPES

UNITS_VERSION = 5
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
    tap: str  # "output", the path of the child whose input is read, or weights that act without a call (`networks.acting`)
    batch_axis: int
    channel_axis: int


@dataclass(frozen=True)
class LeftOut:
    """A layer of a wanted type that gives no units, and why; `width`: the channels that it declares, if it does."""

    name: str
    layer_type: str
    width: int | None
    reason: str


@dataclass(frozen=True)
class Survey:
    """The layers of a network whose units are to be scored, and every other layer of the wanted types."""

    layers: list[Layer]
    left_out: list[LeftOut]  # in the order in which the network holds its modules


def check_network(model: object) -> None:
    """Refuse what is no network, and one whose layers torch hides."""
    if not isinstance(model, nn.Module):
        raise arguments.wrong("model", "is of type {kind}; it must be a torch.nn.Module", kind=type(model).__name__)
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise arguments.wrong(
                "model",
                "is scripted or traced by torch.jit{part}, and nothing inside can be read; build it from its code and load its "
                "weights",
                part=f" in its part {path}" if path else "",
            )


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

    A module that runs twice is two layers, NAME and NAME#2. Where a module gives several tensors, the first one counts: in a
    tuple or list the first in order, in a dict that of the first key that has one. A layer that is not called, but whose
    weights a function of torch is given (`F.linear(x, self.qkv.weight)`), is read there, in the place of its call; so are the
    projections of `nn.MultiheadAttention`, those into queries, keys and values as one layer NAME.in_proj (or NAME.q_proj,
    NAME.k_proj and NAME.v_proj where they are kept apart). Layers that give no units are not listed: `survey` tells why. Raises
    InputError if no layer is left, and for a network whose units do not depend on images one by one.

    >>> import torch
    >>> from interpretability import find_layers
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3)
    ... ).eval()
    >>> [(layer.name, layer.width) for layer in find_layers(network, torch.rand(3, 3, 8, 8), drop_first_last=False)]
    [('0', 4), ('1', 4), ('3', 5)]
    """
    return survey(
        model,
        example,
        layer_types=layer_types,
        drop_first_last=drop_first_last,
        linear=linear,
        norm_act=norm_act,
        taps=taps,
    ).layers


@torch.no_grad()
def survey(
    model: nn.Module,
    example: Tensor,
    *,
    layer_types: Sequence[str] = SCORED_TYPES,
    drop_first_last: bool = True,
    linear: str = "all",
    norm_act: str = "before",
    taps: Sequence[Tap] = (),
) -> Survey:
    """The layers that `find_layers` gives for the same arguments, and all others of the wanted types, each with the reason.

    >>> import torch
    >>> from interpretability.networks.layers import survey
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 5, 3)).eval()
    >>> for row in survey(network, torch.rand(3, 3, 8, 8)).left_out:
    ...     print(row.name, row.width, row.reason)
    0 4 the first of the layers
    2 5 the last of the layers
    """
    _check(model, example, layer_types, linear, norm_act)
    weights = weights_of(model)
    one, many = (trace(model, batch, norm_act, taps, weights) for batch in (example[:1], example))
    if [output.place for output in one.outputs] != [output.place for output in many.outputs]:
        raise InputError("the network calls other modules for one image than for several; its units are not defined")
    tap_of = {(entry.name, entry.tap): entry for entry in taps}
    wanted: list[tuple[Output, _Axes]] = []
    left_out: list[tuple[str, LeftOut]] = []  # with the path of the module
    for single, output in zip(one.outputs, many.outputs, strict=True):
        extra = tap_of.get((output.name, output.tap))
        if extra is None and not _is_wanted(output, layer_types):
            continue
        axes = _axes(model.get_submodule(output.module), single.shape, output, len(example), extra)
        if isinstance(axes, str):
            left_out.append((output.module, _left_out(output, axes, extra)))
        else:
            wanted.append((output, axes))
    layers = _numbered(wanted, tap_of)
    kept = _kept(model, layers, drop_first_last=drop_first_last, linear=linear)
    left_out += [
        (layer.module, LeftOut(layer.name, layer.layer_type, layer.width, reason))
        for layer, reason in zip(layers, kept, strict=True)
        if reason
    ]
    left_out += [
        (output.module, _left_out(output, BESIDE)) for output in many.beside if output.layer_type in layer_types
    ]
    left_out += _unreached(model, many, weights, layer_types, taps)
    layers = [layer for layer, reason in zip(layers, kept, strict=True) if not reason]
    if not layers:
        raise _nothing_left(model, len(wanted), layer_types, drop_first_last=drop_first_last)
    order = {path: number for number, (path, _) in enumerate(model.named_modules())}
    return Survey(layers, [row for _, row in sorted(left_out, key=lambda entry: order[entry[0]])])


def _check(model: object, example: object, layer_types: Sequence[str], linear: str, norm_act: str) -> None:
    check_network(model)
    if isinstance(model, nn.Module) and model.training:
        # its values depend on the whole batch and on chance, and a pass would change its statistics
        raise arguments.wrong("model", "is in training mode; call its eval() first")
    check_batch(example, "example", least=2)
    for kind in [layer_types] if isinstance(layer_types, str) else layer_types:
        if kind not in LAYER_TYPES:
            words = ", ".join(LAYER_TYPES)
            raise arguments.wrong("layer_types", "names {kind!r}, allowed: {words}", kind=kind, words=words)
    arguments.choice(linear, "linear", LINEAR)
    arguments.choice(norm_act, "norm_act", NORM_ACT)


@dataclass(frozen=True)
class _Axes:
    """Axes of an output: of its images and of its channels."""

    batch: int
    channel: int


def _is_wanted(output: Output, layer_types: Sequence[str]) -> bool:
    return output.layer_type in layer_types and (output.layer_type != "Other" or output.declared is not None)


def _axes(module: nn.Module, one: Sequence[int], output: Output, ratio: int, extra: Tap | None) -> _Axes | str:
    """Axes of an output whose shape is `one` for a single image, or why its values are no units: the one place that says so."""
    many = output.shape
    if not output.real:
        return COMPLEX
    batch_axes = (
        [axis for axis, (a, b) in enumerate(zip(one, many, strict=True)) if b == ratio * a]
        if len(one) == len(many)
        else []
    )
    if not batch_axes:
        return NOT_GROWING  # a table of positions, not a value of an image
    if len(one) < 2:
        return NO_CHANNELS
    if extra is not None:
        return _Axes(batch_axes[0], extra.channel_axis % len(many))
    width = output.declared or one[1 if len(one) == 4 else -1]
    try:
        return _Axes(batch_axes[0], channel_axis_of(module, many, batch_axes[0], width))
    except InputError:
        return f"no axis of its output, of shape {tuple(one)} for an image, has its {width} channels"


def _numbered(wanted: Sequence[tuple[Output, _Axes]], tap_of: Mapping[tuple[str, str], Tap]) -> list[Layer]:
    """Layers with their number and depth among all that are wanted."""
    last = max(len(wanted) - 1, 1)
    return [
        Layer(
            name=_called(output),
            layer_type=_type(output, tap_of.get((output.name, output.tap))),
            layer_index=i,
            depth=i / last,
            width=output.shape[axes.channel],
            module=output.module,
            call=output.call,
            tap=output.tap,
            batch_axis=axes.batch,
            channel_axis=axes.channel,
        )
        for i, (output, axes) in enumerate(wanted)
    ]


def _called(output: Output) -> str:
    return output.name if output.call == 0 else f"{output.name}#{output.call + 1}"


def _type(output: Output, extra: Tap | None) -> str:
    return output.layer_type if output.tap == "output" or extra is None else "Other"


def _left_out(output: Output, reason: str, extra: Tap | None = None) -> LeftOut:
    return LeftOut(_called(output), _type(output, extra), output.declared, reason)


def _kept(model: nn.Module, layers: Sequence[Layer], *, drop_first_last: bool, linear: str) -> list[str]:
    """For each layer why it was asked to be left out, empty where it was not."""
    # after depth is counted, so that a layer has one depth under both rules
    outside = outside_blocks(model) if linear == "blocks" else set[str]()
    reasons = [OUTSIDE if layer.layer_type == "Linear" and layer.module in outside else "" for layer in layers]
    if drop_first_last and layers:
        reasons[-1] = LAST
        reasons[0] = FIRST
    return reasons


def _unreached(
    model: nn.Module,
    found: Trace,
    weights: Mapping[int, list[Weights]],
    layer_types: Collection[str],
    taps: Sequence[Tap],
) -> Iterator[tuple[str, LeftOut]]:
    """Layers of the wanted types, and taps, of which no pass showed an output."""
    modules = {output.module for output in (*found.outputs, *found.beside)}
    names = {output.name for output in (*found.outputs, *found.beside)}
    twin = {
        owner.layer: owners[0].layer for owners in weights.values() for owner in owners[1:] if owners[0].layer in names
    }

    def reason(layer: str) -> str:
        if layer in found.empty:
            return NO_TENSOR
        if layer in twin:
            return f"{NEVER}; its weights are those of {twin[layer]}"
        through = found.through.get(layer)
        return f"{NEVER}; its weights act through {', '.join(through)}, which is not read" if through else NEVER

    for path, module in model.named_modules():
        kind, width = layer_type(module), declared_width(module)
        leaf = next(module.children(), None) is None
        if path and path not in modules and kind in layer_types and (kind != "Other" or (leaf and width is not None)):
            yield path, LeftOut(path, kind, width, reason(path))
    if "Linear" in layer_types:
        for owner in (owner for owners in weights.values() for owner in owners if not owner.of_module):
            if owner.layer not in names:
                yield owner.module, LeftOut(owner.layer, "Linear", owner.width, reason(owner.layer))
    for tap in taps:
        if tap.name not in names:
            yield tap.module, LeftOut(tap.name, "Other", None, reason(tap.name))


def _nothing_left(model: nn.Module, n: int, layer_types: Sequence[str], *, drop_first_last: bool) -> InputError:
    dropped = " after the first and the last are left out ({drop_first_last})" if drop_first_last else ""
    kinds = Counter(layer_type(module) for module in model.modules())
    has = ", ".join(f"{kinds[kind]} {kind}" for kind in SCORED_TYPES if kinds[kind])
    return InputError(
        "no layer is left of {count} with {layer_types} = {types}" + dropped + "; the network has {has}",
        "layer_types",
        "drop_first_last",
        count=n,
        types=", ".join(layer_types),
        has=has or "none of the types " + ", ".join(SCORED_TYPES),
    )


def unit_values(
    output: Tensor, batch_size: int, batch_axis: int, channel_axis: int, out: Tensor | None = None
) -> Tensor:
    """Mean of a module's output over everything but images and channels: (batch_size, channels) float32.

    It is written into `out`, if that is given, a part of a buffer included. A half-precision output is read once and summed in
    float32. Raises InputError as `positions_of` does, and for an `out` of another shape.
    """
    positions = positions_of(output, batch_size, batch_axis, channel_axis)
    if out is not None and out.shape != (batch_size, positions.shape[2]):  # torch would give `out` other memory
        raise InputError(
            f"an output of shape {tuple(output.shape)} gives {positions.shape[2]} values an image where its layer has "
            f"{out.shape[1]} units; the network's path depends on its input"
        )
    return torch.mean(positions, dim=1, dtype=torch.float32, out=out)


def positions_of(output: Tensor, batch_size: int, batch_axis: int, channel_axis: int) -> Tensor:
    """A module's output as a map (batch_size, positions, channels), tokens and places in their order.

    A batch axis longer than the batch (windows of Swin and its kin, image-major) is regrouped by image. Raises InputError for
    complex values, of which a mean as a real number would keep one half without a word.
    """
    if output.is_complex():
        raise InputError(
            f"an output of type {output.dtype} holds complex values, which are no values of units; pass its abs() if you "
            "mean the magnitudes"
        )
    value = output.movedim((batch_axis, channel_axis), (0, -1))
    return value.reshape(batch_size, -1, value.shape[-1])
