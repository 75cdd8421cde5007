"""The stage `explanations` on the tiny study: texts, presence, scores, questions, and what it refuses."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from scipy.special import logit

from interpretability.explanations import correlation, formulas
from interpretability.explanations.latent import design
from interpretability.synthetic import planted_units, predicates
from stages import explanations, inputs
from study.files.tables import read_json, read_parquet
from study.images.manifest import open_images
from tests.helpers.rules import ROOT

N, SEED = 60, 0
ON = {
    "scores__backends": ["pixel"],  # the roster of these tests has no network of the encoder
    "explanations__presence": "factors",
    "explanations__guide__source": "simulated",
    "explanations__units": ["tiny/*/1", "*/middle/2"],
    "explanations__make": ["best", "clip_dissect", "le_label", "le_guide"],
    "explanations__n_known": 6,
    "explanations__n_top": 8,
    "crowd__source": "table",
    "crowd__n_images": 12,
    "crowd__page": 5,
    "crowd__n_gold": 4,
}
TEXTS = """model,layer,unit,method,kind,text,formula
tiny,norm,0,people,,a star,
tiny,norm,3,people,,red shapes or blue shapes,
tiny,norm,0,logic,compositional,,"{""and"": [""shapes on the left"", {""not"": ""a star""}]}"
tiny,middle,2,people,,a house,
controls,constant,0,people,,a tree,
controls,factor,29,people,linear,many,"[{""weight"": 2, ""text"": ""six shapes""}, {""weight"": -1, ""text"": ""one shape""}]"
"""


class Explained:
    """A study up to its explanations."""

    def __init__(self, study):
        self.study, self.folder = study, study.folder
        self.external = self.folder / "external"
        for name in ("", "presence", "guide", "gold"):
            (self.external / name).mkdir(exist_ok=True)
        study.roster(
            {"name": "tiny", "kwargs": json.dumps({"dead": [2]})},
            {"name": "controls", "constructor": "control:planted", "preprocessing": "", "role": "control"},
        )

    def look(self):
        """The stage `inputs`; what it says of texts goes to the stage `activations`."""
        flags = [f"--params={self.folder / 'params.yaml'}", f"--code={self.study.code}"]
        inputs.main([*flags, f"--explanations={self.external}", f"--out={self.folder / 'inputs'}"])
        shutil.copyfile(self.folder / "inputs" / "explained_units.csv", self.folder / "explained.csv")

    def texts(self, content):
        (self.external / "texts.csv").write_text(content)

    def params(self, **changes):
        own = {"models__roster": str(self.folder / "roster.csv"), "sensitivity__models": []}
        self.study.params(**{**own, **ON, **changes})

    def run(self, out="explanations", flags=()):
        self.look()
        known = [f"--{name}={self.external / name}" for name in ("presence", "guide", "gold")]
        known += [f"--{name}={self.folder / name}" for name in ("images", "models", "activations")]
        known += [f"--params={self.folder / 'params.yaml'}", f"--texts={self.folder / 'inputs' / 'explanations'}"]
        explanations.main([*known, f"--out={self.folder / out}", *flags])
        return self.folder / out


@pytest.fixture(scope="module")
def finished(tmp_path_factory, request):
    """A study whose stage has run with texts of files, known ones and made ones."""
    from tests.conftest import Study

    study = Study(tmp_path_factory.mktemp("explained"))
    made = Explained(study)
    made.params()
    made.texts(TEXTS)
    made.look()
    study.run_images()
    study.run_models()
    study.run_activations()
    made.run()
    return made


@pytest.fixture
def again(finished, tmp_path):
    """The same study with files and parameters of its own; networks are those that ran."""
    from tests.conftest import Study

    study = Study(tmp_path / "again")
    study.folder.mkdir()
    made = Explained(study)
    for name in ("images", "models", "activations"):
        (study.folder / name).symlink_to(finished.folder / name)
    made.params()
    made.texts(TEXTS)
    return made


def tables(folder, *names):
    return [read_parquet(folder / f"{name}.parquet") for name in names]


def test_units_with_texts_keep_their_column_beside_those_that_others_use(finished):
    folder = finished.folder / "activations"
    assert [path.name for path in (folder / "explained").iterdir()] == ["tiny.parquet"]
    assert not list((folder / "kept").iterdir()), "tasks of harder conditions are made of these, and texts add none"
    kept = read_parquet(folder / "explained" / "tiny.parquet")
    named = [("norm", 0), ("norm", 1), ("norm", 3), ("middle", 1), ("middle", 2)]
    assert list(zip(kept["layer"], kept["unit"], strict=True)) == named


def test_columns_are_those_of_the_networks_and_planted_units(finished):
    out = finished.folder / "explanations"
    (units,) = tables(out, "units")
    values = load_file(out / "columns.safetensors")["values"]
    assert values.shape == (len(units), N)
    assert units.equals(units.sort_values(["model", "layer", "unit"], ignore_index=True))
    kept = read_parquet(finished.folder / "activations" / "explained" / "tiny.parquet")
    row = units[(units["model"] == "tiny") & (units["layer"] == "norm") & (units["unit"] == 3)].index[0]
    np.testing.assert_array_equal(values[row], kept["values"][2])
    factors = open_images(finished.folder / "images").factors
    layer = next(each for each in planted_units.planted(factors, SEED) if each.layer == "mixture_0.5")
    planted = units[units["layer"] == "mixture_0.5"]
    np.testing.assert_array_equal(values[planted.index], layer.values[:, planted["unit"]].T)
    assert len(planted) == ON["explanations__n_known"]


def test_scores_are_those_of_the_holdout_images_alone(finished):
    """Every score against presence, prediction and correlation computed one by one."""
    out = finished.folder / "explanations"
    images, units, scores, texts = tables(out, "images", "units", "scores", "texts")
    assert images["holdout"].sum() == N / 2
    values = load_file(out / "columns.safetensors")["values"][:, images["holdout"]]
    factors = open_images(finished.folder / "images").factors.iloc[images["image"]]
    row = {tuple(unit): place for place, unit in enumerate(units.to_numpy().tolist())}
    assert (texts[["model", "layer", "unit", "method"]] == scores[["model", "layer", "unit", "method"]]).all(axis=None)
    for text, score in zip(texts.itertuples(), scores.itertuples(), strict=True):
        formula = formulas.parse(text.kind, text.text, text.formula)
        shown = {name: predicates.presence(name, factors).astype(float) for name in formulas.concepts(formula)}
        predicted = formulas.predict(formula, {name: known[images["holdout"]] for name, known in shown.items()})
        activations = values[row[text.model, text.layer, text.unit]]
        if score.reason:
            assert np.isnan(score.rho)
            assert (np.ptp(activations) == 0) == (score.reason == "constant unit")
            assert (np.ptp(predicted) == 0) == (score.reason == "concept alike in all images")
            continue
        assert score.rho == pytest.approx(correlation.correlation(activations, predicted), abs=1e-9)
        assert score.rho_se == pytest.approx(correlation.correlation_se(activations, predicted), abs=1e-9)
        if text.kind in ("simple", "compositional"):
            assert score.recall == pytest.approx(correlation.top_recall(activations, predicted, 8), abs=1e-9)
        else:
            assert np.isnan(score.recall)
    assert (scores["n_images"] == N / 2).all()
    dead = scores[(scores["model"] == "tiny") & (scores["layer"] == "middle") & (scores["unit"] == 2)]
    assert dead["reason"].tolist() == ["constant unit"]
    constant = scores[scores["layer"] == "constant"]
    assert constant["reason"].tolist() == ["constant unit"]


def test_a_control_is_a_text_of_the_same_method_for_another_unit(finished):
    out = finished.folder / "explanations"
    images, units, scores, texts = tables(out, "images", "units", "scores", "texts")
    values = load_file(out / "columns.safetensors")["values"][:, images["holdout"]]
    factors = open_images(finished.folder / "images").factors.iloc[images["image"]][images["holdout"].to_numpy()]
    row = {tuple(unit): place for place, unit in enumerate(units.to_numpy().tolist())}
    known = scores[(scores["layer"] == "mixture_0.5") & (scores["method"] == "true")]
    # the concept of another unit may be in none of thirty images
    assert known["control_rho"].notna().sum() >= 4
    for score in known[known["control_rho"].notna()].itertuples():
        others = texts[(texts["layer"] == "mixture_0.5") & (texts["method"] == "true") & (texts["text"] != score.text)]
        activations = values[row[score.model, score.layer, score.unit]]
        expected = [
            correlation.correlation(activations, predicates.presence(text, factors) + 0.0) for text in others["text"]
        ]
        assert np.nanmin(np.abs(np.array(expected) - score.control_rho)) < 1e-9


def test_made_texts_look_at_no_holdout_image(finished, again):
    """Whatever units do on the holdout images, the texts are the same."""
    out = finished.folder / "explanations"
    images, texts = tables(out, "images", "texts")
    made = texts[texts["source"] == "made here"]
    assert set(made["method"]) == {"best", "clip_dissect", "le_label", "le_label_1", "le_guide", "le_guide_1"}
    assert (made["kind"][made["method"].isin(["best", "clip_dissect", "le_label_1", "le_guide_1"])] == "simple").all()
    unlink = again.folder / "activations"
    unlink.unlink()
    shutil.copytree(finished.folder / "activations", unlink)
    path = unlink / "explained" / "tiny.parquet"
    kept = read_parquet(path)
    held = images.loc[images["holdout"], "image"]
    kept["values"] = [np.array(values) for values in kept["values"]]
    for values in kept["values"]:
        values[held] = np.random.default_rng(0).normal(size=len(held))
    path.unlink()
    kept.to_parquet(path, index=False)
    (other,) = tables(again.run(), "texts")
    other = other[other["source"] == "made here"]
    mine = made[["layer", "unit", "method", "text"]].reset_index(drop=True)
    # the dead unit is alive in the other study, on images that no text is made from
    theirs = other[["layer", "unit", "method", "text"]].reset_index(drop=True)
    assert mine.equals(theirs)


def test_the_best_concept_is_that_of_the_highest_correlation(finished):
    out = finished.folder / "explanations"
    images, units, texts = tables(out, "images", "units", "texts")
    seen = ~images["holdout"].to_numpy()
    values = load_file(out / "columns.safetensors")["values"][:, seen]
    factors = open_images(finished.folder / "images").factors[seen]
    concepts = sorted(predicates.simple_texts())
    shown = np.stack([predicates.presence(text, factors) for text in concepts])
    best = texts[texts["method"] == "best"]
    assert len(best) == 2
    for text in best.itertuples():
        place = units[(units[["model", "layer", "unit"]] == [text.model, text.layer, text.unit]).all(axis=1)].index[0]
        rho = [np.corrcoef(values[place], row)[0, 1] if np.ptp(row) else -1 for row in shown.astype(float)]
        assert concepts[int(np.argmax(rho))] == text.text


def test_pairs_are_units_with_texts_of_one_concept(finished):
    out = finished.folder / "explanations"
    texts, pairs, units = tables(out, "texts", "pairs", "units")
    simple = texts["kind"] == "simple"
    assert (texts.loc[~simple, "pair"] == -1).all()
    named = texts[simple].merge(
        pairs, on=["pair", "model", "layer", "unit", "text"], how="left", validate="many_to_one"
    )
    assert named["rho_guide_only"].notna().equals(named["reason"] == "")
    assert pairs["pair"].tolist() == list(range(len(pairs)))
    assert not pairs.duplicated(["model", "layer", "unit", "text"]).any()
    values = load_file(out / "columns.safetensors")["values"]
    known = load_file(out / "presence.safetensors")
    (concepts,) = tables(out, "concepts")
    row = {text: place for place, text in enumerate(concepts["concept"])}
    owner = {tuple(unit): place for place, unit in enumerate(units.to_numpy().tolist())}
    for pair in pairs.itertuples():
        if pair.reason:
            assert pair.reason == "constant unit"
            continue
        activations = values[owner[pair.model, pair.layer, pair.unit]]
        assert pair.rho_true == pytest.approx(
            correlation.correlation(activations, known["presence"][row[pair.text]]), abs=1e-9, nan_ok=True
        )
        assert pair.rho_guide_only == pytest.approx(
            correlation.correlation(activations, known["guide"][row[pair.text]]), abs=1e-9
        )
    np.testing.assert_allclose(concepts["prevalence"], known["presence"].mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(concepts["guide_mean"], known["guide"].mean(axis=1), rtol=1e-6)


def test_draws_are_those_of_the_design_of_the_latent_model(finished):
    out = finished.folder / "explanations"
    pairs, draws, images, concepts, units = tables(out, "pairs", "draws", "images", "concepts", "units")
    alive = pairs[pairs["reason"] == ""]
    assert (draws.groupby("pair").size() == 12).all()
    assert set(draws["pair"]) == set(alive["pair"])
    assert not draws.duplicated(["pair", "image"]).any()
    values, known = load_file(out / "columns.safetensors")["values"], load_file(out / "presence.safetensors")
    for pair in alive.head(8).itertuples():
        place = units[(units[["model", "layer", "unit"]] == [pair.model, pair.layer, pair.unit]).all(axis=1)].index[0]
        guide = known["guide"][concepts.index[concepts["concept"] == pair.text][0]]
        chance = design.inclusion(design.design_proposal(values[place], guide), 12)
        own = draws[draws["pair"] == pair.pair]
        drawn = chance[np.searchsorted(images["image"], own["image"])]
        np.testing.assert_allclose(own["q"], drawn / 12)
        np.testing.assert_allclose(own["weight"], 12 / (N * drawn))


def test_questions_ask_about_every_drawn_image_once_and_tell_nothing(finished):
    out = finished.folder / "explanations"
    pairs, draws = tables(out, "pairs", "draws")
    questions, gold = (pd.read_csv(out / f"{name}.csv") for name in ("questions", "gold"))
    assert questions.columns.tolist() == ["page", "position", "text", "image", "path"]
    wanted = draws.merge(pairs, on="pair")[["text", "image"]]
    wanted = pd.concat([wanted, gold[["text", "image"]]]).drop_duplicates()
    asked = set(questions[["text", "image"]].itertuples(index=False, name=None))
    assert asked == set(wanted.itertuples(index=False, name=None))
    assert len(questions) == len(wanted)
    by_page = questions.groupby("page")
    assert (by_page["text"].nunique() == 1).all()
    assert by_page.size().max() <= 5
    assert questions["page"].is_monotonic_increasing
    manifest = open_images(finished.folder / "images").manifest
    assert (questions["path"] == manifest["path"].iloc[questions["image"]].to_numpy()).all()
    pages = json.loads((out / "pages.json").read_text())
    assert set(pages) == {"study", "pages"}
    assert pages["study"] == read_json(out / "run.json")["study"]
    listed = [(page["page"], page["text"], path) for page in pages["pages"] for path in page["images"]]
    assert listed == list(questions[["page", "text", "path"]].itertuples(index=False, name=None))


def test_pages_of_a_text_are_even_and_shuffled_among_those_of_others(finished):
    questions = pd.read_csv(finished.folder / "explanations" / "questions.csv")
    sizes = questions.groupby(["text", "page"]).size()
    assert (sizes.groupby("text").max() - sizes.groupby("text").min() <= 1).all()
    first = questions.groupby("page")["text"].first()
    assert (first != first.shift()).mean() > 0.7


def test_gold_is_asked_of_images_whose_label_is_certain(finished):
    out = finished.folder / "explanations"
    gold = pd.read_csv(out / "gold.csv")
    pairs, draws = tables(out, "pairs", "draws")
    assert gold["label"].value_counts().to_dict() == {0: 4, 1: 4}
    factors = open_images(finished.folder / "images").factors
    for row in gold.itertuples():
        assert predicates.presence(row.text, factors)[row.image] == row.label
    drawn = set(draws.merge(pairs, on="pair")[["text", "image"]].itertuples(index=False, name=None))
    assert not drawn & set(gold[["text", "image"]].itertuples(index=False, name=None))


def test_what_ran_is_told(finished):
    run = read_json(finished.folder / "explanations" / "run.json")
    questions = pd.read_csv(finished.folder / "explanations" / "questions.csv")
    assert run["n_questions"] == len(questions)
    assert run["n_ratings"] == 3 * len(questions)
    assert run["cost"] == pytest.approx(3 * len(questions) * 0.004, rel=1e-5)
    assert run["simulated"]
    assert run["guide_status"] == "simulated: calibrated by construction"
    assert (run["n_images"], run["n_holdout"], run["n_gold"]) == (N, N // 2, 8)
    assert len(run["study"]) == 16


def test_a_second_guide_says_something_else_of_the_same_questions(finished, again):
    again.params(explanations__second_guide__source="simulated")
    out, before = again.run(), finished.folder / "explanations"
    for path in before.iterdir():
        if path.name not in ("presence.safetensors", "run.json"):
            assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert read_json(before / "run.json")["second_guide"] == "none"
    assert read_json(out / "run.json")["second_guide"] == "simulated"
    known, was = load_file(out / "presence.safetensors"), load_file(before / "presence.safetensors")
    assert "second_guide" not in was
    for name, matrix in was.items():
        np.testing.assert_array_equal(known[name], matrix)
    # what is left of its log odds without prior and concept is normal noise, of its own
    shown = known["presence"].astype(float)
    prior = logit(np.clip(shown.mean(axis=1, keepdims=True), 0.5 / N, 1 - 0.5 / N))
    noise = []
    for name, d in (("guide", 2.5), ("second_guide", 3.0)):
        odds = logit(known[name].astype(float))
        noise.append(((odds - prior + d**2 / 2) / d - d * shown).ravel())
    noise = np.array(noise)[:, np.isfinite(noise).all(axis=0)]
    assert noise.shape[1] > 1000
    np.testing.assert_allclose(noise.std(axis=1), 1, atol=0.1)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1


def test_the_same_study_is_the_same_bytes_in_any_order_of_texts(finished, again):
    header, *rows = TEXTS.strip().split("\n")
    again.texts("\n".join([header, *reversed(rows)]) + "\n")
    out = again.run()
    changed = {"texts.parquet"}  # it names the row of the file
    for path in sorted((finished.folder / "explanations").iterdir()):
        assert (path.read_bytes() == (out / path.name).read_bytes()) == (path.name not in changed), path.name


def test_without_texts_all_files_are_there_and_empty(again):
    again.texts(TEXTS.split("\n")[0] + "\n")
    again.params(
        **dict.fromkeys(["explanations__presence", "explanations__guide__source"], "none"),
        explanations__units=[],
        explanations__n_known=0,
    )
    out = again.run()
    for name in ("units", "texts", "scores", "pairs", "draws", "concepts"):
        assert read_parquet(out / f"{name}.parquet").empty, name
    assert len(read_parquet(out / "images.parquet")) == N
    assert (out / "questions.csv").read_text() == "page,position,text,image,path\n"
    assert load_file(out / "presence.safetensors") == {}
    assert load_file(out / "columns.safetensors")["values"].shape == (0, N)
    run = read_json(out / "run.json")
    assert (run["n_pairs"], run["n_questions"], run["cost"], run["simulated"]) == (0, 0, 0, False)
    assert json.loads((out / "pages.json").read_text())["pages"] == []


def test_texts_of_a_network_that_failed_stand_there_with_the_reason(again):
    shutil.copytree(again.folder / "activations", again.folder / "partly")
    (again.folder / "activations").unlink()
    (again.folder / "partly").rename(again.folder / "activations")
    with (again.folder / "activations" / "failures.csv").open("a") as file:
        file.write("lost,activations,broken\n")
    with (again.folder / "roster.csv").open("a") as file:
        row = (again.folder / "roster.csv").read_text().splitlines()[1]
        file.write(row.replace("tiny,", "lost,", 1) + "\n")
    again.texts(TEXTS + "lost,norm,0,people,,a star,\n")
    scores, pairs, draws = tables(again.run(), "scores", "pairs", "draws")
    assert scores[scores["model"] == "lost"]["reason"].tolist() == ["network failed"]
    lost = pairs[pairs["model"] == "lost"]
    assert lost["reason"].tolist() == ["network failed"]
    assert not draws["pair"].isin(lost["pair"]).any()


def test_people_can_be_asked_where_nothing_says_where_concepts_are(again):
    again.params(
        **dict.fromkeys(["explanations__presence", "explanations__guide__source"], "none"),
        explanations__make=[],
        explanations__n_known=0,
    )
    out = again.run()
    scores, pairs, draws, concepts = tables(out, "scores", "pairs", "draws", "concepts")
    assert set(scores["reason"]) == {"no presence"}
    assert len(pairs) == 4
    assert pairs["rho_true"].isna().all()
    assert len(draws) == 12 * (pairs["reason"] == "").sum()
    assert set(concepts["presence_source"]) == {""}
    assert pd.read_csv(out / "gold.csv").empty


def test_nobody_is_asked_where_there_are_to_be_no_ratings(again):
    again.params(crowd__source="none")
    out = again.run()
    pairs, draws = tables(out, "pairs", "draws")
    assert pairs["rho_guide_only"].notna().any()
    assert draws.empty
    assert pd.read_csv(out / "questions.csv").empty
    assert pd.read_csv(out / "gold.csv").empty
    assert read_json(out / "run.json")["cost"] == 0


@pytest.mark.parametrize("design_name", ["uniform", "mg_is", "ag_is", "adaptive"])
def test_other_designs_draw_as_published_or_a_first_wave(again, design_name, caplog):
    again.params(crowd__design=design_name)
    pairs, draws = tables(again.run(), "pairs", "draws")
    alive = (pairs["reason"] == "").sum()
    assert len(draws) == alive * (18 if design_name == "adaptive" else 12)
    np.testing.assert_allclose(draws["weight"] * draws["q"] * N, 1)
    if design_name == "uniform":
        assert (draws["q"] == 1 / N).all()
    assert ("1 rating of each" in caplog.text and "first wave alone" in caplog.text) == (design_name == "adaptive")
    if design_name == "adaptive":
        assert not draws.duplicated(["pair", "image"]).any()
    else:
        assert draws["weight"].max() <= 5 + 1e-9, "a fifth of the proposal is even"


def test_some_images_can_judge_and_a_method_can_be_named(again):
    again.params(explanations__n_images=40, explanations__holdout=0.3, crowd__methods=["people", "true"])
    out = again.run()
    images, texts, draws = tables(out, "images", "texts", "draws")
    assert len(images) == 40
    assert images["holdout"].sum() == 12
    assert images["image"].is_monotonic_increasing
    assert set(texts.loc[texts["pair"] >= 0, "method"]) == {"people", "true"}
    assert set(draws["image"]) <= set(images["image"])
    np.testing.assert_allclose(draws["weight"] * draws["q"] * 40, 1)


def test_labels_and_superclasses_say_where_concepts_are(again):
    (again.external / "superclasses.csv").write_text(
        "label,superclass\ncategory_00,even\ncategory_02,even\neven,all\ncategory_01,odd\ncategory_03,odd\nodd,all\n"
    )
    again.texts("model,layer,unit,method,text\ntiny,norm,0,a,category_01\ntiny,norm,0,b,even\ntiny,norm,0,c,all\n")
    again.params(
        explanations__presence="labels",
        explanations__guide__source="none",
        explanations__n_known=0,
        explanations__make=["best"],
    )
    out = again.run()
    concepts, scores, texts = tables(out, "concepts", "scores", "texts")
    known = dict(zip(concepts["concept"], load_file(out / "presence.safetensors")["presence"], strict=True))
    labels = open_images(again.folder / "images").manifest["label"]
    np.testing.assert_array_equal(known["category_01"], labels == "category_01")
    np.testing.assert_array_equal(known["even"], labels.isin(["category_00", "category_02"]))
    assert (known["all"] == 1).all()
    assert scores.set_index("method").loc["c", "reason"] == "concept alike in all images"
    assert set(scores["presence_source"]) == {"labels"}
    best = texts[texts["method"] == "best"]["text"]
    assert set(best) <= {*labels, "even", "odd", "all"}
    again.texts("model,layer,unit,method,text\ntiny,norm,0,a,category_1\n")
    with pytest.raises(
        Exception, match=r"texts.csv: row 2: text names the concept 'category_1', .*did you mean 'category_01'"
    ):
        again.run()


def guide_rows(concepts, n=N, seed=0):
    values = np.random.default_rng(seed).random((len(concepts), n)).round(4)
    return pd.DataFrame(
        [(text, image, values[row, image]) for row, text in enumerate(concepts) for image in range(n)],
        columns=["text", "image", "probability"],
    )


def test_files_give_presence_and_a_guide_that_gold_calibrates(again):
    again.texts("model,layer,unit,method,text\ntiny,norm,0,a,one\ntiny,norm,3,a,two\n")
    presence, guide = guide_rows(["one", "two", "three"]), guide_rows(["one", "two", "three"], seed=1)
    presence.to_parquet(again.external / "presence" / "p.parquet", index=False)
    guide.to_csv(again.external / "guide" / "g.csv", index=False)
    off = {"explanations__n_known": 0, "explanations__presence": "file", "explanations__guide__source": "file"}
    again.params(**off)
    out = again.run()
    concepts, texts = tables(out, "concepts", "texts")
    assert set(concepts["guide_status"]) == {"not calibrated"}
    assert set(texts["text"]) <= {"one", "two", "three"} | set(texts.loc[texts["kind"] == "linear", "text"])
    known = load_file(out / "presence.safetensors")
    np.testing.assert_allclose(known["presence"][0], presence[presence["text"] == "one"]["probability"], atol=1e-7)
    raw = known["guide"][0].astype(float)
    gold = pd.DataFrame({"text": "one", "image": range(40), "label": (raw[:40] > 0.8).astype(int)})
    gold.to_csv(again.external / "gold" / "labels.csv", index=False)
    for method in ("platt", "isotonic"):
        again.params(**off, explanations__guide__calibration=method)
        out = again.run()
        (concepts,) = tables(out, "concepts")
        assert set(concepts["guide_status"]) == {f"{method} on 40 gold labels"}
        fitted = load_file(out / "presence.safetensors")["guide"][0].astype(float)
        assert np.mean((fitted - (raw > 0.8)) ** 2) < np.mean((raw - (raw > 0.8)) ** 2)
        assert (np.diff(fitted[np.argsort(raw, kind="stable")]) >= 0).all()
    # labels of people are the gold questions, too
    asked = pd.read_csv(out / "gold.csv")
    assert set(asked["source"]) == {"labels"}
    assert asked["label"].value_counts().to_dict() == {0: 4, 1: 4}


def test_a_guide_can_stand_for_presence(again):
    again.texts("model,layer,unit,method,text\ntiny,norm,0,a,one\n")
    guide_rows(["one", *predicates.simple_texts()]).to_csv(again.external / "guide" / "g.csv", index=False)
    again.params(explanations__presence="guide", explanations__guide__source="file", explanations__n_known=0)
    out = again.run()
    known = load_file(out / "presence.safetensors")
    np.testing.assert_array_equal(known["presence"], known["guide"])
    concepts, pairs = tables(out, "concepts", "pairs")
    assert set(concepts["presence_source"]) == {"guide"}
    assert pairs["rho_true"].isna().all(), "a guide is no truth"
    assert not read_json(out / "run.json")["simulated"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            "tiny,none,0,m,,a star,",
            r"texts.csv: row 2: layer is 'none', but the layers of tiny that give units are norm, middle",
        ),
        ("tiny,norm,8,m,,a star,", r"texts.csv: row 2: unit is 8, but layer norm of tiny has the units 0 to 7"),
        ("controls,factor,99,m,,a star,", r"texts.csv: row 2: unit is 99, but layer factor of controls"),
        ("tiny,norm,0,m,,a stra,", r"texts.csv: row 2: text names the concept 'a stra'.*did you mean 'a star'"),
        (
            'tiny,norm,0,m,compositional,x,"{""not"": ""a stra""}"',
            r"texts.csv: row 2: formula names the concept 'a stra'",
        ),
        (
            "tiny,norm,1,best,,a star,",
            r"texts.csv: row 2: method is 'best', by which this study calls its own text of unit tiny/norm/1",
        ),
    ],
)
def test_texts_that_do_not_fit_the_study_are_refused(again, message, row, told):
    again.texts(f"model,layer,unit,method,kind,text,formula\n{row}\n")
    import re

    assert re.search(told, message(again.run))


def test_a_column_that_was_not_kept_asks_for_the_pass(again, message):
    again.texts("model,layer,unit,method,text\ntiny,norm,7,m,a star\n")
    told = message(again.run)
    assert "data/activations has no whole column of 1 units with texts, first tiny/norm/7" in told
    assert "dvc repro" in told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"explanations__n_images": 61}, "explanations.n_images is 61, but the study has 60 images"),
        ({"explanations__holdout": 0.1}, "explanations.holdout is 0.1, so 6 of 60 images judge texts; at least 10"),
        ({"explanations__holdout": 0.9}, "explanations.holdout is 0.9, so texts would be made from 6 of 60 images"),
        ({"crowd__n_images": 61}, "crowd.n_images is 61 with crowd.design systematic, which takes 61 different images"),
        ({"crowd__methods": ["peoples"]}, "crowd.methods names peoples, but no text is of that method; there are best"),
        ({"explanations__n_known": 500}, "explanations.n_known is 500, but layer mixture_0.5 of controls has 192"),
        ({"explanations__concepts": "w.txt"}, "holds 'a stra', and explanations.presence is factors"),
        (
            {"explanations__units": ["tiny/nrom/0"]},
            "explanations.units names tiny/nrom/0, which is no unit of this study",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(again, message, changes, told):
    (again.external / "w.txt").write_text("a stra\n")
    again.params(**changes)
    assert told in message(again.run)


def test_networks_that_parameters_name_must_be_there_before_the_pass(again, message):
    again.params(explanations__units=["tinny/*/0"])
    told = message(again.look)
    assert "explanations.units names 'tinny/*/0', whose network 'tinny' is none of" in told


def test_the_plan_of_a_guide_that_embeds_nothing_says_so(again, capsys):
    again.run(flags=["--plan"])
    assert "nothing is embedded" in capsys.readouterr().out


def test_the_folder_of_the_repository_is_described():
    folder = ROOT / "data/external/explanations"
    assert (folder / "README.md").read_text().startswith("# Texts that explain units")
    for name in ("presence", "guide", "gold", "ratings"):
        assert (folder / name / "README.md").is_file()
