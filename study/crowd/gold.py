"""Questions whose answer is known for certain."""

from __future__ import annotations

from pathlib import Path

from study.files.tables import read_csv

Gold = dict[tuple[str, int], bool]  # whether an image shows a text, by text and image


def read_gold(explanations: Path) -> Gold:
    """Known answers among the questions of the stage `explanations`."""
    table = read_csv(explanations / "gold.csv", ("text", "image", "label"), text=("text", "source"))
    rows = zip(table["text"], table["image"], table["label"], strict=True)
    return {(text, int(image)): bool(label) for text, image, label in rows}
