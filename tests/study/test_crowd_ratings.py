"""Ratings from files: what is refused, what is left out with a word, and that the order of rows and files changes nothing."""

import logging

import numpy as np
import pandas as pd
import pytest

from interpretability.randomness import generator
from study.crowd import ratings
from study.crowd.asked import Asked
from study.crowd.ratings import read_ratings
from study.errors import StudyError
from tests.helpers import explained


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return explained.write(tmp_path_factory.mktemp("explained"), n_units=2, n_images=300, n_asked=40)


@pytest.fixture(scope="module")
def asked(study):
    return Asked.read(study)


@pytest.fixture(scope="module")
def rows(study):
    return explained.ratings_of(study, raters=4, each=2)


@pytest.fixture
def read(asked, tmp_path):
    """What is read of tables, by the names of their files."""

    def of(**tables):
        folder = tmp_path / "ratings"
        folder.mkdir(exist_ok=True)
        for name, table in tables.items():
            if name.endswith("_parquet"):
                table.to_parquet(folder / f"{name.removesuffix('_parquet')}.parquet")
            else:
                table.to_csv(folder / f"{name}.csv", index=False)
        return read_ratings(folder, asked.questions, asked.study)

    return of


def changed(rows, at, **cells):
    """Rows with other cells in the row of this place."""
    table = rows.astype(object)
    for name, value in cells.items():
        table.iloc[at, table.columns.get_loc(name)] = value
    return table


def pageless(rows):
    return rows.assign(page="")


def test_every_rating_of_a_clean_table_counts(read, rows, asked):
    found = read(a=rows)
    assert found.rejected.empty
    assert list(found.rejected.columns) == ratings.REJECTED
    wanted = rows.merge(asked.questions[["path", "image"]].drop_duplicates(), left_on="image", right_on="path")
    wanted = wanted.rename(columns={"image_y": "image"})[ratings.RATING].sort_values(["text", "image", "rater"])
    pd.testing.assert_frame_equal(found.accepted, wanted.reset_index(drop=True), check_dtype=False)


def test_an_image_may_be_named_by_its_row_and_a_table_may_be_parquet(read, rows, asked):
    numbers = rows["image"].map(asked.questions.drop_duplicates("path").set_index("path")["image"])
    by_row = rows.assign(image=numbers.astype(float), rating=rows["rating"].astype(bool), seconds=np.nan)
    plain, other = read(a=rows).accepted, read(a_parquet=by_row)
    assert other.rejected["reason"].unique().tolist() == [
        ratings.TWICE
    ]  # the CSV lies there still, in which all is said
    assert other.rejected["count"].sum() == len(rows)
    pd.testing.assert_frame_equal(other.accepted.drop(columns="seconds"), plain.drop(columns="seconds"))


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"study": "fedcba9876543210"}, ratings.OTHER_STUDY),
        ({"study": ""}, ratings.OTHER_STUDY),
        ({"rater": " "}, ratings.NO_RATER),
        ({"text": "a whale"}, ratings.NO_TEXT),
        ({"image": "scenes/1.png"}, ratings.NO_IMAGE),
        ({"image": "2"}, ratings.NO_IMAGE),
        ({"rating": ""}, ratings.NO_RATING),
        ({"page": "7777"}, ratings.OTHER_PAGE),
        ({"page": "first"}, ratings.OTHER_PAGE),
    ],
)
def test_a_rating_that_cannot_count_is_left_out_with_its_reason(read, rows, cells, reason):
    table = changed(rows, 4, **cells)
    table = table if "page" in cells else pageless(table)
    found = read(a=table)
    kept = found.rejected[found.rejected["reason"] == reason]
    assert kept[["file", "row", "count"]].to_numpy().tolist() == [["a.csv", 6, 1]]
    assert kept["image"].iloc[0] == table["image"].iloc[4]
    assert kept["text"].iloc[0] == table["text"].iloc[4]
    # on a page of the questions the rest of it was not sent as a whole; without pages nobody can know
    assert len(found.accepted) + found.rejected["count"].sum() == len(rows)
    assert set(found.rejected["reason"]) == ({reason, ratings.HALF} if "page" in cells else {reason})


