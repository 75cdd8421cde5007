"""What a unit's explanations predict of any image q: s(q, E+) - s(q, E-), its mean similarity to either side's images.

With rows x of length 1 the mean similarity is q . sum(E) / m, so a unit takes two sums of rows and its part of one matrix
product, however many images explain it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.label_free.kernels import without_own
from interpretability.label_free.row_sums import row_sums, squared_lengths

_BLOCK = 256  # units whose sums are held at once
# Units and probes of a product are filled up with zeros to a multiple: its last bits then depend on no other unit
# (see `interpretability.explanations.correlation`).
_TILES = (128, 16)


def predictions(
    rows: NDArray[np.floating],
    probes: NDArray[np.integer],
    top: NDArray[np.integer],
    bottom: NDArray[np.integer],
    *,
    leave_one_out: bool = True,
    threads: int = 1,
) -> NDArray[np.float64]:
    """s(q, E+) - s(q, E-) (U, n) of n probe images by the explanations of U units: -2 to 2.

    rows            (M, E) of images, of length 1 (`similarity.arrays.length_one`); taken as float32, sums are of doubles
    probes          (n,) rows of the images that are predicted, each once
    top, bottom     (U, m), (U, m') rows of the images that explain a unit, at least two a side, in any order

    A probe that is among a unit's explanations leaves its own similarity, 1, out of the sum and the count: with it,
    units without any meaning correlate by .04 where 9 % of the probes explain (`leave_one_out=False`, for comparison alone).
    Raises InputError for rows that are not there, probes named twice, and a side on which one image stands alone.
    """
    given = arguments.array(rows, "rows", ("images", "dimensions"))
    table = np.ascontiguousarray(narrowed(given, np.float32, "rows"))
    wanted = _rows_of(arguments.array(probes, "probes", ("probes",)), "probes", len(table))
    sides = [
        _rows_of(arguments.array(side, name, ("units", "explanations")), name, len(table))
        for side, name in ((top, "top"), (bottom, "bottom"))
    ]
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            "{top} is of {units} units and {bottom} of {others}; they must be of the same",
            "top",
            "bottom",
            units=len(sides[0]),
            others=len(sides[1]),
        )
    if len(np.unique(wanted)) != len(wanted):
        raise arguments.wrong("probes", "names an image twice")
    place = np.full(len(table), -1)
    place[wanted] = np.arange(len(wanted))
    asked = table[wanted].astype(np.float64)
    found = np.empty((len(sides[0]), len(wanted)))
    for start in range(0, len(found), _BLOCK):
        lists = [side[start : start + _BLOCK] for side in sides]
        sums = [row_sums(table, each, threads) for each in lists]
        found[start : start + _BLOCK] = _product(sums[0] / lists[0].shape[1] - sums[1] / lists[1].shape[1], asked)
        own, squares = [place[each] for each in lists], squared_lengths(asked)
        if leave_one_out and not without_own(
            asked, squares, own[0], own[1], sums[0], sums[1], found[start : start + _BLOCK]
        ):
            raise InputError(
                "{top} and {bottom} need two different images each: one alone cannot be left out", "top", "bottom"
            )
    return found


def _rows_of(images: NDArray[np.integer], argument: str, n_rows: int) -> NDArray[np.int64]:
    if images.dtype.kind not in "iu":
        raise arguments.wrong(argument, "holds values of type {kind}; it must hold rows", kind=images.dtype)
    if images.min() < 0 or images.max() >= n_rows:
        raise arguments.wrong(
            argument,
            "reaches from {least} to {most}; there are {count} rows, numbered from 0",
            least=int(images.min()),
            most=int(images.max()),
            count=n_rows,
        )
    return np.ascontiguousarray(images, np.int64)


def _product(directions: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = [
        np.pad(part, ((0, -len(part) % tile), (0, 0))) for part, tile in zip((directions, asked), _TILES, strict=True)
    ]
    return (padded[0] @ padded[1].T)[: len(directions), : len(asked)]
