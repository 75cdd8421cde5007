"""One unit of a network, ready to be climbed: read like everywhere else, but with gradients and no further than its layer."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from interpretability import arguments
from interpretability.directions.readers import Reader
from interpretability.errors import InputError
from interpretability.networks.acting import Acting, layer_by_layer, parameter_of, weights_of
from interpretability.networks.layers import Layer, check_network, checked_device, positions_of
from interpretability.networks.modules import first_tensor, hooks, read
from interpretability.networks.precision import PRECISIONS, arithmetic
from interpretability.networks.preprocessing import Preprocessing


class _Reached(BaseException):
    """Ends a forward pass behind the layer. No Exception, which code of a network might catch."""


class Target:
    """A unit whose value is to be raised or lowered.

    model          in evaluation mode, on `device`
    layer, unit    what `find_layers` gives for it, and the number of the channel
    preprocessing  what the network was trained with: its mean and standard deviation are part of what is climbed
    reader         what is read of the layer in place of its units' means, such as a code's latents; unit is then its number
    precision      of the network, one of `interpretability.networks.precision`

    Used as a context manager: inside it the network's weights take no gradients, and the network is watched; at the end both
    are as before. Raises InputError for a unit that the layer lacks and a reader that gives no gradients.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: Layer,
        unit: int,
        preprocessing: Preprocessing,
        reader: Reader | None = None,
        *,
        device: torch.device | str = "cpu",
        precision: str = "float32",
    ) -> None:
        check_network(model)
        if model.training:
            raise arguments.wrong(
                "model", "is in training mode, in which pictures of a batch depend on each other; call eval()"
            )
        width = layer.width if reader is None else reader.width
        self.unit = arguments.count(unit, "unit", 0, width - 1)
        arguments.choice(precision, "precision", PRECISIONS)
        if reader is not None and not hasattr(reader, "one"):
            raise arguments.wrong(
                "reader",
                "is of type {kind}, which gives no gradients: it has no method one(positions, unit)",
                kind=type(reader).__name__,
            )
        self.model, self.layer, self.preprocessing, self.reader = model, layer, preprocessing, reader
        self.device, self.precision = checked_device(device), precision
        self._arithmetic = arithmetic(model, precision, self.device)
        self.forwards = self.backwards = 0  # passes of whole batches, counted
        self._stack: ExitStack | None = None
        self._size = self._call = 0
        self._map: Tensor | None = None
        self._acting: Acting | None = None

    @property
    def crop(self) -> int:
        """Side of the picture that the network is shown, in pixels."""
        return self.preprocessing.crop

    def __enter__(self) -> Target:
        with ExitStack() as stack:
            stack.enter_context(_without_weights(self.model))
            parameter = parameter_of(self.layer.tap)
            if parameter is None:
                module = self.model.get_submodule(self.layer.module)
                read(stack.enter_context(hooks()), module, self.layer.tap, self._take)
            else:
                place = self.layer.module, self.layer.tap
                weights = {
                    key: owners
                    for key, owners in weights_of(self.model).items()
                    if (owners[0].module, owners[0].tap) == place
                }
                self._acting = Acting(weights, lambda owners, output, source: self._take(output))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        stack, self._stack = self._stack, None
        self._acting = None
        if stack is not None:
            stack.close()

    def _take(self, given: object) -> None:
        value = first_tensor(given)
        if value is None:
            return
        self._call += 1
        if self._call > self.layer.call:
            self._map = value
            raise _Reached

    def maps(self, batch: Tensor) -> Tensor:
        """The layer's map (n, positions, channels) of prepared images (n, 3, crop, crop), with what gradients need."""
        if self._stack is None:
            raise InputError("the unit is not open: use it in a with statement")
        self._size, self._call, self._map = len(batch), 0, None
        self.forwards += 1
        try:
            with self._arithmetic, layer_by_layer(), self._acting or nullcontext():
                self.model(batch)
        except _Reached:
            pass
        found, self._map = self._map, None
        if found is None:
            raise InputError(f"layer {self.layer.name} was not reached; the network's path depends on its input")
        return positions_of(found, self._size, self.layer.batch_axis, self.layer.channel_axis)

    def values(self, maps: Tensor) -> Tensor:
        """The unit's values (n,) float32 of maps of its layer: what `Capture` gives for it, but for rounding."""
        if self.reader is not None:
            return self.reader.one(maps, self.unit)
        return maps[:, :, self.unit].mean(dim=1, dtype=torch.float32)

    @torch.no_grad()
    def of_bytes(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The unit's values (n,), and the layer's maps, of pictures uint8 (n, 3, crop, crop)."""
        maps = self.maps(self.preprocessing.normalised(pixels.to(self.device)))
        return self.values(maps), maps


@contextmanager
def _without_weights(model: nn.Module) -> Generator[None]:
    """No weight takes a gradient, which saves a third of the work, and none is left behind."""
    before = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in before:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in before:
            parameter.requires_grad_(True)
