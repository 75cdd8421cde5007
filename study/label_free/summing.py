"""What is added up of a block of units while images pass, and the scores that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.label_free.value_sums import host
from study.label_free.embedded import Embedded
from study.label_free.ends import Ends

if TYPE_CHECKING:
    from interpretability.label_free.embedding_sums import EmbeddingSums
    from interpretability.label_free.value_sums import ValueSums

BLOCK = 1024  # units whose sums are added together; fixed, so that no result depends on how many fit into the memory
_HELD = 10  # numbers of a unit beside its products, see `interpretability.label_free.monosemanticity.sums_bytes`
UNIT_COLUMNS = ["firing", "peak_energy", "participation"]
SCORE_COLUMNS = [
    *("backend", "rho", "rho_se", "rho_low", "rho_high", "spearman", "spearman_se", "n_range", "heavy_tails"),
    *("ms", "ms_null", "ms_z", "n_ms", "n_active", "index", "index_null"),
]


def bytes_a_unit(widths: Sequence[int], n_range: int) -> int:
    """Memory that a unit takes while images pass, `widths` the numbers of an embedding under each similarity."""
    return 8 * sum(width + _HELD for width in widths) + 4 * n_range + 8 * _HELD


class BlockSums:
    """Sums over the images of a sample of some units.

    units    which of the network's
    probes   (n_range,) places in the sample whose values are kept
    """

    def __init__(self, units: slice, probes: NDArray[np.int64], n_similarities: int) -> None:
        from interpretability.label_free.value_sums import ValueSums

        width = units.stop - units.start
        self.units, self._probes, self.n_images = units, probes, 0
        self.sums: list[ValueSums] = [ValueSums("float32") for _ in range(n_similarities)]
        self.probed = np.empty((width, len(probes)), dtype=np.float32)
        self.least = np.full(width, np.inf, dtype=np.float32)
        self._fired = np.zeros(width, dtype=np.int64)
        self._local, self._mapped = np.zeros((2, width)), np.zeros(width, dtype=np.int64)

    def add(self, places: NDArray[np.int64], values: Any, local: Any | None, embeddings: Sequence[Any]) -> None:
        """Take in values (B, units) of the images at these places of the sample, and their rows under each similarity."""
        for sums, rows in zip(self.sums, embeddings, strict=True):
            sums.update(values, rows)
        here = host(values)
        _, of_probes, of_batch = np.intersect1d(self._probes, places, assume_unique=True, return_indices=True)
        self.probed[:, of_probes] = here[of_batch].T
        self.least = np.minimum(self.least, here.min(axis=0))
        self._fired += (here > 0).sum(axis=0)
        self.n_images += len(places)
        if local is not None:
            measured = host(local).astype(np.float64)
            there = ~np.isnan(measured[0])
            self._mapped += there.sum(axis=0)
            self._local += np.where(there, measured, 0.0).sum(axis=1)

    def facts(self) -> pd.DataFrame:
        """A row a unit: what has nothing to do with a similarity, UNIT_COLUMNS."""
        peak, spread = self._local / np.where(self._mapped, self._mapped, np.nan)
        facts = {"firing": self._fired / self.n_images, "peak_energy": peak, "participation": spread}
        return pd.DataFrame(facts)


def image_sums(embeddings: Sequence[EmbeddingSums], rows: Sequence[NDArray[np.floating]]) -> None:
    """Take in the rows of a batch under each similarity."""
    for sums, part in zip(embeddings, rows, strict=True):
        sums.update(part)


def block_scores(
    block: BlockSums,
    place: int,
    embedded: Embedded,
    of_images: EmbeddingSums,
    ends: Ends,
    probes: NDArray[np.int32],
    confidence: float,
) -> pd.DataFrame:
    """SCORE_COLUMNS of the units of a block under its similarity number `place`; `probes`: images whose values are kept."""
    from interpretability.label_free.index import interpretability_index
    from interpretability.label_free.monosemanticity import scores
    from interpretability.label_free.predictions import predictions
    from interpretability.label_free.range_scores import range_scores

    part = ends.of(block.units)
    images = np.unique(np.concatenate([probes, *(side.ravel() for side in (part.top, part.bottom, part.best))]))
    rows = embedded.rows(images)
    named = [np.searchsorted(images, each) for each in (probes, part.top, part.bottom, part.best)]
    least = np.minimum(part.least, block.least)
    heavy = block.sums[place].moments(least).heavy  # over the whole sample, of which the probes are a part
    found = range_scores(predictions(rows, *named[:3]), block.probed, confidence, heavy)
    of_one = scores(block.sums[place], of_images, least)
    index = interpretability_index(rows, named[3])
    table = pd.DataFrame({"backend": embedded.backend}, index=range(len(index)))
    for name in ("rho", "se", "low", "high", "spearman", "spearman_se"):
        column = name if name in ("rho", "spearman", "spearman_se") else f"rho_{name}"
        table[column] = np.where(part.scored, getattr(found, name), np.nan)
    table = table.assign(n_range=len(probes), heavy_tails=heavy)
    table = table.assign(ms=of_one["ms"], ms_null=of_one["null"], ms_z=of_one["z"], n_ms=of_images.n_images)
    table["n_active"] = of_one["n_active"]
    table["index"] = np.where(part.told, index, np.nan)
    return table.assign(index_null=of_images.mean_cosine)[SCORE_COLUMNS]
