"""Texts of units and what was found of them: the files of the stages `explanations` and `crowd`, as the report reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import UNIT
from study.files.tables import read_csv, read_json, read_parquet
from study.report.figures.base import RATERS, TEXT_SCORES
from study.report.figures.texts import AUTOMATIC

_AUTOMATIC = [*UNIT, "method", "kind", "text", "rho", "rho_se", "control_rho", "recall", "presence_source", "reason"]
_CROWD = [*UNIT, "method", "text", "pair", "estimator", "rho", "se", "low", "high", "status", "reason", "n_ratings"]

SHOWN_BY = ("guide", "presence")
_SECOND = {"none": "", "simulated": "another simulated guide"}
_SOURCES = {
    "factors": "the known factors of the scenes",
    "labels": "labels of pictures",
    "file": "probabilities from a file",
    "simulated": "a simulated guide",
}


@dataclass(frozen=True)
class TextFiles:
    """The folders data/explanations and data/crowd.

    texts      UNIT, method, kind, text, formula, pair (−1: nobody was asked)
    automatic  scores of the machine, a row a text of a unit
    crowd      scores from ratings, a row a text of a unit and a way to score; of the raters that count
    labels     text, image, n, yes: what raters said of an image; posteriors: pair, image, posterior
    draws      pair, image: what raters were asked about
    raters     RATERS of everybody who rated
    rated_by_program  whether nobody gave the ratings: they are simulated
    """

    folder: Path
    texts: pd.DataFrame
    automatic: pd.DataFrame
    crowd: pd.DataFrame
    labels: pd.DataFrame
    posteriors: pd.DataFrame
    draws: pd.DataFrame
    raters: pd.DataFrame
    concepts: pd.DataFrame
    run: dict[str, Any]
    rated_by_program: bool

    @classmethod
    def read(cls, explanations: Path, crowd: Path) -> TextFiles:
        """Everything but the matrices, which are read row by row."""
        scores = read_parquet(crowd / "scores.parquet", [*_CROWD, "rho_true", "raters"])
        kept = scores[scores["raters"] == ("kept" if (scores["raters"] == "kept").any() else "all")]
        return cls(
            explanations,
            texts=read_parquet(explanations / "texts.parquet", [*UNIT, "method", "kind", "text", "formula", "pair"]),
            automatic=read_parquet(explanations / "scores.parquet", _AUTOMATIC),
            crowd=kept.reset_index(drop=True),
            labels=read_parquet(crowd / "labels.parquet", ["text", "image", "n", "yes"]),
            posteriors=read_parquet(crowd / "posteriors.parquet", ["pair", "image", "posterior"]),
            draws=read_parquet(explanations / "draws.parquet", ["pair", "image"]),
            raters=read_csv(crowd / "raters.csv", RATERS, text=("rater", "flags"))[list(RATERS)],
            concepts=read_parquet(explanations / "concepts.parquet", ["concept", "presence_source", "guide_source"]),
            run=read_json(explanations / "run.json"),
            rated_by_program=read_json(crowd / "run.json")["simulated"],
        )

    def scores(self) -> pd.DataFrame:
        """Every score of every text: TEXT_SCORES."""
        automatic = self.automatic.assign(score=AUTOMATIC, low=np.nan, high=np.nan, rho_true=np.nan, status="")
        kinds = self.texts[[*UNIT, "method", "text", "kind"]].drop_duplicates([*UNIT, "method", "text"])
        crowd = self.crowd.rename(columns={"estimator": "score"}).merge(kinds, "left", on=[*UNIT, "method", "text"])
        both = [part.reindex(columns=list(TEXT_SCORES)) for part in (automatic, crowd) if len(part)]
        return pd.concat(both, ignore_index=True) if both else pd.DataFrame(columns=list(TEXT_SCORES))

    def shown_by(self, named: Mapping[str, Any]) -> dict[str, str]:
        """What says which concepts pictures show, in words: of `presence`, of the `guide` and of the `second` one; empty where
        nothing does.

        named: `explanations` of the parameters, which name machines of open_clip.
        """
        words, other = {**_SOURCES, "open_clip": named["guide"]["model"]}, named["second_guide"]
        found = {name: sorted({str(source or "") for source in self.concepts[f"{name}_source"]}) for name in SHOWN_BY}
        guide, presence = (" and ".join(words.get(each, each) for each in found[name] if each) for name in SHOWN_BY)
        presence = guide if found["presence"] == ["guide"] else presence
        second = str({**_SECOND, "open_clip": other["model"]}[other["source"]])
        return {"guide": guide, "presence": presence, "second": second}

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """Rows of the manifest, in the order of the matrices."""
        return read_parquet(self.folder / "images.parquet", ["image"])["image"].to_numpy(dtype=np.int64)

    def places(self, images: NDArray[np.integer]) -> NDArray[np.int64]:
        """Where these rows of the manifest stand in the matrices."""
        return pd.Index(self.images).get_indexer(pd.Index(images))

    @cached_property
    def _rows(self) -> dict[tuple[str, str, int], int]:
        units = read_parquet(self.folder / "units.parquet", UNIT)
        return {key: row for row, key in enumerate(units.itertuples(index=False, name=None))}

    @cached_property
    def _concept_rows(self) -> dict[str, int]:
        return {str(concept): row for row, concept in enumerate(self.concepts["concept"])}

    def activations(self, unit: tuple[str, str, int]) -> NDArray[np.float64] | None:
        """Values of a unit on all images; None where its column is not kept."""
        from safetensors import safe_open

        row = self._rows.get(unit)
        if row is None:
            return None
        with safe_open(self.folder / "columns.safetensors", "numpy") as file:
            return file.get_slice("values")[row].astype(np.float64)

    def presence(self, concepts: Sequence[str], places: NDArray[np.int64]) -> dict[str, NDArray[np.float64]] | None:
        """Presence of concepts on some images, by the guide where nothing else says it; None where one is not known."""
        from safetensors import safe_open

        rows = [self._concept_rows.get(concept) for concept in concepts]
        with safe_open(self.folder / "presence.safetensors", "numpy") as file:
            known = [name for name in ("presence", "guide") if name in file.keys()]  # noqa: SIM118
            if not known:
                return None
            matrix = file.get_slice(known[0])
            return (
                {
                    concept: matrix[row][places].astype(np.float64)
                    for concept, row in zip(concepts, rows, strict=True)
                    if row is not None
                }
                if None not in rows
                else None
            )
