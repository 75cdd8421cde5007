"""The composed calls of the library: the very numbers of a study, and what they promise beside."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import interpretability as it
from interpretability.extremes.selection import Extremes
from interpretability.margins import cosine_margins, unit_rows
from interpretability.mis import unit_scores
from interpretability.people.ceiling import ceiling_table
from interpretability.randomness import unit_keys
from interpretability.schema import KEY
from interpretability.tasks import hard, natural, rules
from stages import mis, scores
from study.files.tables import read_parquet, write_json, write_parquet
from study.images.manifest import open_images
from study.params.whole import load_params
from study.solving import embeddings, opening
from study.tasks.harder import kept_columns
from tests.conftest import PREPROCESSING, Study

SCORES = ["mis", "mis_se", "accuracy", "margin_mean", "margin_sd"]
N_TASKS, K, SLOPE = 2, 4, 5.0
SIMILARITIES = ("pixel", "oracle", "null", "encoder")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A study of one network up to data/mis; every column of its values is kept, and one unit is constant."""
    made = Study(tmp_path_factory.mktemp("scored"))
    made.params(activations__keep=["tiny/*/*"], scores__backends=list(SIMILARITIES), scores__encoder__layer="middle")
    made.roster(
        {"name": "tiny", "kwargs": json.dumps({"dead": [2]})},
        {"name": "encoder", "kwargs": json.dumps({"width": 5}), "role": "similarity"},
    )
    for run in (made.run_images, made.run_models, made.run_activations, made.run_tasks):
        run()
    (made.folder / "scores").mkdir()
    for name in SIMILARITIES:
        flags = made._flags("params.yaml", "tasks", "images", "models", "code")
        scores.main(
            [
                *flags,
                "--backend",
                name,
                "--out",
                str(made.folder / "scores" / f"{name}.parquet"),
                "--cost",
                str(made.folder / f"{name}.json"),
            ]
        )
    (made.folder / "calibration").mkdir()
    write_json(made.folder / "calibration/slope.json", {name: {"slope": SLOPE} for name in SIMILARITIES})
    none = pd.DataFrame({"model": "", "layer": "", "unit": 0, "condition": ""}, index=range(0))
    write_parquet(made.folder / "calibration/split.parquet", none)
    mis.main([*made._flags("params.yaml", "scores", "calibration"), "--out", str(made.folder / "mis")])
    return made


def expected(scored, similarity):
    units = read_parquet(scored.folder / "mis/units.parquet")
    return units[(units["backend"] == similarity) & (units["model"] == "tiny")].reset_index(drop=True)


def plan(scored, similarity):
    params = load_params(scored.folder / "params.yaml")
    return opening.SimilarityPlan.from_params(
        similarity, params, scored.folder / "images", scored.folder / "models", scored.code
    )


def same_bits(found, wanted):
    assert found["unit"].tolist() == wanted["unit"].tolist()
    assert found["layer"].tolist() == wanted["layer"].tolist()
    for name in SCORES:
        assert found[name].to_numpy().tobytes() == wanted[name].to_numpy().tobytes(), name


