"""Units of a network: which module outputs count, and their values for a batch of images in one buffer.

A unit is one channel of a module's output, averaged over space or tokens (paper, section 3). Modules are found by
tracing one forward pass, so only what really runs counts, in the order of its first call.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.errors import StudyError
from stages.science.taps import Tap

VERSION = 4
# largest difference of a unit's value alone and in a batch, relative to its layer's largest value; a GPU's libraries choose
# other algorithms for other batches
TOLERANCES = {"cpu": 1e-5, "cuda": 3e-4}
_MEMORY = ("outofmemory", "out of memory", "alloc_failed", "can't allocate memory", "unable to find an engine")


@dataclass(frozen=True)
class Layer:
    """One tap: the output of a module (or the input of its fused activation) at one of its calls."""

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
    if isinstance(module, nn.modules.batchnorm._BatchNorm) or any("BatchNorm" in name for name in names):
        return "BatchNorm"
    if isinstance(module, nn.LayerNorm) or any(
        name.startswith(("LayerNorm", "RmsNorm", "SimpleNorm")) for name in names
    ):
        # an RMS norm does the same job in the same place; the paper's list has no type of its own for it
        return "LayerNorm"
    if isinstance(module, nn.GroupNorm):
        return "GroupNorm"
    return "Other"


def _width(module: nn.Module) -> int | None:
    """Number of channels that a module declares, if it does."""
    for name in ("out_channels", "out_features", "num_features", "num_channels"):
        if isinstance(getattr(module, name, None), int):
            return int(getattr(module, name))
    shape = getattr(module, "normalized_shape", None)
    return int(shape[-1]) if shape else None


def _fused_activation(module: nn.Module) -> nn.Module | None:
    """The activation inside a norm layer that applies one itself (timm's BatchNormAct2d and its kin)."""
    act = getattr(module, "act", None)
    return act if isinstance(act, nn.Module) and "Norm" in type(module).__name__ else None


def _channel_axis(module: nn.Module, shape: Sequence[int], batch_axis: int, width: int) -> int:
    kind = layer_type(module)
    first = kind in ("Conv", "BatchNorm", "GroupNorm") or "2d" in type(module).__name__
    axes = [axis for axis in range(len(shape)) if axis != batch_axis and shape[axis] == width]
    if not axes:
        raise StudyError(f"output of shape {tuple(shape)} has no axis of {width} channels")
    preferred = 1 if first else len(shape) - 1
    return preferred if preferred in axes else axes[-1]


@torch.no_grad()
def find_layers(
    model: nn.Module,
    example: Tensor,
    *,
    layer_types: Sequence[str],
    drop_first_last: bool = True,
    linear: str = "all",
    norm_act: str = "before",
    taps: Sequence[Tap] = (),
) -> list[Layer]:
    """Wanted layers in the order of their first call, traced on `example` (3 or more images, C, H, W).

    linear: "blocks" leaves out, in a network that has attention, linear layers outside of attention and feed-forward
    blocks (a patch embedding, the merging of patches, a position bias), which are told by the class of a module around them.
    norm_act: "before" reads a norm layer with a built-in activation in front of that activation, "after" behind it.
    taps: further places to read, whatever their type.
    Raises StudyError if nothing is left.
    """
    small = example[:1]
    calls = [_trace(model, batch, norm_act, taps) for batch in (small, example)]
    if [call[:4] for call in calls[0]] != [call[:4] for call in calls[1]]:
        raise StudyError("the network calls other modules for one image than for several; its units are not defined")
    ratio = len(example)
    tap_of = {(each.name, each.tap): each for each in taps}
    wanted = []
    for (name, path, call, tap, one), (*_, many) in zip(*calls, strict=True):
        module = model.get_submodule(path)
        extra = tap_of.get((name, tap))
        kind = layer_type(module) if tap == "output" or extra is None else "Other"
        if extra is None and (kind not in layer_types or (kind == "Other" and _width(module) is None)):
            continue
        batch_axes = [axis for axis, (a, b) in enumerate(zip(one, many, strict=True)) if b == ratio * a]
        if not batch_axes or len(one) < 2:
            continue  # its output does not grow with the batch: a table of positions, not a value of an image
        if extra is None:
            width = _width(module) or one[1 if len(one) == 4 else -1]
            axis = _channel_axis(module, many, batch_axes[0], width)
        else:
            axis = extra.channel_axis % len(many)
        wanted.append((name, path, call, tap, kind, batch_axes[0], axis, many[axis]))
    last = max(len(wanted) - 1, 1)
    layers = [
        Layer(
            name=name if call == 0 else f"{name}#{call + 1}",
            layer_type=kind, layer_index=i, depth=i / last, width=width,
            module=path, call=call, tap=tap, batch_axis=batch_axis, channel_axis=axis,
        )
        for i, (name, path, call, tap, kind, batch_axis, axis, width) in enumerate(wanted)
    ]  # fmt: skip
    layers = layers[1:-1] if drop_first_last else layers
    if linear == "blocks":  # after depth is counted, so that a layer has one depth under both rules
        outside = _outside_blocks(model)
        layers = [layer for layer in layers if layer.layer_type != "Linear" or layer.module not in outside]
    if not layers:
        raise StudyError(
            f"no layer is left of {len(wanted)} with units.layer_types = {', '.join(layer_types)}"
            + (" after the first and the last are left out (units.drop_first_last)" if drop_first_last else "")
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
    places = [(tap.name, tap.module, tap.tap) for tap in taps]
    tapped = {tap.module for tap in taps if tap.tap == "output"}
    for name, module in model.named_modules():
        if not name or name in tapped or (any(True for _ in module.children()) and layer_type(module) == "Other"):
            continue
        act = _fused_activation(module)
        child = "output"
        if act is not None and norm_act == "before":
            child = next(child for child, candidate in module.named_children() if candidate is act)
        places.append((name, name, child))
    with _hooks() as add:
        for name, path, tap in places:

            def note(value: Any, name: str = name, path: str = path, tap: str = tap) -> None:
                if isinstance(value, Tensor):
                    call = counts.get((path, tap), 0)
                    seen.append((name, path, call, tap, tuple(value.shape)))
                    counts[path, tap] = call + 1

            _read(add, model.get_submodule(path), tap, note)
        model(batch)
    return seen


def _read(add: Any, module: nn.Module, tap: str, note: Any) -> None:
    """Hand the output of a module, or the input of its child `tap`, to `note` at every call."""
    if tap == "output":
        add(module.register_forward_hook(lambda _, args, out: note(out)))
    else:
        add(module.get_submodule(tap).register_forward_pre_hook(lambda _, args: note(args[0])))


@contextmanager
def _hooks() -> Iterator[Any]:
    handles: list[Any] = []
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


PRECISIONS = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
_PRODUCTS = 16  # multiplications of a matrix product in the time in which one value of a map is read


def _is_plain_batch_norm(module: nn.Module, tap: str) -> bool:
    """Whether what is read of a module is, in evaluation, one factor and one summand a channel of its input."""
    act = _fused_activation(module)
    return (
        (type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) or type(module).__name__ == "BatchNormAct2d")
        and isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and (tap != "output" or act is None or isinstance(act, nn.Identity))
    )


def _is_pointwise(module: nn.Module, layer: Layer) -> bool:
    """Whether a module's output at a position is a matrix times its input there: a linear layer, a plain 1 x 1 convolution."""
    weights = getattr(module, "weight", None), getattr(module, "bias", None)
    if layer.tap != "output" or any(each is not None and each.dtype != torch.float32 for each in weights):
        return False
    if type(module) is nn.Conv2d:
        plain = (module.kernel_size, module.stride, module.padding, module.groups) == ((1, 1), (1, 1), (0, 0), 1)
        return plain and (layer.batch_axis, layer.channel_axis) == (0, 1)
    return type(module) is nn.Linear and layer.batch_axis < layer.channel_axis


def _through_batch_norm(norm: Any) -> Callable[[Tensor, Tensor], object]:
    """Puts the means of a batch norm in evaluation, from those of its input, into a second tensor (images, channels)."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    factor, summand = scale.float(), (shift if norm.bias is None else shift + norm.bias.double()).float()
    return lambda means, out: torch.addcmul(summand, means, factor, out=out)


def _autocast_type(device: torch.device) -> torch.dtype:
    """To what convolutions and matrix products are rounded at this moment; float32 without autocast."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32


def _through_pointwise(module: Any) -> Callable[[Tensor, Tensor], object]:
    """Puts the means of a pointwise module, from those of its input, into a second tensor (images, channels) float32.

    Weights are rounded as autocast rounds them; it leaves products with `out` alone, so these are in float32.
    """

    def put(means: Tensor, out: Tensor) -> None:
        weight, bias, dtype = module.weight.flatten(1).T, module.bias, _autocast_type(out.device)
        if dtype != torch.float32:
            weight, bias = weight.to(dtype).float(), None if bias is None else bias.to(dtype).float()
        if bias is None:
            torch.mm(means, weight, out=out)
        else:
            torch.addmm(bias, means, weight, out=out)

    return put


@dataclass(frozen=True)
class _Known:
    """A map whose means are in the buffer; it is not kept alive, so that its memory can be used again at once."""

    map: weakref.ref[Tensor]
    version: int
    layer: Layer
    start: int


def lacks_memory(message: str) -> bool:
    """Whether an error says, in the words of torch or of the libraries below it, that the device has no memory left."""
    return any(words in message.lower() for words in _MEMORY)


class Capture:
    """Runs a network and collects every unit of the given layers in one preallocated buffer.

    Use as a context manager; hooks are removed at the end. `capture(batch)` returns a view (images, units) float32
    of the buffer, valid until the next call; units are in layer order.

    precision: float32, or float16 or bfloat16 for autocast of the network; means are float32 always.
    shortcut: read fewer maps, where nobody has hooked into a module. The means of a batch norm follow from those of the
    convolution in front of it, those of a linear layer or a 1 x 1 convolution from the means of its input, which may be
    known and else are read where that is narrower: equal but for rounding, at a fraction of the memory traffic. (Not so
    the latter in float16, where values that are too large must show.)
    pieces: parts in which a batch runs; doubled whenever the device runs out of memory, and kept.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        batch_size: int,
        device: torch.device,
        *,
        precision: str = "float32",
        shortcut: bool = True,
        pieces: int = 1,
    ) -> None:
        self._model, self._layers, self._shortcut, self._device = model, layers, shortcut, device
        self._dtype = PRECISIONS[precision]
        self.pieces = pieces
        self.n_units = sum(layer.width for layer in layers)
        self.buffer = torch.empty((batch_size, self.n_units), dtype=torch.float32, device=device)
        self._counts: dict[tuple[str, str], int] = {}
        self._done: set[int] = set()  # first units of the layers that this forward pass has filled
        self._known: dict[int, _Known] = {}  # by the identity of a map of this forward pass

    def __enter__(self) -> Capture:
        self._context = _hooks()
        add = self._context.__enter__()
        offset = 0
        taps: dict[tuple[str, str], dict[int, tuple[Layer, int]]] = {}
        for layer in self._layers:
            taps.setdefault((layer.module, layer.tap), {})[layer.call] = (layer, offset)
            offset += layer.width
        for (path, tap), calls in taps.items():

            def store(
                value: Any, place: tuple[str, str] = (path, tap), calls: dict[int, tuple[Layer, int]] = calls
            ) -> None:
                if not isinstance(value, Tensor):
                    return
                call = self._counts.get(place, 0)
                self._counts[place] = call + 1
                if call not in calls:
                    return
                layer, start = calls[call]
                if start not in self._done:
                    self.keep(layer, start, value)
                    self._done.add(start)
                if self._shortcut and not value.is_inference():
                    self._known[id(value)] = _Known(weakref.ref(value), value._version, layer, start)

            module = self._model.get_submodule(path)
            if self._shortcut and set(calls) == {0}:
                self._follow(add, module, *calls[0])
            _read(add, module, tap, store)
        return self

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        """Take in what is read of a layer whose first unit is number `start`; again if a piece runs again."""
        self._slot(start, layer.width).copy_(unit_values(value, self._size, layer.batch_axis, layer.channel_axis))

    def _slot(self, start: int, width: int) -> Tensor:
        return self.buffer[self._row : self._row + self._size, start : start + width]

    def _follow(self, add: Any, module: nn.Module, layer: Layer, start: int) -> None:
        """Let the means of a module that runs once follow from those of its input, where they do and that is cheaper."""
        if module._forward_hooks or "forward" in vars(module):
            return  # its output may be any other than its class says
        pointwise = _is_pointwise(module, layer)
        if pointwise:
            through = _through_pointwise(module)
        elif _is_plain_batch_norm(module, layer.tap):
            through = _through_batch_norm(module)
        else:
            return

        def before(_: nn.Module, args: tuple[Any, ...]) -> None:
            if self._counts.get((layer.module, layer.tap), 0) or not args or not isinstance(args[0], Tensor):
                return
            value = args[0]
            means = self._means(value, layer)
            if pointwise:
                if _autocast_type(self._device) == torch.float16:
                    return  # values above its range must show
                channels = value.shape[layer.channel_axis]
                positions = value.numel() // (channels * self._size)
                saved = layer.width - (channels if means is None else 0)
                if positions * saved * _PRODUCTS <= channels * layer.width:
                    return
                if means is None:
                    means = unit_values(value, self._size, layer.batch_axis, layer.channel_axis)
            if means is not None:
                through(means, self._slot(start, layer.width))
                self._done.add(start)

        add(module.register_forward_pre_hook(before))

    def _means(self, value: Tensor, layer: Layer) -> Tensor | None:
        """Means of a map along the axes of a layer, if it is one that was read in this forward pass and has not changed."""
        found = self._known.get(id(value))
        if found is None or found.map() is not value or found.version != value._version:
            return None
        source = found.layer
        if (source.batch_axis, source.channel_axis) != (layer.batch_axis, layer.channel_axis):
            return None
        return self._slot(found.start, source.width)

    def __exit__(self, *exc: object) -> None:
        self._context.__exit__(*exc)

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        """Unit values (images, units) float32 for a batch (images, C, H, W)."""
        while True:
            size, before = -(-len(batch) // self.pieces), self._refusals()
            try:
                for self._row in range(0, len(batch), size):
                    self._run(batch[self._row : self._row + size])
            except RuntimeError as error:
                if self.pieces >= len(batch) or not lacks_memory(f"{type(error).__name__}: {error}"):
                    raise
            else:
                # cuDNN hides that it got no memory and takes another algorithm, whose last bits are others
                if self.pieces >= len(batch) or self._refusals() == before:
                    return self.buffer[: len(batch)]
            self.pieces = min(2 * self.pieces, len(batch))

    def _refusals(self) -> int:
        """How often this GPU had no memory to give."""
        if self._device.type != "cuda":
            return 0
        return int(torch.cuda.memory_stats_as_nested_dict(self._device)["num_ooms"])

    def _run(self, batch: Tensor) -> None:
        self._counts.clear()
        self._done.clear()
        self._known.clear()
        self._size = len(batch)
        cast = nullcontext() if self._dtype is None else torch.autocast(self._device.type, dtype=self._dtype)
        with cast:
            self._model(batch)
        if len(self._done) != len(self._layers):
            raise StudyError(
                f"{len(self._done)} of {len(self._layers)} layers were reached; the network's path depends on its input"
            )


def check_independence(model: nn.Module, layers: Sequence[Layer], images: Tensor) -> None:
    """Check that a unit's value of an image does not depend on the other images of its batch.

    A wrong axis, a regrouping in another order or a network left in training mode shows here, and a layer whose means
    do not follow from those of its input. Compares each of the `images` (n, C, H, W) alone, every map read by
    itself, and in the batch, to a tolerance relative to the largest value in the layer.
    Raises StudyError naming the layers. Values that are not finite pass: the run itself names layer and image.
    """
    with Capture(model, layers, len(images), images.device) as capture:
        together = capture(images).clone()
    with Capture(model, layers, 1, images.device, shortcut=False) as capture:
        alone = torch.cat([capture(image[None]).clone() for image in images])
    wrong, offset, tolerance = [], 0, TOLERANCES[images.device.type]
    for layer in layers:
        part = slice(offset, offset + layer.width)
        offset += layer.width
        scale = together[:, part].abs().max().clamp(min=1.0)
        difference = ((together[:, part] - alone[:, part]).abs().max() / scale).item()
        if difference > tolerance:
            wrong.append(f"{layer.name} ({difference:.1e})")
    if wrong:
        raise StudyError(
            "unit values do not follow from those of the layer before, or those of an image "
            f"differ between a batch of {len(images)} and the image alone by more than {tolerance:g} "
            f"of the layer's largest value in {len(wrong)} layers: {', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}"
        )
