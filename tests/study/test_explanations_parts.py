"""Parts of the stage `explanations`: images that judge, matrices in files, gold questions, labels, and rules of parameters."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import expit, logit

from interpretability.explanations import formulas
from study.errors import StudyError
from study.explanations import guide, pages
from study.explanations.asking import number_pairs
from study.explanations.columns import matching
from study.explanations.concepts import OfLabels
from study.explanations.images import Probing, probing_images
from study.explanations.matrices import Matrix, write_matrices
from study.explanations.readers import LABEL, read_said
from study.explanations.scoring import Scorer, control_rows
from study.networks.unit_lists import Named
from study.params.explanations import Guide
from study.params.whole import load_params


def test_more_images_keep_those_that_fewer_had():
    few, more, every = (probing_images(500, n, 0.5, 3) for n in (100, 300, 0))
    assert len(few) == 100
    assert set(few.rows) < set(more.rows) < set(every.rows)
    assert few.holdout.sum() == 50
    assert (np.diff(few.rows) > 0).all()
    # whether an image judges or is made use of is its own property, as far as shares allow
    both = np.isin(more.rows, few.rows)
    same = more.holdout[both] == few.holdout
    assert same.mean() > 0.9
    assert probing_images(500, 100, 0.5, 4).rows.tolist() != few.rows.tolist()


def test_places_of_images_are_found():
    images = Probing(np.array([2, 5, 9], np.int32), np.ones(3, bool))
    assert images.places(np.array([9, 1, 2, 100, 5])).tolist() == [2, -1, 0, -1, 1]
    assert Probing(np.empty(0, np.int32), np.empty(0, bool)).places(np.array([1])).tolist() == [-1]


def test_matrices_are_those_that_safetensors_writes(tmp_path):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    parts = {"one": (one.shape, [one[:2], one[2:6], one[6:]]), "two": (two.shape, [two])}
    write_matrices(tmp_path / "m.safetensors", parts)
    found = load_file(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(found["one"], one)
    np.testing.assert_array_equal(found["two"], two)
    matrix = Matrix(tmp_path / "m.safetensors", "one")
    assert matrix.shape == (7, 5)
    np.testing.assert_array_equal(matrix[3], one[3])
    np.testing.assert_array_equal(matrix[np.array([5, 0])], one[[5, 0]])
    save_file({"one": one}, tmp_path / "theirs.safetensors")
    np.testing.assert_array_equal(Matrix(tmp_path / "theirs.safetensors", "one")[:], one)


def test_matrices_may_be_empty_or_none(tmp_path):
    write_matrices(tmp_path / "m.safetensors", {"none": ((0, 9), [])})
    assert load_file(tmp_path / "m.safetensors")["none"].shape == (0, 9)
    assert Matrix(tmp_path / "m.safetensors", "none")[:].shape == (0, 9)
    write_matrices(tmp_path / "m.safetensors", {})
    assert load_file(tmp_path / "m.safetensors") == {}


@pytest.mark.parametrize("blocks", [[np.zeros((2, 3), np.float32)], [np.zeros((2, 4), np.float32)] * 2])
def test_rows_that_do_not_fit_are_refused_and_leave_no_file(tmp_path, blocks):
    with pytest.raises(ValueError, match="it must have"):
        write_matrices(tmp_path / "m.safetensors", {"x": ((2, 4), blocks)})
    assert not list(tmp_path.iterdir())


def test_superclasses_hold_by_way_of_others_and_in_rings():
    above = pd.DataFrame([("a", "b"), ("b", "c"), ("c", "a"), ("x", "c")], columns=["label", "superclass"])
    presence = OfLabels.of(["a", "x", "y"], above)
    assert OfLabels.of(["a  b", "a b", ""], above).row("a b").tolist() == [1, 1, 0]
    assert "" not in OfLabels.of(["a", ""], above).vocabulary
    assert presence.row("c").tolist() == [1, 1, 0]
    assert presence.row("a").tolist() == [1, 1, 0], "in a ring each belongs to all"
    assert presence.row("y").tolist() == [0, 0, 1]
    assert "b" in presence.vocabulary
    assert presence.problem("z")
    assert not presence.problem("x")


class Halves:
    """Presence of one concept in the first half of the images."""

    vocabulary = ("half",)

    def __init__(self, n):
        self.n = n

    def row(self, concept):
        return (np.arange(self.n) < self.n / 2).astype(np.float32)


def test_a_simulated_guide_is_calibrated_by_construction():
    """Among images of about one probability that share shows the concept."""
    n = 60_000
    images = Probing(np.arange(n, dtype=np.int32), np.ones(n, bool))
    made = guide.simulated_guide(Halves(n), images, 1.5, 0)
    probability = made.row("half").astype(float)
    present = Halves(n).row("half")
    edges = np.quantile(probability, np.linspace(0, 1, 11))
    for low, high in pairwise(edges):
        inside = (probability >= low) & (probability <= high)
        assert probability[inside].mean() == pytest.approx(present[inside].mean(), abs=0.02)
    # the log odds of images with and without it are normal, 1.5 standard deviations apart
    odds = logit(probability)
    assert odds[: n // 2].mean() - odds[n // 2 :].mean() == pytest.approx(1.5**2, abs=0.05)
    assert odds[: n // 2].std() == pytest.approx(1.5, abs=0.05)


def test_a_simulated_guide_depends_on_concept_and_image_alone():
    every = Probing(np.arange(100, dtype=np.int32), np.ones(100, bool))
    some = Probing(np.arange(0, 100, 2, dtype=np.int32), np.ones(50, bool))
    whole, part = (guide.simulated_guide(Halves(len(images)), images, 2.0, 0) for images in (every, some))
    np.testing.assert_allclose(whole.row("half")[::2], part.row("half"), rtol=1e-6)
    assert (whole.row("half") != whole.row("other")).any()


def test_gold_of_people_counts_where_images_are_looked_at(tmp_path, caplog):
    images = Probing(np.arange(0, 20, 2, dtype=np.int32), np.ones(10, bool))
    said = expit(np.linspace(-3, 3, 10)).astype(np.float32)
    raw = guide.Guided("file", guide.UNCALIBRATED, lambda concept: said)
    rows = "".join(f"a,{image},{int(image > 9)}\n" for image in range(20))
    (tmp_path / "g.csv").write_text("text,image,label\n" + rows)

    class Settings:
        key, calibration, model = Guide.key, "platt", "x"

    found = guide.calibrated(raw, Settings, tmp_path, images, list(map(str, range(20))), score=False)
    assert found.status == "platt on 10 gold labels"
    assert "10 labels are of images that are not looked at and do not count" in caplog.text
    (tmp_path / "g.csv").write_text("text,image,label\na,0,1\na,2,1\n")
    with pytest.raises(StudyError, match="cannot be calibrated on the 2 labels"):
        guide.calibrated(raw, Settings, tmp_path, images, list(map(str, range(20))), score=False)
    (tmp_path / "g.csv").unlink()
    with pytest.raises(StudyError, match=r"explanations.guide.calibration is platt, but .* holds no labels"):
        guide.calibrated(raw, Settings, tmp_path, images, list(map(str, range(20))), score=False)


PAIRS = pd.DataFrame(
    {"pair": [0, 1], "model": "m", "layer": "l", "unit": [0, 1], "text": ["a", "b"], "reason": ["", ""]}
)
DRAWS = pd.DataFrame({"pair": [0, 0, 0, 1], "draw": [0, 1, 2, 0], "image": [3, 3, 5, 3], "q": 0.1, "weight": 1.0})
TEN = Probing(np.arange(10, dtype=np.int32), np.ones(10, bool))


def test_gold_labels_of_texts_that_are_asked_are_chosen_evenly(tmp_path, caplog):
    rows = "".join(f"{text},{image},{image % 2}\n" for text in "abc" for image in range(10))
    (tmp_path / "g.csv").write_text("text,image,label\n" + rows)
    said = read_said(tmp_path, LABEL, list(map(str, range(10))))
    gold = pages.gold_of_labels(PAIRS, said, TEN, 3, 0)
    assert set(gold["text"]) <= {"a", "b"}
    assert gold["label"].value_counts().to_dict() == {0: 3, 1: 3}
    assert (gold["image"] % 2 == gold["label"]).all()
    assert not caplog.records
    every = pages.gold_of_labels(PAIRS, said, TEN, 100, 0)
    assert len(every) == 20
    assert "only 10 of 100 gold questions have label 1" in caplog.text
    assert pages.gold_of_labels(PAIRS, said, Probing(TEN.rows[:0], TEN.holdout[:0]), 3, 0).empty


class Rare:
    """Nothing is in more than one image."""

    def row(self, concept):
        return (np.arange(10) == (7 if concept == "a" else 3)).astype(np.float32)


def test_gold_that_is_asked_anyway_is_no_gold():
    gold = pages.gold_of_presence(PAIRS, DRAWS, Rare(), "factors", TEN, 2, 0)
    # image 3 shows b, and was drawn for it
    assert gold[gold["label"] == 1][["text", "image"]].to_numpy().tolist() == [["a", 7]]
    assert (gold["label"] == 0).sum() == 2
    drawn = set(DRAWS.merge(PAIRS, on="pair")[["text", "image"]].itertuples(index=False, name=None))
    assert not drawn & set(gold[["text", "image"]].itertuples(index=False, name=None))


def test_a_picture_is_asked_once_a_text_and_other_draws_are_another_study():
    paths = [f"p{image}" for image in range(10)]
    asked = pages.questions_of(PAIRS, DRAWS, pages.no_gold(), paths, 15, 0)
    assert sorted(asked.table[["text", "image"]].itertuples(index=False, name=None)) == [("a", 3), ("a", 5), ("b", 3)]
    assert asked.table["page"].nunique() == 2
    other = pages.questions_of(PAIRS, DRAWS.assign(q=[0.1, 0.1, 0.2, 0.1]), pages.no_gold(), paths, 15, 0)
    assert other.study != asked.study
    renamed = pages.questions_of(PAIRS.assign(text=["a", "c"]), DRAWS, pages.no_gold(), paths, 15, 0)
    assert renamed.study != asked.study


def test_the_same_text_of_two_methods_is_one_pair():
    texts = pd.DataFrame(
        [("m", "l", 0, "x", "simple", "a"), ("m", "l", 0, "y", "simple", "a"), ("m", "l", 1, "x", "linear", "a")],
        columns=["model", "layer", "unit", "method", "kind", "text"],
    )
    pairs, number = number_pairs(texts, [])
    assert pairs.to_numpy().tolist() == [[0, "m", "l", 0, "a"]]
    assert number.tolist() == [0, 0, -1]
    pairs, number = number_pairs(texts, ["y"])
    assert number.tolist() == [-1, 0, -1]
    with pytest.raises(StudyError, match=r"crowd.methods names z, but no text is of that method; there are x, y"):
        number_pairs(texts, ["z"])


def test_controls_come_from_the_layer_or_else_the_network():
    texts = pd.DataFrame(
        [
            *[("m", "l", unit, "x", f"t{unit}") for unit in range(3)],
            ("m", "k", 0, "x", "t0"),
            ("n", "l", 0, "x", "t0"),
            ("m", "l", 0, "y", "t5"),
        ],
        columns=["model", "layer", "unit", "method", "text"],
    )
    found = control_rows(texts, 0)
    assert set(found[:3]) == {0, 1, 2}
    assert found[3] in (1, 2), "another text of the network, that says something else"
    assert found[4] == -1
    assert found[5] == -1


def test_scores_do_not_depend_on_what_is_scored_beside_them(tmp_path):
    rng = np.random.default_rng(0)
    presence = (rng.random((4, 300)) < 0.3).astype(np.float32)
    write_matrices(tmp_path / "p.safetensors", {"presence": (presence.shape, [presence])})
    values, images = rng.normal(size=(3, 300)).astype(np.float32), rng.random(300) < 0.5
    scorer = Scorer(values, Matrix(tmp_path / "p.safetensors", "presence"), list("abcd"), images)
    texts = [formulas.parse("simple", text, "") for text in "abcd" * 30]
    units = rng.integers(0, 3, 120)
    whole = scorer.scores(texts, units)
    for place in (0, 63, 64, 119):
        alone = scorer.scores([texts[place]], units[[place]])
        assert alone.rho[0] == whole.rho[place]
        assert alone.se[0] == whole.se[place]


LAYERS = pd.DataFrame({"model": ["net", "net", "other"], "layer": ["a", "b/c", "a"], "width": [3, 9, 2]})


def test_entries_name_units():
    def found(*entries, networks=("net", "other")):
        return matching(entries, LAYERS, networks).to_numpy().tolist()

    assert found("net/a/*") == [["net", "a", 0], ["net", "a", 1], ["net", "a", 2]]
    assert found("*/*/1") == [["net", "a", 1], ["net", "b/c", 1], ["other", "a", 1]]
    assert found("*/a/1", "net/a/1") == [["net", "a", 1], ["other", "a", 1]]
    assert found("*/*/9") == []
    assert found("*/a/0", networks=("other",)) == [["other", "a", 0]]
    with pytest.raises(StudyError, match=r"explanations.units names net/a/9, which is no unit"):
        found("net/a/9")


def test_units_of_texts_that_a_network_lacks_are_passed_over_in_the_pass():
    named = Named(("*/a/1",), (("net", "a", 0), ("net", "a", 99), ("other", "a", 2)))
    owners = [("a", 0), ("a", 1), ("b", 0)]
    assert named.indices("net", owners) == [0, 1]
    assert not Named()


def problems(study, **changes):
    with pytest.raises(StudyError) as caught:
        load_params(study.params(**changes))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"explanations__presence": "factors", "images__source": "folder", "human__source": "none"},
            "explanations.presence is factors, but images.source is folder",
        ),
        (
            {"explanations__n_known": 3, "images__source": "folder", "human__source": "none"},
            "explanations.n_known is 3, but images.source is folder: only generated scenes have factors",
        ),
        ({"explanations__presence": "guide"}, "explanations.presence is guide, but explanations.guide.source is none"),
        ({"explanations__guide__source": "simulated"}, "which needs exact presence, but explanations.presence is none"),
        (
            {
                "explanations__presence": "factors",
                "explanations__guide__source": "simulated",
                "explanations__guide__calibration": "platt",
            },
            "a simulated guide is calibrated by construction",
        ),
        (
            {"explanations__guide__source": "open_clip", "explanations__guide__template": "a photo"},
            "explanations.guide.template is 'a photo', it must hold * once",
        ),
        (
            {"explanations__second_guide__source": "simulated"},
            "explanations.second_guide.source is simulated, which needs exact presence",
        ),
        (
            {"explanations__second_guide__source": "open_clip"},
            "explanations.second_guide.source is open_clip, but explanations.guide.source is none, so there is no guide",
        ),
        (
            {
                **{f"explanations__{name}__source": "open_clip" for name in ("guide", "second_guide")},
                **{f"explanations__{name}__model": "ViT-B-32" for name in ("guide", "second_guide")},
            },
            "explanations.second_guide names ViT-B-32 with webli, as explanations.guide does; name another network",
        ),
        (
            {"explanations__second_guide__source": "file"},
            "explanations.second_guide.source",
        ),
        ({"explanations__units": ["*/*/0"]}, "explanations.presence is none, so there is nothing to make them of"),
        (
            {"explanations__units": ["*/*/0"], "explanations__presence": "labels", "explanations__holdout": 1},
            "explanations.holdout is 1, so no image is left",
        ),
        (
            {"explanations__units": ["*/*/0"], "explanations__presence": "labels"},
            "explanations.make names le_guide, but explanations.guide.source is none",
        ),
        ({"explanations__make": ["bets"]}, "explanations.make names 'bets'; there are best, invert"),
        (
            {"explanations__units": ["net/5"]},
            "explanations.units names 'net/5', it must have the form model/layer/unit",
        ),
        ({"crowd__design": "mg_is"}, "crowd.design is mg_is, which draws images by a guide"),
    ],
)
def test_parameters_of_texts_must_fit_each_other(study, changes, told):
    assert told in problems(study, **changes)
