"""Labels that are known for certain, among the questions that people answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.randomness import key64
from study.crowd.asked import Asked
from study.explanations.readers import LABEL, read_said
from study.files.tables import read_parquet

EXACT = ("factors", "labels")  # sources of presence that are no guess
Gold = dict[tuple[str, int], bool]


def known_labels(asked: Asked, folder: Path, images: Path) -> Gold:
    """Labels in the tables of a folder of those images and texts that people were asked about.

    images: the folder with the manifest, by which tables may name images. Raises StudyError as `read_said` does.
    """
    paths = read_parquet(images / "manifest.parquet", ["path"])["path"].tolist()
    said = read_said(folder, LABEL, paths)
    texts = np.array(said.texts, dtype=object)[said.text]
    every = dict(zip(zip(texts, said.image.tolist(), strict=True), said.value.astype(bool).tolist(), strict=True))
    return {question: every[question] for question in _questions(asked.questions) if question in every}


def constructed_labels(asked: Asked, n_each: int, seed: int) -> Gold:
    """Labels of the first `n_each` questions, in keyed order, whose image shows its text by construction, and of as many whose
    image does not; none where presence is a guess."""
    sources = asked.concepts.set_index("concept")["presence_source"]
    questions = asked.questions[asked.questions["text"].map(sources).isin(EXACT)]
    present = asked.presence_at(questions["text"], questions["image"])
    if present is None:
        return {}
    labels = dict(zip(_questions(questions), (present == 1).tolist(), strict=True))
    keyed = sorted(labels, key=lambda question: key64(seed, "gold", *question))
    return {
        question: label
        for label in (True, False)
        for question in [each for each in keyed if labels[each] == label][:n_each]
    }


def _questions(table: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(table["text"].tolist(), table["image"].tolist(), strict=True))
