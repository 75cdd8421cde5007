"""Which layers of a network repeat an earlier one channel for channel, told by how the network is wired.

A norm behind a convolution has the same channels once more, scaled, and so has a depthwise convolution, blurred: their
units respond to the same images, so their scores are no independent observations. A layer and all that repeats it are a
cluster. What is measured plays no part.

The network runs once on two images. Every operation is watched below the level of modules (torch's dispatcher), so views,
transposed axes and activations written as functions or in place are followed like those that are modules.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from interpretability.networks.acting import Acting, Weights, is_own_call, layer_by_layer, parameter_of, weights_of
from interpretability.networks.layers import Layer
from interpretability.networks.modules import channel_axis_of, declared_width, first_tensor, hooks, layer_type

VERSION = 1  # of the rule
_MARK = "_interpretability_trail"
_NORMS = ("BatchNorm", "LayerNorm", "GroupNorm")


class _Trail(NamedTuple):
    """Where the channels of a tensor come from: the call whose output they are (None: of no single one), the axis they lie
    on, and the version of the tensor that this was said of, since a later change in place makes it void.
    """

    call: int | None
    axis: int
    version: int


@torch.no_grad()
def layer_clusters(model: nn.Module, example: Tensor, layers: Sequence[Layer]) -> dict[str, str]:
    """For the name of each layer that of the first of `layers` in its cluster, often its own.

    model    in evaluation mode; it runs once
    example  2 or more images, as for `find_layers`
    layers   what `find_layers` gives for them

    A norm (BatchNorm, LayerNorm, GroupNorm and their kin) or a depthwise convolution belongs to the layer whose output is its
    input, if both have as many channels. Between the two may be what leaves channels apart: activations, pooling, padding,
    resizing, constant factors and summands, views and transposed axes. A sum or product of two branches, attention, a
    concatenation, and any operation not known to keep channels apart end the chain, and the next layer begins a cluster of
    its own. Layers in between count also where their own type is not wanted, or they are the first that is left out. Layers
    of type Other (taps among them) are clusters of their own.

    >>> import torch
    >>> from interpretability import find_layers
    >>> from interpretability.networks.clusters import layer_clusters
    >>> network = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3)
    ... ).eval()
    >>> images = torch.rand(3, 3, 8, 8)
    >>> layer_clusters(network, images, find_layers(network, images, drop_first_last=False))
    {'0': '0', '1': '0', '3': '3'}
    """
    batch = example[:2].clone()
    _mark(batch, None, 0)
    calls = _Calls()
    with hooks() as add:
        for path, module in model.named_modules():
            if path and (layer_type(module) != "Other" or declared_width(module) is not None):
                for handle in calls.watch(path, module):
                    add(handle)
        with layer_by_layer(), _Followed(), Acting(weights_of(model), partial(calls.acted, model)):
            model(batch)
    first: dict[object, str] = {}
    found = {}
    for layer in layers:
        begun = calls.begun.get((_place(layer.module, layer.tap), layer.call), layer.name)
        found[layer.name] = first.setdefault(layer.name if layer.layer_type == "Other" else begun, layer.name)
    return found


class _Calls:
    """The calls of convolutions, linear layers and norms in their order, and the call that begins the cluster of each."""

    def __init__(self) -> None:
        self.begun: dict[tuple[str, int], int] = {}  # place and number of a call -> call that its cluster begins with
        self._of: list[int] = []  # the same by the number of the call among all
        self._entered: list[_Trail | None] = []
        self._running: Counter[str] = Counter()  # calls under way
        self._counts: Counter[str] = Counter()

    def watch(self, path: str, module: nn.Module) -> tuple[Any, Any]:
        """Hooks that follow a module; their handles."""

        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            value = next((one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)), None)
            self._entered.append(None if value is None else _trail(value))
            self._running[path] += 1

        def leave(_: nn.Module, args: tuple[Any, ...], output: object) -> None:
            self._running[path] -= 1
            self._leave(path, module, declared_width(module) or 0, self._entered.pop(), output)

        return module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave)

    def acted(self, model: nn.Module, owners: Sequence[Weights], output: Tensor, source: Tensor | None) -> None:
        """Follow a layer whose weights act without a call of it."""
        if not is_own_call(owners, self._running):
            first, entered = owners[0], None if source is None else _trail(source)
            place = _place(first.module, first.tap)
            self._leave(place, model.get_submodule(first.module), first.width, entered, output)

    def _leave(self, place: str, module: nn.Module, width: int, entered: _Trail | None, given: object) -> None:
        output = first_tensor(given)
        if output is None:
            return
        number = self._counts[place]
        self._counts[place] += 1
        if output.dim() < 2 or width not in output.shape[1:]:
            _mark(output, None, 0)
            return
        call = len(self._of)
        axis = channel_axis_of(module, output.shape, 0, width)
        source = entered.call if entered is not None and entered.axis == axis and _repeats(module) else None
        begun = call if source is None else self._of[source]
        self._of.append(begun)
        self.begun[place, number] = begun
        _mark(output, call, axis)


def _place(module: str, tap: str) -> str:
    """What calls of a layer are counted by: its module, or the weights that act without a call of it."""
    return module if parameter_of(tap) is None else f"{module} {tap}"


def _repeats(module: nn.Module) -> bool:
    """Whether channel c of a module's output comes from channel c of its input: a norm, a depthwise convolution."""
    inside = [layer_type(child) for child in module.modules() if child is not module]
    if any(kind != "Other" for kind in inside):  # a block that is called like a norm
        return False
    kind = layer_type(module)
    if kind == "Conv":
        groups, ends = getattr(module, "groups", 1), [getattr(module, f"{end}_channels", 0) for end in ("in", "out")]
        return ends == [groups, groups]
    return kind in _NORMS


