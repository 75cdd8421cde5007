"""Ratings that people gave, from the files in data/external/explanations/ratings.

CSV or Parquet, a row a rating:

rater    who rated: an id (`casts.id_of`)
text     as it stands in questions.csv
image    path of the picture, or its row in the manifest: either as in questions.csv
rating   1 where the image shows the text, 0 where it does not; also True and False
seconds  that the whole page took, or empty
page     of questions.csv, or empty where pictures were not shown in those pages
study    the digest that stands in pages.json
source   optional: people, simulated, or empty, which means people; the same in all tables (`study.files.sources`)

What no rater can have caused is an error: another column or none of that name, a rating other than 0 and 1, seconds that are no
number. A rating that cannot count is left out, and `rejected` says which and why. What is accepted does not depend on the order
of rows or on how they are dealt to files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files import casts, sources
from study.files.cells import read_cells
from study.files.parquet_cells import is_parquet, parquet_cells
from study.files.tables import rows_shown
from study.files.unread import tell_unread
from study.log import logger

log = logger("crowd")

FIELDS = ("rater", "text", "image", "rating", "seconds", "page", "study")
RATING = ["rater", "text", "image", "rating", "seconds", "page"]
REJECTED = ["file", "row", "rater", "text", "image", "reason", "count"]
KINDS = (".csv", ".tsv", ".txt", ".parquet")
NO_PAGE = -1
_INDEX = re.compile(r"__index_level_\d+__")  # numbers of rows that pandas writes beside a table

NO_RATER, OTHER_STUDY = "no rater", "of another study"
NO_TEXT, NO_IMAGE, NOT_ASKED = "text of no question", "image of no question", "image not drawn for this text"
OTHER_PAGE, NO_RATING, HALF = "image not on this page", "no rating", "page half sent"
TWICE, DIFFERENT = "twice by one rater", "twice by one rater, with different answers"


@dataclass(frozen=True)
class Ratings:
    """accepted: RATING, ordered by text, image and rater; seconds are NaN and page is -1 where not given.

    rejected: REJECTED, a row each rating, but for pages half sent, of which one row counts all.
    source: people, or simulated where nobody gave the ratings.
    """

    accepted: pd.DataFrame
    rejected: pd.DataFrame
    source: str = sources.PEOPLE


def no_ratings() -> Ratings:
    kinds = {"image": np.int64, "rating": np.int64, "seconds": np.float64, "page": np.int64}
    accepted = pd.DataFrame({name: pd.Series(dtype=kinds.get(name, object)) for name in RATING})
    rejected = pd.DataFrame(
        {name: pd.Series(dtype=np.int64 if name in ("row", "count") else object) for name in REJECTED}
    )
    return Ratings(accepted, rejected)


def read_ratings(folder: Path, questions: pd.DataFrame, study: str) -> Ratings:
    """Ratings of all tables in a folder, checked against the questions (page, text, image, path) of the study.

    Raises StudyError, naming file, row and column, for what makes a table uncertain, and where no rating of any is left.
    """
    tables = [(path, _cells_of(path)) for path in _files(folder)]
    if not tables:
        return no_ratings()
    found = {path.name: str(part["source"].iloc[0]) for path, part in tables if len(part)}
    source = sources.one_source(found, f"Leave tables of one kind in {folder}")
    rows = pd.concat([part for _, part in tables], ignore_index=True)
    rows = _with_question(rows, questions)
    reason = _first_reasons(rows, study)
    reason = _half_sent(rows, reason, questions)
    reason = _repeated(rows, reason)
    ratings = Ratings(_accepted(rows[reason == ""]), _rejected(rows, reason), source)
    counted = len(ratings.accepted), ratings.accepted["rater"].nunique()
    if source == sources.SIMULATED:
        log.warning("%d ratings of %d raters count; all are simulated, nobody gave them", *counted)
    else:
        log.info("%d ratings of %d raters count", *counted)
    for words, count in ratings.rejected.groupby("reason")["count"].sum().items():
        log.warning("%d ratings do not count: %s", count, words)
    if len(rows) and ratings.accepted.empty:
        first = ratings.rejected.iloc[0]
        raise StudyError(
            f"{folder / str(first['file'])}: row {first['row']}: {first['reason']}; of {len(rows)} ratings in {folder} none "
            f"counts. This study is {study}, and data/explanations/questions.csv lists its questions. Correct the tables, or "
            "take them out of the folder"
        )
    return ratings


def _files(folder: Path) -> list[Path]:
    """Tables of the folder in the order of their names; whatever else lies there is told."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    tables = [path for path in found if path.is_file() and path.suffix.lower() in KINDS]
    tell_unread(folder, tables, KINDS)
    return tables


