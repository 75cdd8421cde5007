"""`encoder`: cosine of the pooled features of any network of the roster."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.layers import UNITS_VERSION, find_layers
from interpretability.networks.network import Network
from interpretability.networks.preprocessing import VERSION as PREPROCESSING_VERSION
from interpretability.similarity.base import Context, Similarity

VARIANTS = ("encoder",)


class Encoder(Similarity):
    """Features before the classifier (timm networks), or the spatial mean of a named module's output."""

    runs_network = True

    def __init__(self, name: str, context: Context) -> None:
        self.name, self._context = name, context

    @cached_property
    def _network(self) -> Network:
        network = self._context.network(self._context.encoder_model)
        network.model.to(self._context.device).eval()
        return network

    def ingredients(self) -> Mapping[str, Any]:
        network = self._network
        return {
            "version": 1, "weights": network.digest, "preprocessing": network.preprocessing.dumps(),
            "preprocessing_version": PREPROCESSING_VERSION, "layer": self._context.encoder_layer,
            "batch_size": self.batch_size, "torch": torch.__version__,
            "device": torch.device(self._context.device).type,
            **({"units": UNITS_VERSION} if self._context.encoder_layer else {}),
        }  # fmt: skip

    def embed(self, rows: NDArray[np.int32]) -> NDArray[np.floating]:
        network = self._network
        # a short batch is filled up, so that every image goes through the same kernels
        padded = np.resize(rows, self.batch_size) if len(rows) < self.batch_size else rows
        pictures = [self._context.pixels(int(row)) for row in padded]
        self.forwards += len(rows)
        features = self._features(network.preprocessing.batch(pictures, self._context.device))
        return features[: len(rows)].float().cpu().numpy()

    @torch.no_grad()
    def _features(self, batch: Tensor) -> Tensor:
        network, layer = self._network, self._context.encoder_layer
        model: Any = network.model
        if not layer:
            if not (hasattr(model, "forward_features") and hasattr(model, "forward_head")):
                raise InputError(
                    f"scores.encoder.layer is empty, but {network.name} is no timm network with pooled features; name "
                    "a module of it whose output is to be compared"
                )
            return model.forward_head(model.forward_features(batch), pre_logits=True).flatten(1)
        kinds = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm", "Other")
        layers = [
            each
            for each in find_layers(model, batch[:3], layer_types=kinds, drop_first_last=False)
            if each.name == layer
        ]
        if not layers:
            raise InputError(f"scores.encoder.layer is {layer!r}, but {network.name} has no such layer")
        with Capture(model, layers, len(batch), batch.device) as capture:
            return capture(batch).clone()


def create(name: str, context: Context) -> Similarity:
    return Encoder(name, context)
