"""What a similarity is: higher means more alike, the mean aggregates, distances enter with a minus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stages.errors import StudyError
from stages.science.scoring import cosine_margins, nearest_explanation

if TYPE_CHECKING:  # similarities without a network start seconds faster when torch is not imported
    from stages.science.preprocessing import Network


@dataclass(frozen=True)
class Context:
    """What a similarity may use.

    pixels(row) gives the RGB picture of a manifest row, network(name) a network of the roster. `digests` are the
    sha256 of all pictures by row; `factors` is the table of generated scenes, None for photographs.
    """

    seed: int
    pixels: Callable[[int], NDArray[np.uint8]]
    digests: Callable[[], list[str]]
    factors: Callable[[], pd.DataFrame | None]
    network: Callable[[str], Network]
    device: str
    encoder_model: str
    encoder_layer: str


class Similarity(ABC):
    """One similarity.

    An embedding similarity sets `embeds` and gives `embed`: each image then is embedded once for the whole study and
    margins come from cosines. Any other overrides `margins` (and `nearest`, if it can say).
    """

    name: str
    embeds: bool = True
    batch_size: int = 100
    published_slope: float | None = None

    @abstractmethod
    def ingredients(self) -> Mapping[str, Any]:
        """Everything but the images and the tasks that determines its numbers, for the work store."""

    def embed(self, rows: NDArray[np.int32]) -> NDArray[np.floating]:
        """Embeddings (images, D) of manifest rows; their lengths do not matter."""
        raise NotImplementedError

    def margins(
        self, tasks: NDArray[np.int32], n_explanations: int, embeddings: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Margins (units, N), higher is easier; `embeddings` are unit rows (images, D) if the similarity embeds."""
        assert embeddings is not None
        return cosine_margins(embeddings, tasks, n_explanations)

    def nearest(
        self, tasks: NDArray[np.int32], n_explanations: int, embeddings: NDArray[np.float32] | None
    ) -> NDArray[np.float32] | None:
        """Largest cosine (units, N) of a task's queries with its explanations; None where there are no cosines."""
        assert embeddings is not None
        return nearest_explanation(embeddings, tasks, n_explanations)


def factor_table(context: Context, backend: str) -> pd.DataFrame:
    """Factors of the generated scenes; a StudyError says that photographs have none."""
    factors = context.factors()
    if factors is None:
        raise StudyError(
            f"backend {backend} needs the factors of generated scenes; photographs have none. "
            "Take it out of scores.backends"
        )
    return factors
