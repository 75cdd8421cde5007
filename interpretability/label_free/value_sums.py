"""Sums over the values of units, and over values times embeddings, in a stream of images: numpy, or torch on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.errors import InputError
from interpretability.label_free.kernels import add_powers
from interpretability.label_free.range_scores import heavy_tails

PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class Moments:
    """Of each unit (U,), from its sums.

    mean       of x, see `ValueSums`
    height     of the mean above the least value
    powers     sums of d^2, d^3 and d^4, d the values less their mean
    n_active   images above the least value
    constant   all values alike
    """

    mean: NDArray[np.float64]
    height: NDArray[np.float64]
    powers: dict[int, NDArray[np.float64]]
    n_active: NDArray[np.int64]
    constant: NDArray[np.bool_]

    @property
    def heavy(self) -> NDArray[np.bool_]:
        """Which units have values of a heavy tail, see `range_scores.heavy_tails`."""
        return heavy_tails(self.powers[4], self.powers[2], self.n_active)


class ValueSums:
    """Sums over images of x = v - origin, in double precision, from products of `precision` within a batch.

    The origin of a unit is its least value in the first batch: sparse units stay sparse, and a large common value is gone.
    weighted               (U, E): of x e
    own, own_squared       (U,): of x |e|^2 and x^2 |e|^2
    n_images               images added
    """

    def __init__(self, precision: str) -> None:
        self.precision, self.n_images = precision, 0
        self._parts: dict[str, Any] = {}

    def update(self, values: Any, embeddings: Any) -> None:
        """Add values (B, U) and rows (B, E) of length 1, arrays or tensors; see `MonosemanticitySums.update`."""
        on_gpu = _on_gpu(values)
        if on_gpu != _on_gpu(embeddings):
            raise InputError("{values} and {embeddings} must be on the same device", "values", "embeddings")
        if not on_gpu:
            values, embeddings = host(values), host(embeddings)
        if not len(values):
            return
        if not self._parts:
            origin = values.amin(0) if on_gpu else values.min(axis=0)
            self._parts = {"origin": origin, **_sums(values, embeddings, origin, self.precision)}
        elif values.shape[1] != len(self._parts["origin"]):
            raise arguments.wrong(
                "values", "has {width} units, after {before}", width=values.shape[1], before=len(self._parts["origin"])
            )
        else:
            _join(self._parts, _sums(values, embeddings, self._parts["origin"], self.precision))
        self.n_images += len(values)

    def _part(self, name: str) -> NDArray[Any]:
        return host(self._parts[name])

    @property
    def weighted(self) -> NDArray[np.float64]:
        return self._part("weighted")

    @property
    def own(self) -> NDArray[np.float64]:
        return self._part("own")

    @property
    def own_squared(self) -> NDArray[np.float64]:
        return self._part("own_squared")

    def moments(self, low: NDArray[np.floating] | None = None) -> Moments:
        """What the score needs of the values. low: as for `MonosemanticitySums.table`."""
        n, powers = self.n_images, self._part("powers")
        least, most, at_least = self._part("least"), self._part("most"), self._part("at_least")
        mean = powers[0] / n
        square = np.maximum(powers[1] - n * mean**2, 0.0)
        cube = powers[2] - 3 * mean * powers[1] + 2 * n * mean**3
        fourth = powers[3] - 4 * mean * powers[2] + 6 * mean**2 * powers[1] - 3 * n * mean**4
        n_active = n - at_least
        given = least
        if low is not None:
            given = self._shifted(arguments.array(low, "low", ("units",)))
            if given.shape != least.shape or not (given <= least).all():
                raise arguments.wrong("low", "must hold a value a unit, none above the least that was added")
            n_active = np.where(given < least, n, n_active)
        return Moments(mean, mean - given, {2: square, 3: cube, 4: np.maximum(fourth, 0.0)}, n_active, least == most)

    def _shifted(self, low: NDArray[np.floating]) -> NDArray[np.float64]:
        """Values less their origins, rounded as those of the batches: the least of a batch is then no less than itself."""
        difference = low.astype(np.float64) - self._part("origin").astype(np.float64)
        return narrowed(difference, self.precision, "low").astype(np.float64)


def host(values: Any) -> NDArray[Any]:
    """The numbers of an array or a tensor, as an array."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    small = values.dtype.is_floating_point and values.dtype.itemsize < 4  # numpy knows no bfloat16
    return (values.float() if small else values).detach().cpu().numpy()


