"""What a pass takes on a GPU and beside it: what each of its networks needs, and what all of them need once.

Sources: torch's CUDAGraph documentation (graphs that share a pool keep it for as long as one of them lives, as large as the
largest of them needs), its CachingHostAllocator (what is pinned comes in powers of 2), and the buffers of `study.images.feed`,
`interpretability.networks.replayed` and `study.extraction.compiled_ahead`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

CONTEXT = 2**29  # of a process on a GPU, with the code of its libraries: 0.3 to 0.6 GB on cards since 2020
_FLOAT = 4  # bytes of a number; also of half precision, where autocast leaves norms and sums in float32
_ON_THEIR_WAY = 2  # batches of bytes that a GPU holds: the one in use, and the next


class Needed(Protocol):
    """What a network needs in a pass, in bytes.

    memory    of its selection, columns and directions where it runs; `beside` that of the machine, where it runs on a GPU
    weights   of its parameters in float32
    maps      that a batch's maps take at one time
    batch     of a batch as it is decoded, one a number; the same for all networks of a `view`
    """

    @property
    def memory(self) -> float: ...
    @property
    def beside(self) -> int: ...
    @property
    def weights(self) -> int: ...
    @property
    def maps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def view(self) -> str: ...


def pinned(size: int) -> int:
    """Bytes that torch pins for a tensor of so many: the next power of 2."""
    return 1 << (size - 1).bit_length() if size else 0


def device_bytes(networks: Sequence[Needed], *, graphs: bool) -> float:
    """Memory of a GPU for a pass of these networks.

    Of each network what it holds, and its weights. Once a view a batch as bytes, the next one on its way, and the batch as
    float32. Once a pass the maps of the network that has the largest, since networks take turns. With CUDA graphs the pool holds
    as much again, to the end of the pass; each view has a float32 batch that recordings read, and each network keeps one until it
    is recorded.
    """
    views, held = _batches(networks), sum(network.memory + network.weights for network in networks)
    batches = sum(views) * (_ON_THEIR_WAY + _FLOAT * (1 + graphs))
    recorded = graphs * sum(_FLOAT * network.batch for network in networks)
    return held + batches + recorded + (1 + graphs) * max((network.maps for network in networks), default=0)


def host_bytes(networks: Sequence[Needed], buffers: int) -> float:
    """Memory beside the GPU: what networks keep there, and once a view so many pinned buffers of a batch as bytes."""
    return sum(network.beside for network in networks) + buffers * sum(map(pinned, _batches(networks)))


def ahead_bytes(weights: int, batch: int) -> int:
    """Memory of a GPU for a process that compiles one network on it: its context, the weights, and the batch by which the network
    is traced, as bytes and as float32. A trace has no maps.
    """
    return CONTEXT + weights + (1 + _FLOAT) * batch


def _batches(networks: Iterable[Needed]) -> list[int]:
    """Sizes of the batches of all views."""
    return list({network.view: network.batch for network in networks}.values())