@pytest.mark.parametrize("raw", [True, False], ids=["as embedded", "as the study keeps them"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_score_units_gives_the_very_bits_of_a_study(scored, similarity, raw):
    columns, judged = kept_columns(scored.folder / "activations" / "kept", "tiny"), plan(scored, similarity)
    opened, images = opening.similarity_and_images(judged)
    if raw:
        size = opened.batch_size
        rows = np.concatenate(
            [opened.embed(np.arange(start, min(start + size, len(images)))) for start in range(0, len(images), size)]
        )
    else:
        rows = embeddings.embedded_images(judged, embeddings.WorkStore.open()).open()
    wanted, count = expected(scored, similarity), 0
    for layer, table in wanted.groupby("layer", sort=False):
        width = int(table["width"].iloc[0])
        activations = np.stack([columns[layer, unit] for unit in range(width)], axis=1)
        found = it.score_units(
            activations, rows, n_tasks=N_TASKS, n_explanations=K, slope=SLOPE, model="tiny", layer=layer
        )
        same_bits(found[~found["constant"]], table)
        assert found.loc[found["constant"], "unit"].tolist() == ([2] if layer == "middle" else [])
        assert found.loc[found["constant"], SCORES].isna().all(axis=None)
        count += len(table)
    assert count == len(wanted) == 13


@pytest.mark.parametrize("similarity", ["pixel", "encoder"])
def test_score_network_gives_the_very_bits_of_a_study(scored, similarity):
    from study.networks.building import load_network
    from study.networks.roster import read_roster

    row, other = read_roster(scored.folder / "models/roster.csv").to_dict("records")[:2]
    network = load_network(row, scored.folder / "models", scored.code, 0)
    images, judged = open_images(scored.folder / "images"), similarity
    if similarity == "encoder":
        encoder = load_network(other, scored.folder / "models", scored.code, 0)
        judged = it.open_similarity(
            "encoder", images, network=encoder.model, layer="middle", preprocessing=json.loads(PREPROCESSING)
        )
    found = it.score_network(
        network.model,
        images,
        similarity=judged,
        slope=SLOPE,
        preprocessing=json.loads(PREPROCESSING),
        name="tiny",
        n_tasks=N_TASKS,
        n_explanations=K,
        batch_size=16,
    )
    wanted = expected(scored, similarity)
    same_bits(found[~found["constant"]], wanted)
    for name in ("layer_type", "layer_index", "depth", "width"):
        assert found.loc[~found["constant"], name].tolist() == wanted[name].tolist()
    assert found["slope_from"].unique().tolist() == ["given"]
    assert (found["slope"] == SLOPE).all()


class Noise:
    """60 images of 16 pixels."""

    def __len__(self):
        return 60

    def pixels(self, row):
        return np.random.default_rng(row).integers(0, 256, (16, 16, 3), dtype=np.uint8)


SHOWN = {"crop": 16, "resize": 16, "mean": [0.5] * 3, "std": [0.5] * 3}


def network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Conv2d(4, 5, 3),
        torch.nn.Dropout(0.5),
    )


def test_a_network_is_left_as_it_was():
    model = network()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    it.score_network(
        model, Noise(), similarity="pixel", preprocessing=SHOWN, n_tasks=2, n_explanations=2, drop_first_last=False
    )
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("one_sided", [False, True])
def test_a_network_is_scored_as_its_units_are_in_either_kind_of_tasks(one_sided):
    from interpretability.networks.preprocessing import preprocessing_of

    model, images = network().eval(), Noise()
    batch = preprocessing_of(model, SHOWN).batch([images.pixels(row) for row in range(len(images))], "cpu")
    options = {"n_tasks": 5, "n_explanations": 2, "seed": 3, "one_sided": one_sided}
    found = it.score_network(
        model,
        images,
        similarity="pixel",
        preprocessing=SHOWN,
        drop_first_last=False,
        name="net",
        batch_size=60,
        **options,
    )
    rows = it.open_similarity("pixel", images).embed(np.arange(len(images)))
    layers = it.find_layers(model, batch[:3], drop_first_last=False)
    with it.Capture(model, layers, len(images), "cpu") as capture:
        values = np.split(capture(batch).numpy(), np.cumsum([layer.width for layer in layers])[:-1], axis=1)
    for layer, columns in zip(layers, values, strict=True):
        wanted = it.score_units(columns, rows, model="net", layer=layer.name, **options)
        same_bits(found[found["layer"] == layer.name], wanted)


def test_a_similarity_without_a_published_slope_is_not_calibrated():
    options = {"preprocessing": SHOWN, "n_tasks": 2, "n_explanations": 2, "drop_first_last": False}
    units = it.score_network(network(), Noise(), similarity="pixel", **options)
    assert units["slope_from"].unique().tolist() == ["not calibrated"]
    assert units["slope"].unique().tolist() == [6.25]
    published = it.open_similarity("pixel", Noise())
    type(published).published_slope = 3.0
    try:
        units = it.score_network(network(), Noise(), similarity=published, **options)
    finally:
        type(published).published_slope = None
    assert units["slope_from"].unique().tolist() == ["published"]
    assert units["slope"].unique().tolist() == [3.0]


def test_a_network_of_timm_needs_no_preprocessing():
    import timm

    model = timm.create_model("test_resnet", num_classes=0)
    units = it.score_network(model, Noise(), similarity="pixel", n_tasks=2, n_explanations=2, layer_types=("Conv",))
    assert set(units["layer_type"]) == {"Conv"}
    assert units["mis"].between(0, 1).all()


def test_a_bad_value_is_named_by_layer_and_unit():
    model = network()
    model[3].weight.data[2] = float("nan")
    with pytest.raises(it.InputError, match=r"unit 2 of layer 3 of model has the value nan for image 0 of images"):
        it.score_network(
            model, Noise(), similarity="pixel", preprocessing=SHOWN, n_tasks=2, n_explanations=2, drop_first_last=False
        )


def test_units_do_not_depend_on_threads_layout_or_type():
    draw = np.random.default_rng(0)
    activations, embeddings = draw.integers(0, 3, (300, 7)).astype(np.float32), draw.standard_normal((300, 9))
    size = {"n_tasks": 3, "n_explanations": 2}
    once = it.score_units(activations, embeddings, threads=1, **size)
    for values in (np.asfortranarray(activations), activations.astype(np.float64), activations.astype(np.int64)):
        pd.testing.assert_frame_equal(it.score_units(values, embeddings, threads=3, **size), once, check_exact=True)
    pd.testing.assert_frame_equal(it.score_units(activations, 7 * embeddings, **size), once, rtol=1e-6)
    assert once.columns.tolist() == ["model", "layer", "unit", *SCORES, "n_tasks", "constant"]


def test_ties_are_ordered_by_the_keys_of_the_units():
    """Units with 95 % exact zeros, whose lower side is all ties: the order of images is that of each unit's own key."""
    draw = np.random.default_rng(3)
    activations = np.maximum(draw.standard_normal((600, 5)) - 1.6, 0).astype(np.float32)
    embeddings = unit_rows(draw.standard_normal((600, 8)).astype(np.float32))
    keys = unit_keys(7, "m", "l", np.arange(5))
    extremes = Extremes(keys, 10)
    extremes.update(activations, np.arange(600))
    ranked = extremes.ranked()
    assert (ranked.bottom_values == 0).all()
    tasks = natural.build(ranked.top_images, ranked.bottom_images, keys, 2, 4)
    expected = unit_scores(cosine_margins(embeddings, tasks, 4), 6.25)
    units = it.score_units(activations, embeddings, n_tasks=2, n_explanations=4, seed=7, model="m", layer="l")
    for name in ("mis", "mis_se", "accuracy", "margin_mean", "margin_sd"):
        np.testing.assert_array_equal(units[name], expected[name])


def test_half_precision_embeddings_are_taken_as_they_are_kept():
    draw = np.random.default_rng(0)
    activations, rows = draw.standard_normal((300, 4)), unit_rows(draw.standard_normal((300, 9)))
    size = {"n_tasks": 3, "n_explanations": 2}
    half = it.score_units(activations, rows.astype(np.float16), **size)
    np.testing.assert_allclose(half["mis"], it.score_units(activations, rows, **size)["mis"], atol=2e-3)


def test_steps_give_the_composed_call():
    draw = np.random.default_rng(0)
    activations, embeddings = draw.standard_normal((300, 4)), draw.standard_normal((300, 9))
    keys = unit_keys(3, "net", "conv", np.arange(4))
    ranked = it.rank_images(activations, 9, keys)
    margins = it.task_margins(embeddings, it.build_tasks(ranked, keys, 3, 2), 2)
    units = it.score_units(activations, embeddings, n_tasks=3, n_explanations=2, seed=3, model="net", layer="conv")
    np.testing.assert_array_equal(it.unit_scores(margins, 6.25)["mis"], units["mis"])


def test_hard_tasks_are_those_of_a_study():
    values = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)
    keys = unit_keys(0, "net", "conv", np.arange(4))
    found = it.hard_tasks(values, keys, "hard85", 3, 2)
    wanted, *_ = hard.tasks_from_rank(values.T, keys, rules.window_start(300, "hard85", 3, 2), 3, 2)
    np.testing.assert_array_equal(found, wanted)


