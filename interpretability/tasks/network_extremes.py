"""The most and least exciting images of every unit of a network, found in one pass over the images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from interpretability.errors import InputError
from interpretability.extremes import selection
from interpretability.extremes.on_gpu import DeviceSelection
from interpretability.images import Images, checked_pixels
from interpretability.networks.capture import Capture, check_independence
from interpretability.networks.layers import Layer
from interpretability.networks.preprocessing import Preprocessing

_SHOWN_TOGETHER = 4  # images on which the layers of a network are found and checked


@contextmanager
def at_work(model: nn.Module, device: str) -> Generator[None, None, None]:
    """A network in evaluation mode on a device; afterwards it is where and as it was."""
    training = {module: module.training for module in model.modules()}
    first = next(chain(model.parameters(), model.buffers()), None)
    before = None if first is None else first.device
    model.eval().to(device)
    try:
        yield
    finally:
        if before is not None:
            model.to(before)
        for module, mode in training.items():
            module.training = mode


def rank_for_network(
    model: nn.Module,
    images: Images,
    prepare: Preprocessing,
    k: int,
    *,
    find: Callable[[nn.Module, Tensor], list[Layer]],
    keys_of: Callable[[Layer], NDArray[np.uint64]],
    batch_size: int,
    device: str,
    threads: int,
) -> tuple[list[Layer], NDArray[np.uint64], selection.Ranked]:
    """Layers of a network that is at work on a device, keys of all their units, and k images a side of every unit."""

    def shown(first: int, last: int) -> list[NDArray[np.uint8]]:
        return [checked_pixels(images.pixels(row), row) for row in range(first, last)]

    few = prepare.batch(shown(0, _SHOWN_TOGETHER), device)
    layers = find(model, few[:3])
    check_independence(model, layers, few)
    keys = np.concatenate([keys_of(layer) for layer in layers])
    on_gpu = DeviceSelection(keys, k, device) if device.startswith("cuda") else None
    on_cpu = selection.Extremes(keys, k, threads=threads)
    with Capture(model, layers, batch_size, device) as capture:
        for start in range(0, len(images), batch_size):
            batch = shown(start, min(start + batch_size, len(images)))
            rows = np.arange(start, start + len(batch), dtype=np.int32)
            # a short batch is filled up, so that every image goes through the same kernels
            values = capture(prepare.batch(batch + batch[-1:] * (batch_size - len(batch)), device))[: len(rows)]
            try:
                if on_gpu is not None:
                    on_gpu.update(values, start)
                else:
                    on_cpu.update(values.cpu().numpy(), rows)
            except selection.NotFinite as error:
                raise _by_layer(error, layers) from None
    try:
        packed = on_cpu.keys() if on_gpu is None else on_gpu.keys()
    except selection.NotFinite as error:  # a GPU is asked for bad values only now and then
        raise _by_layer(error, layers) from None
    return layers, keys, selection.ranked(*packed, keys, k)


def _by_layer(error: selection.NotFinite, layers: Sequence[Layer]) -> InputError:
    """The same error by layer and unit."""
    ends = np.cumsum([layer.width for layer in layers])
    index = int(np.searchsorted(ends, error.unit, side="right"))
    layer = layers[index]
    return InputError(
        "unit {unit} of layer {layer} of {model} has the value {value} for image {image} of {images}; all values must be finite",
        "model",
        "images",
        unit=error.unit - int(ends[index]) + layer.width,
        layer=layer.name,
        value=error.value,
        image=error.image,
    )