def _cells_of(path: Path) -> pd.DataFrame:
    """Ratings of one table, cell by cell, with file and row: rater, text, image (text), rating (-1 where empty), seconds,
    page (text), study, source (the same in all)."""
    if is_parquet(path):
        cells, every = parquet_cells(path, (*FIELDS, sources.SOURCE))
    else:
        cells, _ = read_cells(path, (*FIELDS, sources.SOURCE))
        every = list(cells.columns)
    missing = [name for name in FIELDS if name not in every]
    more = [name for name in every if name not in (*FIELDS, sources.SOURCE) and not _INDEX.fullmatch(name)]
    if missing or more:
        wrong = f"lacks column {', '.join(missing)}" if missing else f"has column {', '.join(map(repr, more))}"
        raise StudyError(
            f"{path} {wrong}; the columns of ratings are {', '.join(FIELDS)} (seconds and page may be empty), and "
            f"{sources.SOURCE} where nobody gave them. Add, rename or remove columns"
        )
    stripped = {name: cells[name].str.strip() for name in FIELDS}
    given = stripped["rating"] != ""
    rating = pd.Series(-1, index=cells.index, dtype=np.int64)
    rating[given] = casts.truth(path, stripped["rating"][given], "rating").astype(np.int64)
    seconds = casts.numbers(path, stripped["seconds"], "seconds")
    source = sources.source_of(path, cells.get(sources.SOURCE), "Make two tables of it, and leave one in the folder")
    casts.refuse(path, stripped["seconds"], (seconds < 0).to_numpy(), "seconds", "a number of at least 0, or empty")
    return pd.DataFrame(
        {
            "file": path.name,
            "row": rows_shown(cells),
            "rater": casts.ids(path, stripped["rater"], "rater").to_numpy(),
            "text": cells["text"].map({text: casts.phrase_of(text) for text in cells["text"].unique()}).to_numpy(),
            "shown": stripped["image"].to_numpy(),
            "rating": rating.to_numpy(),
            "seconds": seconds.to_numpy(),
            "on_page": casts.spelled_alike(stripped["page"]).to_numpy(),
            "study": stripped["study"].to_numpy(),
            "source": source,
        }
    )


def _with_question(rows: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Rows with the question that they answer: text_known, image (-1 unknown), page (NO_PAGE without a question), and place of
    the question (-1: none)."""
    of_path = dict(zip(questions["path"], questions["image"], strict=True))
    named = {str(image): image for image in questions["image"]} | of_path
    spelled = casts.spelled_alike(rows["shown"]).map(named)  # 12.0 of a column with gaps is row 12
    image = rows["shown"].map(named).fillna(spelled).fillna(-1).astype(np.int64)
    asked = pd.MultiIndex.from_frame(questions[["text", "image"]])
    question = asked.get_indexer(pd.MultiIndex.from_arrays([rows["text"], image]))
    page = np.where(question >= 0, questions["page"].to_numpy()[question], NO_PAGE) if len(questions) else NO_PAGE
    return rows.assign(text_known=rows["text"].isin(questions["text"]), image=image, question=question, page=page)


def _first_reasons(rows: pd.DataFrame, study: str) -> pd.Series:
    """The first reason why a rating by itself cannot count; empty if there is none."""
    page = rows["on_page"]
    rules = (
        (rows["study"] != study, OTHER_STUDY),
        (rows["rater"] == "", NO_RATER),
        (~rows["text_known"], NO_TEXT),
        (rows["image"] < 0, NO_IMAGE),
        (rows["question"] < 0, NOT_ASKED),
        ((page != "") & (page != rows["page"].astype(str)), OTHER_PAGE),
        (rows["rating"] < 0, NO_RATING),
    )
    words = np.select([np.asarray(wrong, dtype=bool) for wrong, _ in rules], [reason for _, reason in rules], "")
    return pd.Series(words, index=rows.index, dtype=object)


def _half_sent(rows: pd.DataFrame, reason: pd.Series, questions: pd.DataFrame) -> pd.Series:
    """Ratings of a page of which a rater sent fewer images than it has: an image that was not sent would count as a no."""
    sent = rows[(reason == "") & (rows["on_page"] != "")]
    sizes = questions.groupby("page").size()
    found = sent.groupby(["rater", "page"])["question"].transform("nunique")
    return reason.mask(reason.index.isin(sent.index[found < sent["page"].map(sizes)]), HALF)


def _repeated(rows: pd.DataFrame, reason: pd.Series) -> pd.Series:
    """All but one rating of an image and text by one rater, and that one too where they differ: which is meant is unknown."""
    ratings = rows[reason == ""].assign(page=lambda table: np.where(table["on_page"] == "", NO_PAGE, table["page"]))
    key = ["rater", "question"]
    differ = ratings.groupby(key)["rating"].transform("nunique") > 1
    # which of the equal ones stays is told by what they say, and by file and row only where they say the same
    ordered = ratings.sort_values([*key, "page", "seconds", "file", "row"], kind="stable")
    again = ordered.duplicated(key).reindex(ratings.index)
    words = pd.Series(np.select([differ, again], [DIFFERENT, TWICE], ""), index=ratings.index, dtype=object)
    return words.reindex(reason.index).fillna(reason).where(reason == "", reason)


def _accepted(rows: pd.DataFrame) -> pd.DataFrame:
    table = rows.assign(page=np.where(rows["on_page"] == "", NO_PAGE, rows["page"]))[RATING]
    table = table.sort_values(["text", "image", "rater"], kind="stable").reset_index(drop=True)
    seconds = table.groupby(["rater", "page"])["seconds"]
    several = (table["page"] != NO_PAGE) & (seconds.transform("nunique") > 1)
    if several.any():
        log.warning(
            "%d ratings are of pages with several times; seconds are those of a page, and the longest stands for all of it",
            int(several.sum()),
        )
    return table.assign(seconds=table["seconds"].where(table["page"] == NO_PAGE, seconds.transform("max")))


def _rejected(rows: pd.DataFrame, reason: pd.Series) -> pd.DataFrame:
    """What does not count, ordered by file and row."""
    left = rows.assign(reason=reason, count=1)[reason != ""]
    half = left["reason"] == HALF
    pages = left[half].groupby(["rater", "page"], sort=False)
    counted = (
        left[half]
        .assign(count=pages["count"].transform("sum"), shown="")
        .loc[~left[half].duplicated(["rater", "page"])]
    )
    table = pd.concat([left[~half], counted]).sort_values(["file", "row"], kind="stable")
    return table.assign(image=table["shown"])[REJECTED].reset_index(drop=True)
