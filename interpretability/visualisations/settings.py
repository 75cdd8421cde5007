"""How pictures are made, what is known of the unit on natural images, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.schema import MADE_SIDES

ADAPTIVE = "adaptive"
MAX, MIN = MADE_SIDES

Side = Literal["max", "min"]


@dataclass(frozen=True)
class Settings:
    """How pictures of a unit are made; as they stand, those of IMI (section 3.2, appendix A.4, and its published code).

    n_images     K, pictures a side
    steps        of gradient ascent, for each pass
    rate         learning rate of Adam
    diversity    how much pictures are pushed apart: "adaptive" is the largest weight with which the weakest picture still
                 beats every natural image; a number is that weight for all units, 0 for none
    transforms   whether the picture is moved, scaled and turned anew at each step. Without, what comes out is a pattern of
                 single pixels, most of whose effect is lost when it is shifted by some
    margin       of the canvas on each side of the picture, as a share of the picture's side
    jitter       spans of the two shifts, before and after turning, as shares of the picture's side
    scales       factors of size, each as likely as the others
    rotation     largest angle in whole degrees, either way
    """

    n_images: int = 9
    steps: int = 2500
    rate: float = 0.05
    diversity: Literal["adaptive"] | float = ADAPTIVE
    transforms: bool = True
    margin: float = 1 / 14
    jitter: tuple[float, float] = (1 / 14, 1 / 28)
    scales: tuple[float, ...] = (1.0, 0.975, 1.025, 0.95, 1.05)
    rotation: int = 5

    def __post_init__(self) -> None:
        arguments.count(self.n_images, "n_images", 1, 1000)
        arguments.count(self.steps, "steps", 1)
        arguments.number(self.rate, "rate", above=0)
        if self.diversity != ADAPTIVE:
            if isinstance(self.diversity, str):
                raise arguments.wrong(
                    "diversity",
                    "is {value!r}; it must be {adaptive} or a number of at least 0",
                    value=self.diversity,
                    adaptive=ADAPTIVE,
                )
            arguments.number(self.diversity, "diversity", least=0)
        arguments.number(self.margin, "margin", least=0, below=1)
        for share in self.jitter:
            arguments.number(share, "jitter", least=0, below=1)
        for scale in self.scales:
            arguments.number(scale, "scales", above=0.5, below=2)
        arguments.count(self.rotation, "rotation", 0, 45)

    @property
    def is_adaptive(self) -> bool:
        return self.diversity == ADAPTIVE


@dataclass(frozen=True)
class Natural:
    """Values of one unit over natural images: their median, the lowest and the highest (float64)."""

    median: float
    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("median", "low", "high"):
            arguments.number(getattr(self, name), name)
        if not self.low <= self.median <= self.high:
            raise arguments.wrong(
                "median",
                "is {value:g}, outside of the lowest and the highest value, {lowest:g} and {highest:g}",
                value=self.median,
                lowest=self.low,
                highest=self.high,
            )
        if self.low == self.high:
            raise arguments.wrong("low", "is {value:g}, as is the highest value: the unit is constant", value=self.low)

    def extreme(self, side: Side) -> float:
        """What pictures of a side have to beat."""
        return self.high if side == MAX else self.low

    def span(self, side: Side) -> float:
        """Natural extreme - median: by it values are divided, and with its sign both sides are ascents.

        Half of all values may be equal to the extreme, as where a unit is read behind a ReLU; then it is the whole range.
        """
        span = self.extreme(side) - self.median
        return span if span else (self.high - self.low) * (1 if side == MAX else -1)

    def ratio(self, value: float, side: Side) -> float:
        """(value - median) / (extreme - median): 0 is the median, 1 the natural extreme; NaN where these two are equal."""
        span = self.extreme(side) - self.median
        return (value - self.median) / span if span else float("nan")

    def beats(self, values: NDArray[np.floating], side: Side) -> NDArray[np.bool_]:
        """Which values lie beyond every natural one."""
        return values > self.high if side == MAX else values < self.low


@dataclass(frozen=True, eq=False)
class Made:
    """Pictures of one side of a unit. All values are of the stored bytes, read through the network's own normalisation.

    pixels      uint8 (K, crop, crop, 3), as the network sees them: no more resizing; (0, crop, crop, 3) if unreachable
    values      float32 (K,): the unit's value of each picture
    diverse     bool (K,): made under a weight of diversity above 0
    status      beats_nature: the weakest picture beats every natural image; below_nature: it does not; unreachable: no
                gradient comes back from any start, so that there are no pictures
    weight      of diversity, in units of the natural range; 0 for none
    passes      optimisations that were run, starts that gave no gradient not counted
    start       standard deviation of the noise that they started from
    gradient    largest |gradient| of the objective by the picture's colours (0 to 1) over all steps; 0 if unreachable
    stop_ratio  IMI's measure of being done (see `ascent.stop_ratio`), of the first pass
    ratio_best, ratio_weakest   of the best and the weakest picture (see `Natural.ratio`)
    kept_after_shift   the best picture's ratio after a shift by 3 pixels / its ratio, mean over the four directions; NaN
                where its ratio is not above 0
    alike       mean cosine of pairs of pictures (see `diversity.cosines`): 1 for copies; NaN for one picture
    position_bound   the best picture does what it does at its place alone: some shift by 3 pixels takes more than half of its
                ratio, after which it does not beat nature. Tells a unit that asks for a pattern at one place, and a picture
                made without transforms
    """

    pixels: NDArray[np.uint8]
    values: NDArray[np.float32]
    diverse: NDArray[np.bool_]
    status: str
    weight: float
    passes: int
    start: float
    gradient: float
    stop_ratio: float
    ratio_best: float
    ratio_weakest: float
    kept_after_shift: float
    alike: float
    position_bound: bool
