"""Which networks share a pass, and which pass begins first, so that all workers end together.

Whoever is free takes the next pass. With the longest first, what is left when the first worker has nothing more to do is short.
Results do not depend on any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

WRITTEN = 1400.0  # operations of a GPU in the time in which it writes and reads one number of a map; throughput.csv
_SHARES = 4  # passes of each worker at least, of which a pass of several networks is at most one
UNKNOWN = float("inf")  # work of a network that cannot be counted: it begins first


def work(flops: float, activations: float) -> float:
    """How long a network takes on one picture, as operations of a GPU; 0 operations are those of one that is not counted."""
    return flops + WRITTEN * activations if flops else UNKNOWN


def longest_share(works: Sequence[float], workers: int) -> float:
    """Most work of a pass that several networks share, so that workers can be busy to the end."""
    known = [each for each in works if each < UNKNOWN]
    return sum(known) / workers / _SHARES if workers > 1 else UNKNOWN


def grouped_by_view(
    views: Sequence[str],
    most: int,
    loads: Sequence[Sequence[float]] = (),
    limits: Sequence[float] = (),
    fits: Callable[[Sequence[int]], bool] = lambda indices: True,
) -> list[list[int]]:
    """Indices of networks by pass: at most `most` in each; those with the same view of an image sit together.

    `loads`: of each network what it adds to each of the `limits` of a pass, such as work. `fits`: whether networks fit together.
    One that exceeds a limit by itself, or does not fit, runs alone.
    """
    first = {view: index for index, view in reversed(list(enumerate(views)))}
    order = sorted(range(len(views)), key=lambda index: (first[views[index]], index))
    passes: list[list[int]] = []
    used = [0.0] * len(limits)
    for index in order:
        load = loads[index] if loads else used
        over = loads and any(had + more > limit for had, more, limit in zip(used, load, limits, strict=True))
        if not passes or len(passes[-1]) == most or over or not fits([*passes[-1], index]):
            passes.append([])
            used = [0.0] * len(limits)
        passes[-1].append(index)
        if loads:
            used = [had + more for had, more in zip(used, load, strict=True)]
    return passes


def longest_first(passes: Sequence[Sequence[int]], works: Sequence[float]) -> list[list[int]]:
    """The passes by their work, the longest first; as they come where two are equal."""
    return sorted((list(part) for part in passes), key=lambda part: -sum(works[index] for index in part))