# ---- images and similarities


def test_a_folder_has_the_rows_of_a_study(photographs, study):
    folder = photographs(24)
    study.params(images__source="folder", images__root=str(folder), human__source="none")
    (folder / "note.txt").write_text("no image")
    study.run_images()
    images, theirs = it.ImageFolder(folder), open_images(study.folder / "images", str(folder))
    assert images.names == theirs.manifest["path"].tolist()
    for row in (0, 23):
        np.testing.assert_array_equal(images.pixels(row), theirs.pixels(row))


def test_a_broken_file_is_named(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "whole.png").read_bytes()[:40])
    images = it.ImageFolder(tmp_path)
    with pytest.raises(it.InputError, match=r"broken\.png cannot be read as an image \(.+\); remove it$"):
        images.pixels(images.names.index("broken.png"))


def test_every_family_takes_its_own_options_only():
    with pytest.raises(it.InputError) as caught:
        it.open_similarity("pixel", Noise(), size=64)
    assert str(caught.value) == "similarity pixel has no option size; it has aggregation, softmax_temperature, uncut"


def test_margins_without_prepared_rows_are_those_with_them():
    judge, tasks = it.open_similarity("null", Noise(), seed=1), np.array([[[5, 9, 9, 30]], [[0, 1, 2, 3]]])
    rows = unit_rows(judge.embed(np.arange(60)))
    np.testing.assert_array_equal(judge.margins(tasks, 1), judge.margins(tasks, 1, rows))
    assert judge.nearest(tasks, 1)[0, 0] == pytest.approx(1)


