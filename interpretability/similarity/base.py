"""What a similarity is: higher means more alike, the mean aggregates, distances enter with a minus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.margins import aggregated_margins, cosine_margins, cosine_values, nearest_explanation

if TYPE_CHECKING:
    from interpretability.networks.network import Network


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights that a package fetches from its hub.

    names   accepted file names, the hub's own first; all hold the same tensors under the same names
    url     where the first one comes from; a .zip holds it as a member
    sha256  its digest or the beginning of it, where the hub publishes one; other accepted names are not checked
    """

    names: tuple[str, ...]
    url: str
    sha256: str = ""


@dataclass(frozen=True)
class Context:
    """What a similarity may use.

    pixels(row) gives the RGB picture of a manifest row, network(name) a network of the roster, weights(file) the
    content of a file of weights: named tensors, or the content of a JSON file. `digests` are the sha256 of all pictures
    by row; `factors` is the table of generated scenes, None for photographs. `aggregation` (`softmax_temperature`) makes
    one similarity of those to K explanations. `feature_size` is the side in pixels that feature distances see and
    `dreamsim_view` what DreamSim sees. `cache_bytes` bounds kept features and changes no result.
    """

    seed: int
    pixels: Callable[[int], NDArray[np.uint8]]
    digests: Callable[[], list[str]]
    factors: Callable[[], pd.DataFrame | None]
    network: Callable[[str], Network]
    device: str
    encoder_model: str
    encoder_layer: str
    weights: Callable[[WeightsFile], Mapping[str, Any]]
    aggregation: str = "mean"
    softmax_temperature: float = 1.0
    feature_size: int = 224
    dreamsim_view: str = "crop"
    cache_bytes: int = 2**30


class Similarity(ABC):
    """One similarity.

    An embedding similarity sets `embeds` and gives `embed`: each image then is embedded once for the whole study and
    margins come from cosines. Any other overrides `margins` (and `nearest`, if it can say); one that sets `pairs` and
    gives `pair_stripe` can have the similarities of all pairs of images computed once for the whole study, where that is
    the shorter way. `runs_network` says whether a picture costs a forward pass; `forwards` counts those of this process.
    """

    name: str
    embeds: bool = True
    pairs: bool = False
    runs_network: bool = False
    forwards: int = 0
    batch_size: int = 100
    published_slope: float | None = None
    _context: Context

    def check(self) -> None:  # noqa: B027 - most have nothing to compare with
        """Compare with the package that it stands for. Raises StudyError if the two no longer agree."""

    @abstractmethod
    def ingredients(self) -> Mapping[str, Any]:
        """Everything but the images and the tasks that determines its numbers, for the work store."""

    def embed(self, rows: NDArray[np.int32]) -> NDArray[np.floating]:
        """Embeddings (images, D) of manifest rows; their lengths do not matter."""
        raise NotImplementedError

    def pair_stripe(
        self, images: NDArray[np.int32], first: int, last: int, step: Callable[[int], None]
    ) -> NDArray[np.float32]:
        """Similarities (last - first, images - first) of images[first:last] with images[first:].

        `step` is called with the number of pairs that were added.
        """
        raise NotImplementedError

    def margins(
        self, tasks: NDArray[np.int32], n_explanations: int, prepared: NDArray[np.floating] | None
    ) -> NDArray[np.float32]:
        """Margins (units, N), higher is easier.

        `prepared` is what was computed once for the study: unit rows (images, D) if the similarity embeds; similarities
        (images, images) or nothing if it compares pairs.
        """
        assert prepared is not None
        if self._context.aggregation == "mean":
            return cosine_margins(prepared, tasks, n_explanations)
        return self._aggregated(cosine_values(prepared, tasks, n_explanations))

    def _aggregated(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Margins (units, N) from all similarities (units, N, 2, 2K) by the study's aggregation."""
        return aggregated_margins(values, self._context.aggregation, self._context.softmax_temperature)

    def nearest(
        self, tasks: NDArray[np.int32], n_explanations: int, prepared: NDArray[np.floating] | None
    ) -> NDArray[np.float32] | None:
        """Largest cosine (units, N) of a task's queries with its explanations; None where there are no cosines."""
        assert prepared is not None
        return nearest_explanation(prepared, tasks, n_explanations)


def factor_table(context: Context, backend: str) -> pd.DataFrame:
    """Factors of the generated scenes; a StudyError says that photographs have none."""
    factors = context.factors()
    if factors is None:
        raise InputError(
            f"backend {backend} needs the factors of generated scenes; photographs have none. "
            "Take it out of scores.backends"
        )
    return factors
