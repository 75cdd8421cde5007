"""Ratings of a run as a table, and what the stage `crowd` reads of it."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from experiment.answers import table_of, text_of
from study.crowd import ratings
from study.crowd.ratings import read_ratings
from study.errors import StudyError
from study.files.tables import read_csv
from tests.experiment import folders
from tests.experiment.filled_runs import rated_run

N_PAGES, A_PAGE = 8, 15


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("rated")
    return rated_run(place / "run", folders.ratings(place / "questions", n_pages=N_PAGES))


def asked(record):
    """questions.csv of the study, as the stage `explanations` writes it, from the pages that were shown."""
    images = read_csv(record.folder.path / "images.csv", text=("file", "path")).set_index("file")
    rows = [
        (page.page, place, page.text, int(images.loc[file, "image"]), images.loc[file, "path"])
        for page in record.folder.pages.values()
        for place, file in enumerate(page.pictures)
    ]
    return pd.DataFrame(rows, columns=["page", "position", "text", "image", "path"])


def read(folder, record):
    folder.mkdir()
    (folder / "ratings.csv").write_text(text_of(record, "ratings"))
    return read_ratings(folder, asked(record), record.folder.study["study"])


def test_every_picture_of_every_page_that_was_sent_has_a_rating(run, tmp_path):
    found = read(tmp_path / "ratings", run)
    assert found.rejected.empty
    assert found.source == "simulated"
    # three raters of all pages, and the first page of one who left; who came twice is one rater
    assert len(found.accepted) == (3 * N_PAGES + 1) * A_PAGE
    assert found.accepted["rater"].nunique() == 4
    table = table_of(run, "ratings")
    assert list(table.columns) == [*ratings.FIELDS, "source"]
    assert table["text"].iloc[0] == "<b>dots</b> & stripes 0"


def test_a_rating_says_what_was_picked(run):
    table = table_of(run, "ratings")
    for sent in run.pages.to_dict("records"):
        rater = run.sessions.set_index("session").loc[sent["session"], "person"] or f"session-{sent['session']}"
        own = table[(table["rater"] == rater) & (table["page"] == sent["page"])]
        if len(own) > A_PAGE:  # a page that two sessions of one rater sent
            continue
        picked = json.loads(sent["picked"])
        assert own["rating"].tolist() == [int(place in picked) for place in range(A_PAGE)]
        assert set(own["seconds"].astype(float)) == {sent["seconds"]}
    # page 1 was answered by "none of them"
    assert (table.loc[table["page"] == 1, "rating"] == 0).all()
    assert table["rating"].mean() == pytest.approx(0.3 * 7 / 8, abs=0.08)


def test_ratings_of_people_are_not_called_simulated(tmp_path):
    record = rated_run(tmp_path / "run", folders.ratings(tmp_path / "questions"), simulated=False)
    assert read(tmp_path / "ratings", record).source == "people"


def test_ratings_name_nobody_and_come_in_the_order_of_arrival(run):
    text = text_of(run, "ratings")
    for word in ("secret", "CODE", "token", "prolific"):
        assert word not in text
    assert text == text_of(run, "ratings")
    order = table_of(run, "ratings")["rater"].drop_duplicates().tolist()
    assert order == [f"{0:032x}", "session-000000000003", f"{2:032x}", f"{3:032x}"]


def test_a_run_of_ratings_has_no_answers_to_questions(run):
    with pytest.raises(StudyError, match=r"--form is imi, but this run asks ratings questions; ask for ratings"):
        text_of(run, "imi")
    with pytest.raises(StudyError, match=r"--all goes with questions and table"):
        text_of(run, "ratings", every=True)
    with pytest.raises(
        StudyError, match=r"--experiments goes with questions, table and imi; codes is of the whole run"
    ):
        text_of(run, "codes", experiments=["ratings"])


def test_codes_of_raters_are_of_sessions_that_ended(run):
    table = table_of(run, "codes")
    ended = run.sessions[run.sessions["ended"].notna()]
    assert table["number"].tolist() == ended["number"].tolist()
    complete = table["outcome"] == "complete"
    assert complete.any()
    assert not complete.all()
    assert (table["paid"] == complete).all()
    assert (table["accepted"] == complete).all()
    assert set(table["reason"][~complete]) == {"not complete"}
    assert ((table["code"] != "") == complete).all()
