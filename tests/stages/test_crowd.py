"""The stage `crowd`, from the questions of a small study with known truth to its scores."""

import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from interpretability.explanations.estimates import relative_error
from stages import crowd
from study.crowd import schemas
from study.errors import StudyError
from study.files.tables import read_csv, read_json, read_parquet
from tests.helpers import explained, tiny_study
from tests.helpers.rules import ROOT

FILES = {
    *("ratings.parquet", "rejected.csv", "raters.csv", "exclusions.csv", "agreement.csv", "labels.parquet"),
    *(
        "posteriors.parquet",
        "scores.parquet",
        "score_draws.parquet",
        "second_guide.parquet",
        "check.json",
        "next_questions.csv",
        "run.json",
    ),
}


def run(folder, out="crowd", **changes):
    """The stage on folder/explanations and folder/ratings; names of parameters of `crowd` have __ for a dot."""
    settings = {f"crowd__{name}": value for name, value in ({"n_check": 0} | changes).items()}
    tiny_study.write_params(folder / "params.yaml", ROOT, **settings)
    places = {"params": folder / "params.yaml", "explanations": folder / "explanations", "ratings": folder / "ratings"}
    crowd.main([f"--{name}={place}" for name, place in (places | {"out": folder / out}).items()])
    return folder / out


