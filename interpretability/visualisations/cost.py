"""What pictures cost: the time of a step, tried on the real thing, and how many there are."""

from __future__ import annotations

import time
from dataclasses import dataclass

from interpretability.visualisations.ascent import Objective, climb
from interpretability.visualisations.canvas import Canvas, margin_of
from interpretability.visualisations.making import HALVINGS, STARTS, WEIGHTS
from interpretability.visualisations.settings import MAX, Natural, Settings
from interpretability.visualisations.target import Target
from interpretability.visualisations.transforms import draw

TYPICAL_PASSES = 9  # of adaptive diversity: the plain one, two weights as a rule, six halvings


@dataclass(frozen=True)
class Cost:
    """Seconds of one step of all pictures of a side, without and with diversity."""

    plain: float
    diverse: float


def seconds_a_step(target: Target, natural: Natural, settings: Settings, n_steps: int = 4) -> Cost:
    """How long a step takes here: a few real ones, after one to warm up. target: the unit, open; no picture is kept."""
    canvas = Canvas(target.crop, margin_of(target.crop, settings.margin), target.device)
    noise = canvas.noise(0, range(settings.n_images), STARTS[1])
    step = draw(settings, target.crop, 0)[:1]
    seconds: list[float] = []
    for weight in (0.0, float(settings.n_images > 1)):
        objective = Objective(target, canvas, natural.span(MAX), weight)
        climb(objective, noise, step, settings.rate)
        before = time.perf_counter()
        climb(objective, noise, step * n_steps, settings.rate)
        seconds.append((time.perf_counter() - before) / n_steps)
    return Cost(*seconds)


def typical_passes(settings: Settings) -> int:
    """Optimisations of a side as a rule."""
    return TYPICAL_PASSES if _searches(settings) else 1


def most_passes(settings: Settings) -> int:
    """Optimisations of a side at most."""
    return 1 + len(WEIGHTS) + HALVINGS if _searches(settings) else 1


def _searches(settings: Settings) -> bool:
    return settings.is_adaptive and settings.n_images > 2
