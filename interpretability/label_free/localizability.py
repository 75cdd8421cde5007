"""Whether pictures of a unit say where in a new picture it is active: hits of a guess by explanations, anchored at chance.

A picture is cut into g x g cells. A unit's peak is the cell with the largest value of its map. What its explanations show at
their peaks, in the patches of another network, less what they show anywhere, is a prototype; the guess for a new picture is the
cell most like it. Peaks cluster, so chance is no 1 / g^2: it is how often guesses meet the peaks of other pictures.

It does not measure how well a unit is understood: a unit of random values whose map follows things has a high score, and
another unit's explanations have about half of it, since things stand out. Both nulls stand beside it.

Departure: no paper defines it; it is the machine's side of the trials `localize`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.directions.readers import Reader
from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, positions_of
from interpretability.randomness import generator

VERSION = 1
GRID, LEAST = 4, 3  # most cells along a side, and fewest
N_OTHERS = 10  # other units whose explanations are tried
MAPS, TOKENS = "maps", "tokens"
COLUMNS = ["hit", "chance", "score", "others", "deranged"]
VECTOR, DIRECTIONS = (
    "values without a place: pooled before or by this layer",
    "directions and latents are not localized",
)
NO_VARIANCE = "no unit's map varies on all of its images"


def cells_along(height: int, width: int) -> int:
    """g, the cells along a side of the grid for maps of this size: min(4, the shorter side); 0 where that is below 3."""
    side = min(height, width, GRID)
    return side if side >= LEAST else 0


def peak_cells(maps: Any, height: int, width: int) -> Any:
    """Cell (images, channels) with the largest value of each map, row by row from 0 to g^2 - 1; -1 where a map is constant.

    maps   (images, height * width, channels), array or tensor. Of equal values the first place counts
    """
    if len(getattr(maps, "shape", ())) != 3 or maps.shape[1] != height * width or not cells_along(height, width):
        raise arguments.wrong(
            "maps",
            "must be an array or tensor (images, {height} x {width} positions, channels) with {least} or more rows and columns",
            height=height,
            width=width,
            least=LEAST,
        )
    side, place = cells_along(height, width), maps.argmax(1)
    cells = (place // width * side // height) * side + place % width * side // width
    varies = maps.max(1) != maps.min(1) if isinstance(maps, np.ndarray) else maps.amax(1) != maps.amin(1)
    return np.where(varies, cells, -1) if isinstance(maps, np.ndarray) else torch.where(varies, cells, -1)


@dataclass(frozen=True)
class Places:
    """Where the values of a layer's maps lie: rows and columns behind `skipped` tokens without a place, or why nowhere."""

    kind: str = ""
    height: int = 0
    width: int = 0
    skipped: int = 0
    reason: str = ""

    @property
    def side(self) -> int:
        """Cells along a side, 0 where there are none."""
        return 0 if self.reason else cells_along(self.height, self.width)


def places_of(
    shape: Sequence[int], n_images: int, layer: Layer, prefix: int | None, n_patches: int | None = None
) -> Places:
    """Places of an output of this shape for so many images.

    prefix     tokens in front of those with a place (class, registers), where the network says so, or none in layers before they
               are added; else 0 or 1, whichever leaves a square
    n_patches  patches of an image, where the network says so: tokens are places only if they are as many
    """
    if shape[layer.batch_axis] != n_images:
        return Places(reason="windows of images, whose order is not known")
    rest = [size for axis, size in enumerate(shape) if axis not in (layer.batch_axis, layer.channel_axis % len(shape))]
    if len(rest) == 2:
        kind, height, width, skipped = MAPS, rest[0], rest[1], 0
    elif len(rest) == 1 and rest[0] > 1:
        tried = (0, 1) if prefix is None else dict.fromkeys((prefix, 0))
        ways = [(math.isqrt(rest[0] - front), front) for front in tried if front < rest[0]]
        ways = [(side, front) for side, front in ways if side * side + front == rest[0]]
        if not ways:
            return Places(reason=f"{rest[0]} tokens are no square of places")
        # where tokens are mixed, channels stand where tokens do elsewhere
        ways = [(side, front) for side, front in ways if n_patches in (None, side * side)]
        if not ways:
            return Places(reason=f"{rest[0]} values a channel are not the {n_patches} patches of the network")
        (side, skipped), kind = ways[0], TOKENS
        height = width = side
    else:
        return Places(reason=VECTOR)
    if max(height, width) == 1:
        return Places(reason=VECTOR)
    small = "" if cells_along(height, width) else f"{kind} of {height} x {width}, fewer than {LEAST} x {LEAST}"
    return Places(kind, height, width, skipped, small)


