"""Square roots that are the same on every processor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def root(values: Tensor) -> Tensor:
    """Square roots of a tensor without gradient, on a CPU the nearest numbers to the true ones.

    torch.sqrt begins there with the processor's estimate of 1 / sqrt, which makers round differently: a fifth of its float32
    roots miss the last bit.
    """
    if values.device.type != "cpu":
        return values.sqrt()
    return torch.from_numpy(np.asarray(np.sqrt(values.detach().numpy())))
