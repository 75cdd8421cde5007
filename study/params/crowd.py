"""Parameters of ratings: which images people rate for a text, who rates them, and what their ratings add up to."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number, one_of


@dataclass(frozen=True, kw_only=True)
class SimulatedRaters:
    """Simulated raters; shares are of all raters."""

    n_raters: int = number(3)
    false_yes: float = number(0, 0.5)
    false_no: float = number(0, 0.5)
    spread: float = number(0, 5)
    hard_images: float = number(0, 5)
    lazy: int = number(0)
    inverted: int = number(0)
    silent: int = number(0)


@dataclass(frozen=True, kw_only=True)
class RaterChecks:
    """Raters that count; 0 turns a check off."""

    min_page_seconds: float = number(0)
    constant_pages: int = number(0)
    agreement_quantile: float = number(0, 0.5)
    max_gold_error: float = number(0, 1)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Ratings of people."""

    source: str = one_of("none", "simulated", "table")
    design: str = one_of("systematic", "adaptive", "uniform", "mg_is", "ag_is")
    n_images: int = number(2)
    n_raters: int = number(1)
    gamma: float = number(0, 1)
    alpha: float = number(above=0)
    page: int = number(1)
    methods: tuple[str, ...]
    errors: str = one_of("constant", "beta", "raters")
    false_yes: float = number(above=0, high=0.49)
    false_no: float = number(above=0, high=0.49)
    prior: float = number(above=0, high=0.5)
    clip: float = number(above=0, high=0.5)
    price: float = number(0)
    n_gold: int = number(0)
    n_check: int = number(0)
    simulated: SimulatedRaters
    checks: RaterChecks