class PeakCapture(Capture):
    """A capture that also says in which cell each unit's map peaks; every map is read by itself.

    After a call `cells` (batch_size, U) int64 holds the cells of its images, -1 where a map is constant or has no places;
    `places` says so by the name of each layer that was reached.
    """

    _may_follow = False

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        batch_size: int,
        device: torch.device | str,
        *,
        precision: str = "float32",
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        super().__init__(model, layers, batch_size, device, precision=precision, readers=readers)
        self.cells = torch.full((batch_size, self.n_units), -1, dtype=torch.int64, device=self.buffer.device)
        self.places: dict[str, Places] = {}
        self._prefix = getattr(model, "num_prefix_tokens", None)
        first = [getattr(model, name, None) for name in ("patch_embed", "stem")]  # as networks of timm call it
        told = [getattr(module, "num_patches", None) for module in first]
        self._n_patches = next((number for number in told if isinstance(number, int)), None)

    def keep(self, layer: Layer, start: int, value: Tensor) -> None:
        super().keep(layer, start, value)
        if layer.name in self._readers:
            self.places[layer.name] = Places(reason=DIRECTIONS)
            return
        found = self.places[layer.name] = places_of(
            tuple(value.shape), self._size, layer, self._prefix, self._n_patches
        )
        if not found.reason:
            maps = positions_of(value, self._size, layer.batch_axis, layer.channel_axis)[:, found.skipped :]
            first = self._first[layer.name]
            rows = slice(self._row, self._row + self._size)
            self.cells[rows, first : first + layer.width] = peak_cells(maps, found.height, found.width)


@torch.no_grad()
def patches(model: nn.Module, batch: Tensor, sides: Sequence[int]) -> dict[int, Tensor]:
    """What a network sees in each cell of prepared images (n, C, H, W): (n, g^2, E) float32 for each g of `sides`.

    The last of its maps with 4 or more rows and columns, averaged within cells. Raises InputError for a network that is no one
    of timm with `forward_intermediates`, or has no such map.
    """
    forward: Any = getattr(model, "forward_intermediates", None)
    if forward is None:
        raise InputError(
            "{model} is a {kind}, which gives no maps by `forward_intermediates`; take a network of timm",
            "model",
            kind=type(model).__name__,
        )
    maps = [each for each in forward(batch, intermediates_only=True) if each.dim() == 4 and min(each.shape[2:]) >= GRID]
    if not maps:
        raise InputError("{model} has no map of {grid} x {grid} or more at this size of images", "model", grid=GRID)
    pooled = {side: nn.functional.adaptive_avg_pool2d(maps[-1].float(), side) for side in sides}
    return {side: each.flatten(2).transpose(1, 2) for side, each in pooled.items()}


def centred_rows(cells: NDArray[np.floating]) -> NDArray[np.float32]:
    """Patches (images, g^2, E) less their mean over all images and cells, as rows of length 1 (0 where nothing is left)."""
    mean = cells.mean(axis=(0, 1), dtype=np.float64)
    rows = narrowed(cells, np.float32, "cells") - narrowed(mean, np.float32, "cells")
    lengths = np.linalg.norm(rows, axis=2, keepdims=True)
    lengths[lengths == 0] = 1
    rows /= lengths
    return rows


