"""How alike pictures are to the layer of a unit: cosines of the correlations of its channels (IMI, appendix A.4; Lucent)."""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 1e-20  # a layer that is silent on a picture has no direction: its cosines are 0


def cosines(maps: Tensor) -> Tensor:
    """Cosines (n, n) between the Gram matrices of channels of n maps (n, positions, channels), in float32.

    A Gram matrix is never formed where a layer has more channels than the pictures have positions together.
    """
    # products of fourth order: without one scale for all, small values would vanish
    maps = maps.float()
    scaled = maps / maps.detach().abs().amax().clamp(min=torch.finfo(torch.float32).tiny)
    n, positions, channels = scaled.shape
    if n * positions < channels:
        rows = scaled.reshape(n * positions, channels)
        inner = (rows @ rows.T).square().view(n, positions, n, positions).sum(dim=(1, 3)) / positions**2
    else:
        grams = (scaled.transpose(1, 2) @ scaled / positions).flatten(1)
        inner = grams @ grams.T
    inverse = inner.diagonal().clamp(min=_FLOOR).rsqrt()
    return inner * inverse * inverse[:, None]


def penalty(maps: Tensor) -> Tensor:
    """Sum over pictures of the mean cosine with the others: what a weight of diversity counts.

    Departure: IMI sums over all pairs and divides by the number of pictures, so that its weight means more with more pictures.
    """
    n = len(maps)
    found = cosines(maps)
    return (found.sum() - found.diagonal().sum()) / (n - 1)


def alike(maps: Tensor) -> float:
    """Mean cosine of all pairs; NaN for one picture."""
    n = len(maps)
    return float(penalty(maps)) / n if n > 1 else float("nan")
