"""`dists`: deep image structure and texture similarity (Ding et al., 2020), as the package piq computes it.

D(x, y) = 1 - sum_c [a_c (2 mx my + e) / (mx^2 + my^2 + e) + b_c (2 cov + e) / (vx + vy + e)] over the channels c of the
image and of five layers of VGG16, with m, v, cov the means, variances and the covariance over positions. An image
keeps its means, variances and centred maps; a pair then needs one product of maps a channel. The denominator ties both
images together, so the mean over explanations cannot be taken first: all 2 x 2K similarities of a task are computed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from functools import cache, cached_property
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

from interpretability.errors import InputError
from interpretability.networks.network import state_digest
from interpretability.similarity import maps, on_gpu
from interpretability.similarity.features import VGG16, FeatureSimilarity, package_loading
from interpretability.similarity.table import sent
from interpretability.weights import WeightsFile

VARIANTS = ("dists",)
WEIGHTS = WeightsFile(
    ("dists_weights.pt", "dists_weights.safetensors", "dists_alpha_beta.pt"),
    "https://github.com/photosynthesis-team/piq/releases/download/v0.4.1/dists_weights.pt",
)
# channels of the image and of the layers, and how many times the side of the maps was halved before them
CHANNELS, HALVED = (3, 64, 128, 256, 512, 512), (0, 0, 1, 2, 3, 4)
_EPSILON = 1e-6  # of piq.DISTS.compute_distance
_GROUP = 512  # tasks whose similarities are made together on a device: their covariances there take 250 MB
_TRIED = (1, 9)  # explanations a side of which the kernel is tried out
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
        found = {**super().ingredients(), "alpha_beta": state_digest({"alpha": alpha, "beta": beta})}
        there = torch.device(self._device)
        # products of torch are the same up to rounding alone
        return found if there.type == "cpu" else found | {"kernel": _kernel(there) is not None}

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        """alpha and beta of all channels, (2, channels)."""
        flat = torch.cat([weight.reshape(-1) for weight in self.model.weights])
        return flat.reshape(2, -1).double().cpu().numpy()

    @cached_property
    def _on_device(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha and beta (channels,), epsilon, and -1 where sums begin, float64, where rows are."""
        alpha, beta = torch.from_numpy(self._weights).to(self._device)
        epsilon, start = torch.tensor([_EPSILON, -1], dtype=torch.float64).to(self._device)
        return alpha, beta, epsilon, start

    def parts(self, batch: Tensor) -> Iterator[Tensor]:
        """Centred maps divided by the root of their size, then means, then variances of all channels."""
        means, variances = [], []
        for layer in self._layers(batch):
            here = maps if layer.device.type == "cpu" else on_gpu
            centred, mean, variance = here.centred_maps(layer)
            means.append(mean)
            variances.append(variance)
            yield centred
        yield from (*means, *variances)

    def _layers(self, batch: Tensor) -> Iterator[Tensor]:
        """The image and the layers of VGG16 as piq.DISTS.get_features gives them, its L2 pooling in a form of our own."""
        yield batch
        network = self.model
        mean, std = self._levels
        values = (batch - mean) / std
        for name, module in network.model.named_children():
            values = _pooled(module, values) if isinstance(module, L2Pool2d) else module(values)
            if name in network.layers:
                yield values

    @cached_property
    def _levels(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the network's input, which piq would send to the device at every call."""
        return self.model.mean.to(self._device), self.model.std.to(self._device)

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
        found = self._values_there(rows, tasks.reshape(-1, tasks.shape[2]), n_explanations, edges)
        out[:] = found.float().cpu().numpy().reshape(out.shape)
        return out

    def _values_there(
        self, rows: Tensor, tasks: NDArray[np.int32], n_explanations: int, edges: NDArray[np.int64]
    ) -> Tensor:
        """Similarities (tasks, 2, 2K) float64 of tasks (tasks, 2(K + 1)) on the device of the rows; waits for nothing."""
        n, k, found = sum(CHANNELS), n_explanations, []
        there, edges_there = sent(tasks, rows.device), None
        kernel = _kernel(rows.device)
        for start in range(0, len(tasks), _GROUP):
            shown = there[start : start + _GROUP]
            if kernel is None:
                covariance = on_gpu.covariances(rows, shown, k, _mapped(edges))
            else:
                edges_there = sent(edges, rows.device) if edges_there is None else edges_there
                covariance = kernel(rows, shown, k, edges_there)
            statistics = rows[:, -2 * n :][shown].double()
            found.append(self._similar(covariance, statistics[:, 2 * k :, None], statistics[:, None, : 2 * k]))
        return torch.cat(found)

    def _similar(self, covariance: Tensor, queries: Tensor, explanations: Tensor) -> Tensor:
        """Similarities (...) from covariances (..., channels) and the means and variances (..., 2 channels) of both, float64."""
        alpha, beta, epsilon, start = self._on_device
        n = len(alpha)
        mean_q, var_q, mean_e, var_e = (part for both in (queries, explanations) for part in both.split(n, dim=-1))
        structure = torch.addcmul(epsilon, mean_q, mean_e, value=2)
        structure /= torch.addcmul(torch.addcmul(epsilon, mean_e, mean_e), mean_q, mean_q)
        texture = torch.add(epsilon, covariance, alpha=2)
        texture /= var_q + (var_e + epsilon)
        found = torch.addmv(start, structure.view(-1, n), alpha)
        return torch.addmv(found, texture.view(-1, n), beta).view(texture.shape[:-1])

    def _task_values(self, queries: Tensor, explanations: Tensor, edges: NDArray[np.int64]) -> Tensor:
        """Similarities (queries, explanations) of rows of features, one batched product a layer."""
        covariances, n = [], sum(CHANNELS)
        for channels, first, positions in _mapped(edges):
            q, e = (
                part[:, first : first + channels * positions].reshape(len(part), channels, positions)
                for part in (queries, explanations)
            )
            covariances.append(torch.bmm(q.transpose(0, 1), e.permute(1, 2, 0)))
        covariance = torch.cat(covariances).permute(1, 2, 0).double()
        return self._similar(covariance, queries[:, None, -2 * n :].double(), explanations[None, :, -2 * n :].double())

    def compare_rows(self, first: Tensor, second: Tensor, size: int) -> Tensor:
        return self._task_values(first, second, self._edges(size))

    def original(self, first: Tensor, second: Tensor) -> Tensor:
        return -self.model(first, second).reshape(-1)


def _mapped(edges: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Of each layer the channels, where the first map begins in a row, and the positions of a map."""
    firsts = accumulate(CHANNELS, initial=0)
    return [
        (channels, int(edges[first]), int(edges[first + 1] - edges[first]))
        for channels, first in zip(CHANNELS, firsts, strict=False)
    ]


def _pooled(pool: L2Pool2d, values: Tensor) -> Tensor:
    """Root of the squares (batch, channels, height, width) under a moving window."""
    here = maps if values.device.type == "cpu" else on_gpu
    window = _window(pool.kernel_size, values.device)
    return here.pooled_squares(values, window, pool.stride, pool.padding, pool.EPS)


@cache
def _window(side: int, device: torch.device) -> Tensor:
    """Weights (side, side) of a moving window, kept: what travels to a GPU makes it wait."""
    return hann_filter(side)[0].to(device)


@cache
def _kernel(device: torch.device) -> Callable[[Tensor, Tensor, int, Tensor], Tensor] | None:
    """The kernel for products of maps on this device; None for products of torch, as where Triton cannot build it.

    Decided once for all tasks of a process, as `Dists.ingredients` says which of them it is.
    """
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    from interpretability.similarity import kernel

    try:
        rows, edges = torch.ones((1, 1), device=device), torch.arange(2, device=device)
        for k in _TRIED:
            kernel.covariances(rows, torch.zeros((1, 2 * (k + 1)), dtype=torch.int32, device=device), k, edges)
    except Exception as error:  # a compiler may be missing, or anything else of a strange installation
        warnings.warn(f"dists on {device} runs without its kernel, and slower: {error}", stacklevel=2)
        return None
    return kernel.covariances


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
