"""What the stage `explanations` left for people: which text goes with which unit, and which images were asked about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

from interpretability.schema import UNIT
from study.errors import StudyError
from study.files.tables import read_csv, read_json, read_parquet

PAIR = ["pair", *UNIT, "text"]
FIRST, SECOND = "guide", "second_guide"
QUESTION = ["page", "position", "text", "image", "path"]


@dataclass(frozen=True)
class Asked:
    """The folder data/explanations.

    n images have a place, 0 to n - 1, in the order of images.parquet: the order of every matrix.

    images     image (row of the manifest), holdout; a row a place
    pairs      pair, model, layer, unit, text, rho_true, rho_guide_only, reason: each text of a unit that is asked about
    draws      pair, draw, image, q, weight: the images drawn for a pair, in order
    questions  page, position, text, image, path
    texts      texts of all units with their method; pair is -1 where nobody is asked
    concepts   concept, presence_source, guide_source, guide_status
    study      digest of the draws, which ratings must name
    simulated  whether texts, presence or guide are made up
    machine    matrix of what the guide says: FIRST, or SECOND of another guide to the same questions
    """

    folder: Path
    images: pd.DataFrame
    units: pd.DataFrame
    pairs: pd.DataFrame
    draws: pd.DataFrame
    questions: pd.DataFrame
    texts: pd.DataFrame
    concepts: pd.DataFrame
    run: dict[str, Any]
    machine: str = FIRST
    loaded: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Asked:
        """Raises StudyError where a file is missing, damaged, or names what another one does not hold."""

        def table(name: str, *columns: str) -> pd.DataFrame:
            return read_parquet(folder / f"{name}.parquet", columns)

        questions = read_csv(folder / "questions.csv", QUESTION, text=("text", "path"))[QUESTION]
        return cls(
            folder=folder,
            images=table("images", "image", "holdout"),
            units=table("units", *UNIT),
            pairs=table("pairs", *PAIR, "rho_true", "rho_guide_only", "reason"),
            draws=table("draws", "pair", "draw", "image", "q", "weight"),
            texts=table("texts", *UNIT, "method", "kind", "text", "pair"),
            concepts=table("concepts", "concept", "presence_source", "guide_source", "guide_status"),
            questions=questions.astype(dict.fromkeys(["page", "position", "image"], np.int64)),
            run=read_json(folder / "run.json"),
        )._checked()

    def _checked(self) -> Asked:
        if (self.pairs["pair"] != np.arange(len(self.pairs))).any():
            raise StudyError(
                f"{self.folder / 'pairs.parquet'}: pairs are not 0, 1, 2 ...; run `dvc repro explanations`"
            )
        if self.questions.duplicated(["text", "image"]).any():
            raise StudyError(
                f"{self.folder / 'questions.csv'}: asks twice about an image of a text; run `dvc repro explanations`"
            )
        for name, column in (("draws", self.draws["image"]), ("questions", self.questions["image"])):
            if (self.places_of(column) < 0).any():
                raise StudyError(
                    f"{self.folder / name}: names images that images.parquet there lacks; run `dvc repro explanations`"
                )
        return self

    def without_pairs(self) -> Asked:
        """The same texts with nobody asked about any."""
        return replace(self, pairs=self.pairs[:0], draws=self.draws[:0], questions=self.questions[:0])

    def by_second_guide(self) -> Asked | None:
        """The same questions with another guide, which chose none of them; None where the study has one guide."""
        return replace(self, machine=SECOND) if SECOND in self._matrices("presence.safetensors") else None

    @property
    def study(self) -> str:
        return self.run["study"]

    @property
    def simulated(self) -> bool:
        return bool(self.run["simulated"])

    @cached_property
    def places(self) -> pd.Index:
        """Place of every image."""
        return pd.Index(self.images["image"])

    def places_of(self, images: pd.Series) -> NDArray[np.intp]:
        """Place of each image, -1 of one that is none."""
        return self.places.get_indexer(pd.Index(images))

    @cached_property
    def activations(self) -> NDArray[np.float64]:
        """Activations of the unit of every pair: (pairs, n)."""
        found = pd.MultiIndex.from_frame(self.units[UNIT]).get_indexer(pd.MultiIndex.from_frame(self.pairs[UNIT]))
        if (found < 0).any():
            raise StudyError(
                f"{self.folder / 'units.parquet'} lacks a unit of pairs.parquet; run `dvc repro explanations`"
            )
        return self._matrices("columns.safetensors")["values"][found].astype(np.float64)

    @cached_property
    def guide(self) -> NDArray[np.float64] | None:
        """Probability, by a machine, that an image shows the text of a pair: (pairs, n); None without a machine."""
        return self._of_pairs(self.machine)

    def guide_at(self, texts: pd.Series, images: pd.Series) -> NDArray[np.float64] | None:
        """Probability, by a machine, that each image shows the text beside it; None without a machine."""
        return self._at(self.machine, texts, images)

    def presence_at(self, texts: pd.Series, images: pd.Series) -> NDArray[np.float64] | None:
        """Whether each image shows the text beside it, or how surely; None where nothing says so."""
        return self._at("presence", texts, images)

    def _at(self, key: str, texts: pd.Series, images: pd.Series) -> NDArray[np.float64] | None:
        matrix = self._matrices("presence.safetensors").get(key)
        if matrix is None:
            return None
        rows, places = self._concepts(texts), self.places_of(images)
        return matrix[rows, places].astype(np.float64)

    def _of_pairs(self, key: str) -> NDArray[np.float64] | None:
        matrix = self._matrices("presence.safetensors").get(key)
        return None if matrix is None else matrix[self._concepts(self.pairs["text"])].astype(np.float64)

    def _concepts(self, texts: pd.Series) -> NDArray[np.intp]:
        """Row of each text among the concepts."""
        found = pd.Index(self.concepts["concept"]).get_indexer(pd.Index(texts))
        if (found < 0).any():
            raise StudyError(
                f"{self.folder / 'concepts.parquet'} lacks the text {texts.iloc[int(np.argmin(found))]!r}; run "
                "`dvc repro explanations`"
            )
        return found

    def _matrices(self, file: str) -> dict[str, NDArray[np.float32]]:
        if file not in self.loaded:
            path = self.folder / file
            self.loaded[file] = load_file(path) if path.is_file() else {}
        return self.loaded[file]
