"""`dists`: deep image structure and texture similarity (Ding et al., 2020), as the package piq computes it.

D(x, y) = 1 - sum_c [a_c (2 mx my + e) / (mx^2 + my^2 + e) + b_c (2 cov + e) / (vx + vy + e)] over the channels c of the
image and of five layers of VGG16, with m, v, cov the means, variances and the covariance over positions. An image
keeps its means, variances and centred maps; a pair then needs one product of maps a channel. The denominator ties both
images together, so the mean over explanations cannot be taken first: all 2 x 2K similarities of a task are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import Any

import numba
import numpy as np
import piq
import torch
import torchvision
from numpy.typing import NDArray
from piq.functional import L2Pool2d, hann_filter
from torch import Tensor
from torch.nn import functional

from interpretability.errors import InputError
from interpretability.networks.network import state_digest
from interpretability.similarity.features import VGG16, FeatureSimilarity, package_loading
from interpretability.similarity.roots import root
from interpretability.weights import WeightsFile

VARIANTS = ("dists",)
WEIGHTS = WeightsFile(
    ("dists_weights.pt", "dists_weights.safetensors", "dists_alpha_beta.pt"),
    "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt",
)
# channels of the image and of the layers, and how many times the side of the maps was halved before them
CHANNELS, HALVED = (3, 64, 128, 256, 512, 512), (0, 0, 1, 2, 3, 4)
_EPSILON = 1e-6  # of piq.DISTS.compute_distance
_CHUNK = 2048  # positions taken at a time: those of a whole task then stay in the second-level cache


class Dists(FeatureSimilarity):
    """Minus the DISTS distance, 0 for an image and itself, at least -2 and rarely below -1; images in 0..1."""

    package = "piq"
    input_range = (0.0, 1.0)

    @classmethod
    def weights_files(cls, name: str) -> tuple[WeightsFile, ...]:
        return (WEIGHTS, VGG16)

    @cached_property
    def model(self) -> Any:
        weights = self._weights_of(WEIGHTS)
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        if shapes != dict.fromkeys(("alpha", "beta"), (1, sum(CHANNELS), 1, 1)):
            raise InputError(
                f"{WEIGHTS.names[0]} must hold alpha and beta of shape (1, {sum(CHANNELS)}, 1, 1), not {shapes}"
            )
        # piq fetches both files when it is made; here it gets the one and an untrained network, which is filled below
        replaced = {
            "torch.hub.load_state_dict_from_url": lambda *_, **__: weights,
            "piq.perceptual.vgg16": lambda **_: torchvision.models.vgg16(weights=None),
        }
        with package_loading(replaced):
            whole = piq.DISTS(reduction="none")
        state = self._weights_of(VGG16)
        wanted = {name: f"features.{name}" for name in whole.model.state_dict()}
        self._fill_trunk(whole.model, wanted, state, VGG16, "VGG16")
        # piq moves its network at every call, but not these
        whole.weights = [weight.to(self._device) for weight in whole.weights]
        return whole.eval().requires_grad_(False).to(self._device)

    def ingredients(self) -> dict[str, object]:
        alpha, beta = torch.from_numpy(self._weights)
        return {**super().ingredients(), "alpha_beta": state_digest({"alpha": alpha, "beta": beta})}

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """alpha and beta of all channels, (2, channels)."""
        flat = torch.cat([weight.reshape(-1) for weight in self.model.weights])
        return flat.reshape(2, -1).double().cpu().numpy()

    def features(self, batch: Tensor) -> Tensor:
        """Centred maps divided by the root of their size, then means, then variances of all channels."""
        maps, means, variances = [], [], []
        for layer in self._layers(batch):
            flat = layer.flatten(2)
            mean = flat.mean(dim=2, keepdim=True)
            centred = flat - mean
            means.append(mean[..., 0])
            variances.append(centred.square().mean(dim=2))
            maps.append((centred / flat.shape[2] ** 0.5).flatten(1))
        return torch.cat([*maps, *means, *variances], dim=1)

    def _layers(self, batch: Tensor) -> Iterator[Tensor]:
        """The image and the layers of VGG16 as piq.DISTS.get_features gives them, its L2 pooling with a root of our own."""
        yield batch
        network = self.model
        values = (batch - network.mean.to(batch)) / network.std.to(batch)
        for name, module in network.model.named_children():
            values = _pooled(module, values) if isinstance(module, L2Pool2d) else module(values)
            if name in network.layers:
                yield values

    @staticmethod
    def _edges(size: int) -> NDArray[np.int64]:
        """Where the map of each channel begins in a row, and where the last one ends."""
        positions = []
        for channels, halved in zip(CHANNELS, HALVED, strict=True):
            side = size
            for _ in range(halved):
                side = (side + 1) // 2  # L2 pooling keeps a last odd row
            positions += [side * side] * channels
        return np.array(list(accumulate(positions, initial=0)), dtype=np.int64)

    def values(self, rows: Tensor, tasks: NDArray[np.int32], n_explanations: int, size: int) -> NDArray[np.float32]:
        edges = self._edges(size)
        if rows.shape[1] != edges[-1] + 2 * sum(CHANNELS):
            raise InputError(f"backend {self.name}: piq compares other layers than the form here was derived from")
        out = np.empty((*tasks.shape[:2], 2, 2 * n_explanations), dtype=np.float32)
        if rows.device.type == "cpu":
            _values(rows.numpy(), np.ascontiguousarray(tasks), n_explanations, edges, self._weights, out)
            return out
        for index in np.ndindex(*tasks.shape[:2]):
            task = rows[torch.from_numpy(tasks[index]).long().to(rows.device)]
            out[index] = self._task_values(task[-2:], task[:-2], edges).cpu().numpy()
        return out

    def _task_values(self, queries: Tensor, explanations: Tensor, edges: NDArray[np.int64]) -> Tensor:
        """Similarities (queries, explanations) of rows of features, one batched product a layer."""
        covariances, first = [], 0
        for channels in CHANNELS:
            start, stop = int(edges[first]), int(edges[first + channels])
            q, e = (part[:, start:stop].reshape(len(part), channels, -1) for part in (queries, explanations))
            covariances.append(torch.bmm(q.transpose(0, 1), e.permute(1, 2, 0)))
            first += channels
        covariance, n = torch.cat(covariances).permute(1, 2, 0).double(), sum(CHANNELS)
        (mean_q, var_q), (mean_e, var_e) = (
            part[:, -2 * n :].double().split(n, dim=1) for part in (queries, explanations)
        )
        mean_q, var_q, mean_e, var_e = mean_q[:, None], var_q[:, None], mean_e[None], var_e[None]
        structure = (2 * mean_q * mean_e + _EPSILON) / (mean_q**2 + mean_e**2 + _EPSILON)
        texture = (2 * covariance + _EPSILON) / (var_q + var_e + _EPSILON)
        alpha, beta = torch.from_numpy(self._weights).to(queries.device)
        return (structure @ alpha + texture @ beta) - 1

    def compare_rows(self, first: Tensor, second: Tensor, size: int) -> Tensor:
        return self._task_values(first, second, self._edges(size))

    def original(self, first: Tensor, second: Tensor) -> Tensor:
        return -self.model(first, second).reshape(-1)


def _pooled(pool: L2Pool2d, values: Tensor) -> Tensor:
    """Root of the squares (batch, channels, height, width) under a moving window."""
    channels = values.shape[1]
    window = hann_filter(pool.kernel_size).repeat((channels, 1, 1, 1)).to(values)
    sums = functional.conv2d(values.square(), window, stride=pool.stride, padding=pool.padding, groups=channels)
    return root(sums + pool.EPS)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _values(rows, tasks, k, edges, weights, out):  # noqa: ANN001, ANN202
    n = edges.size - 1
    means, variances = edges[n], edges[n] + n
    covariance = np.empty((2, 2 * k), dtype=np.float64)
    for u in range(tasks.shape[0]):
        for t in range(tasks.shape[1]):
            task = tasks[u, t]
            total = np.full((2, 2 * k), -1.0)
            for c in range(n):
                covariance[:] = 0.0
                for start in range(edges[c], edges[c + 1], _CHUNK):
                    stop = min(start + _CHUNK, edges[c + 1])
                    for j in range(2 * k):
                        explanation = rows[task[j], start:stop]
                        first, second = rows[task[2 * k], start:stop], rows[task[2 * k + 1], start:stop]
                        a, b = np.float32(0), np.float32(0)
                        for i in range(stop - start):
                            a += first[i] * explanation[i]
                            b += second[i] * explanation[i]
                        covariance[0, j] += a
                        covariance[1, j] += b
                for q in range(2):
                    query = rows[task[2 * k + q]]
                    mean_q, var_q = np.float64(query[means + c]), np.float64(query[variances + c])
                    for j in range(2 * k):
                        mean_e = np.float64(rows[task[j], means + c])
                        var_e = np.float64(rows[task[j], variances + c])
                        structure = (2 * mean_q * mean_e + _EPSILON) / (mean_q * mean_q + mean_e * mean_e + _EPSILON)
                        texture = (2 * covariance[q, j] + _EPSILON) / (var_q + var_e + _EPSILON)
                        total[q, j] += weights[0, c] * structure + weights[1, c] * texture
            out[u, t] = total


SIMILARITY = Dists
