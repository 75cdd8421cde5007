"""A network with the preprocessing that it was trained with, and keyed initial weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import key64


@dataclass(frozen=True)
class Network:
    """A network of the roster, ready to run."""

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
