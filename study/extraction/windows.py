"""Images at the inner percentiles of every unit of a network, for queries of harder tasks.

`activations.windows` names networks and conditions. While images pass, `interpretability.extremes.windows` keeps what can still
be at those ranks; a network's file then holds the images of each condition, from the extreme inwards, with one neighbour on
either side that tells ties. On a GPU all values travel to the host, which does the counting beside the device.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import HARD
from study.errors import StudyError
from study.extraction.columns import Travelling
from study.images.manifest import ImageSet
from study.networks.roster import with_network

if TYPE_CHECKING:
    from torch import Tensor

    from interpretability.extremes.windows import Found, Ranks

_BESIDE = 1  # images on either side of the queries: whether the outermost query has the value of another image
_STATE = "windows_"  # begins the names of tensors of a saved state


def conditions_of(entries: Sequence[str], name: str) -> tuple[str, ...]:
    """Harder conditions that entries network/condition name for a network, the easiest first."""
    named = {entry.partition("/")[2] for entry in entries if fnmatchcase(name, entry.partition("/")[0])}
    return tuple(condition for condition in HARD if condition in named)


def check(
    entries: Sequence[str], roster: pd.DataFrame, path: Path, images: ImageSet, n_tasks: int, n_explanations: int
) -> None:
    """Refuse windows that cannot be: of networks that the roster at `path` lacks, of images not in random order, or so near the
    extremes of so few images that their queries would be explanations.
    """
    names = [*with_network(roster)["name"], *roster["name"]]
    for entry in entries:
        network, _, condition = entry.partition("/")
        if not any(fnmatchcase(name, network) for name in names):
            raise StudyError(
                f"activations.windows names network {network!r}, which is not in {path}; entries are written "
                "network/condition, and * stands for any text in the network"
            )
        start, explained = len(images) * HARD[condition] // 100, n_tasks * n_explanations
        if start < explained:
            raise StudyError(
                f"activations.windows names {entry}, whose queries start at rank {start} of {len(images)} images, but "
                f"tasks.n_tasks * tasks.n_explanations = {explained} ranks explain; take the entry out, or study at least "
                f"{-(-100 * explained // HARD[condition])} images"
            )
    if entries:
        _check_order(images)


def _check_order(images: ImageSet) -> None:
    """Windows are exact or refused in any order, but only in a random one are they hardly ever refused. That of the manifest is
    random: its rows are in the order of a hash of their paths, and passes show them in the order of the rows.
    """
    before = ""
    for row in range(len(images)):
        digest = hashlib.sha256(os.fsencode(images.path(row))).hexdigest()
        if digest < before:
            raise StudyError(
                "activations.windows needs images in random order, but the rows of data/images/manifest.parquet are not in the "
                f"order of the sha256 of their paths: row {row}, {images.path(row)}, belongs before the row above it. Write the "
                "manifest anew: dvc repro --force images; or empty activations.windows and name units in activations.keep"
            )
        before = digest


def ranks_of(conditions: Sequence[str], n_images: int, n_tasks: int) -> list[Ranks]:
    """Ranks of the windows: of each condition those at the top, then those at the bottom."""
    from interpretability.extremes.windows import ranks_at

    ranks: list[Ranks] = []
    for condition in conditions:
        start = n_images * HARD[condition] // 100
        ranks += ranks_at(n_images, start - _BESIDE, n_tasks + 2 * _BESIDE)
    return ranks


def tensors(conditions: Sequence[str], found: Found) -> dict[str, NDArray[Any]]:
    """Images and values of each condition and side, from the extreme inwards."""
    content: dict[str, NDArray[Any]] = {}
    for number, condition in enumerate(conditions):
        for side, window in (("top", 2 * number), ("bottom", 2 * number + 1)):
            step = -1 if side == "top" else 1
            content[f"{condition}_{side}_images"] = np.ascontiguousarray(found.images[:, window, ::step])
            content[f"{condition}_{side}_values"] = np.ascontiguousarray(found.values[:, window, ::step])
    return content


def tensors_of_columns(
    conditions: Sequence[str], columns: NDArray[np.float32], keys: NDArray[np.uint64], n_tasks: int
) -> dict[str, NDArray[Any]]:
    """The same from whole columns (units, images) in the order of the manifest."""
    from interpretability.extremes.windows import whole_columns

    if not conditions:
        return {}
    return tensors(conditions, whole_columns(columns, keys, ranks_of(conditions, columns.shape[1], n_tasks)))


def state_bytes_of_windows(conditions: Sequence[str], n_images: int, n_tasks: int) -> int:
    """Memory of the windows of a unit."""
    from interpretability.extremes.windows import room

    return room(ranks_of(conditions, n_images, n_tasks), n_images) if conditions else 0


class NetworkWindows:
    """The windows of all units of a network with the given conditions, on the CPU.

    state   tensors that `state` gave, where an earlier run left the windows
    """

    def __init__(
        self,
        conditions: tuple[str, ...],
        keys: NDArray[np.uint64],
        n_images: int,
        n_tasks: int,
        *,
        threads: int = 1,
        state: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        from interpretability.extremes.windows import State, Windows

        own = {name.removeprefix(_STATE): value for name, value in (state or {}).items() if name.startswith(_STATE)}
        saved = None
        if own:
            saved = State(int(own["seen"][0]), own["keys"], own["counts"], own["below"], own["intervals"])
        self._conditions = conditions
        self._windows = Windows(keys, ranks_of(conditions, n_images, n_tasks), n_images, threads=threads, state=saved)

    def take(self, first: int, values: Tensor) -> None:
        """Take in the values (images, units) of the images from number `first` on."""
        self._put(first, values)

    def _put(self, first: int, rows: Tensor) -> None:
        self._windows.update(rows.numpy(), np.arange(first, first + len(rows)))

    def arrived(self) -> None:
        """Take in what is still on its way."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Tensors of a saved state."""
        self.arrived()
        state = self._windows.state()
        return {f"{_STATE}{name}": np.atleast_1d(value) for name, value in vars(state).items()}

    def found(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """Tensors as of `tensors`, and the units that do not have all of theirs exactly."""
        self.arrived()
        found = self._windows.found()
        return tensors(self._conditions, found), np.flatnonzero(~found.exact.all(axis=1))


class DeviceWindows(Travelling, NetworkWindows):
    """The same for a network on a device: values of many images travel to the host together, where they are counted while the
    device goes on.
    """

    def __init__(
        self,
        conditions: tuple[str, ...],
        keys: NDArray[np.uint64],
        n_images: int,
        n_tasks: int,
        batch_size: int,
        device: str,
        *,
        threads: int,
        state: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        NetworkWindows.__init__(self, conditions, keys, n_images, n_tasks, threads=threads, state=state)
        Travelling.__init__(self, len(keys), batch_size, device)

    def _put(self, first: int, rows: Tensor) -> None:
        NetworkWindows._put(self, first, rows)