# ---- people


def answered(n_units=12, conditions=("natural",), seed=0):
    draw = np.random.default_rng(seed)
    rows = [
        (
            "net",
            "conv",
            unit,
            condition,
            task % 10,
            f"person {(unit + task) % 20}",
            int(draw.random() < 0.5 + unit / 30),
        )
        for condition in conditions
        for unit in range(n_units)
        for task in range(20)
    ]
    return pd.DataFrame(rows, columns=[*KEY, "task", "participant", "correct"])


def test_comparison_is_that_of_a_study_and_needs_no_condition():
    answers = answered()
    units = pd.DataFrame({"model": "net", "layer": "conv", "unit": range(14), "mis": np.linspace(0.5, 0.9, 14)})
    table = it.compare_with_people(units, answers.drop(columns="condition"), n_bootstrap=50)
    his = it.human_scores(answers)["his"]
    assert table["level"].tolist() == ["unit", "unit_within", "model"]
    assert table.loc[0, "pearson"] == pytest.approx(np.corrcoef(units["mis"][:12], his)[0, 1])
    assert table.loc[0, "pearson_low"] < table.loc[0, "pearson"] < table.loc[0, "pearson_high"]
    two = pd.concat([units.assign(similarity=name, in_split=units["unit"] < 3) for name in ("one", "other")])
    table = it.compare_with_people(two, answers, n_bootstrap=50)
    assert table["similarity"].unique().tolist() == ["one", "other"]
    assert set(table["units"]) == {"all", "outside_split"}
    assert table.loc[table["units"] == "outside_split", "n"].max() == 9


def test_ceiling_is_that_of_a_study():
    answers = answered(conditions=("natural", "hard85"))
    units = it.human_scores(answers)[KEY].assign(mis=np.linspace(0.5, 0.9, 24))
    found = it.noise_ceiling(units, answers, n_simulations=50)
    joined = units.merge(it.human_scores(answers)).assign(backend="", in_split=False)
    wanted = ceiling_table(joined, 0, 50, 0.95)
    of_both = found.merge(wanted, on=["subset", "variant"], suffixes=("", "_wanted"))
    assert len(of_both) == len(wanted)
    np.testing.assert_array_equal(of_both["mean"], of_both["mean_wanted"])
    assert {"V4w", "mixed"} <= set(found["variant"])
