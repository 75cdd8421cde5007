"""Tables of ratings of other services: valid ones in every form, with cells of all kinds, damaged, and any bytes."""

import io

import pandas as pd
import pytest
from hypothesis import strategies as st

from study.crowd.ratings import FIELDS, RATING, read_ratings
from tests.fuzz.test_tables import CELLS, DAMAGE, ENCODINGS, damaged
from tests.helpers.fuzzing import attempt, fuzzed

QUESTIONS = pd.DataFrame(
    {
        "page": [1, 1, 2, 2, 3],
        "position": [0, 1, 0, 1, 0],
        "text": ["a star", "a star", "six, or more", "six, or more", 'a "ring"'],
        "image": [7, 12, 7, 9, 30],
        "path": ["a/7.png", "a/12.png", "a/7.png", "a/9.png", "b c/30.png"],
    }
)
STUDY = "0123456789abcdef"
MARKS = st.sampled_from(["", "people", "simulated", " simulated"]) | CELLS  # whose ratings they are
RATED = pd.concat([QUESTIONS.assign(rater=rater, rating="1", seconds="12.5", study=STUDY) for rater in ("r1", "007")])
RATED = RATED.rename(columns={"path": "image", "image": "row"})[list(FIELDS)].astype(str).reset_index(drop=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ratings")


@st.composite
def tables(draw):
    table = RATED.copy()
    place = st.tuples(st.integers(0, len(RATED) - 1), st.sampled_from(FIELDS), CELLS)
    for row, name, cell in draw(st.just([]) | st.lists(place, max_size=4)):
        table.loc[row, name] = cell
    marks = draw(st.none() | st.lists(MARKS, min_size=len(table), max_size=len(table)) | MARKS)
    if marks is not None:
        table["source"] = marks
    table = table.iloc[draw(st.permutations(range(len(table))) | st.lists(st.integers(0, len(table) - 1), max_size=20))]
    return table.iloc[:, draw(st.permutations(range(table.shape[1])))]


def checked(path, reader):
    found = attempt(reader, lambda: read_ratings(path.parent, QUESTIONS, STUDY))
    if found is None:
        return
    assert list(found.accepted.columns) == RATING
    assert found.accepted["rating"].isin([0, 1]).all()
    assert not found.accepted.duplicated(["rater", "text", "image"]).any()
    asked = set(QUESTIONS[["text", "image"]].itertuples(index=False, name=None))
    assert set(found.accepted[["text", "image"]].itertuples(index=False, name=None)) <= asked
    assert (found.rejected["reason"] != "").all()
    assert found.source in ("people", "simulated")


@fuzzed(tables(), st.sampled_from(",,,;\t"), ENCODINGS, DAMAGE)
def test_ratings_as_csv(folder, table, sign, encoding, patches):
    path = folder / "csv" / "ratings.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(damaged(table.to_csv(index=False, sep=sign).encode(encoding, "replace"), patches))
    checked(path, "table of ratings, CSV")


@fuzzed(tables(), DAMAGE)
def test_ratings_as_parquet(folder, table, patches):
    path = folder / "parquet" / "ratings.parquet"
    path.parent.mkdir(exist_ok=True)
    file = io.BytesIO()
    try:
        table.astype(str).to_parquet(file)
    except UnicodeEncodeError:  # text that no file can hold
        return
    path.write_bytes(damaged(file.getvalue(), patches))
    checked(path, "table of ratings, Parquet")


@fuzzed(tables())
def test_every_rating_is_accepted_or_has_a_row(folder, table):
    path = folder / "whole" / "ratings.csv"
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    found = attempt("table of ratings, whole", lambda: read_ratings(path.parent, QUESTIONS, STUDY))
    filled = table[(table.apply(lambda column: column.str.strip()) != "").any(axis=1)]
    if found is not None and not table.apply(lambda column: column.str.contains("[\r\n\0]")).any(axis=None):
        assert len(found.accepted) + found.rejected["count"].sum() == len(filled)
