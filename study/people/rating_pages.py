"""The folder of rating pages of a study: a text and pictures each, of which people pick those that show it (crowd paper)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interpretability.files import sha256_file
from study.errors import StudyError
from study.files.tables import read_csv, read_json, write_csv
from study.images.manifest import open_images
from study.log import logger
from study.params.whole import load_params
from study.people import questions
from study.people.page_options import PageOptions, add_page_arguments, given
from study.people.pictures import write_pictures

log = logger("rating pages")

_QUESTIONS = ["page", "position", "text", "image", "path"]
_GOLD = ["text", "image", "label", "source"]


@dataclass(frozen=True, kw_only=True)
class RatingOptions(PageOptions):
    """How many ratings are wanted, beside where the study lies and how its pages are written.

    raters   ratings of a picture; None: crowd.n_raters
    """

    raters: int | None = None

    def problems(self) -> Iterator[str]:
        """Every value that no study allows."""
        if self.raters is not None and self.raters < 1:
            yield f"--raters is {self.raters}; it must be at least 1"
        yield from super().problems()


def export_ratings(options: RatingOptions) -> None:
    """Write the folder of rating pages that `options` describe; docs/psychophysics.md has its files.

    Same study, same options: same bytes. Raises StudyError where the study asks about no text, or an option is not allowed.
    """
    if problem := options.problem():
        raise StudyError(problem)
    questions.vacant(options.out)
    params = load_params(options.params)
    stage = options.data / "explanations"
    note = read_json(stage / "run.json")
    asked = read_csv(stage / "questions.csv", _QUESTIONS, text=["text", "path"])
    gold = read_csv(stage / "gold.csv", _GOLD, text=["text", "source"])
    if asked.empty:
        raise StudyError(
            f"{stage / 'questions.csv'} has no rows: the study asks about no text. Name explanations.units in params.yaml, or "
            "put texts into data/external/explanations, and run `dvc repro explanations`"
        )
    encoding = options.encoding(params.seed)
    pages = [
        {"page": int(rows["page"].iloc[0]), "text": str(rows["text"].iloc[0])}
        | {"pictures": [encoding.file(image) for image in rows["image"].tolist()]}
        for _, rows in asked.sort_values(["page", "position"], kind="stable").groupby("page", sort=True)
    ]
    with questions.new_folder(options.out) as folder:
        questions.write_rows(folder / "pages.json", "pages", pages, study=note["study"])
        write_csv(folder / "gold.csv", gold[_GOLD])
        images = open_images(options.data / "images", params.images.root)
        write_pictures(folder, images, asked["image"].tolist(), encoding, paths=True)
        questions.write_manifest(folder, _manifest(options, note, params.crowd.price, params.crowd.page, stage, asked))
    log.info("%s: %d pages of %d texts", options.out, len(pages), asked["text"].nunique())


def _manifest(
    options: RatingOptions, note: dict[str, Any], price: float, page: int, stage: Path, asked: pd.DataFrame
) -> dict[str, Any]:
    """study.json without the digests of the folder's files."""
    return {
        "kind": questions.RATINGS,
        "study": note["study"],
        "raters": note["n_raters"] if options.raters is None else options.raters,
        "page": page,
        "n_pages": int(asked["page"].nunique()),
        "n_texts": int(asked["text"].nunique()),
        "simulated": note["simulated"],
        "price": price,
        "pictures": options.pictures(),
        "inputs": {
            f"explanations/{name}": sha256_file(stage / name) for name in ("questions.csv", "gold.csv", "run.json")
        },
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options but --out, with their defaults."""
    parser.add_argument("--raters", type=int, help="ratings of a picture that are wanted (crowd.n_raters)")
    add_page_arguments(parser)


def options_of(args: argparse.Namespace, **changes: Any) -> RatingOptions:
    """Options from a parsed command line that `add_arguments` described; `changes` go first (`out`, where it has none)."""
    return given(RatingOptions, args, **changes)