def same_images(values: Any, embeddings: Any, argument: str = "values") -> None:
    """Refuse values and embeddings that are not two tables of the same images."""
    for given, name, axes in ((values, argument, "units"), (embeddings, "embeddings", "dimensions")):
        if len(getattr(given, "shape", ())) != 2:
            raise arguments.wrong(name, "must be an array or tensor (images, {axes})", axes=axes)
    arguments.same_images(len(values), len(embeddings), (argument, "embeddings"))


def _on_gpu(values: Any) -> bool:
    return hasattr(values, "detach") and values.device.type != "cpu"


def _sums(values: Any, embeddings: Any, origin: Any, precision: str) -> dict[str, Any]:
    """Sums of a batch, by name, where its values are."""
    return (_on_device if _on_gpu(values) else _in_numpy)(values, embeddings, origin, precision)


def _in_numpy(
    values: NDArray[Any], embeddings: NDArray[Any], origin: NDArray[Any], precision: str
) -> dict[str, NDArray[Any]]:
    units, kind = values.shape[1], np.dtype(precision)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found below, and told
        if values.dtype == kind:
            shifted = np.subtract(values, origin)
        else:
            difference = np.subtract(values, origin, dtype=np.float64)
            arguments.finite(difference, "values")
            shifted = narrowed(difference, kind, "values")
        rows = narrowed(embeddings, kind, "embeddings")
        squares = np.einsum("be,be->b", rows, rows, dtype=np.float64)
        sums = {name: np.zeros(units) for name in ("own", "own_squared")} | {"powers": np.zeros((4, units))}
        ends = {"least": np.full(units, np.inf), "most": np.full(units, -np.inf)}
        at_least = np.zeros(units, np.int64)
        moments = sums["powers"], sums["own"], sums["own_squared"]
        add_powers(shifted, squares, *moments, ends["least"], ends["most"], at_least)
        if not np.isfinite(sums["powers"]).all():
            arguments.finite(values, "values")
            raise arguments.wrong("values", "holds values whose fourth powers are beyond double precision")
        weighted = (shifted.T @ rows).astype(np.float64)
    return {"weighted": weighted, **sums, **ends, "at_least": at_least}


def _on_device(values: Any, embeddings: Any, origin: Any, precision: str) -> dict[str, Any]:
    import torch

    from interpretability.networks.precision import products_in_float32

    kind = getattr(torch, precision)
    shifted = (values.double() - origin.double()).to(kind)
    rows = embeddings.to(kind)
    with products_in_float32():  # whatever the caller allows the GPU elsewhere
        weighted = (shifted.T @ rows).double()
    x, squares = shifted.double(), rows.double().square().sum(dim=1)
    square = x.square()
    powers = torch.stack([x.sum(0), square.sum(0), (square * x).sum(0), square.square().sum(0)])
    if not bool(torch.isfinite(powers).all()):
        arguments.finite(host(values), "values")
        raise arguments.wrong("values", "holds values beyond the precision of their sums")
    least = x.amin(0)
    return {
        "weighted": weighted,
        "own": squares @ x,
        "own_squared": squares @ square,
        "powers": powers,
        "least": least,
        "most": x.amax(0),
        "at_least": (x == least).sum(0),
    }


def _join(parts: dict[str, Any], added: dict[str, Any]) -> None:
    """Add the sums of a batch to those before it."""
    for name in ("weighted", "own", "own_squared", "powers"):
        parts[name] += added[name]
    below, above, higher = (
        added["least"] < parts["least"],
        added["least"] > parts["least"],
        added["most"] > parts["most"],
    )
    parts["at_least"] = parts["at_least"] * ~below + added["at_least"] * ~above
    parts["least"] = parts["least"] * ~below + added["least"] * below
    parts["most"] = parts["most"] * ~higher + added["most"] * higher
