"""How far a run of rating pages is: pages against raters wanted, what was ticked, and how well raters agree."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiment.progress_of_pages import pages_so_far
from interpretability.explanations import rater_agreement, raters
from study.errors import StudyError

if TYPE_CHECKING:
    from experiment.recorded import Recorded
    from experiment.study_folder import Folder

RATINGS = ["rater", "text", "image", "rating", "page", "seconds"]


def ratings(recorded: Recorded, now: float) -> dict[str, Any]:
    """Pages so far, agreement, and one row a rater, who goes by the number of arrival of his or her first session."""
    table = rating_table(recorded)
    pages = recorded.pages
    return {
        **pages_so_far(recorded),
        "yes_share": float(table["rating"].mean()) if len(table) else None,
        "none_share": float(pages["nothing"].mean()) if len(pages) else None,
        "agreement": _agreement(table),
        "raters": _raters(recorded, table),
    }


def rating_table(recorded: Recorded) -> pd.DataFrame:
    """One row a rating: RATINGS, with the picture's file as the image's number. Every picture of a page that was sent counts."""
    number = {file: at for at, file in enumerate(recorded.folder.pictures)}
    rater = _rater_of(recorded.sessions)
    rows = []
    for row in recorded.pages.to_dict("records"):
        page, picked = recorded.folder.pages[row["page"]], set(json.loads(row["picked"]))
        rows += [
            (rater[row["session"]], page.text, number[file], int(at in picked), str(page.page), row["seconds"])
            for at, file in enumerate(page.pictures)
        ]
    return pd.DataFrame(rows, columns=RATINGS)


def _rater_of(sessions: pd.DataFrame) -> dict[str, str]:
    """A name for whoever gave each session: one of the person's own where several sessions are known to be of one person."""
    ordered = sessions.sort_values("number", kind="stable")
    person = ordered["person"].where(ordered["person"].notna(), ordered["session"])
    first = ordered.groupby(person, sort=False)["number"].transform("first")
    return {str(name): f"rater {number}" for name, number in zip(ordered["session"], first, strict=True)}


def _agreement(table: pd.DataFrame) -> dict[str, Any]:
    if table.empty:
        return {"kappa": None, "alpha": None, "pictures": 0, "ratings": 0}
    found = raters.agreement(table)
    return {
        "kappa": found.kappa,
        "alpha": rater_agreement.alpha(table),
        "pictures": found.n_images,
        "ratings": found.n_ratings,
    }


def _raters(recorded: Recorded, table: pd.DataFrame) -> list[dict[str, Any]]:
    if table.empty:
        return []
    gold = _gold(recorded.folder, {file: at for at, file in enumerate(recorded.folder.pictures)})
    label = np.array([gold.get(pair, np.nan) for pair in zip(table["text"], table["image"], strict=True)])
    known = table.assign(label=label, wrong=table["rating"].to_numpy() != label)
    rows = []
    for rater, own in known.groupby("rater", sort=False):
        asked = own[own["label"].notna()]
        pages = own.groupby("page")["seconds"].first()
        rows.append(
            {
                "rater": rater,
                "pages": len(pages),
                "yes_share": float(own["rating"].mean()),
                "seconds_page": float(pages.median()),
                "gold": len(asked),
                "gold_wrong": int(asked["wrong"].sum()),
            }
        )
    return sorted(rows, key=lambda row: int(row["rater"].split()[-1]))


def _gold(folder: Folder, number: dict[str, int]) -> dict[tuple[str, int], int]:
    """Known labels by text and image's number, from gold.csv, whose images are named by the paths of images.csv."""
    file = folder.path / "gold.csv"
    if not file.is_file():
        return {}
    with open(folder.path / "images.csv", encoding="utf-8", newline="") as lines:
        named = {row["path"]: row["file"] for row in csv.DictReader(lines)}
    labels: dict[tuple[str, int], int] = {}
    with open(file, encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["image"] in named:
                if row["label"] not in ("0", "1"):
                    raise StudyError(
                        f"{file}: label of {row['text']!r}, {row['image']!r} is {row['label']!r}; allowed are 0 and 1"
                    )
                labels[row["text"], number[named[row["image"]]]] = int(row["label"])
    return labels
