"""Questions for people: pages of pictures for one text each, which tell neither unit nor method nor what anyone expects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.randomness import U64, combine, key64
from study.explanations.concepts import Presence
from study.explanations.images import Probing
from study.explanations.readers import Said
from study.files.tables import write_csv, write_text
from study.log import logger

log = logger("explanations")

QUESTION_COLUMNS = ["page", "position", "text", "image", "path"]
GOLD_COLUMNS = ["text", "image", "label", "source"]
CERTAIN = ("factors", "labels")  # sources of presence that is no guess


@dataclass(frozen=True)
class Questions:
    """What is asked.

    table  QUESTION_COLUMNS; an image of a text once
    gold   GOLD_COLUMNS: questions whose answer is known
    study  digest of all that was drawn, which ratings name
    """

    table: pd.DataFrame
    gold: pd.DataFrame
    study: str

    def write(self, out: Path) -> None:
        """questions.csv and pages.json, which people may see, and gold.csv, which they may not."""
        write_csv(out / "questions.csv", self.table)
        write_csv(out / "gold.csv", self.gold)
        pages = [
            {"page": int(rows["page"].iloc[0]), "text": rows["text"].iloc[0], "images": rows["path"].tolist()}
            for _, rows in self.table.groupby("page", sort=True)
        ]
        write_text(
            out / "pages.json", json.dumps({"study": self.study, "pages": pages}, ensure_ascii=False, indent=1) + "\n"
        )


def questions_of(
    pairs: pd.DataFrame, draws: pd.DataFrame, gold: pd.DataFrame, paths: Sequence[str], page: int, seed: int
) -> Questions:
    """The drawn images of all pairs and the gold ones, dealt to pages.

    A picture that several units or draws ask of the same text is asked once. Pictures of a text stand in keyed order, gold ones
    among them; its pages are as even as can be, at most `page` pictures each, and those of all texts are shuffled.
    """
    asked = draws[["pair", "image"]].merge(pairs[["pair", "text"]], on="pair", how="left")
    asked = pd.concat([asked[["text", "image"]], gold[["text", "image"]]], ignore_index=True).drop_duplicates()
    study = _digest(pairs, draws, gold)
    parts = []
    for text, rows in asked.groupby("text", sort=True):
        keys = [key64("explanations", "order", seed, str(text), str(paths[image])) for image in rows["image"]]
        ordered = rows["image"].to_numpy()[np.argsort(np.array(keys, dtype=np.uint64), kind="stable")]
        for number, images in enumerate(np.array_split(ordered, -(-len(ordered) // page))):
            parts.append((key64("explanations", "pages", seed, str(text), number), str(text), images))
    parts.sort(key=lambda part: (part[0], part[1]))
    rows = [
        (number, position, text, int(image), paths[image])
        for number, (_, text, images) in enumerate(parts, start=1)
        for position, image in enumerate(images)
    ]
    return Questions(pd.DataFrame(rows, columns=QUESTION_COLUMNS), gold, study)


def _digest(pairs: pd.DataFrame, draws: pd.DataFrame, gold: pd.DataFrame) -> str:
    """16 hex digits that name the draws of all texts: other draws are another study, whose ratings have other weights."""
    digest = hashlib.sha256()
    for row in pairs[["pair", "model", "layer", "unit", "text"]].itertuples(index=False):
        digest.update(repr(tuple(map(str, row))).encode())
    for name, kind in (("pair", "<i4"), ("image", "<i4"), ("q", "<f8")):
        digest.update(draws[name].to_numpy().astype(kind).tobytes())
    for row in gold[["text", "image", "label"]].itertuples(index=False):
        digest.update(repr(tuple(map(str, row))).encode())
    return digest.hexdigest()[:16]


def gold_of_presence(
    pairs: pd.DataFrame, draws: pd.DataFrame, presence: Presence, source: str, images: Probing, n_gold: int, seed: int
) -> pd.DataFrame:
    """Gold questions where presence is known: `n_gold` images that show the text asked and as many that do not (GOLD_COLUMNS).

    Texts take turns in keyed order; the image of a turn is drawn evenly among those of its label that are not asked of the text
    anyway.
    """
    texts = sorted(set(pairs.loc[pairs["reason"] == "", "text"]))
    drawn = draws[["pair", "image"]].merge(pairs[["pair", "text"]], on="pair", how="left")
    taken = {str(text): set(rows["image"]) for text, rows in drawn.groupby("text")}
    turns = sorted(texts, key=lambda text: (key64("explanations", "gold text", seed, text), text))
    rows: list[tuple[str, int, int, str]] = []
    known = {text: presence.row(text) for text in turns[: 2 * n_gold]}
    for label in (1, 0):
        rows += _of_label(label, turns[: 2 * n_gold], known, taken, source, images, n_gold, seed)
    return _gold_table(rows)


def _of_label(
    label: int,
    turns: Sequence[str],
    known: dict[str, NDArray[np.float32]],
    taken: dict[str, set[int]],
    source: str,
    images: Probing,
    n_gold: int,
    seed: int,
) -> list[tuple[str, int, int, str]]:
    rows: list[tuple[str, int, int, str]] = []
    queues = {text: _order(text, label, known[text], taken.get(text, set()), images, seed) for text in turns}
    while len(rows) < n_gold and any(queues.values()):
        for text in turns:
            if queues[text] and len(rows) < n_gold:
                rows.append((text, queues[text].pop(0), label, source))
    if len(rows) < n_gold and turns:
        log.warning("only %d of %d gold questions of label %d could be drawn", len(rows), n_gold, label)
    return rows


def _order(
    text: str, label: int, present: NDArray[np.float32], taken: set[int], images: Probing, seed: int
) -> list[int]:
    """Images of a label that are not asked anyway, in keyed order."""
    free = images.rows[present == label]
    free = free[~np.isin(free, list(taken))]
    keys = combine(U64(key64("explanations", "gold image", seed, text, label)), free.astype(U64))
    return free[np.argsort(keys, kind="stable")].tolist()


def gold_of_labels(pairs: pd.DataFrame, gold: Said, images: Probing, n_gold: int, seed: int) -> pd.DataFrame:
    """Gold questions from labels that people gave: up to `n_gold` of either label, drawn evenly among those of texts asked."""
    texts = set(pairs.loc[pairs["reason"] == "", "text"])
    fits = np.isin(gold.text, [number for number, text in enumerate(gold.texts) if text in texts])
    fits &= images.places(gold.image) >= 0
    rows: list[tuple[str, int, int, str]] = []
    for label in (1, 0):
        places = np.flatnonzero(fits & (gold.value == label)).tolist()
        named = [(gold.texts[gold.text[place]], int(gold.image[place])) for place in places]
        named.sort(key=lambda one: (key64("explanations", "gold label", seed, *one), one))
        if len(named) < n_gold and texts:
            log.warning(
                "only %d of %d gold questions have label %d: no more labels are of texts asked",
                len(named),
                n_gold,
                label,
            )
        rows += [(text, image, label, "labels") for text, image in named[:n_gold]]
    return _gold_table(rows)


def no_gold() -> pd.DataFrame:
    return _gold_table([])


def _gold_table(rows: list[tuple[str, int, int, str]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=GOLD_COLUMNS).astype({"image": np.int64, "label": np.int64})
    return table.sort_values(["text", "image"], kind="stable", ignore_index=True)
