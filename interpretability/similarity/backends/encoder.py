"""`encoder`: cosine of the pooled features of any network of the roster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.images import Images
from interpretability.networks.capture import Capture
from interpretability.networks.layers import UNITS_VERSION, find_layers
from interpretability.networks.network import Network, state_digest
from interpretability.networks.preprocessing import VERSION as PREPROCESSING_VERSION
from interpretability.networks.preprocessing import Preprocessing, preprocessing_of
from interpretability.schema import LAYER_TYPES
from interpretability.similarity.base import Similarity
from interpretability.similarity.table import in_float32

VARIANTS = ("encoder",)


class Encoder(Similarity):
    """Features before the classifier (timm networks), or the spatial mean of a named module's output.

    network         a torch.nn.Module, a Network, or a function that gives one when it is needed; moved to `device` and set
                    to evaluation mode
    preprocessing   of a torch.nn.Module: what it is shown, see `score_network`
    layer           path of the module whose pooled output is compared; the pooled features if left out
    """

    runs_network = True

    def __init__(
        self,
        name: str,
        images: Images,
        *,
        network: nn.Module | Network | Callable[[], Network] | None = None,
        preprocessing: Preprocessing | Mapping[str, Any] | None = None,
        layer: str = "",
        device: str = "cpu",
        **options: Any,
    ) -> None:
        super().__init__(name, images, **options)
        if network is None:
            raise arguments.wrong("network", "is missing: similarity encoder compares the features of a network")
        self._given, self._preprocessing, self._layer, self._device = network, preprocessing, layer, device

    @cached_property
    def _network(self) -> Network:
        if isinstance(self._given, nn.Module):
            prepare = preprocessing_of(self._given, self._preprocessing)
            network = Network("the network", self._given, prepare, state_digest(self._given.state_dict()))
        else:
            network = self._given if isinstance(self._given, Network) else self._given()
        network.model.to(self._device).eval()
        return network

    def ingredients(self) -> Mapping[str, object]:
        network = self._network
        return {
            "version": 1,
            "weights": network.digest,
            "built": network.built,
            "preprocessing": network.preprocessing.dumps(),
            "preprocessing_version": PREPROCESSING_VERSION,
            "layer": self._layer,
            "batch_size": self.batch_size,
            "torch": torch.__version__,
            "device": torch.device(self._device).type,
            **({"units": UNITS_VERSION} if self._layer else {}),
        }

    def embed(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        network = self._network
        # a short batch is filled up, so that every image goes through the same kernels
        padded = np.resize(rows, self.batch_size) if len(rows) < self.batch_size else rows
        shown = [self.images.pixels(int(row)) for row in padded]
        self.forwards += len(rows)
        uncut = [self.is_uncut(int(row)) for row in padded]
        batch = network.preprocessing.batch(shown, self._device, uncut.__getitem__)
        with in_float32(self._device):
            features = self.features(batch)
        return features[: len(rows)].float().cpu().numpy()

    @torch.no_grad()
    def features(self, batch: Tensor) -> Tensor:
        """Features (n, E) of prepared images. Raises InputError where the network has no such layer."""
        network, layer = self._network, self._layer
        model: Any = network.model
        if not layer:
            if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
                raise InputError(
                    "{layer} is empty, but {network} is no timm network with pooled features; name a module of it whose "
                    "output is to be compared",
                    "layer",
                    network=network.name,
                )
            return model.forward_head(model.forward_features(batch), pre_logits=True).flatten(1)
        layers = [
            candidate
            for candidate in find_layers(model, batch[:3], layer_types=LAYER_TYPES, drop_first_last=False)
            if candidate.name == layer
        ]
        if not layers:
            raise InputError(
                "{layer} is {given!r}, but {network} has no such layer", "layer", given=layer, network=network.name
            )
        with Capture(model, layers, len(batch), batch.device) as capture:
            return capture(batch).clone()


SIMILARITY = Encoder
