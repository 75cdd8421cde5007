"""Units of a network: which module outputs count, and their values for a batch of images in one buffer.

A unit is one channel of a module's output, averaged over space or tokens (paper, section 3). Modules are found by
tracing one forward pass, so only what really runs counts, in the order of its first call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from interpretability import arguments
from interpretability.directions.readers import Reader
from interpretability.errors import InputError
from interpretability.networks.acting import Acting, Weights, layer_by_layer, parameter_of, weights_of
from interpretability.networks.following import Following, Norm, is_plain_batch_norm, is_pointwise
from interpretability.networks.layers import (
    Layer,
    check_batch,
    check_network,
    checked_device,
    positions_of,
    unit_values,
)
from interpretability.networks.memory import lacks_memory, refusals
from interpretability.networks.modules import Add, first_tensor, hooks, read
from interpretability.networks.precision import PRECISIONS, arithmetic, products_in_float32

_PRODUCTS = 16  # multiplications of a matrix product in the time in which one value of a map is read


@dataclass(frozen=True)
class _Known:
    """A map whose means are in the buffer; it is not kept alive, so that its memory can be used again at once."""

    map: weakref.ref[Tensor]
    version: int
    layer: Layer
    start: int


_Place = tuple[str, str]  # module and tap
_Calls = dict[int, tuple[Layer, int]]  # by the number of the call: the layer, and its first unit


class Capture:
    """Runs a network and collects every unit of the given layers in one preallocated buffer (MIS paper, section 3).

    model        in evaluation mode, on `device`
    layers       what `find_layers` gives for it
    batch_size   most images of one call
    precision    of the network, one of `interpretability.networks.precision`; means are float32 always
    shortcut     read fewer maps, where nobody has hooked into a module. The means of a batch norm follow from those of the
                 convolution in front of it, those of a linear layer or a 1 x 1 convolution from the means of its input,
                 which may be known and else are read where that is narrower: equal but for rounding, at a fraction of the
                 memory traffic. (Not so the latter in half precision, where values that are too large must show.)
    pieces       parts in which a batch runs; doubled whenever the device runs out of memory, and kept
    readers      by the name of a layer what is read of it in place of its units' means, such as a code's latents (see
                 `interpretability.directions.readers`); U is then the sum of what the layers give

    `capture(batch)`, of images (n, C, H, W) on the device, returns a view (n, U) float32 of the buffer, valid until the
    next call: the mean of each unit's map over space or tokens, units in layer order, and within a layer by channel. Used
    as a context manager it leaves its hooks in place between calls, which saves time; they are removed at the end. Raises
    InputError for other batches and for a network that does not reach a layer.

    >>> import torch
    >>> from interpretability import Capture, find_layers
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3)).eval()
    >>> images = torch.rand(3, 3, 8, 8)
    >>> layers = find_layers(network, images, drop_first_last=False)
    >>> with Capture(network, layers, batch_size=3, device="cpu") as capture:
    ...     values = capture(images).clone()
    >>> values.shape
    torch.Size([3, 9])
    """

    _may_follow: ClassVar[bool] = True  # whether a map may stay unread whose means follow from others

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        batch_size: int,
        device: torch.device | str,
        *,
        precision: str = "float32",
        shortcut: bool = True,
        pieces: int = 1,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        check_network(model)
        if not layers or not all(isinstance(layer, Layer) for layer in layers):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise arguments.wrong("layers", "must be one or more of the layers that find_layers gives")
        arguments.count(batch_size, "batch_size")
        arguments.choice(precision, "precision", PRECISIONS)
        device = checked_device(device)
        self._model, self._layers, self._device = model, layers, device
        self._shortcut = shortcut and self._may_follow
        self._context: AbstractContextManager[Add] | None = None
        self._row = self._size = 0
        self._arithmetic = arithmetic(model, precision, device)
        self.pieces = pieces
        self._readers = readers = dict(readers or {})
        if strangers := sorted(readers.keys() - {layer.name for layer in layers}):
            raise arguments.wrong("readers", "name {name!r}, which is none of the layers", name=strangers[0])
        # read of maps while the network runs, and of means once it has run
        self._of_maps = {name: reader for name, reader in readers.items() if not reader.of_means}
        self._of_means = {name: reader for name, reader in readers.items() if reader.of_means}
        self._kept = {layer.name: getattr(self._of_maps.get(layer.name), "width", layer.width) for layer in layers}
        widths = [getattr(readers.get(layer.name), "width", layer.width) for layer in layers]
        self.n_units = sum(widths)
        # the first unit of each layer in the buffer
        self._first = dict(zip([layer.name for layer in layers], accumulate(widths, initial=0), strict=False))
        self.buffer = torch.empty((batch_size, self.n_units), dtype=torch.float32, device=device)
        n_kept = sum(self._kept.values())
        # what hooks fill: the buffer itself, but where means are still to be read
        self._filled = torch.empty((batch_size, n_kept), device=device) if self._of_means else self.buffer
        self._counts: dict[_Place, int] = {}
        self._done: set[int] = set()  # first units of the layers that this forward pass has filled
        self._acting: Acting | None = None  # of layers that are read where their weights act; else nothing is watched
        self._known: dict[int, _Known] = {}  # by the identity of a map of this forward pass
        self._following = Following()
        # on a CPU means get a tensor of their own, as ever: into the buffer torch may sum in another order
        self._in_place = device.type != "cpu"

    def __enter__(self) -> Capture:
        context = hooks()
        self._following = Following()
        add = context.__enter__()
        self._context = context
        offset = 0
        taps: dict[_Place, _Calls] = {}
        for layer in self._layers:
            taps.setdefault((layer.module, layer.tap), {})[layer.call] = (layer, offset)
            offset += self._kept[layer.name]
        acting = {place: calls for place, calls in taps.items() if parameter_of(place[1]) is not None}
        if acting:
            self._watch_weights(acting)
        for (path, tap), calls in taps.items():
            if (path, tap) in acting:
                continue
            module = self._model.get_submodule(path)
            if self._shortcut and set(calls) == {0} and calls[0][0].name not in self._of_maps:
                self._follow(add, module, *calls[0])
            read(add, module, tap, partial(self._store, (path, tap), calls))
        return self

    def _watch_weights(self, acting: Mapping[_Place, _Calls]) -> None:
        """Watch the weights that act without a call of their module during the forward passes to come."""
        weights = {
            key: owners
            for key, owners in weights_of(self._model).items()
            if (owners[0].module, owners[0].tap) in acting
        }

        def seen(owners: Sequence[Weights], output: Tensor, source: Tensor | None) -> None:
            place = owners[0].module, owners[0].tap
            self._store(place, acting[place], output)

        self._acting = Acting(weights, seen)

    def _store(self, key: _Place, calls: _Calls, given: object) -> None:
        """Take in what is read of a module or child, if it is a layer at this call of it."""
        value = first_tensor(given)
        if value is None:
            return
        call = self._counts.get(key, 0)
        self._counts[key] = call + 1
        if call not in calls:
            return
        layer, start = calls[call]
        if start not in self._done:
            self.keep(layer, start, value)
            self._done.add(start)
        if self._shortcut and not value.is_inference() and layer.name not in self._of_maps:
            self._known[id(value)] = _Known(weakref.ref(value), value._version, layer, start)

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        """Take in what is read of a layer whose first unit is number `start`; again if a piece runs again."""
        axes = self._size, layer.batch_axis, layer.channel_axis
        reader, slot = self._of_maps.get(layer.name), self._slot(start, self._kept[layer.name])
        if reader is not None:
            with products_in_float32():
                slot.copy_(reader(positions_of(value, *axes)))
        elif self._in_place:
            unit_values(value, *axes, slot)
        else:
            slot.copy_(unit_values(value, *axes))

    def _read_means(self, rows: slice) -> None:
        """Fill the buffer from the means of some images."""
        start = 0
        for layer in self._layers:
            given = self._filled[rows, start : start + self._kept[layer.name]]
            start += given.shape[1]
            reader, first = self._of_means.get(layer.name), self._first[layer.name]
            values = given if reader is None else reader(given[:, None])
            self.buffer[rows, first : first + values.shape[1]] = values

    def _slot(self, start: int, width: int) -> Tensor:
        return self._filled[self._row : self._row + self._size, start : start + width]

    def _follow(self, add: Add, module: nn.Module, layer: Layer, start: int) -> None:
        """Let the means of a module that runs once follow from those of its input, where they do and that is cheaper."""
        if module._forward_hooks or "forward" in vars(module):  # pyright: ignore[reportPrivateUsage]
            return  # its output may be any other than its class says
        if is_plain_batch_norm(module, layer.tap):
            note = self._noted_norm(Norm(module), layer, start)
        elif is_pointwise(module, layer):
            note = self._noted_product(module, layer, start)
        else:
            return

        def before(_: nn.Module, args: tuple[object, ...]) -> None:
            first = not self._counts.get((layer.module, layer.tap), 0)
            if first and args and isinstance(args[0], Tensor) and note(args[0]):
                self._done.add(start)

        add(module.register_forward_pre_hook(before))

    def _noted_norm(self, norm: Norm, layer: Layer, start: int) -> Callable[[Tensor], bool]:
        """Notes a batch norm for the end of the pass, if the means of its input are known then."""

        def note(value: Tensor) -> bool:
            source = self._source(value, layer)
            if source is not None:
                self._following.norm(norm, source, start)
            return source is not None

        return note

    def _noted_product(self, module: nn.Module, layer: Layer, start: int) -> Callable[[Tensor], bool]:
        """Notes a pointwise module for the end of the pass, if its output is dearer to read than to compute the means of."""

        def note(value: Tensor) -> bool:
            if torch.is_autocast_enabled(self._device.type):
                return False  # the layer rounds what it gives, and what is above the range of float16 must show
            source, channels = self._source(value, layer), value.shape[layer.channel_axis]
            positions = value.numel() // (channels * self._size)
            saved = layer.width - (channels if source is None else 0)
            if positions * saved * _PRODUCTS <= channels * layer.width:
                return False
            means = unit_values(value, self._size, layer.batch_axis, layer.channel_axis) if source is None else source
            self._following.product(module, means, channels, start, layer.width)
            return True

        return note

    def _source(self, value: Tensor, layer: Layer) -> int | None:
        """First unit of the layer whose output, with axes as in `layer`, a map is, if that is read in this pass of the network
        and the map has not changed since.
        """
        known = self._known.get(id(value))
        if known is None or known.map() is not value or known.version != value._version:
            return None
        source = known.layer
        if (source.batch_axis, source.channel_axis) != (layer.batch_axis, layer.channel_axis):
            return None
        return known.start

    def __exit__(self, *exc: object) -> None:
        context, self._context = self._context, None
        self._acting = None
        if context is not None:
            context.__exit__(None, None, None)

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor:
        """Unit values (images, units) float32 for a batch (images, C, H, W)."""
        check_batch(batch, "batch")
        if len(batch) > len(self.buffer):
            raise InputError(
                "{batch} has {images} images, more than {batch_size} = {most}",
                "batch",
                "batch_size",
                images=len(batch),
                most=len(self.buffer),
            )
        if self._context is None:
            with self:
                return self(batch)
        while True:
            size, before = -(-len(batch) // self.pieces), self._refusals()
            try:
                for self._row in range(0, len(batch), size):
                    self._run(batch[self._row : self._row + size])
                if self._of_means:
                    self._read_means(slice(0, len(batch)))
            except RuntimeError as error:
                if self.pieces >= len(batch) or not lacks_memory(f"{type(error).__name__}: {error}"):
                    raise
            else:
                # cuDNN hides that it got no memory and takes another algorithm, whose last bits are others
                if self.pieces >= len(batch) or self._refusals() == before:
                    return self.buffer[: len(batch)]
            self.pieces = min(2 * self.pieces, len(batch))

    def _refusals(self) -> int:
        return refusals(self._device)

    def _run(self, batch: Tensor) -> None:
        self._counts.clear()
        self._done.clear()
        self._known.clear()
        self._following.clear()
        self._size = len(batch)
        with self._arithmetic, layer_by_layer(), self._acting or nullcontext():
            self._model(batch)
        with products_in_float32():
            self._following.put(self._filled[self._row : self._row + self._size])
        if len(self._done) != len(self._layers):
            raise InputError(
                f"{len(self._done)} of {len(self._layers)} layers were reached; the network's path depends on its input"
            )
