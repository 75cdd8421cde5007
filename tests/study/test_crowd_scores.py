"""Labels and published scores of a small study: recounted by hand, too few said so, and the order of known methods."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from interpretability.randomness import generator
from study.crowd import checks, published
from study.crowd.asked import Asked
from study.crowd.labels import counts, labels
from study.errors import StudyError
from tests.helpers import explained
from tests.helpers.crowd_params import crowd_params


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return explained.write(tmp_path_factory.mktemp("explained"), n_units=3, n_images=400, n_asked=60)


@pytest.fixture(scope="module")
def asked(folder):
    return Asked.read(folder)


@pytest.fixture(scope="module")
def crowd():
    return crowd_params()


@pytest.fixture(scope="module")
def rated(folder, asked):
    """Ratings without errors in the names of the questions, as `read_ratings` gives them."""
    rows = explained.ratings_of(folder, error=0.0)
    place = asked.questions.drop_duplicates("path").set_index("path")["image"]
    return rows.assign(image=rows["image"].map(place))


def test_counts_add_up_ratings_of_an_image_and_text():
    table = pd.DataFrame({"text": list("bbab"), "image": [2, 2, 2, 1], "rating": [1, 0, 1, 1]})
    assert counts(table).to_numpy().tolist() == [["a", 2, 1, 1], ["b", 1, 1, 1], ["b", 2, 2, 1]]


def test_labels_follow_the_rules_with_the_machine_s_own_prior(asked, crowd):
    question = asked.questions.iloc[[0, 40]].sort_values(["text", "image"])
    counted = question[["text", "image"]].assign(n=3, yes=[2, 0]).reset_index(drop=True)
    said = [
        (f"r{rater}", row.text, row.image, int(rater < row.yes)) for row in counted.itertuples() for rater in range(3)
    ]
    found = labels(asked, pd.DataFrame(said, columns=["rater", "text", "image", "rating"]), crowd)
    place = np.searchsorted(asked.images["image"], counted["image"])
    row = [explained.CONCEPTS.index(text) for text in counted["text"]]
    prior = np.clip(
        explained.guide_of(explained.presence_of(400))[row, place].astype(float), crowd.clip, 1 - crowd.clip
    )
    vote = np.log((1 - crowd.false_no) / crowd.false_yes)
    assert crowd.false_no == crowd.false_yes == 0.23
    assert found["average"].tolist() == pytest.approx([2 / 3, 0])
    assert found["majority"].tolist() == [1, 0]
    np.testing.assert_allclose(found["bragg_uniform"], expit(logit(crowd.prior) + vote * np.array([1, -3])))
    np.testing.assert_allclose(found["bragg_guide"], expit(logit(prior) + vote * np.array([1, -3])), rtol=1e-6)


def test_raters_may_have_errors_of_their_own(asked, crowd, folder, caplog):
    """Someone who ticks the wrong images is not heard; the word of careful raters counts for more than that of careless ones."""
    same = dataclasses.replace(crowd, prior=0.5)
    own = dataclasses.replace(same, errors="raters")
    draw = generator(0, "own errors")
    question = asked.questions[asked.questions["text"] == "a star"].drop_duplicates("image")
    present = draw.random(len(question)) < 0.5
    wrong = {"careful": 0.03, "careful too": 0.03, "careless": 0.35, "contrary": 0.9}
    rows = [
        (rater, "a star", image, int(shown != (draw.random() < rate)))
        for image, shown in zip(question["image"], present, strict=True)
        for rater, rate in wrong.items()
    ]
    ratings = pd.DataFrame(rows, columns=["rater", "text", "image", "rating"])
    with caplog.at_level("WARNING"):
        found = labels(asked, ratings, own)["bragg_uniform"].to_numpy()
    truth = present[np.argsort(question["image"], kind="stable")]
    assert "contrary answers at random or the wrong way round" in caplog.text
    assert np.abs(found - truth).mean() < np.abs(labels(asked, ratings, same)["bragg_uniform"] - truth).mean() / 2


def by_hand(asked, pair, column, labelled):
    """Eq. 7 to 9, drawn image by drawn image."""
    a = asked.activations[pair]
    mean, sd = sum(a) / len(a), (sum(a**2) / len(a) - (sum(a) / len(a)) ** 2) ** 0.5
    text = asked.pairs["text"][pair]
    label = {row.image: getattr(row, column) for row in labelled[labelled["text"] == text].itertuples()}
    place = {image: number for number, image in enumerate(asked.images["image"])}
    draws = [row for row in asked.draws.itertuples() if row.pair == pair]
    s = len(draws)
    mu = sum(d.weight * label[d.image] for d in draws) / s
    sigma = (sum(d.weight * (label[d.image] - mu) ** 2 for d in draws) / (s - 1)) ** 0.5
    return sum(d.weight * (a[place[d.image]] - mean) / sd * (label[d.image] - mu) / sigma for d in draws) / s


@pytest.mark.parametrize("rule", published.RULES)
def test_published_scores_are_the_sums_of_the_paper(asked, crowd, rated, rule):
    labelled = labels(asked, rated, crowd)
    found = published.published_scores(asked, labelled).set_index(["pair", "estimator"])
    for pair in (0, 5):
        assert found.loc[(pair, rule), "rho"] == pytest.approx(by_hand(asked, pair, rule, labelled), abs=1e-9)
    assert (found.loc[found.index.get_level_values("estimator") == rule, "status"] == published.STATUS).all()


def test_numbers_beside_a_score_count_draws_images_and_ratings(asked, crowd, rated):
    found = published.published_scores(asked, labels(asked, rated, crowd)).set_index(["pair", "estimator"])
    draws = asked.draws[asked.draws["pair"] == 4]
    row = found.loc[(4, "majority")]
    assert row["n_draws"] == len(draws) == 60
    assert row["n_images"] == draws["image"].nunique() < 60
    assert row["n_ratings"] == 3 * row["n_images"]
    assert row["ess"] == pytest.approx(draws["weight"].sum() ** 2 / (draws["weight"] ** 2).sum())
    assert row["max_weight"] == pytest.approx(draws["weight"].max())
    alone = found.loc[(4, "guide_only")]
    assert alone["rho"] == pytest.approx(asked.pairs["rho_guide_only"][4])
    assert alone["n_ratings"] == 0


@pytest.mark.parametrize(
    ("drawn", "rated", "positive", "why"),
    [
        (60, 29, 9, "too few: 29 of 60 images rated"),
        (60, 30, 9, ""),
        (183, 91, 9, "too few: 91 of 183 images rated"),
        (183, 92, 9, ""),
        (60, 60, 4, "too few: 4 images with the concept"),
        (60, 60, 5, ""),
        (0, 0, 0, "too few: 0 of 0 images rated"),
    ],
)
def test_too_few_is_said_in_place_of_a_score(drawn, rated, positive, why):
    assert published.too_few(drawn, rated, positive) == why


def test_a_pair_without_enough_ratings_has_a_reason_and_no_score(asked, crowd, rated):
    few = rated[rated["text"] != "a star"]
    found = published.published_scores(asked, labels(asked, few, crowd))
    of_star = found["pair"].isin(asked.pairs.loc[asked.pairs["text"] == "a star", "pair"])
    assert found.loc[of_star & (found["estimator"] == "guide_only"), "rho"].notna().all()
    scored = found[of_star & (found["estimator"] != "guide_only")]
    assert scored["rho"].isna().all()
    assert scored["reason"].str.startswith("too few: 0 of").all()
    assert found.loc[~of_star, "rho"].notna().all()


def test_a_unit_with_a_reason_against_it_keeps_it(asked, crowd, rated, folder, tmp_path):
    import shutil

    other = tmp_path / "constant"
    shutil.copytree(folder, other)
    pairs = pd.read_parquet(other / "pairs.parquet")
    pairs.loc[2, ["reason", "rho_guide_only"]] = ["constant unit", np.nan]
    pairs.to_parquet(other / "pairs.parquet", index=False)
    found = published.published_scores(Asked.read(other), labels(asked, rated, crowd))
    assert set(found.loc[found["pair"] == 2, "reason"]) == {"constant unit"}
    assert found.loc[found["pair"] == 2, "rho"].isna().all()


def test_without_a_guide_no_score_needs_one(tmp_path, crowd):
    folder = explained.write(tmp_path, n_units=2, n_images=300, guide=False)
    asked = Asked.read(folder)
    rows = explained.ratings_of(folder, error=0.1)
    rows["image"] = rows["image"].map(asked.questions.drop_duplicates("path").set_index("path")["image"])
    labelled = labels(asked, rows, crowd)
    assert labelled["bragg_guide"].isna().all()
    found = published.published_scores(asked, labelled)
    assert set(found["estimator"]) == {"guide_only", "average", "majority", "bragg_uniform"}
    assert (found.loc[found["estimator"] == "guide_only", "reason"] == "no guide").all()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda f: pd.read_parquet(f / "pairs.parquet").iloc[::-1].to_parquet(f / "pairs.parquet"),
            "pairs are not 0, 1, 2",
        ),
        (lambda f: pd.read_parquet(f / "units.parquet")[1:].to_parquet(f / "units.parquet"), "lacks a unit of pairs"),
        (
            lambda f: pd.read_parquet(f / "concepts.parquet")[1:].to_parquet(f / "concepts.parquet"),
            "lacks the text 'a star'",
        ),
        (lambda f: pd.read_parquet(f / "images.parquet")[9:].to_parquet(f / "images.parquet"), "names images that"),
        (
            lambda f: (f / "questions.csv").write_text(
                (f / "questions.csv").read_text() + "99,0,a fish,3,x\n99,1,a fish,3,x\n"
            ),
            "asks twice",
        ),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(folder, tmp_path, damage, told):
    import shutil

    other = tmp_path / "damaged"
    shutil.copytree(folder, other)
    damage(other)
    with pytest.raises(StudyError, match=told):
        _ = Asked.read(other).activations, Asked.read(other).guide


def test_nobody_is_left_out_for_agreement_where_doubtful_answers_choose_what_is_rated_again(asked, rated, caplog):
    crossed = rated.assign(rating=rated["rating"].where(rated["rater"] != "r1", 1 - rated["rating"]))
    found = {
        design: checks.checked_raters(
            asked, crossed, {}, crowd_params(design=design, checks__agreement_quantile=0.01), 0
        )
        for design in ("systematic", "adaptive")
    }
    assert found["systematic"].exclusions["rater"].tolist() == ["r1"]
    assert found["systematic"].exclusions["reason"].str.startswith("agreement").all()
    assert found["adaptive"].exclusions.empty
    assert len(found["adaptive"].kept) == len(crossed)
    assert caplog.text.count("agreement_quantile is off") == 1
