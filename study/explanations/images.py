"""The images on which texts are judged, and those of them that no text is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.randomness import U64, combine, key64, uniforms
from study.errors import StudyError

FEWEST = 10  # images on which a correlation is worth computing


@dataclass(frozen=True)
class Probing:
    """Images D on which texts are judged.

    rows     of the manifest, ascending; their places here are the columns of all matrices
    holdout  which of them no text is made from (n,)
    """

    rows: NDArray[np.int32]
    holdout: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"image": self.rows, "holdout": self.holdout})

    def places(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Places of manifest rows among these images; -1 for those that are none of them."""
        if not len(self.rows):
            return np.full(len(rows), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[place] == rows, place, -1).astype(np.int64)


def probing_images(n_images: int, wanted: int, holdout: float, seed: int) -> Probing:
    """`wanted` of a study's images (all with 0) and the share `holdout` of them, both drawn by the keys of their rows.

    More images wanted keep those that fewer had. Raises StudyError where fewer than ten are left on either side.
    """
    rows = np.arange(n_images, dtype=np.int32)
    if wanted > n_images:
        raise StudyError(
            f"explanations.n_images is {wanted}, but the study has {n_images} images; allowed are 0 to that"
        )
    if wanted:
        rows = np.sort(_lowest(rows, "images", seed, wanted))
    n_held = round(holdout * len(rows))
    if n_held < FEWEST:
        raise StudyError(
            f"explanations.holdout is {holdout:g}, so {n_held} of {len(rows)} images judge texts; at least {FEWEST} are needed. "
            "Raise it or explanations.n_images"
        )
    held = _lowest(rows, "holdout", seed, n_held)
    return Probing(rows, np.isin(rows, held))


def _lowest(rows: NDArray[np.int32], purpose: str, seed: int, n: int) -> NDArray[np.int32]:
    """The n rows of the lowest keyed draws."""
    draws = uniforms(combine(U64(key64("explanations", purpose, seed)), rows.astype(U64)))
    return rows[np.argsort(draws, kind="stable")[:n]]
