"""Training of the small networks of the synthetic study: one thread, and the same weights every time.

A network has a single linear output that is read as one or several groups of classes ("heads"): one head for
the categories that the studied networks tell apart, one head a factor for the perceptual encoder.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from interpretability.randomness import generator, key64
from interpretability.synthetic.factors import FACTORS

VERSION = 2  # raised by hand whenever the weights of a trained network change
State = dict[str, torch.Tensor]


# Share of the steps during which the learning rate rises, and its first value as a share of the peak.
_WARM_UP, _START_DIVISOR = 0.2, 25.0
_WEIGHT_DECAY = 0.02
# Enough images for efficient forward passes, few enough to stay small in memory.
_EVALUATION_BATCH = 250


class TrainingError(RuntimeError):
    """Training cannot go on; the message names network, epoch and step."""


def train(
    model: nn.Module,
    pixels: NDArray[np.uint8],
    targets: NDArray[np.int64],
    head_sizes: Sequence[int],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    name: str,
) -> Iterator[tuple[int, State]]:
    """Yield (step, weights) before the first epoch (step 0, untrained) and after each; trains in place.

    pixels (n, size, size, 3) in 0..255; targets (n, heads), class numbers; the model maps normalised images
    to (batch, sum(head_sizes)). AdamW under a one-cycle schedule with peak `learning_rate`; the loss is the
    sum over heads of the cross entropies. The order of the images depends on (seed, name, epoch) only; the
    last incomplete batch of an epoch is left out (other images every epoch), and no image is altered.
    """
    targets = _checked_targets(pixels, targets, head_sizes)
    steps_per_epoch = len(pixels) // batch_size
    if epochs < 1 or steps_per_epoch < 1:
        raise ValueError(
            f"{name}: epochs ({epochs}) must be at least 1, batch_size ({batch_size}) at most the number of "
            f"pictures ({len(pixels)})"
        )
    # channels-last kernels train the convolutional networks about 1.4 times as fast on one core
    model.to(memory_format=torch.channels_last)
    _convolve_linears(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=learning_rate,
        total_steps=epochs * steps_per_epoch,
        pct_start=_WARM_UP,
        div_factor=_START_DIVISOR,
    )
    yield 0, _weights(model)
    for epoch in range(1, epochs + 1):
        order = generator(seed, "training order", name, epoch).permutation(len(pixels))
        batches = order[: steps_per_epoch * batch_size].reshape(steps_per_epoch, batch_size)
        with _reproducible(key64("training", seed, name, epoch)):
            model.train()
            for step, batch in enumerate(batches):
                logits = model(normalised(pixels[batch]))
                loss = _loss(logits, torch.from_numpy(targets[batch]), head_sizes)
                if not torch.isfinite(loss):
                    raise TrainingError(f"{name}: the loss is {loss.item()} in epoch {epoch}, step {step}")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        yield epoch, _weights(model)


def accuracy(
    model: nn.Module, pixels: NDArray[np.uint8], targets: NDArray[np.int64], head_sizes: Sequence[int]
) -> NDArray[np.float64]:
    """Share of images whose largest output of a head is the target, one number a head, 0..1."""
    targets = _checked_targets(pixels, targets, head_sizes)
    right = np.zeros(len(head_sizes), dtype=np.int64)
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(pixels), _EVALUATION_BATCH):
            rows = slice(start, start + _EVALUATION_BATCH)
            heads = model(normalised(pixels[rows])).split(list(head_sizes), dim=1)
            guesses = torch.stack([head.argmax(dim=1) for head in heads], dim=1).numpy()
            right += (guesses == targets[rows]).sum(axis=0)
    return right / len(pixels)


def normalised(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Images (n, size, size, 3) in 0..255 as float32 (n, 3, size, size) in -1..1: mean, deviation 0.5."""
    # the transposed view of contiguous images already is in channels-last layout
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _convolve_linears(model: nn.Module) -> None:
    """Let linear layers over maps and tokens compute as 1x1 convolutions do: the same sums from another library.

    torch gives products to MKL, which is slow where its kernels are to agree between processors, and convolutions to oneDNN,
    which is not: training such networks takes half the time.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            setattr(module, "forward", partial(_convolved, module))  # noqa: B010 - its parameter has another name


def _convolved(linear: nn.Linear, values: torch.Tensor) -> torch.Tensor:
    """What a linear layer makes of values (batch, ..., features)."""
    if values.ndim < 3:
        return functional.linear(values, linear.weight, linear.bias)
    # channels last as they lie: no value moves
    maps = values.reshape(len(values), 1, -1, values.shape[-1]).permute(0, 3, 1, 2)
    made = functional.conv2d(maps, linear.weight[:, :, None, None], linear.bias)
    return made.permute(0, 2, 3, 1).reshape(*values.shape[:-1], -1)


def _checked_targets(
    pixels: NDArray[np.uint8], targets: NDArray[np.int64], head_sizes: Sequence[int]
) -> NDArray[np.int64]:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"pixels must be uint8 (n, size, size, 3), not {pixels.dtype} {pixels.shape}")
    if targets.shape != (len(pixels), len(head_sizes)):
        raise ValueError(f"targets have shape {targets.shape}; {(len(pixels), len(head_sizes))} expected")
    for head, size in enumerate(head_sizes):
        low, high = targets[:, head].min(), targets[:, head].max()
        if low < 0 or high >= size:
            raise ValueError(f"targets of head {head} reach from {low} to {high}; allowed: 0 to {size - 1}")
    return np.ascontiguousarray(targets, dtype=np.int64)


def _loss(logits: torch.Tensor, targets: torch.Tensor, head_sizes: Sequence[int]) -> torch.Tensor:
    """Sum over heads of the mean cross entropy."""
    if logits.shape[1] != sum(head_sizes):
        raise ValueError(f"the network has {logits.shape[1]} outputs; its heads need {sum(head_sizes)}")
    heads = logits.split(list(head_sizes), dim=1)
    return sum(functional.cross_entropy(head, targets[:, i]) for i, head in enumerate(heads))  # pyright: ignore[reportReturnType]


def _weights(model: nn.Module) -> State:
    """Copy of all weights and running statistics in the usual memory layout, safe from further training."""
    return {
        key: value.detach().clone(memory_format=torch.contiguous_format) for key, value in model.state_dict().items()
    }


@contextmanager
def _reproducible(key: int) -> Generator[None, None, None]:
    """One thread, deterministic kernels, a keyed generator (for dropout) inside; afterwards all as before."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fill = settings.fill_uninitialized_memory
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key >> 1)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        settings.fill_uninitialized_memory = False  # it takes a tenth of the time, and all is written anyway
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(deterministic)
            settings.fill_uninitialized_memory = fill


# Bins of the continuous factors in the labels of the perceptual encoder.
ENCODER_BINS = {"colour": 8, "orientation": 6, "frequency": 4}


def encoder_targets(factors: pd.DataFrame) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Labels (n, heads), one head a factor in the order of `FACTORS`, and the number of classes of each head.

    They describe what an image shows, factor by factor, and never its category: binned hue, orientation and
    frequency, the levels of texture, shape, object and count, and the quadrant of the position.
    """
    labels, sizes = [], []
    for factor in FACTORS:
        if factor.levels:
            labels.append(factor.codes(factors[factor.columns[0]]))
            sizes.append(len(factor.levels))
            continue
        bins = ENCODER_BINS.get(factor.name, 2)
        label = np.zeros(len(factors), dtype=np.int64)
        for column in factor.columns:
            binned = (factor.scaled(factors[column].to_numpy()) * bins).astype(np.int64)
            label = label * bins + np.minimum(binned, bins - 1)
        labels.append(label)
        sizes.append(bins ** len(factor.columns))
    return np.stack(labels, axis=1), tuple(sizes)
