"""What a study gives to the latent model: ratings of images of pairs, and gold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.casts import narrowed
from interpretability.randomness import key64


def _whole(table: object, names: Sequence[str]) -> None:
    """Replace the named columns of a frozen table by int64, all as long as the first."""
    length = None
    for name in names:
        values = arguments.array(getattr(table, name), name, ("rows",), empty=True)
        if length is not None and len(values) != length:
            raise arguments.wrong(
                name, "has {rows} rows, {first} has {length}", rows=len(values), first=names[0], length=length
            )
        length = len(values)
        object.__setattr__(table, name, narrowed(values, np.int64, name))


def _counts(n: NDArray[np.int64], yes: NDArray[np.int64]) -> None:
    if (n < 1).any():
        raise arguments.wrong(
            "n", "holds {value} at [{row}]; at least one rating is needed", value=int(n.min()), row=int(n.argmin())
        )
    if ((yes < 0) | (yes > n)).any():
        row = int(np.argmax((yes < 0) | (yes > n)))
        raise arguments.wrong(
            "yes", "holds {value} of {n} ratings at [{row}]", value=int(yes[row]), n=int(n[row]), row=row
        )


@dataclass(frozen=True)
class RatedPairs:
    """Ratings, a row for each rated image of a pair, in any order; whole numbers.

    pair   number of the pair (a unit and a text): its row of the activations
    image  number of the image: its column
    n      ratings, at least 1
    yes    those that say that the image shows the concept
    adaptive  whether images were rated more often because of what was said before
    """

    pair: NDArray[np.int64]
    image: NDArray[np.int64]
    n: NDArray[np.int64]
    yes: NDArray[np.int64]
    adaptive: bool = False

    def __post_init__(self) -> None:
        _whole(self, ("pair", "image", "n", "yes"))
        _counts(self.n, self.yes)


@dataclass(frozen=True)
class GoldImages:
    """Ratings of images whose label is known, as those of `RatedPairs`.

    present          1 where the image shows the concept, 0 where it does not
    drawn_uniformly  whether those that show it were drawn uniformly among all that do, and may test whether the guide sees them
    """

    pair: NDArray[np.int64]
    image: NDArray[np.int64]
    present: NDArray[np.int64]
    n: NDArray[np.int64]
    yes: NDArray[np.int64]
    drawn_uniformly: bool = False

    def __post_init__(self) -> None:
        _whole(self, ("pair", "image", "present", "n", "yes"))
        _counts(self.n, self.yes)
        if not np.isin(self.present, (0, 1)).all():
            raise arguments.wrong("present", "holds values other than 0 and 1")


def check_places(given: RatedPairs | GoldImages, argument: str, n_pairs: int, n_images: int) -> None:
    """Refuse numbers of pairs and images that there are not, and an image of a pair that has two rows."""
    for name, values, most in (("pair", given.pair, n_pairs), ("image", given.image, n_images)):
        if len(values) and (values.min() < 0 or values.max() >= most):
            raise arguments.wrong(argument, "names a number of {name} outside of 0 to {last}", name=name, last=most - 1)
    code = given.pair * n_images + given.image
    order = np.argsort(code, kind="stable")
    twice = np.flatnonzero(np.diff(code[order]) == 0)
    if len(twice):
        row = int(order[twice[0] + 1])
        raise arguments.wrong(
            argument,
            "holds image {image} of pair {pair} twice, the second time at [{row}]; add its ratings up",
            image=int(given.image[row]),
            pair=int(given.pair[row]),
            row=row,
        )


def pair_keys(keys: NDArray[np.uint64] | Sequence[object], n_pairs: int) -> NDArray[np.uint64]:
    """Keys (pairs,) of what names each pair: 64-bit keys, or texts or tuples of ids; their places where nothing is given."""
    if not len(keys):
        named = np.array([key64("pair", place) for place in range(n_pairs)], np.uint64)
    elif isinstance(keys, np.ndarray) and keys.dtype.kind in "ui":
        named = arguments.unit_keys(keys, n_pairs)
    else:
        parts = [tuple(key) if isinstance(key, tuple | list) else (key,) for key in keys]
        named = np.array(
            [key64("pair", *(part if isinstance(part, int) else str(part) for part in ids)) for ids in parts], np.uint64
        )
    if named.shape != (n_pairs,) or len(np.unique(named)) < n_pairs:
        raise arguments.wrong(
            "keys",
            "holds {given} different keys; each of {pairs} pairs needs its own",
            given=len(np.unique(named)),
            pairs=n_pairs,
        )
    return named


def group_numbers(groups: Sequence[object], n_pairs: int) -> tuple[NDArray[np.int64], int]:
    """Numbers (pairs,) of the group of each pair, and how many groups there are: in the order of their names, whatever the order
    of the pairs. Without groups all pairs are one."""
    if not len(groups):
        return np.zeros(n_pairs, np.int64), 1
    if len(groups) != n_pairs:
        raise arguments.wrong(
            "groups", "holds {given} names; each of {pairs} pairs has one", given=len(groups), pairs=n_pairs
        )
    names = [tuple(map(str, name)) if isinstance(name, tuple | list) else (str(name),) for name in groups]
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64), len(number)
