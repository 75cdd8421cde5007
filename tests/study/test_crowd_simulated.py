"""Simulated people: the rates they err with, the kinds that answer otherwise, hard images, and refusals."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom

from study.crowd.asked import Asked
from study.crowd.simulated import simulated_ratings
from study.errors import StudyError
from study.params.crowd import SimulatedRaters
from tests.helpers import explained

PLAIN = {"n_raters": 20, "false_yes": 0.1, "false_no": 0.3, "spread": 0.0, "hard_images": 0.0}
NOBODY = {"lazy": 0, "inverted": 0, "silent": 0}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return Asked.read(explained.write(tmp_path_factory.mktemp("explained"), n_units=4, n_images=2000, n_asked=300))


def people(**changes):
    return SimulatedRaters(**(PLAIN | NOBODY | changes))


def with_truth(asked, ratings):
    return ratings.assign(present=asked.presence_at(ratings["text"], ratings["image"]) == 1)


def test_every_question_is_rated_by_as_many_different_people(asked):
    found = simulated_ratings(asked, people(), 3, seed=1)
    by_question = found.groupby(["text", "image"])["rater"]
    assert len(by_question) == len(asked.questions)
    assert (by_question.nunique() == 3).all()
    assert (by_question.size() == 3).all()
    on_page = found.merge(asked.questions, on=["text", "image"], suffixes=("", "_asked"))
    assert (on_page["page"] == on_page["page_asked"]).all()
    # who takes a page takes all of it, in one time
    sizes = asked.questions.groupby("page").size()
    shares = found.groupby(["rater", "page"]).agg(n=("image", "size"), times=("seconds", "nunique"))
    assert (shares["n"] == shares.index.get_level_values("page").map(sizes)).all()
    assert (shares["times"] == 1).all()


def test_honest_people_err_as_often_as_said(asked):
    found = with_truth(asked, simulated_ratings(asked, people(), 3, seed=1))
    for present, rate in ((True, 0.3), (False, 0.1)):
        part = found[found["present"] == present]
        wrong = (part["rating"] != part["present"]).mean()
        assert wrong == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / len(part)))


def test_errors_on_hard_images_are_shared(asked):
    spread = 0.3
    found = with_truth(asked, simulated_ratings(asked, people(hard_images=spread), 5, seed=1))
    absent = found[~found["present"]].groupby(["text", "image"])["rating"].sum()
    seen = np.bincount(absent, minlength=6) / len(absent)
    wanted = betabinom(5, 0.1 / spread, 0.9 / spread).pmf(range(6))
    np.testing.assert_allclose(seen, wanted, atol=4 * np.sqrt(0.25 / len(absent)))
    alone = betabinom(5, 0.1 / 1e-6, 0.9 / 1e-6).pmf(range(6))
    assert abs(seen - alone).max() > 0.1


def test_people_have_rates_of_their_own(asked):
    alike, other = (
        with_truth(asked, simulated_ratings(asked, people(spread=spread), 10, seed=1)) for spread in (0.0, 1.0)
    )
    rates = [table[~table["present"]].groupby("rater")["rating"].mean().std() for table in (alike, other)]
    assert rates[1] > 4 * rates[0]


@pytest.mark.parametrize(("kind", "share"), [("silent", (0, 0)), ("inverted", (0.9, 0.3)), ("lazy", (0.02, 0.14))])
def test_the_last_people_answer_as_their_kind_does(asked, kind, share):
    found = with_truth(asked, simulated_ratings(asked, people(**{kind: 1}), 10, seed=1))
    own = found[found["rater"] == "simulated-020"]
    assert len(own) > 300
    for present, wanted in zip((False, True), share, strict=True):
        said = own.loc[own["present"] == present, "rating"].mean()
        assert said == pytest.approx(wanted, abs=0.08 if wanted else 1e-12)
    others = found[found["rater"] != "simulated-020"]
    pace = own["seconds"].median() / others["seconds"].median()
    assert pace < 0.3 if kind == "lazy" else 0.5 < pace < 2


def test_the_order_of_questions_and_units_changes_no_rating(asked):
    import dataclasses

    other = dataclasses.replace(asked, questions=asked.questions.iloc[::-1].reset_index(drop=True))
    pd.testing.assert_frame_equal(*(simulated_ratings(each, people(spread=0.4), 3, seed=1) for each in (asked, other)))


def test_another_seed_gives_other_ratings(asked):
    first, second = (simulated_ratings(asked, people(), 3, seed=seed)["rating"].to_numpy() for seed in (1, 2))
    assert 0.05 < (first != second).mean() < 0.5


def test_nobody_can_be_simulated_without_truth_or_with_too_few(asked, tmp_path):
    guessed = explained.write(tmp_path, n_units=1, n_images=200)
    from safetensors.numpy import load_file, save_file

    kept = load_file(guessed / "presence.safetensors")
    save_file({"presence": kept["guide"], "guide": kept["guide"]}, guessed / "presence.safetensors")
    with pytest.raises(StudyError, match=r"explanations\.presence does not say for certain"):
        simulated_ratings(Asked.read(guessed), people(), 3, seed=1)
    with pytest.raises(StudyError, match=r"crowd\.simulated\.n_raters is 2; .* at least 3"):
        simulated_ratings(asked, people(n_raters=2), 3, seed=1)