def localizability(
    cells: NDArray[np.floating],
    explanations: NDArray[np.integer],
    queries: NDArray[np.integer],
    peaks_explaining: NDArray[np.integer],
    peaks_asked: NDArray[np.integer],
    seed: int = 0,
) -> pd.DataFrame:
    """A row a unit of one layer: share of new images whose peak is guessed, chance, score, and the score of two nulls.

    cells             (images, g^2, E) patches, rows of length 1 (`centred_rows`)
    explanations      (U, M) rows of `cells` that explain each unit
    queries           (U, N) rows on which peaks are guessed, N of 2 or more
    peaks_explaining  (U, M) cells in which the unit peaks there, -1 where its map is constant
    peaks_asked       (U, N) the same for the queries

    hit         share of the queries whose guess is the peak: the cell with the largest product with the prototype, the mean over
                explanations of the patch at the peak less the mean of all their patches
    chance      share of (guess on one query, peak on another)
    score       (hit - chance) / (1 - chance), 1 at best, 0 in expectation where guesses have nothing to do with peaks
    others      mean score of the explanations of up to 10 other units, drawn by `seed`
    deranged    score with each peak moved to another query, drawn by `seed`
    All are NaN for a unit with a constant map on any image; a score also where chance is 1, `others` where no other unit has one.

    >>> import numpy as np
    >>> from interpretability.label_free.localizability import localizability
    >>> cells = np.tile(np.eye(9), (6, 1, 1))  # cell c of each image shows thing c
    >>> rows, peaks = np.array([[0, 1, 2]]), np.array([[4, 2, 4]])
    >>> localizability(cells, rows, rows + 3, np.full((1, 3), 4), peaks).round(2).loc[0, ["hit", "chance", "score"]].tolist()
    [0.67, 0.67, 0.0]
    """
    _check(cells, explanations, queries, peaks_explaining, peaks_asked)
    means, (n_units, n_asked) = cells.mean(axis=1, dtype=np.float64), queries.shape
    table = np.full((n_units, len(COLUMNS)), np.nan)
    whole = np.flatnonzero((peaks_explaining >= 0).all(axis=1) & (peaks_asked >= 0).all(axis=1))
    prototypes = np.zeros((n_units, cells.shape[2]))
    for unit in whole:
        shown = explanations[unit]
        at_peaks = cells[shown, peaks_explaining[unit]].mean(axis=0, dtype=np.float64)
        prototypes[unit] = at_peaks - means[shown].mean(axis=0)
    n_cells = cells.shape[1]
    for unit in whole:
        rng = generator(seed, "localizability", int(unit))
        others = rng.permutation(whole[whole != unit])[:N_OTHERS]
        tried = prototypes[[unit, *others]]
        guesses = (cells[queries[unit]].astype(np.float64) @ tried.T).argmax(axis=1)  # (N, 1 + others)
        order, moved = rng.permutation(n_asked), np.empty(n_asked, dtype=np.int64)
        moved[order] = peaks_asked[unit][np.roll(order, 1)]
        hit, chance = _hits(guesses, peaks_asked[unit], n_cells)
        scores = _scores(hit, chance)
        deranged = _scores(np.mean(guesses[:, 0] == moved), chance[0])
        beside = scores[1:][~np.isnan(scores[1:])]
        table[unit] = hit[0], chance[0], scores[0], beside.mean() if len(beside) else np.nan, deranged
    return pd.DataFrame(table, columns=COLUMNS)


def _hits(
    guesses: NDArray[np.integer], peaks: NDArray[np.integer], n_cells: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of hits and of hits on other queries' peaks of each column of guesses (N, T)."""
    n = len(peaks)
    met = (guesses == peaks[:, None]).sum(axis=0)
    guessed = np.stack([np.bincount(column, minlength=n_cells) for column in guesses.T])
    everywhere = guessed @ np.bincount(peaks, minlength=n_cells)
    return met / n, (everywhere - met) / (n * (n - 1))


def _scores(hit: Any, chance: Any) -> Any:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (hit - chance) / (1 - chance), np.nan)


def _check(
    cells: NDArray[np.floating],
    explanations: NDArray[np.integer],
    queries: NDArray[np.integer],
    peaks_explaining: NDArray[np.integer],
    peaks_asked: NDArray[np.integer],
) -> None:
    arguments.array(cells, "cells", ("images", "cells", "numbers"))
    for rows, peaks, what in ((explanations, peaks_explaining, "explaining"), (queries, peaks_asked, "asked")):
        named = "explanations" if what == "explaining" else "queries"
        arguments.array(rows, named, ("units", "images"))
        if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(cells):
            raise arguments.wrong(named, "must hold rows of cells, 0 to {last}", last=len(cells) - 1)
        if peaks.shape != rows.shape or peaks.dtype.kind not in "iu" or peaks.max() >= cells.shape[1]:
            raise arguments.wrong(
                f"peaks_{what}",
                "has shape {shape}; it must hold a cell, -1 to {last}, for each of the {rows} of {named}",
                shape=peaks.shape,
                last=cells.shape[1] - 1,
                rows=rows.shape,
                named=named,
            )
    if queries.shape[1] < 2:
        raise arguments.wrong("queries", "must be 2 or more images a unit: chance is hits on other images' peaks")
    if len(explanations) != len(queries):
        raise arguments.wrong("queries", "must have a row for each unit of explanations, {n}", n=len(explanations))
