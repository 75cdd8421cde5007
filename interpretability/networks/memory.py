"""When a GPU has no memory to give: how libraries say so, and how often it happened without anybody saying so."""

from __future__ import annotations

from collections import Counter
from functools import cache

import torch

_WORDS = ("outofmemory", "out of memory", "alloc_failed", "can't allocate memory", "unable to find an engine")
_refused: Counter[int] = Counter()  # by the number of the GPU, since `_is_told`


def lacks_memory(message: str) -> bool:
    """Whether an error says, in the words of torch or of the libraries below it, that the device has no memory left."""
    return any(words in message.lower() for words in _WORDS)


def refusals(device: torch.device) -> int:
    """How often a device has had no memory to give to this process: a number whose growth counts; always 0 on a CPU.

    cuDNN hides it when it gets none and takes another algorithm, whose last bits are others. Asked before and after each
    batch, so torch's allocator is made to tell once it happens: its statistics are a dictionary of hundreds of entries.
    """
    if device.type != "cuda":
        return 0
    if _is_told():
        return _refused[torch.cuda.current_device() if device.index is None else device.index]
    return int(torch.cuda.memory_stats_as_nested_dict(device)["num_ooms"])


@cache
def _is_told() -> bool:
    """Ask torch's own allocator, once in a process, to tell of each refusal; the one of CUDA cannot."""
    if torch.cuda.get_allocator_backend() != "native":
        return False
    torch._C._cuda_attach_out_of_memory_observer(_note)  # pyright: ignore[reportAttributeAccessIssue]
    return True


def _note(device: int, asked: int, allocated: int, free: int) -> None:
    _refused[device] += 1
