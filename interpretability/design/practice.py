"""Tasks to practise on and tasks that catch who does not look: chosen by margins, from units that are not studied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.randomness import combine, key64, mix64

LESS_OBVIOUS = 5  # one practice trial of so many is less obvious (IMI, appendix A.2: blocks of four and one)
_CHOICE = 4  # a draw is among this many times as many units as it takes


@dataclass(frozen=True)
class Practice:
    """Drawn tasks: places of units (n,), no unit twice, numbers of their tasks (n,), and whether each is obvious (n,)."""

    units: NDArray[np.int64]
    tasks: NDArray[np.int64]
    obvious: NDArray[np.bool_]


def n_less_obvious(n_practice: int) -> int:
    """How many of so many practice tasks are less obvious: one in five, rounded up, and none of a single one."""
    return -(-n_practice // LESS_OBVIOUS) if n_practice > 1 else 0


def draw_practice(
    margins: NDArray[np.floating], keys: NDArray[np.uint64], n_practice: int, n_catch: int
) -> tuple[Practice, Practice]:
    """Practice and catch tasks of one network, no unit twice in either or both, in keyed order.

    margins  (units, tasks), finite, of units that nobody is otherwise asked about; larger is easier, as `task_margins` says
    keys     (units,) of the units: they draw

    A unit offers its easiest task, and obvious practice is drawn among the 4n units with the easiest of all. One practice task
    in five (rounded up) is less obvious: nearest to half the median margin of the obvious ones, and right all the same. Catch
    tasks are drawn like obvious ones among the units left; `caught` makes their answer plain.

    Raises InputError for too few units, and where fewer than asked have a task with a positive margin.

    Departure: IMI picked both by hand, from a folder of its own.
    """
    margins = arguments.array(margins, "margins", ("units", "tasks"), empty=True).astype(np.float64)
    if len(margins) < n_practice + n_catch:
        raise InputError(
            "{margins} has {given} units; {n_practice} practice and {n_catch} catch tasks need as many units as tasks",
            "margins",
            given=len(margins),
            n_practice=n_practice,
            n_catch=n_catch,
        )
    n_less = n_less_obvious(n_practice)
    best = margins.argmax(axis=1) if margins.size else np.zeros(len(margins), dtype=np.int64)
    ease = margins.max(axis=1, initial=-np.inf)
    needed = n_practice + n_catch
    if (ease > 0).sum() < needed:
        raise InputError(
            "{margins} has {given} units with a task of positive margin; {needed} are needed to practise and to catch",
            "margins",
            given=int((ease > 0).sum()),
            needed=needed,
        )
    hardness, free = np.where(ease > 0, -ease, np.inf), np.ones(len(margins), dtype=bool)
    obvious = _drawn(hardness, free, keys, n_practice - n_less, "obvious")
    less, less_tasks = obvious[:0], best[:0]
    if n_less:
        wanted = np.median(ease[obvious]) / 2
        off = np.where(margins > 0, np.abs(margins - wanted), np.inf)
        less = _drawn(off.min(axis=1), free, keys, n_less, "less obvious")
        less_tasks = off[less].argmin(axis=1)
    units = np.concatenate([obvious, less])
    order = np.argsort(mix64(combine(keys[units], key64("practice order"))), kind="stable")
    plain = np.arange(len(units)) < len(obvious)
    practice = Practice(units[order], np.concatenate([best[obvious], less_tasks])[order], plain[order])
    catch = _drawn(hardness, free, keys, n_catch, "catch")
    return practice, Practice(catch, best[catch], np.ones(len(catch), dtype=bool))


def _drawn(
    badness: NDArray[np.float64], free: NDArray[np.bool_], keys: NDArray[np.uint64], n: int, name: str
) -> NDArray[np.int64]:
    """`n` units in keyed order among the 4n free ones of least badness, which are free no more."""
    order = np.argsort(np.where(free, badness, np.inf), kind="stable")
    pool = order[: min(_CHOICE * n, int((free & np.isfinite(badness)).sum()))]
    drawn = pool[np.argsort(mix64(combine(keys[pool], key64(name))), kind="stable")][:n]
    free[drawn] = False
    return drawn


def caught(tasks: NDArray[np.int32], *, keep_queries: bool = False) -> NDArray[np.int32]:
    """Tasks (..., 2(K + 1)) whose right query is the strongest explanation on the right, and the wrong one that on the left.

    A query is then among the explanations of its side, so anybody who looks is right, whatever the unit responds to. With
    `keep_queries` the queries stay, and take the places of those explanations: where explanations are made to excite a unit,
    queries are natural images in catch trials, too.

    Source: README of IMI's stimuli generation (catch queries are the images min_8 and max_8, which are explanations as well).
    Departure: IMI's code shows the units' own queries (min_9, max_9) instead; the two disagree, and the README's are plain.
    """
    k = (tasks.shape[-1] - 2) // 2
    found = tasks.copy()
    queries, strongest = [-2, -1], [0, k]
    to, of = (strongest, queries) if keep_queries else (queries, strongest)
    found[..., to] = tasks[..., of]
    return found


def fewer(tasks: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    """The same tasks with the `k` most exciting and the `k` least exciting explanations, (..., 2(k + 1)); 0: queries alone."""
    full = (tasks.shape[-1] - 2) // 2
    if not 0 <= k <= full:
        raise InputError("{k} is {given}; allowed are 0 to {full}", "k", given=k, full=full)
    return np.concatenate([tasks[..., :k], tasks[..., full : full + k], tasks[..., -2:]], axis=-1)
