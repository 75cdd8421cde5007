"""Worlds in which the concept of every image is known: units, concepts and a guide, for judging estimates from few ratings.

A world holds units u and images i. A unit has one concept, which an image shows or not; activations that correlate with it;
and a guide, a machine's probability that the image shows it. All of it is simulated and must be called so.

    concept     round(prevalence * n) images drawn without replacement, at least 2; prevalences spaced evenly on a log scale
    guide       logit = logit(prevalence) + d (d c + e) - d^2 / 2, e standard normal: exactly calibrated at a separation d
    activation  s * standardised(c) + sqrt(1 - s^2) * standard normal noise, where the strength s is uniform on (.1, .6)

The true score `rho` is the correlation of activation and concept over the images at hand (Oikarinen et al. 2025, Eq. 1), not s.
Each unit is drawn from (seed, world, number of the unit) alone: kinds of guides differ in nothing but the guide, and blocks of
units can be drawn one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from interpretability import arguments
from interpretability.randomness import generator
from interpretability.synthetic.crowd_settings import GUIDES, LEAST_IMAGES, SETTINGS

STRENGTH = (0.1, 0.6)
MEDIOCRE, BROAD = 1.0, 2.0  # separations of guides of the kinds mediocre and broad
BLIND_TO = 0.25  # share of the positives that a blind guide does not see
SHARED = 0.3  # weight of the guide's error in the noise of the unit, of the kind leak
PART = 0.25  # share that the concept of `broad` is of what its unit and guide respond to
SILENT = 0.8  # share of the images on which a rectified unit is silent


@dataclass(frozen=True)
class World:
    """Simulated units with known truth.

    name         the setting, then the kind of guide
    seed         of all that was drawn
    first_unit   number of the first unit, where the world is a block of a larger one
    activations  (units, images) float32
    concept      (units, images) bool: whether the image shows the unit's concept
    guide        (units, images) float32 in [0, 1]
    rho          (units,) float64, true scores
    """

    name: str
    seed: int
    first_unit: int
    activations: NDArray[np.float32]
    concept: NDArray[np.bool_]
    guide: NDArray[np.float32]
    rho: NDArray[np.float64]

    @property
    def prevalence(self) -> NDArray[np.float64]:
        """Share of the images that show the concept, by unit."""
        return self.concept.mean(axis=1)

    @property
    def guide_rho(self) -> NDArray[np.float64]:
        """Correlation of activation and guide over all images, by unit: the score that costs no ratings."""
        return np.array([_pearson(a, g) for a, g in zip(self.activations, self.guide, strict=True)])


def crowd_world(
    setting: str = "embedded_like",
    guide: str = "good",
    *,
    seed: int,
    n_units: int | None = None,
    n_images: int | None = None,
    separation: tuple[float, float] | None = None,
    half_wrong: bool = False,
    rectified: bool = False,
    units: range | None = None,
) -> World:
    """A world of a setting (`SETTINGS`) with a kind of guide (`GUIDES`).

    n_units, n_images, separation (smallest, largest): instead of the setting's own
    half_wrong: every second unit responds to another concept as frequent, so that its true score is about 0
    rectified: units are silent below the percentile `SILENT` of their values
    units: these of the n_units alone

    Raises InputError for an unknown setting or guide, fewer than LEAST_IMAGES images, or units outside of the world.
    """
    arguments.choice(setting, "setting", SETTINGS)
    arguments.choice(guide, "guide", GUIDES)
    own = SETTINGS[setting]
    total = own.n_units if n_units is None else arguments.count(n_units, "n_units")
    n = own.n_images if n_images is None else arguments.count(n_images, "n_images", least=LEAST_IMAGES)
    fixed = {"mediocre": (MEDIOCRE, MEDIOCRE), "broad": (BROAD, BROAD)}
    sharpness = separation or fixed.get(guide, own.separation)
    chosen = range(total) if units is None else units
    if not (len(chosen) and chosen.step == 1 and chosen.start >= 0 and chosen.stop <= total):
        raise arguments.wrong("units", "is {given!r}; it must lie within range({total})", given=units, total=total)
    prevalences = np.geomspace(*own.prevalence, total)
    shape = (len(chosen), n)
    activations, guides = np.empty(shape, np.float32), np.empty(shape, np.float32)
    concepts, rho = np.empty(shape, np.bool_), np.empty(len(chosen))
    for row, unit in enumerate(chosen):
        draw = generator(seed, "crowd world", setting, unit)
        drawn = _Unit(draw, n, float(prevalences[unit]), sharpness)
        concepts[row] = drawn.part() if guide == "broad" else drawn.cause
        guides[row], errors = drawn.guide(guide)
        values = drawn.activation(guide, errors, wrong=half_wrong and unit % 2 == 1)
        if rectified:
            values = np.maximum(values - np.quantile(values, SILENT), 0.0)
        activations[row] = values
        rho[row] = _pearson(activations[row], concepts[row])
    name = "-".join([setting, guide, *(["half_wrong"] if half_wrong else []), *(["rectified"] if rectified else [])])
    return World(name, seed, chosen.start, activations, concepts, guides, rho)


class _Unit:
    """What one unit is made of: all draws, in an order that no option changes."""

    def __init__(self, draw: np.random.Generator, n: int, prevalence: float, separation: tuple[float, float]) -> None:
        low, high = separation
        self.n, self.size = n, max(round(prevalence * n), 2)
        self.separation, self.strength = (
            low + (high - low) * draw.random(),
            STRENGTH[0] + np.ptp(STRENGTH) * draw.random(),
        )
        self.shift = draw.standard_normal()
        # the k smallest of keyed numbers are a random set of k; the sets of two sizes are nested
        self._order, self._other = draw.random(n), draw.random(n)
        self._error, self._noise, self._missed = draw.standard_normal(n), draw.standard_normal(n), draw.random(n)
        self.cause, self.other = _smallest(self._order, self.size), _smallest(self._other, self.size)

    def part(self) -> NDArray[np.bool_]:
        """The part of what the unit responds to that is the concept of `broad`."""
        return _smallest(self._order, max(round(PART * self.size), 2))

    def guide(self, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities, and the errors in them."""
        seen = {"random": self.other, "blind": self.cause & (self._missed >= BLIND_TO)}.get(kind, self.cause)
        d = self.separation
        odds = logit(self.cause.mean()) + d * (d * seen + self._error) - d**2 / 2
        if kind == "overconfident":
            odds = 2.0 * odds
        if kind == "shifted":
            odds = odds + self.shift
        return expit(odds), self._error

    def activation(self, kind: str, errors: NDArray[np.float64], *, wrong: bool) -> NDArray[np.float64]:
        """Values of the unit, of variance about 1."""
        cause = self.other if wrong else self.cause
        noise = self._noise
        if kind == "leak":
            noise = SHARED * errors + np.sqrt(1.0 - SHARED**2) * noise
        return self.strength * (cause - cause.mean()) / cause.std() + np.sqrt(1.0 - self.strength**2) * noise


def _smallest(values: NDArray[np.float64], k: int) -> NDArray[np.bool_]:
    """Mask of the k smallest of distinct numbers."""
    return values <= np.partition(values, k - 1)[k - 1]


def _pearson(a: NDArray[np.floating], b: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    one, two = (values - values.mean(dtype=np.float64) for values in (a, b))
    return float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum()))
