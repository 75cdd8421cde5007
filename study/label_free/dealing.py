"""Values of a permuted control over a sample: those of its network dealt to the images anew, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability.randomness import combine, key64


@dataclass(frozen=True)
class Dealt:
    """How values of units are dealt to images anew, so that a stream of batches never needs all values at once.

    The control's extremes are known: the images that its units' most and least extreme values went to. An image among them gets
    the value that it has there; all others of a batch get, in a keyed order of each unit, the values that the batch holds of
    images which are not extreme in the network. So values have nothing to do with pictures, and an image that explains a unit
    still has the value for which it does.

    keys     (units,) uint64 of the control's units
    before   (units, 2k) images at the ends in the network
    after    (units, 2k) those that they are dealt to
    values   (units, 2k) the values there
    """

    keys: NDArray[np.uint64]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    values: NDArray[np.float32]
    seed: int

    def deal(self, images: NDArray[np.int32], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (B, units) of the control for a batch (B,) of images with the network's values (B, units)."""
        taken, given = self._places(images, self.before), self._places(images, self.after)
        extreme, known = np.zeros(values.shape, dtype=bool), np.zeros(values.shape, dtype=bool)
        unit, rank = np.nonzero(taken >= 0)
        extreme[taken[unit, rank], unit] = True
        unit, rank = np.nonzero(given >= 0)
        known[given[unit, rank], unit] = True
        order = combine(combine(self.keys, key64("dealt", self.seed)), images.astype(np.uint64)[:, None])
        # extremes last; where a batch holds nothing else, one of them stands in
        order = np.argsort(np.where(extreme, np.uint64(2**64 - 1), order), axis=0, kind="stable")
        n_free = np.maximum((~extreme).sum(axis=0), 1)
        turn = (np.cumsum(~known, axis=0) - 1) % n_free
        dealt = np.take_along_axis(values, np.take_along_axis(order, turn, axis=0), axis=0)
        dealt[given[unit, rank], unit] = self.values[unit, rank]
        return dealt

    @staticmethod
    def _places(images: NDArray[np.int32], named: NDArray[np.int32]) -> NDArray[np.int64]:
        """Place in the batch of each named image, -1 where it is not there."""
        place = np.searchsorted(images, named)
        place[place == len(images)] = 0
        return np.where(images[place] == named, place, -1)
