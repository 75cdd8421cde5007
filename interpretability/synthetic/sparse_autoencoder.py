"""A small TopK autoencoder: latents of which each row uses only k, learnt so that they add up to the rows again.

After Gao et al. 2024, "Scaling and evaluating sparse autoencoders" (section 2.3 and appendix A.2): the k largest of ReLU latents,
tied start of encoder and decoder, decoder rows of length one, an auxiliary loss that lets latents which have long been silent
explain what is left over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.directions.codes import Code
from interpretability.errors import InputError
from interpretability.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1  # raised by hand whenever the weights of a trained autoencoder change
STEPS, BATCH, RATE = 1500, 512, 1e-2
_AUXILIARY = 1 / 32  # weight of the auxiliary loss
_SILENT = 10  # passes over the data after which a latent that was never among the k largest counts as silent


def train_autoencoder(
    values: NDArray[np.floating],
    n_latents: int,
    k: int,
    *,
    steps: int = STEPS,
    batch_size: int = BATCH,
    rate: float = RATE,
    seed: int = 0,
    name: str = "autoencoder",
) -> Code:
    """A TopK code of `n_latents` latents, k of them active a row, learnt from values (n, d): the loss is |x - decoded|^2.

    The auxiliary loss acts on latents that were among the k largest of no row for ten passes over the data, so never in the first
    ten: fewer than 10 len(values) / batch_size steps train without it, and silent latents stay silent.

    Adam under a one-cycle schedule with peak `rate`; start and order of rows are keyed by (seed, name) and nothing else, and one
    thread computes, so equal arguments give equal weights. Returns a `Code` with encoder, bias, pre_bias and decoder, whose
    rows have length one.

    >>> import numpy as np
    >>> draw = np.random.default_rng(0)
    >>> features = np.where(draw.random((500, 6)) < 0.2, 1.0, 0.0)
    >>> code = train_autoencoder(features @ draw.standard_normal((6, 4)), n_latents=6, k=2, steps=50, batch_size=100)
    >>> tuple(code.encoder.shape), code.activation, code.k
    ((6, 4), 'topk', 2)
    """
    import torch

    x = arguments.array(values, "values", ("rows", "dimensions"))
    arguments.finite(x, "values")
    n_latents, k = arguments.count(n_latents, "n_latents"), arguments.count(k, "k")
    steps, batch_size = arguments.count(steps, "steps"), arguments.count(batch_size, "batch_size")
    rate = arguments.number(rate, "rate", above=0)
    if k > n_latents:
        raise InputError(
            "{k} is {given}, more than {n_latents} = {most} latents", "k", "n_latents", given=k, most=n_latents
        )
    rows = torch.from_numpy(np.ascontiguousarray(narrowed(x, np.float32, "values")))
    batch_size = min(batch_size, len(rows))
    start = generator(seed, "autoencoder", name, "start").standard_normal((n_latents, x.shape[1]))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    decoder = torch.from_numpy(start.astype(np.float32)).requires_grad_()
    encoder = decoder.detach().clone().requires_grad_()
    bias = torch.zeros(n_latents, requires_grad=True)
    centre = rows.double().mean(dim=0).float().requires_grad_()
    parts = [encoder, bias, decoder, centre]
    optimiser = torch.optim.Adam(parts, lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rate, total_steps=steps)
    silent, patience = torch.zeros(n_latents, dtype=torch.long), _SILENT * len(rows) // batch_size
    order = _batches(len(rows), batch_size, steps, seed, name)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for picked in order:
            batch = rows[torch.from_numpy(picked)]
            latents = torch.relu((batch - centre) @ encoder.T + bias)
            kept = _largest(latents, k)
            residual = batch - centre - kept @ decoder
            loss = residual.square().sum(dim=1).mean()
            silent = torch.where((kept > 0).any(dim=0), 0, silent + 1)
            dead = silent > patience
            if dead.any():
                chosen = _largest(torch.where(dead, latents, 0.0), min(2 * k, n_latents))
                loss = loss + _AUXILIARY * (residual.detach() - chosen @ decoder).square().sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                # the reciprocal root is the same on every processor, torch.sqrt is not
                decoder *= torch.rsqrt(decoder.square().sum(dim=1, keepdim=True))
    finally:
        torch.set_num_threads(threads)
    return Code(
        encoder=encoder.detach(),
        bias=bias.detach(),
        pre_bias=centre.detach(),
        decoder=decoder.detach(),
        activation="topk",
        k=k,
    )


def _largest(latents: Tensor, k: int) -> Tensor:
    """The k largest latents of each row, others 0."""
    import torch

    top = torch.topk(latents, k, dim=1)
    return torch.zeros_like(latents).scatter(1, top.indices, top.values)


def _batches(n: int, size: int, steps: int, seed: int, name: str) -> list[NDArray[np.int64]]:
    """Rows of every step: passes over all rows in keyed orders, cut into batches."""
    each = n // size
    return [
        order[place * size : (place + 1) * size]
        for epoch in range(-(-steps // each))
        for order in (generator(seed, "autoencoder", name, "order", epoch).permutation(n),)
        for place in range(each)
    ][:steps]
