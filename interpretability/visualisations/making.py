"""Pictures of one side of a unit: starts that wake it, diversity as far as nature stays beaten, values of what is stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.schema import BEATS, BELOW, MADE_SIDES, UNREACHABLE
from interpretability.visualisations.ascent import Climbed, Objective, climb, stop_ratio
from interpretability.visualisations.canvas import Canvas, largest, margin_of
from interpretability.visualisations.diversity import alike
from interpretability.visualisations.settings import Made, Natural, Settings, Side
from interpretability.visualisations.target import Target
from interpretability.visualisations.transforms import Resampling, draw

STARTS = (0.01, 0.1, 1.0)  # standard deviations of the noise; the first is Lucent's
WEIGHTS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)  # of diversity, tried in turn
HALVINGS = 6
VERSION = 1
_SHIFT = 3  # pixels
_MOST_LOST = 0.5  # of a ratio that a shift may take before a picture counts as bound to its place


class NotFinite(InputError):
    """A value of a picture that was made is not finite."""


@dataclass(frozen=True)
class _Pass:
    """Pictures of one optimisation as bytes (n, 3, crop, crop), and their values (n,)."""

    pixels: Tensor
    values: NDArray[np.float32]
    climbed: Climbed


def make_images(target: Target, natural: Natural, side: Side, settings: Settings, seed_key: int) -> Made:
    """Make the K pictures of one side of a unit (IMI, section 3.2, appendix A.4).

    target     the unit, open
    natural    its values over natural images, which say what there is to beat
    side       "max" for pictures that excite, "min" for pictures that do not
    seed_key   names every random draw: a whole number of at least 0, such as `key64(seed, network, layer, unit, side, set)`

    All pictures run in one batch; equal arguments give equal bytes, with one thread on one kind of processor. Where a
    picture feels no gradient at the first step, larger noise is tried; where none wakes the unit there are no pictures, and the
    status says unreachable. Under adaptive diversity the weight grows tenfold from 1 for as long as the weakest of K - 1
    pictures beats nature, the last interval is halved six times, and the strongest picture without diversity comes last.
    Raises InputError where gradients or values are not finite.

    Departure: objective and weight are in units of (natural extreme - median), so that one bracket of weights fits all
    units. IMI compares pictures before they are rounded; here it is what is stored.
    """
    arguments.choice(side, "side", MADE_SIDES)
    arguments.count(seed_key, "seed_key", 0)
    return _Making(target, natural, side, settings, seed_key).made()


class _Making:
    def __init__(self, target: Target, natural: Natural, side: Side, settings: Settings, seed: int) -> None:
        self.target, self.natural, self.settings, self.seed = target, natural, settings, seed
        self.side: Side = side
        self.canvas = Canvas(target.crop, margin_of(target.crop, settings.margin), target.device)
        self.transforms = draw(settings, target.crop, seed)
        self.n_passes, self.start = 0, STARTS[0]

    def made(self) -> Made:
        n = self.settings.n_images
        start = self._start(n)
        if start is None:
            return self._unreachable()
        self.start = start
        if self.settings.diversity != "adaptive":
            weight = float(self.settings.diversity) if n > 1 else 0.0
            only = self._climbed(n, weight)
            return self._finished(only, only, weight, np.full(n, weight > 0))
        plain = self._climbed(n, 0.0)
        weight, diverse = self._most_diverse(n - 1) if n > 2 and self._all_beat(plain) else (0.0, None)
        if diverse is None:
            return self._finished(plain, plain, 0.0, np.zeros(n, dtype=bool))
        best = self._order(plain.values)[:1]
        joined = _Pass(
            torch.cat([diverse.pixels, plain.pixels[best.tolist()]]),
            np.concatenate([diverse.values, plain.values[best]]),
            plain.climbed,
        )
        return self._finished(joined, plain, weight, np.arange(n) < n - 1)

    def _start(self, n: int) -> float | None:
        """The smallest noise from which most pictures feel a gradient at the first step; None where none does."""
        objective = self._objective(0.0)
        resampling = Resampling(self.transforms[0], self.canvas.crop, self.canvas.side, self.target.device)
        awake: dict[float, int] = {}
        for deviation in STARTS:
            colours = self.canvas.colours(self.canvas.noise(self.seed, range(n), deviation))
            awake[deviation] = int((largest(objective.gradient(colours, resampling)) > 0).sum())
            if awake[deviation] == n:
                break
        best = max(awake, key=lambda deviation: awake[deviation])
        return best if awake[best] else None

    def _objective(self, weight: float) -> Objective:
        return Objective(self.target, self.canvas, self.natural.span(self.side), weight)

    def _climbed(self, n: int, weight: float) -> _Pass:
        """One optimisation: every weight starts from the same noise and sees the same transforms, as in IMI's code."""
        self.n_passes += 1
        noise = self.canvas.noise(self.seed, range(n), self.start)
        climbed = climb(self._objective(weight), noise, self.transforms, self.settings.rate)
        pixels = self.canvas.stored(climbed.colours)
        return _Pass(pixels, self._values(pixels), climbed)

    def _values(self, pixels: Tensor) -> NDArray[np.float32]:
        values = self.target.of_bytes(pixels)[0].cpu().numpy()
        if not np.isfinite(values).all():
            bad = values[~np.isfinite(values)][0]
            raise NotFinite(
                f"unit {self.target.unit} of layer {self.target.layer.name} has the value {bad} for a picture made for it; all "
                "values must be finite"
            )
        return values

    def _all_beat(self, found: _Pass) -> bool:
        return bool(self.natural.beats(found.values, self.side).all())

    def _most_diverse(self, n: int) -> tuple[float, _Pass | None]:
        """The largest weight with which the weakest of n pictures beats nature, and these pictures; 0 and None for none."""
        low, high, best = 0.0, None, None
        for weight in WEIGHTS:
            tried = self._climbed(n, weight)
            if not self._all_beat(tried):
                high = weight
                break
            low, best = weight, tried
        if high is None:
            return low, best
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            tried = self._climbed(n, middle)
            if self._all_beat(tried):
                low, best = middle, tried
            else:
                high = middle
        return low, best

    def _order(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Pictures from the best to the weakest."""
        return np.argsort(-values if self.side == "max" else values, kind="stable")

    def _ratios(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.array([self.natural.ratio(float(value), self.side) for value in values])

    def _finished(self, found: _Pass, plain: _Pass, weight: float, diverse: NDArray[np.bool_]) -> Made:
        order = self._order(found.values)
        ratios = self._ratios(found.values[order])
        best = float(ratios[0])
        beats = self._all_beat(found)
        kept = self._kept(found.pixels[int(order[0])], best)
        return Made(
            pixels=np.ascontiguousarray(found.pixels.permute(0, 2, 3, 1).cpu().numpy()),
            values=found.values,
            diverse=diverse,
            status=BEATS if beats else BELOW,
            weight=weight,
            passes=self.n_passes,
            start=self.start,
            gradient=float(plain.climbed.largest.max()),
            stop_ratio=stop_ratio(plain.climbed.lengths),
            ratio_best=best,
            ratio_weakest=float(ratios[-1]),
            kept_after_shift=float(kept.mean()),
            alike=alike(self.target.of_bytes(found.pixels)[1]),
            position_bound=bool(kept.min() < min(_MOST_LOST, 1 / best)) if best > 0 else False,
        )

    def _kept(self, picture: Tensor, ratio: float) -> NDArray[np.float64]:
        """Ratios of a picture (3, crop, crop) shifted by some pixels up, left, down and right, by that where it is (4,)."""
        if not ratio > 0:
            return np.full(4, np.nan)
        # what comes in repeats the last row
        padded = pad(picture[None].float(), (_SHIFT,) * 4, mode="replicate")[0].to(torch.uint8)
        crop = picture.shape[-1]
        places = (0, _SHIFT), (_SHIFT, 0), (2 * _SHIFT, _SHIFT), (_SHIFT, 2 * _SHIFT)
        shifted = [padded[:, row : row + crop, column : column + crop] for row, column in places]
        return self._ratios(self._values(torch.stack(shifted))) / ratio

    def _unreachable(self) -> Made:
        crop, none = self.target.crop, float("nan")
        return Made(
            pixels=np.zeros((0, crop, crop, 3), dtype=np.uint8),
            values=np.zeros(0, dtype=np.float32),
            diverse=np.zeros(0, dtype=bool),
            status=UNREACHABLE,
            weight=0.0,
            passes=0,
            start=STARTS[-1],
            gradient=0.0,
            stop_ratio=none,
            ratio_best=none,
            ratio_weakest=none,
            kept_after_shift=none,
            alike=none,
            position_bound=False,
        )
