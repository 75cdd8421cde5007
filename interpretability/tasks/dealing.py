"""Which task takes which image of a rank group.

An image chooses its task itself, by random numbers keyed by unit and image: the images of a group take turns in the order
of their numbers, and each draws tasks until one is free. Every assignment is as likely as every other, as in the paper.

Departure: the paper deals the images of a group out by their rank. There two neighbours that change places, as they do
under another precision, processor or batch, change tasks, too, and with them the score. Here nothing changes while they stay
in their group. Where two of them change groups, each has the same numbers in its new group, so most tasks keep what they had:
one new image among 20 moves 2.4 others on average, where permuting the images anew would move 18.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numpy.typing import NDArray

from interpretability.casts import narrowed
from interpretability.randomness import GOLDEN, MULTIPLY_1, MULTIPLY_2, combine, key64

_DEALING = "task of an image"  # keeps these numbers apart from those that order equal values
_STEP = np.uint64(6364136223846793005)  # of a 64-bit congruential generator (Knuth, MMIX), whose upper half is used


@numba.njit(inline="always")
def mix(value):
    """`randomness.mix64` of one number."""
    z = value + GOLDEN
    z = (z ^ (z >> np.uint64(30))) * MULTIPLY_1
    z = (z ^ (z >> np.uint64(27))) * MULTIPLY_2
    return z ^ (z >> np.uint64(31))


@numba.njit(nogil=True, cache=True)
def _deal(ranked, keys, n_tasks, dealt):
    """Fill dealt (units, N, groups) with the images of ranked (units, groups * N)."""
    numbers = np.empty(n_tasks, np.uint64)
    turn = np.empty(n_tasks, np.int64)
    taken = np.zeros(n_tasks, np.int64)
    for unit in range(len(ranked)):
        key = mix(keys[unit])
        for group in range(dealt.shape[2]):
            first = group * n_tasks
            for place in range(n_tasks):
                number = mix(key ^ np.uint64(ranked[unit, first + place]))
                numbers[place] = number
                at = place
                while at > 0 and numbers[turn[at - 1]] > number:
                    turn[at] = turn[at - 1]
                    at -= 1
                turn[at] = place
            now = unit * dealt.shape[2] + group + 1  # what marks a task as taken in this group
            for place in turn:
                number = numbers[place]
                while True:
                    number = number * _STEP + np.uint64(1)
                    # the upper half as a fraction of 1, times N
                    task = np.int64(((number >> np.uint64(32)) * np.uint64(n_tasks)) >> np.uint64(32))
                    if taken[task] != now:
                        break
                taken[task] = now
                dealt[unit, task, group] = ranked[unit, first + place]


def deal(ranked: NDArray[np.int32], keys: NDArray[np.uint64], n_tasks: int, *, threads: int = 1) -> NDArray[np.int32]:
    """Images (units, N, groups) of ranked ones (units, groups * N): entry [u, t, g] is what task t takes of group g.

    ranked: image numbers of one side, the most extreme first, none of them twice; keys (units,) of the units.
    """
    ranked = np.ascontiguousarray(narrowed(np.asarray(ranked), np.int32, "ranked"))
    dealt = np.empty((len(ranked), n_tasks, ranked.shape[1] // n_tasks), dtype=np.int32)
    mixed = combine(np.asarray(keys, dtype=np.uint64), key64(_DEALING))
    step = max(1, -(-len(ranked) // threads))
    parts = [slice(start, start + step) for start in range(0, len(ranked), step)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: _deal(ranked[part], mixed[part], n_tasks, dealt[part]), parts))
    return dealt
