"""What a recipe learns from: labels, the images held out, their order, and each image altered by keyed draws.

No draw hangs on a process, a worker or on what was drawn before: each is keyed by seed, network, epoch and image, so a training
can be cut anywhere and gone on with.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset, Sampler

from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import generator, key64
from study.errors import StudyError
from study.images.manifest import ImageSet

if TYPE_CHECKING:
    from torch import Tensor

Place = tuple[int, int]  # epoch, row of the manifest


@dataclass(frozen=True)
class Labelled:
    """Images of a study with the numbers of their classes, in two parts.

    classes     labels in their order, which is that of the outputs of a network
    targets     class number of each image, by row of the manifest
    learnt      rows of the images trained on, ascending
    held_out    rows of those on which accuracy is measured, ascending
    """

    images: ImageSet
    classes: tuple[str, ...]
    targets: NDArray[np.int64]
    learnt: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @classmethod
    def of(cls, images: ImageSet, seed: int, share: float, batch_size: int) -> Labelled:
        """Raises StudyError where labels are missing or all alike, or where a batch is larger than what is left to learn from."""
        manifest = images.manifest
        labels, paths = manifest["label"].astype(str).to_numpy(), manifest["path"].astype(str).to_numpy()
        without = np.flatnonzero(labels == "")
        if len(without):
            raise StudyError(
                f"{len(without):,} of {len(labels):,} images have no label ({paths[without[0]]} is the first), and the recipe "
                "learns labels: put every picture into a folder named after its class, or set models.training.recipe to "
                "one_cycle, which needs images.source generated"
            )
        classes, targets = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise StudyError(
                f"all {len(labels):,} images have the label {classes[0]!r}, and the recipe learns to tell classes apart: put the "
                "pictures into two folders or more, each named after a class"
            )
        keys = np.array([key64("held out", seed, path) for path in paths], dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        count = round(share * len(labels))
        held_out, learnt = np.sort(order[:count]), np.sort(order[count:])
        if batch_size > len(learnt):
            raise StudyError(
                f"models.training.a3.batch_size is {batch_size}, but there are {len(learnt):,} images to learn from "
                f"({len(labels):,} less the {count:,} of models.training.a3.held_out); lower it to at most {len(learnt) // 2 * 2}"
            )
        return cls(images, tuple(classes.tolist()), targets.astype(np.int64), learnt, held_out)


@contextmanager
def drawing(key: int) -> Generator[None]:
    """Python's, numpy's and torch's global generators set by a key; afterwards those of this process as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002  timm draws from these
    random.seed(key)
    np.random.seed(key & 0xFFFFFFFF)  # noqa: NPY002
    torch.default_generator.manual_seed(key >> 1)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class Altered(Dataset[tuple[Any, int]]):
    """Images altered for training, by (epoch, row): bytes (3, size, size) and the class number."""

    def __init__(self, labelled: Labelled, alter: Callable[[Image.Image], Tensor], seed: int, name: str) -> None:
        self._labelled, self._alter, self._ids = labelled, alter, (seed, name)

    def __getitem__(self, place: Place) -> tuple[Tensor, int]:
        epoch, row = place
        images = self._labelled.images
        picture = Image.fromarray(images.pixels(row))
        with drawing(key64("alteration", *self._ids, epoch, images.path(row))):
            return self._alter(picture), int(self._labelled.targets[row])


class Shown(Dataset[Any]):
    """Images as a network is shown them after its training, by place among `rows`: bytes (3, crop, crop) and the class number."""

    def __init__(self, labelled: Labelled, rows: NDArray[np.int64], view: Preprocessing) -> None:
        self._labelled, self._rows, self._view = labelled, rows, view

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        row = int(self._rows[place])
        return self._view.fit(self._labelled.images.pixels(row)), int(self._labelled.targets[row])


class Batches(Sampler[list[Place]]):
    """The batches of one of several processes from step `first` to the end: each image once an epoch, in a keyed order.

    The last incomplete batch of an epoch is left out, as in timm's script; other images make it up in every epoch.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        batch_size: int,
        epochs: int,
        ids: tuple[int, str],
        first: int,
        part: tuple[int, int],
    ) -> None:
        self._rows, self._size, self._ids, self._first = rows, batch_size, ids, first
        self._rank, self._world = part
        self.steps_per_epoch = len(rows) // batch_size
        self._total = epochs * self.steps_per_epoch
        self._order = lru_cache(maxsize=1)(self._drawn)

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        seed, name = self._ids
        return self._rows[generator(seed, "order of a recipe", name, epoch).permutation(len(self._rows))]

    def __len__(self) -> int:
        return self._total - self._first

    def __iter__(self) -> Iterator[list[Place]]:
        for step in range(self._first, self._total):
            epoch, place = divmod(step, self.steps_per_epoch)
            batch = self._order(epoch)[place * self._size : (place + 1) * self._size]
            yield [(epoch, int(row)) for row in batch[self._rank :: self._world]]