def kept(out, estimator):
    scores = read_parquet(out / "scores.parquet")
    return scores[(scores["raters"] == "kept") & (scores["estimator"] == estimator)].set_index(["unit", "method"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("crowd")
    explained.write(place / "explanations", n_units=8, n_images=800, n_asked=60)
    return place


@pytest.fixture(scope="module")
def simulated(folder):
    return run(folder, source="simulated")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A study of two units with the ratings of simulated people, their output and ratings as rows of a table."""
    place = tmp_path_factory.mktemp("few")
    explained.write(place / "explanations", n_units=2, n_images=300, n_asked=40)
    out = run(place, source="simulated")
    return place, out, read_parquet(out / "ratings.parquet").assign(study=explained.STUDY)


def test_simulated_people_give_every_file(simulated):
    assert {path.name for path in simulated.iterdir()} == FILES
    scores = read_parquet(simulated / "scores.parquet")
    assert list(scores.columns) == schemas.SCORES.names
    assert scores["simulated"].all()
    estimators = {"latent", "guide_only", "average", "majority", "bragg_uniform", "bragg_guide", "self_normalised"}
    assert set(scores["estimator"]) == estimators
    assert (scores.groupby(["estimator", "raters"]).size() == 32).all()
    # the guide alone stands beside every score
    alone = scores[scores["estimator"] == "guide_only"].set_index(["unit", "method", "raters"])["rho"]
    beside = scores.set_index(["unit", "method", "raters"])["rho_guide_only"]
    pd.testing.assert_series_equal(beside.sort_index(), alone.reindex(beside.index).sort_index(), check_names=False)


def test_only_our_scores_have_intervals_and_they_say_whether_they_may_be_believed(simulated):
    scores = read_parquet(simulated / "scores.parquet")
    ours = scores["estimator"] == "latent"
    assert scores.loc[~ours, ["se", "low", "high"]].isna().all(axis=None)
    assert scores.loc[ours, ["se", "low", "high"]].notna().all(axis=None)
    assert scores.loc[ours, "status"].str.startswith("not calibrated: ").all()  # no copy of the study was simulated
    assert read_json(simulated / "check.json")["verdict"].startswith("not calibrated: the bootstrap has 0 pairs of 200")
    assert not scores.loc[~ours, "status"].str.startswith("calibrated").any()


def test_a_second_guide_is_a_prior_of_the_same_ratings_and_changes_nothing_else(folder, simulated, tmp_path):
    assert read_parquet(simulated / "second_guide.parquet").empty
    explained.write(tmp_path / "explanations", n_units=8, n_images=800, n_asked=60, second=True)
    out = run(tmp_path, source="simulated")
    for name in FILES - {"second_guide.parquet"}:
        assert (out / name).read_bytes() == (simulated / name).read_bytes(), name
    table = read_parquet(out / "second_guide.parquet")
    assert list(table.columns) == schemas.SECOND_SCORES.names
    assert table["simulated"].all()
    table = table.set_index(["unit", "method"])
    pd.testing.assert_series_equal(table["rho"], kept(out, "bragg_guide")["rho"].reindex(table.index))
    # one score by the printed formulas: eta .23 of each net vote, sums over draws
    asked = tmp_path / "explanations"
    draws, images = (read_parquet(asked / f"{name}.parquet") for name in ("draws", "images"))
    place = pd.Index(images["image"])
    said = load_file(asked / "presence.safetensors")["second_guide"]
    for unit, method in ((0, "true"), (5, "broad")):
        row = table.loc[(unit, method)]
        drawn = draws[draws["pair"] == row["pair"]].merge(
            read_parquet(out / "labels.parquet").query("text == @row.text"), on="image"
        )
        prior = said[explained.CONCEPTS.index(row["text"])][place.get_indexer(drawn["image"])].astype(float)
        prior = np.clip(prior, 0.001, 0.999)
        odds = prior / (1 - prior) * (0.77 / 0.23) ** (2 * drawn["yes"] - drawn["n"])
        label = (odds / (1 + odds)).to_numpy()
        values = load_file(asked / "columns.safetensors")["values"][unit].astype(float)
        a = ((values - values.mean()) / values.std())[place.get_indexer(drawn["image"])]
        w, n = drawn["weight"].to_numpy(), len(drawn)
        mean = (w * label).sum() / n
        sd = np.sqrt((w * (label - mean) ** 2).sum() / (n - 1))
        assert row["rho_second"] == pytest.approx((w * a * (label - mean) / sd).sum() / n, abs=1e-9)
    assert (table["rho"] - table["rho_second"]).abs().max() > 0.01, "another machine says something else"


def test_our_scores_are_nearer_to_the_truth_than_the_published_ones(simulated):
    error = {}
    for name in ("latent", "guide_only", "bragg_guide", "majority"):
        table = kept(simulated, name)
        error[name] = relative_error(table["rho"].to_numpy(float), table["rho_true"].to_numpy(float))
    assert error["latent"] < 0.25
    assert error["latent"] < 0.8 * min(error["guide_only"], error["bragg_guide"])
    assert error["bragg_guide"] < error["majority"]


def test_correlation_prefers_the_true_text_where_top_pictures_prefer_the_broad_one(folder, simulated):
    """The thesis of the paper: who looks at top pictures alone does not see what else a broad text fits."""
    automatic = read_parquet(folder / "explanations" / "scores.parquet").pivot(index="unit", columns="method")
    assert (automatic["recall"]["broad"] >= automatic["recall"]["true"]).all()
    assert automatic["recall"]["broad"].mean() > automatic["recall"]["true"].mean() + 0.02
    assert (automatic["rho"]["true"] > automatic["rho"]["broad"]).mean() >= 0.9
    ours = kept(simulated, "latent")["rho"].unstack()
    assert (ours["true"] > ours["broad"]).mean() >= 0.9
    assert (ours[["true", "broad", "narrow"]].min(axis=1) > ours["wrong"]).all()
    assert abs(ours["wrong"].mean()) < 0.05


def test_raters_who_answer_otherwise_are_left_out_with_their_reason(simulated):
    excluded = (
        read_csv(simulated / "exclusions.csv", text=("rater", "reason")).groupby("rater")["reason"].agg(" and ".join)
    )
    assert "s a page, below 3" in excluded["simulated-058"]  # lazy
    assert "agreement" in excluded["simulated-059"]  # inverted
    assert "always no" in excluded["simulated-060"]  # never ticks
    assert len(excluded) <= 6  # of sixty, 1 in 100 of the honest ones by chance, and hard images
    raters = read_csv(simulated / "raters.csv", text=("rater", "flags")).set_index("rater")
    assert len(raters) >= 55  # of sixty, who answered at all
    assert raters.loc["simulated-059", ["false_yes", "false_no"]].min() > 0.5
    assert set(raters.index[raters["excluded"] == 1]) == set(excluded.index)
    ratings = read_parquet(simulated / "ratings.parquet")
    labels = read_parquet(simulated / "labels.parquet")
    assert labels["n"].sum() == (~ratings["rater"].isin(excluded.index)).sum()
    # with and without them side by side
    scores = read_parquet(simulated / "scores.parquet").query("estimator == 'latent'")
    both = scores.pivot(index="pair", columns="raters", values=["rho", "n_ratings"])
    assert (both["n_ratings"]["all"] > both["n_ratings"]["kept"]).all()
    assert (both["rho"]["all"] != both["rho"]["kept"]).all()


def test_kappa_stands_beside_its_bound(simulated):
    table = read_csv(simulated / "agreement.csv", text=("model", "method")).set_index("method")
    assert set(table.index) == set(explained.METHODS)
    assert table["kappa"].between(0.2, 0.6).all()
    # nearly all images have as many ratings, so both say nearly the same
    assert (table["alpha"] - table["kappa"]).abs().between(1e-9, 0.05).all()
    assert table["bound"].to_numpy() == pytest.approx((1 - 2 * 0.23) ** 2, abs=1e-6)
    assert table[["yes_share", "prior_mean"]].notna().all(axis=None)


def test_the_same_ratings_as_tables_in_any_order_give_the_same_bytes(few, tmp_path):
    folder, simulated, rows = few
    shutil.copytree(folder / "explanations", tmp_path / "explanations")
    outs = []
    for number, seed in enumerate((1, 2)):
        shutil.rmtree(tmp_path / "ratings", ignore_errors=True)
        (tmp_path / "ratings").mkdir()
        mixed = rows.sample(frac=1, random_state=seed)
        half = len(mixed) // (number + 2)
        mixed[:half].to_csv(tmp_path / "ratings" / "b.csv", index=False)
        mixed[half:].to_parquet(tmp_path / "ratings" / "a.parquet", index=False)
        outs.append(run(tmp_path, f"out{number}", source="table"))
    for name in FILES:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name
    # and what people say is scored as what simulated ones say
    again, before = (kept(out, "latent")["rho"] for out in (outs[0], simulated))
    assert before.notna().all()
    pd.testing.assert_series_equal(again, before)


def test_no_people_and_no_texts_are_tables_without_rows(folder, tmp_path):
    explained.write_without(tmp_path / "explanations")
    (tmp_path / "ratings").mkdir()
    outs = [run(folder, "none", source="none")]
    outs += [run(tmp_path, source, source=source) for source in ("simulated", "table", "none")]
    for out in outs:
        assert {path.name for path in out.iterdir()} == FILES
        for path in out.iterdir():
            if path.suffix == ".parquet":
                assert len(read_parquet(path)) == 0
            if path.suffix == ".csv":
                assert len(path.read_text().splitlines()) == 1, path
        assert read_json(out / "check.json") == {"verdict": "no ratings"}


def test_before_anybody_has_answered_the_guide_stands_alone(folder, tmp_path, caplog):
    shutil.copytree(folder / "explanations", tmp_path / "explanations")
    out = run(tmp_path, source="table")
    assert "holds no ratings yet" in caplog.text
    scores = read_parquet(out / "scores.parquet")
    alone = scores["estimator"] == "guide_only"
    assert scores.loc[alone, "rho"].notna().all()
    assert scores.loc[~alone, "rho"].isna().all()
    assert (scores.loc[~alone, "reason"] != "").all()


def test_ratings_that_do_not_count_have_a_row_and_change_nothing_else(few, tmp_path):
    folder, simulated, rows = few
    shutil.copytree(folder / "explanations", tmp_path / "explanations")
    (tmp_path / "ratings").mkdir()
    other = rows[:7].assign(study="f" * 16, rater="elsewhere")
    pd.concat([rows, other]).to_csv(tmp_path / "ratings" / "a.csv", index=False)
    out = run(tmp_path, source="table")
    rejected = read_csv(out / "rejected.csv", text=("file", "rater", "text", "image", "reason"))
    assert rejected["reason"].unique().tolist() == ["of another study"]
    assert rejected["row"].tolist() == list(range(len(rows) + 2, len(rows) + 9))
    pd.testing.assert_series_equal(kept(out, "latent")["rho"], kept(simulated, "latent")["rho"])


def test_waves_spend_the_budget_of_every_pair_where_answers_tell_most(folder, tmp_path):
    explained.write(tmp_path / "explanations", n_units=2, n_images=400, n_asked=90, distinct=True)
    out = run(tmp_path, source="simulated", design="adaptive", n_images=60, n_raters=3)
    ratings = read_parquet(out / "ratings.parquet")
    assert not ratings.duplicated(["rater", "text", "image"]).any()
    per_image = ratings.groupby(["text", "image"]).size()
    assert per_image.max() <= 5
    assert (per_image > 1).any()
    scores = read_parquet(out / "scores.parquet").query("estimator == 'latent' and raters == 'all'")
    assert (scores["n_ratings"] >= 180).all()
    assert scores["rho"].notna().all()
    assert len(read_csv(out / "next_questions.csv")) == 0  # simulated people have been asked everything


def test_the_next_wave_is_told_to_those_who_ask_people(folder, tmp_path):
    explained.write(tmp_path / "explanations", n_units=2, n_images=400, n_asked=90, distinct=True)
    (tmp_path / "ratings").mkdir()
    explained.ratings_of(tmp_path / "explanations", each=1).to_csv(tmp_path / "ratings" / "wave1.csv", index=False)
    settings = {"source": "table", "design": "adaptive", "checks__agreement_quantile": 0.0}
    out = run(tmp_path, **settings)
    asked = read_csv(out / "next_questions.csv", text=("text", "path"))
    assert list(asked.columns) == ["sheet", "position", "text", "image", "path"]
    assert (asked.groupby("sheet")["text"].nunique() == 1).all()
    assert asked.groupby("sheet").size().max() <= 15
    # about 22 for each of two units: those that both ask for are asked once
    assert (asked.groupby("text").size().between(22, 44)).all()
    questions = read_csv(tmp_path / "explanations" / "questions.csv", text=("text", "path"))
    assert len(asked.merge(questions, on=["text", "image", "path"])) == len(asked)
    # answers to it come without pages, and count
    more = asked.assign(rater="late", rating=1, seconds="", page="", study=explained.STUDY)
    more[["rater", "text", "image", "rating", "seconds", "page", "study"]].to_csv(
        tmp_path / "ratings" / "b.csv", index=False
    )
    again = run(tmp_path, "again", **settings)
    assert (read_parquet(again / "ratings.parquet")["rater"] == "late").sum() == len(asked)


def test_copies_of_the_study_judge_its_intervals(tmp_path):
    explained.write(tmp_path / "explanations", n_units=5, n_images=300, n_asked=40)
    out = run(tmp_path, source="simulated", n_images=40, n_check=1)
    check = read_json(out / "check.json")
    assert check["figures"]["bootstrap_n"] == 20
    assert 0.6 < check["figures"]["bootstrap_coverage"] <= 1
    assert check["raters"]["false_yes"]["mean"] == pytest.approx(0.15, abs=0.1)
    assert check["raters"]["false_no"]["mean"] == pytest.approx(0.25, abs=0.15)


def test_what_is_missing_is_named(folder, tmp_path):
    shutil.copytree(folder / "explanations", tmp_path / "explanations")
    (tmp_path / "explanations" / "gold.csv").unlink()
    with pytest.raises(StudyError, match=r"gold\.csv: no such file"):
        run(tmp_path, source="simulated")
    with pytest.raises(StudyError, match=r"crowd\.design is 'any', allowed"):
        run(tmp_path, design="any")


def test_posteriors_are_those_of_the_rated_images(folder, simulated):
    table = read_parquet(simulated / "posteriors.parquet")
    assert not table.duplicated(["pair", "image"]).any()
    draws = read_parquet(folder / "explanations" / "draws.parquet")[["pair", "image"]].drop_duplicates()
    assert len(table.merge(draws, on=["pair", "image"])) == len(table)
    scores = kept(simulated, "latent").reset_index().set_index("pair")
    positive = table.assign(positive=table["posterior"] > 0.5).groupby("pair")["positive"].sum()
    assert scores["n_positive"].sort_index().tolist() == positive.tolist()
    truth = table.merge(read_parquet(folder / "explanations" / "pairs.parquet")[["pair", "text"]], on="pair")
    presence = explained.presence_of(800)
    row = truth["text"].map({text: place for place, text in enumerate(explained.CONCEPTS)})
    shown = presence[row, (truth["image"] - 3) // 2]
    # posteriors are probabilities: in tenths of them, as many images show the concept
    for tenth in range(10):
        part = (np.minimum(truth["posterior"] * 10, 9.99).astype(int) == tenth).to_numpy()
        if part.sum() > 50:
            assert shown[part].mean() == pytest.approx(truth.loc[part, "posterior"].mean(), abs=0.15)