def _mark(value: Tensor, call: int | None, axis: int, written: bool = False) -> None:
    """`written`: by an operation in place, whose new version torch counts once the operation has returned."""
    setattr(value, _MARK, _Trail(call, axis, _version(value) + written))


def _version(value: Tensor) -> int:
    return -1 if value.is_inference() else value._version


def _trail(value: Tensor) -> _Trail | None:
    """What is known of a tensor; None for one that no image had a part in."""
    trail: _Trail | None = getattr(value, _MARK, None)
    return trail if trail is None or trail.version == _version(value) else trail._replace(call=None)


class _Followed(TorchDispatchMode):
    """Passes what is known of the inputs of every operation on to its outputs."""

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [(value, _trail(value)) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        output = func(*args, **kwargs)
        followed = [_Input(tuple(value.shape), *trail[:2]) for value, trail in inputs if trail is not None]
        if not followed:
            return output
        calls = {each.call for each in followed}
        call = calls.pop() if len(calls) == 1 else None
        step = None if call is None else _step(func, args, kwargs, followed)
        written = bool(func._schema.is_mutable)
        for value in tree_leaves(output):
            if isinstance(value, Tensor):
                axis = None if step is None else step(tuple(value.shape))
                kept = axis is not None and value.shape[axis] == followed[0].width
                _mark(value, call if kept else None, axis or 0, written)
                if written and value._base is not None:
                    _mark(value._base, None, 0)  # a part of it changed
        return output


Shape = tuple[int, ...]
Step = Callable[[Shape], int | None]  # the axis of the channels in an output of this shape; None where they are mixed


class _Input(NamedTuple):
    """A tensor that images had a part in, as an operation takes it."""

    shape: Shape
    call: int | None
    axis: int

    @property
    def width(self) -> int:
        return self.shape[self.axis]


# pointwise operations that torch does not call so
_POINTWISE = {"hardswish", "_prelu_kernel", "log_sigmoid_forward", "rrelu_with_noise", "copy", "lift_fresh"}
_SAME = {"_to_copy", "alias", "detach", "clone", "contiguous", "roll", "flip"}
_VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_copy", "_reshape_alias", "view_copy", "squeeze", "unsqueeze"}
_REDUCED = {"mean", "sum", "amax", "amin", "max", "min", "logsumexp", "var", "std"}
_PARTED = {"slice", "split", "split_with_sizes", "unsafe_split", "narrow"}
_SPATIAL = re.compile(r"(?:pool|upsample|pad).*([123])d")  # acts on that many last axes


def _step(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], followed: Sequence[_Input]) -> Step | None:
    """Where an operation puts the channels of what it takes; None for one that is not known to keep them apart."""
    name = func._schema.name.removeprefix("aten::").rstrip("_")
    first = followed[0]
    shape, axis = first.shape, first.axis
    if torch.Tag.pointwise in func.tags or name in _POINTWISE:
        ends = {each.axis - len(each.shape) for each in followed}  # shapes are matched from the end
        return (lambda out: axis - len(shape) + len(out)) if len(ends) == 1 else None
    if len(followed) > 1:
        return None
    given = {argument.name: argument.default_value for argument in func._schema.arguments}
    given |= dict(zip(given, args, strict=False)) | dict(kwargs)
    if name in _SAME:
        return lambda out: axis
    if name in _VIEWS:
        return lambda out: _in_view(shape, axis, out)
    if name == "expand":
        return lambda out: axis - len(shape) + len(out)
    if name in ("permute", "transpose", "t"):
        return lambda out: _order(name, given, len(shape)).index(axis)
    if name in _PARTED:
        return lambda out: axis  # a part of the channels is none of all
    if name in ("select", "unbind"):
        return lambda out: _without([given["dim"]], len(shape), axis)
    if name in _REDUCED:
        return _reduced(given, len(shape), axis)
    if name == "constant_pad_nd":
        end = 2 * (len(shape) - 1 - axis)
        return None if any(given["pad"][end : end + 2]) else lambda out: axis
    if spatial := _SPATIAL.search(name):
        return (lambda out: axis) if axis < len(shape) - int(spatial[1]) else None
    return None


def _in_view(shape: Shape, axis: int, out: Shape) -> int | None:
    """The axis that still counts the channels when the same values, in the same order, are given another shape."""
    before = math.prod(shape[:axis])
    return next((i for i, n in enumerate(out) if n == shape[axis] and math.prod(out[:i]) == before), None)


def _order(name: str, given: Mapping[str, Any], n: int) -> list[int]:
    """Axes of the input in the order of the output."""
    if name == "permute":
        return [axis % n for axis in given["dims"]]
    order = list(range(n))
    if n > 1:
        one, other = (0, 1) if name == "t" else (given["dim0"], given["dim1"])
        order[one], order[other] = order[other], order[one]
    return order


def _reduced(given: Mapping[str, Any], n: int, axis: int) -> Step | None:
    """Axis of the channels after means or sums over other axes; None where those are among the axes, or all are."""
    over = given.get("dim")
    over = [over] if isinstance(over, int) else list(over or range(n))
    if given.get("keepdim"):
        return None if axis in {each % n for each in over} else lambda out: axis
    return lambda out: _without(over, n, axis)


def _without(removed: Sequence[int], n: int, axis: int) -> int | None:
    """Number of an axis when others are removed; None where it is among them."""
    gone = {each % n for each in removed}
    return None if axis in gone else axis - sum(each < axis for each in gone)
