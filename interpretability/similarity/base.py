"""What a similarity is: higher means more alike, the mean aggregates, distances enter with a minus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.images import Images
from interpretability.margins import (
    AGGREGATIONS,
    aggregated_margins,
    cosine_margins,
    cosine_values,
    nearest_explanation,
    unit_rows,
)
from interpretability.weights import WeightsFile


class Similarity(ABC):
    """How alike images are, and how it solves tasks of them; higher is more alike.

    Public attributes: `name`; `published_slope`, the slope of the paper for this similarity or None; `forwards`, the images
    that ran through its network so far. `embed` and `margins` are what one calls.

    An embedding similarity sets `embeds` and gives `embed`: each image then is embedded once and margins come from cosines.
    Any other overrides `margins` and `similarities` (and `nearest`, if it can say); one that sets `pairs` and gives
    `pair_stripe` can have the similarities of all pairs of images computed once, where that is the shorter way. `runs_network`
    says whether an image costs a forward pass, `needs_factors` whether it compares the factors that scenes were drawn from:
    images made for a unit have none, and cannot be compared. One that sets `prepares` gives `prepare`, which threads may call
    ahead of `embed_parts`.

    aggregation          makes one similarity of those to K explanations: mean, max, median or softmax
    softmax_temperature  of softmax, in units of the similarity
    uncut                says of an image, by its row, whether it is what a crop leaves of a picture: such an image is compared
                         whole, however a similarity crops others; no image if left out
    Further options are those of a family: the keyword arguments of its class.
    """

    embeds: ClassVar[bool] = True
    pairs: ClassVar[bool] = False
    runs_network: ClassVar[bool] = False
    needs_factors: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    batch_size: int = 100
    published_slope: ClassVar[float | None] = None

    def __init__(
        self,
        name: str,
        images: Images,
        *,
        aggregation: str = "mean",
        softmax_temperature: float = 1.0,
        uncut: Callable[[int], bool] | None = None,
    ) -> None:
        self.name, self.images, self.forwards, self._uncut = name, images, 0, uncut
        self.aggregation = arguments.choice(aggregation, "aggregation", AGGREGATIONS)
        self.softmax_temperature = arguments.number(softmax_temperature, "softmax_temperature", above=0)

    @classmethod
    def weights_files(cls, name: str) -> tuple[WeightsFile, ...]:
        """The files of weights that the similarity of this name reads from its folder; none for most."""
        return ()

    def is_uncut(self, row: int) -> bool:
        """Whether an image is compared whole, since it has no border to cut."""
        return self._uncut is not None and self._uncut(row)

    def check(self) -> None:  # noqa: B027 - most have nothing to compare with
        """Compare with the package that it stands for. Raises InputError if the two no longer agree."""

    @abstractmethod
    def ingredients(self) -> Mapping[str, object]:
        """Everything but the images and the tasks that determines its numbers."""

    def embed(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """Embeddings (n, E) of images by their rows; lengths of rows do not matter. Best asked for `batch_size` at a time."""
        raise NotImplementedError

    @classmethod
    def batch_on(cls, kind: str) -> int:
        """`batch_size` on a device of a kind: "cpu", or any other for a GPU."""
        return cls.batch_size

    def prepare(self, row: int, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bytes that the network is shown of an image of these pixels, all images of one shape; safe in several threads."""
        raise NotImplementedError

    def embed_parts(
        self, rows: NDArray[np.integer], prepared: Callable[[int], NDArray[np.uint8]] | None = None
    ) -> Iterator[NDArray[np.floating]]:
        """Embeddings of images in their order, `batch_size` at a time.

        `prepared` gives what `prepare` makes of an image, by its row, where threads have done so ahead; for one that prepares.
        """
        for start in range(0, len(rows), self.batch_size):
            yield self.embed(rows[start : start + self.batch_size])

    def pair_stripe(
        self, images: NDArray[np.int32], first: int, last: int, step: Callable[[int], None]
    ) -> NDArray[np.float32]:
        """Similarities (last - first, images - first) of images[first:last] with images[first:].

        `step` is called with the number of pairs that were added.
        """
        raise NotImplementedError

    def margins(
        self, tasks: NDArray[np.integer], n_explanations: int, prepared: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        """Margins (U, N) float32 of tasks (U, N, 2(K + 1)) of its images, higher is easier.

        `prepared` is what was computed once for all images: unit rows (images, E) if the similarity embeds; similarities
        (images, images) if it compares pairs. Without it the images of the tasks are embedded here.
        """
        if prepared is None:
            prepared, tasks = self._embedded(tasks, n_explanations)
        if self.aggregation == "mean":
            return cosine_margins(prepared, tasks, n_explanations)
        return self._aggregated(cosine_values(prepared, tasks, n_explanations))

    def similarities(
        self, tasks: NDArray[np.integer], n_explanations: int, prepared: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32]:
        """Similarities (U, N, 2, 2K) of both queries of tasks (positive first) with all explanations (positive ones first).

        `prepared` as for `margins`.
        """
        if prepared is None:
            prepared, tasks = self._embedded(tasks, n_explanations)
        return cosine_values(prepared, tasks, n_explanations)

    def _checked(self, tasks: NDArray[np.integer], n_explanations: int) -> NDArray[np.int32]:
        """Tasks of so many explanations a side and of images that there are."""
        arguments.count(n_explanations, "n_explanations")
        last = 2 * (n_explanations + 1)
        checked = arguments.array(tasks, "tasks", ("units", "tasks", "2 (n_explanations + 1)"))
        if checked.shape[2] != last or checked.dtype.kind not in "iu":
            raise arguments.wrong(
                "tasks",
                "has shape {shape} and values of type {kind}; it must hold numbers of images, {last} at the end",
                shape=checked.shape,
                kind=checked.dtype,
                last=last,
            )
        if checked.min() < 0 or checked.max() >= len(self.images):
            raise arguments.wrong(
                "tasks",
                "names images {low} to {high}, but there are {count} images",
                low=checked.min(),
                high=checked.max(),
                count=len(self.images),
            )
        return checked.astype(np.int32)

    def _embedded(
        self, tasks: NDArray[np.integer], n_explanations: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Unit rows of the images that tasks show, and the tasks in numbers of these rows."""
        shown, rows = np.unique(self._checked(tasks, n_explanations), return_inverse=True)
        size = self.batch_size
        parts = [unit_rows(self.embed(shown[start : start + size])) for start in range(0, len(shown), size)]
        return np.concatenate(parts), rows.reshape(tasks.shape).astype(np.int32)

    def _aggregated(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Margins (units, N) from all similarities (units, N, 2, 2K) by the aggregation asked for."""
        return aggregated_margins(values, self.aggregation, self.softmax_temperature)

    def nearest(
        self, tasks: NDArray[np.integer], n_explanations: int, prepared: NDArray[np.floating] | None = None
    ) -> NDArray[np.float32] | None:
        """Largest cosine (U, N) of a task's queries with its explanations; None where there are no cosines."""
        if prepared is None:
            prepared, tasks = self._embedded(tasks, n_explanations)
        return nearest_explanation(prepared, tasks, n_explanations)
