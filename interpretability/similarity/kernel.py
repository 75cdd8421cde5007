"""Inner products of feature maps on a GPU by one kernel of Triton, which reads the maps of a task where they lie.

The same numbers as `interpretability.similarity.on_gpu.covariances` up to rounding, in one launch and without copies of rows.
"""

# what is compiled here is Triton's language, whose constants pyright does not know
# pyright: reportArgumentType=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128  # positions of a map that are added side by side


@triton.jit(do_not_specialize=["stride", "n_channels"])
def add_products(rows, stride, tasks, edges, out, n_channels, N: tl.constexpr, SIDE: tl.constexpr, BLOCK: tl.constexpr):  # noqa: ANN001, ANN201
    """Both queries of a task with its N explanations, in one channel; SIDE is the power of two from N on."""
    # tasks that share images are neighbours, so that maps which one of them read are still in the cache
    task, channel = tl.program_id(0).to(tl.int64), tl.program_id(1)
    shown = tasks + task * (N + 2)
    side = tl.arange(0, SIDE)
    there = side < N
    explained = rows + tl.load(shown + side, mask=there, other=0).to(tl.int64) * stride
    positive = rows + tl.load(shown + N).to(tl.int64) * stride
    negative = rows + tl.load(shown + N + 1).to(tl.int64) * stride
    first, last = tl.load(edges + channel), tl.load(edges + channel + 1)
    with_positive = tl.zeros((SIDE, BLOCK), tl.float32)
    with_negative = tl.zeros((SIDE, BLOCK), tl.float32)
    for start in range(first, last, BLOCK):
        place = start + tl.arange(0, BLOCK)
        inside = place < last
        maps = tl.load(explained[:, None] + place[None, :], mask=there[:, None] & inside[None, :], other=0.0)
        with_positive += maps * tl.load(positive + place, mask=inside, other=0.0)[None, :]
        with_negative += maps * tl.load(negative + place, mask=inside, other=0.0)[None, :]
    at = out + (task * 2 * N + side) * n_channels + channel
    tl.store(at, tl.sum(with_positive.to(tl.float64), axis=1), mask=there)
    tl.store(at + N * n_channels, tl.sum(with_negative.to(tl.float64), axis=1), mask=there)


def covariances(rows: Tensor, tasks: Tensor, n_explanations: int, edges: Tensor) -> Tensor:
    """Inner products (tasks, 2, 2K, channels) float64 of the maps of both queries with those of all explanations.

    rows (slots, P) float32 hold maps, of which channel c lies in edges[c] to edges[c + 1], int64; tasks (tasks, 2(K + 1)) name
    rows. All lie on one GPU.
    """
    n, channels = 2 * n_explanations, len(edges) - 1
    out = torch.empty((len(tasks), 2, n, channels), dtype=torch.float64, device=rows.device)
    if not len(tasks):
        return out
    with torch.cuda.device_of(rows):  # a launch goes to the device in use, whatever the tensors say
        add_products[(len(tasks), channels)](
            *(rows, rows.stride(0), tasks, edges, out, channels),
            N=n,
            SIDE=triton.next_power_of_2(n),
            BLOCK=BLOCK,
        )
    return out
