"""A network with the preprocessing that it was trained with, and keyed initial weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


def initialised(build: Callable[[], nn.Module], seed: int, name: str) -> nn.Module:
    """The network that `build` makes, weights drawn from (seed, name); the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        # torch takes 63 bits without sign
        torch.default_generator.manual_seed(key64("weights", seed, name) >> 1)
        return build()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of named tensors: what a network computes, whatever file they came from."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + raw.tobytes())
    return digest.hexdigest()
