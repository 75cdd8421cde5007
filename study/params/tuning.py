"""Parameters of similarities that are tuned on people's answers."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number, one_of


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Which similarities are tuned, and how.

    backends    of scores.backends, those that embed; empty: none
    families    of weights, each fitted for itself; the factor similarity has one weight a factor instead
    rank        of the matrix of low_rank, on that many principal directions of the study's embeddings
    plan_draws  times that fewer annotated units are drawn to see what they would have given; 0: not at all
    """

    backends: tuple[str, ...]
    families: tuple[str, ...] = one_of("diagonal", "low_rank")
    rank: int = number(2, 64)
    plan_draws: int = number(0)
