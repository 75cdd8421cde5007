"""A network with the preprocessing that it was trained with, and keyed initial weights."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import key64


@dataclass(frozen=True)
class Network:
    """A network, ready to run."""

    name: str
    model: nn.Module
    preprocessing: Preprocessing
    digest: str  # of its weights
    built: str = ""  # what tells its code from that of others with the same weights, where that is known


def initialised(build: Callable[[], nn.Module], seed: int, name: str) -> nn.Module:
    """The network that `build` makes, weights drawn from (seed, name).

    The generators of torch, numpy and Python are set for it, and left as they were.
    """
    key = key64("weights", seed, name)
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  code of networks draws from these
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key >> 1)  # torch takes 63 bits without sign
        random.seed(key)
        np.random.seed(key & 0xFFFFFFFF)  # noqa: NPY002
        try:
            return build()
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of named tensors: what a network computes, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]  # what a module keeps besides
            digest.update(f"{name} {value!r}".encode())
            continue
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + raw.tobytes())
    return digest.hexdigest()