def test_an_image_that_was_drawn_for_another_text_alone_does_not_count(read, rows, asked):
    questions = asked.questions
    other = questions[(questions["text"] != rows["text"][0]) & ~questions["image"].isin(
        questions.loc[questions["text"] == rows["text"][0], "image"]
    )]  # fmt: skip
    found = read(a=changed(pageless(rows), 0, image=other["path"].iloc[0]))
    assert found.rejected[["row", "reason"]].to_numpy().tolist() == [[2, ratings.NOT_ASKED]]


def test_a_page_of_which_an_image_is_missing_does_not_count_as_a_whole(read, rows, asked):
    rater, page = rows.loc[20, "rater"], rows.loc[20, "page"]
    found = read(a=rows.drop(index=20))
    size = int((asked.questions["page"] == page).sum())
    assert found.rejected[["rater", "reason", "count"]].to_numpy().tolist() == [[rater, ratings.HALF, size - 1]]
    assert len(found.accepted) == len(rows) - size
    assert not ((found.accepted["rater"] == rater) & (found.accepted["page"] == page)).any()


def test_a_page_sent_in_two_files_is_whole(read, rows):
    found = read(a=rows[:20], b=rows[20:])
    assert found.rejected.empty
    assert len(found.accepted) == len(rows)


def test_of_equal_ratings_of_one_person_one_counts_and_of_different_ones_none(read, rows):
    again = pd.concat([rows, rows.iloc[[7]], changed(rows, 9, rating=1 - rows["rating"][9]).iloc[[9]]])
    found = read(a=again)
    assert found.rejected.groupby("reason")["count"].sum().to_dict() == {ratings.TWICE: 1, ratings.DIFFERENT: 2}
    assert len(found.accepted) == len(rows) - 1


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_and_files_changes_nothing(read, rows, seed, tmp_path):
    rng = generator(seed, "order")
    doubled = pd.concat(
        [rows, rows.iloc[:9].assign(seconds=[*rng.permutation(9)]), changed(rows, 30, rating=1).iloc[[30]]]
    )
    found = read(a=doubled)
    shuffled = doubled.iloc[rng.permutation(len(doubled))]
    (tmp_path / "ratings" / "a.csv").unlink()
    part = rng.integers(0, 3, len(shuffled))
    again = read(x=shuffled[part == 0], a=shuffled[part == 1], m_parquet=shuffled[part == 2].astype(str))
    pd.testing.assert_frame_equal(found.accepted, again.accepted)
    count = ["rater", "text", "reason"]
    pd.testing.assert_frame_equal(
        *(each.rejected.groupby(count, as_index=False)["count"].sum() for each in (found, again)), check_dtype=False
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.drop(columns="study"), "lacks column study"),
        (lambda t: t.assign(unit="3"), "has column 'unit'; the columns of ratings are rater,"),
        (lambda t: changed(t, 2, rating="2"), "row 4: rating is '2', it must be True, False, 1 or 0"),
        (lambda t: changed(t, 2, rating="0.5"), "row 4: rating is '0.5'"),
        (lambda t: changed(t, 3, seconds="-1"), "row 5: seconds is '-1', it must be a number of at least 0"),
        (lambda t: changed(t, 3, seconds="soon"), "row 5: seconds is 'soon'"),
        (lambda t: changed(t, 3, rater="#REF!"), "row 5: rater is '#REF!', it must be an id"),
        (lambda t: t.assign(study="other"), "row 2: of another study; of 400 ratings"),
    ],
)
def test_a_table_that_no_rater_can_have_spoilt_is_refused_by_its_place(read, rows, change, told):
    assert len(rows) >= 400
    with pytest.raises(StudyError) as error:
        read(a=change(rows[:400]))
    assert told in str(error.value)
    assert "a.csv" in str(error.value)


def test_without_tables_there_are_no_ratings_and_other_files_are_told(read, tmp_path, caplog):
    (tmp_path / "ratings").mkdir()
    for name in ("notes.docx", "README.md", "w.csv.dvc"):
        (tmp_path / "ratings" / name).write_text("")
    with caplog.at_level(logging.WARNING):
        found = read()
    assert found.accepted.empty
    assert found.rejected.empty
    assert [record.message for record in caplog.records if "not read" in record.message] != []
    assert "README" not in caplog.text
    assert "dvc" not in caplog.text
    assert read_of_nothing(tmp_path).accepted.columns.tolist() == ratings.RATING


def read_of_nothing(tmp_path):
    return read_ratings(tmp_path / "nowhere", pd.DataFrame(columns=["page", "text", "image", "path"]), "x")
