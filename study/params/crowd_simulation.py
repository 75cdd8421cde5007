"""Parameters of the simulations of ratings: worlds, sizes and what varies."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class CrowdSimulation:
    """The crowd paper's simulations, and ours beside them. Of lists that ascend the first entry is the smallest.

    worlds  setting/guide; none leaves the simulations out
    """

    worlds: tuple[str, ...]
    n_units: int = number(0)
    n_images: int = number(0)
    n_draws: int = number(1)
    budgets: tuple[int, ...] = number(4)
    raters: tuple[int, ...] = number(1)
    eta: tuple[float, ...] = number(above=0, high=0.49)
    gamma: tuple[float, ...] = number(0, 1)
    alpha: tuple[float, ...] = number(above=0)
    beta: tuple[float, ...] = number(above=0, high=0.99)
    latent_budgets: tuple[int, ...] = number(6)
    latent_studies: int = number(0)
    levels: tuple[float, ...] = number(above=0, high=1)
