"""Readers: what is kept of the map of a layer, one value an image and direction or latent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from interpretability import arguments
from interpretability.directions.codes import Code
from interpretability.directions.encoding import POSITIONS, Encoder

POOLINGS = ("mean", "max")


class Reader(Protocol):
    """Reads maps (images, positions, channels) as values (images, width) of float32.

    of_means    it may be given the means of maps (images, 1, channels) in place of the maps, because it is affine and takes
                means over all positions; means are cheaper to come by
    """

    @property
    def width(self) -> int: ...

    @property
    def of_means(self) -> bool: ...

    def __call__(self, positions: Tensor) -> Tensor: ...

    def maps(self, positions: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Before pooling: images, directions or latents, and their maps (images, positions, latents), some at a time."""
        ...

    def one(self, positions: Tensor, latent: int) -> Tensor:
        """Values (images,) of one direction or latent, through which gradients flow back to the maps."""
        ...


def _pooled(maps: Tensor, pooling: str) -> Tensor:
    """Mean or maximum over positions of maps (images, positions)."""
    return maps.mean(dim=1) if pooling == "mean" else maps.amax(dim=1)


class UnitReader:
    """The units themselves: mean or maximum of each channel over all positions."""

    def __init__(self, width: int, pooling: str) -> None:
        self.width, self.pooling = arguments.count(width, "width"), arguments.choice(pooling, "pooling", POOLINGS)
        self.of_means = pooling == "mean"

    def __call__(self, positions: Tensor) -> Tensor:
        if self.pooling == "mean":
            return positions.mean(dim=1, dtype=torch.float32)
        return positions.amax(dim=1).float()

    def maps(self, positions: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """The maps themselves."""
        yield slice(0, len(positions)), slice(0, self.width), positions

    def one(self, positions: Tensor, latent: int) -> Tensor:
        """Values (images,) of one unit, with gradients."""
        return _pooled(positions[:, :, latent].float(), self.pooling)


class CodeReader:
    """Latents of a code: encoded at every position that its `tokens` name, then pooled by mean or maximum.

    Positions are encoded in blocks of whole images, or of parts of an image that has more than `encoding.POSITIONS`. Raises
    InputError for a layer of which no position is left.
    """

    def __init__(self, code: Code, pooling: str = "mean", device: torch.device | str = "cpu") -> None:
        self.pooling = arguments.choice(pooling, "pooling", POOLINGS)
        self._encoder = Encoder(code, device)
        self.width = self._encoder.n_latents
        plain = code.activation == "linear" and code.scaling in ("none", "factor") and code.tokens == "all"
        self.of_means = plain and pooling == "mean"

    @torch.no_grad()
    def __call__(self, positions: Tensor) -> Tensor:
        chosen = self._chosen(positions)
        images, n, _ = chosen.shape
        out = torch.empty((images, self.width), dtype=torch.float32, device=chosen.device)
        together = max(1, POSITIONS // n)
        with torch.autocast(chosen.device.type, enabled=False):
            for start in range(0, images, together):
                part = slice(start, start + together)
                self._put(chosen[part], out[part])
        return out

    @torch.no_grad()
    def maps(self, positions: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
        """Latents at the positions that count: images, latents, and maps (images, positions, latents), a block at a time."""
        chosen = self._chosen(positions)
        images, n, width = chosen.shape
        together = max(1, POSITIONS // n)
        with torch.autocast(chosen.device.type, enabled=False):
            for start in range(0, images, together):
                part = slice(start, min(start + together, images))
                for latents, values in self._encoder.parts(chosen[part].reshape(-1, width).float()):
                    yield part, latents, values.view(part.stop - part.start, n, -1)

    def one(self, positions: Tensor, latent: int) -> Tensor:
        """Values (images,) of one latent, with gradients; those of latents that lose in topk are 0, and have none."""
        chosen = self._chosen(positions)
        images, n, width = chosen.shape
        rows = chosen.reshape(-1, width).float()
        with torch.autocast(chosen.device.type, enabled=False):
            blocks = [
                self._encoder.one(rows[start : start + POSITIONS], latent) for start in range(0, images * n, POSITIONS)
            ]
        return _pooled(torch.cat(blocks).view(images, n), self.pooling)

    def _chosen(self, positions: Tensor) -> Tensor:
        code = self._encoder.code
        if code.tokens == "class":
            return positions[:, :1]
        chosen = positions[:, code.n_prefix :] if code.tokens == "patches" else positions
        if not chosen.shape[1]:
            raise arguments.wrong(
                "n_prefix",
                "is {value}, but the layer has only {n} positions, so there are no patches",
                value=code.n_prefix,
                n=positions.shape[1],
            )
        return chosen

    def _put(self, positions: Tensor, out: Tensor) -> None:
        """Put the pooled latents of some images into `out` (images, latents)."""
        images, n, width = positions.shape
        for start in range(0, n, POSITIONS):
            block = positions[:, start : start + POSITIONS]
            for latents, values in self._encoder.parts(block.reshape(-1, width).float()):
                maps = values.view(images, block.shape[1], -1)
                pooled = maps.amax(dim=1) if self.pooling == "max" else maps.sum(dim=1)
                if not start:
                    out[:, latents] = pooled
                elif self.pooling == "max":
                    torch.maximum(out[:, latents], pooled, out=out[:, latents])
                else:
                    out[:, latents] += pooled
        if self.pooling == "mean":
            out /= n
