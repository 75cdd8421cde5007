"""`lpips-alex`, `lpips-vgg`, `lpips-squeeze`: learned perceptual image patch similarity (Zhang et al., 2018).

LPIPS(x, y) = sum_l mean_hw sum_c w_lc (a_lchw(x) - a_lchw(y))^2 with a the channel-normalised features. With
psi(x) = concat_l sqrt(w_lc / (H_l W_l)) a_l(x) this is |psi(x) - psi(y)|^2, so a margin under the mean is
2 (psi(q+) - psi(q-)) . (mean psi(E+) - mean psi(E-)). Channels of weight 0 are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import lpips
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interpretability.errors import InputError
from interpretability.margins import distance_margins, distance_values
from interpretability.similarity import maps, on_gpu
from interpretability.similarity.features import VGG16, FeatureSimilarity, package_loading
from interpretability.similarity.roots import root
from interpretability.weights import WeightsFile

# networks of torchvision; the linear heads (version 0.1) ship with the package
TRUNKS = {
    "alex": WeightsFile(
        ("alexnet-owt-7be5be79.pth", "alexnet-owt-7be5be79.safetensors", "alexnet_torchvision.safetensors"),
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be79",
    ),
    "vgg": VGG16,
    "squeeze": WeightsFile(
        ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1-b8a52dc0.safetensors", "squeezenet1_1_torchvision.safetensors"),
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        "b8a52dc0",
    ),
}
_EPSILON = 1e-10  # of lpips.normalize_tensor
_CHUNK = 4096  # terms of a sum in single precision
VARIANTS = tuple(f"lpips-{trunk}" for trunk in TRUNKS)


class Lpips(FeatureSimilarity):
    """Minus the LPIPS distance, at most 0; images in -1..1."""

    package = "lpips"
    input_range = (-1.0, 1.0)

    @classmethod
    def weights_files(cls, name: str) -> tuple[WeightsFile, ...]:
        return (TRUNKS[name.removeprefix("lpips-")],)

    @cached_property
    def model(self) -> Any:
        trunk = self.name.removeprefix("lpips-")
        (file,) = self.weights_files(self.name)
        with package_loading():
            model = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
        state = self._weights_of(file)
        # the trunk keeps torchvision's numbering of `features`, spread over slices
        wanted = {name: f"features.{name.split('.', 1)[1]}" for name in model.net.state_dict()}
        self._fill_trunk(model.net, wanted, state, file, "network")
        return model.eval().requires_grad_(False).to(self._device)

    @cached_property
    def _heads(self) -> list[tuple[Tensor, Tensor]]:
        """For each layer the channels whose weight is not 0, and the square roots of their weights."""
        heads = []
        for head in self.model.lins:
            weights = head.model[-1].weight.reshape(-1)
            if (weights < 0).any():
                raise InputError(
                    f"backend {self.name}: a head of lpips holds negative weights, so its distance is no squared length; "
                    "install the version of requirements.lock"
                )
            channels = torch.nonzero(weights).reshape(-1)
            heads.append((channels, root(weights[channels])))
        return heads

    def parts(self, batch: Tensor) -> Iterator[Tensor]:
        model = self.model
        for layer, (channels, roots) in zip(model.net(model.scaling_layer(batch)), self._heads, strict=True):
            scales = roots / (layer.shape[2] * layer.shape[3]) ** 0.5
            here = maps if layer.device.type == "cpu" else on_gpu
            yield here.unit_maps(layer, channels, scales, _EPSILON)

    def mean_margins(self, rows: Tensor, tasks: NDArray[np.int32], n_explanations: int) -> NDArray[np.float32]:
        if rows.device.type == "cpu":
            return distance_margins(rows.numpy(), tasks, n_explanations)
        flat = tasks.reshape(-1, tasks.shape[2])
        return on_gpu.distance_margins(rows, flat, n_explanations).float().cpu().numpy().reshape(tasks.shape[:2])

    def values(self, rows: Tensor, tasks: NDArray[np.int32], n_explanations: int, size: int) -> NDArray[np.float32]:
        if rows.device.type == "cpu":
            return distance_values(rows.numpy(), tasks, n_explanations)
        flat = tasks.reshape(-1, tasks.shape[2])
        found = on_gpu.distance_values(rows, flat, n_explanations).float().cpu().numpy()
        return found.reshape(*tasks.shape[:2], 2, 2 * n_explanations)

    def compare_rows(self, first: Tensor, second: Tensor, size: int) -> Tensor:
        inner = torch.zeros((len(first), len(second)), dtype=torch.float64, device=first.device)
        lengths = [torch.zeros(len(part), dtype=torch.float64, device=first.device) for part in (first, second)]
        # |x - y|^2 = |x|^2 + |y|^2 - 2 xy cancels where images are alike, so sums of short float32 sums are float64
        for start in range(0, first.shape[1], _CHUNK):
            x, y = first[:, start : start + _CHUNK], second[:, start : start + _CHUNK]
            inner += (x @ y.T).double()
            for length, part in zip(lengths, (x, y), strict=True):
                length += part.square().sum(dim=1).double()
        return -(lengths[0][:, None] + lengths[1] - 2 * inner).clamp(min=0)

    def original(self, first: Tensor, second: Tensor) -> Tensor:
        return -self.model(first, second).reshape(-1)


SIMILARITY = Lpips
