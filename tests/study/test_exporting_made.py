"""Questions to people about units that images were made for: which units, what is shown, and what is never a query."""

import hashlib
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from interpretability.files import sha256_file
from interpretability.margins import cosine_margins, unit_rows
from interpretability.schema import KEY, MIXED, NATURAL, SYNTHETIC
from interpretability.tasks.synthetic import mixed_tasks, synthetic_tasks
from study.errors import StudyError
from study.files.sources import BESIDE_MADE, SIMULATED, THROUGH_ENCODER
from study.files.tables import read_json, read_parquet, write_json, write_parquet
from study.images.made import Pictures
from study.images.manifest import open_images
from study.people import analysing
from study.people.experiments import experiment_of
from study.tasks.made import sides_of
from tests.helpers import tiny_study
from tests.helpers.asked import ANNOTATED, export, make_study, manifest, row_of, rows, shown
from tests.helpers.made_images import fabricate

K, N_IMAGES = tiny_study.N_EXPLANATIONS, tiny_study.N_IMAGES
MADE = [("net", layer, unit) for layer in ("0.10", "0.2", "head") for unit in (0, 2, 4, 5, 6)]
FEW = "--practice=2", "--catch=1"
FLAGS = "--backend=null", "--conditions=natural,synthetic,mixed", *FEW


def of_made(data):
    """Images of noise for some units, tasks that show them, and scores of those under `null`."""
    pixels = np.load(data / "images/pixels.npy")
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels]
    table = read_parquet(data / "images/manifest.parquet").assign(digest=digests, path="")
    write_parquet(data / "images/manifest.parquet", table)
    write_json(data / "images/summary.json", {**read_json(data / "images/summary.json"), "source": "generated"})
    shutil.rmtree(data / "visualisations")  # of a study without made images
    fabricate(data / "visualisations", data / "images", MADE, n_images=K, size=8)
    images = read_parquet(data / "visualisations/images.parquet")
    sides = sides_of(images[images["seed_set"] == 0])
    path = data / "tasks/net.parquet"
    table, built = read_parquet(path), np.load(path.with_suffix(".npy"))
    place = {key: number for number, key in enumerate(table[["layer", "unit"]].itertuples(index=False, name=None))}
    order = [place[owner] for owner in sides]
    both = [np.stack([side[number] for side in sides.values()]) for number in (0, 1)]
    tasks = np.concatenate([synthetic_tasks(built[order], *both), mixed_tasks(built[order], *both)])
    more = pd.concat([table.iloc[order].assign(condition=name) for name in (SYNTHETIC, MIXED)], ignore_index=True)
    write_parquet(path, pd.concat([table, more], ignore_index=True))
    np.save(path.with_suffix(".npy"), np.concatenate([built, tasks]))
    # absolute values, so that there are easy tasks to practise on
    vectors = unit_rows(np.random.default_rng(1).normal(size=(N_IMAGES + len(images), 16)))
    margins = list(np.abs(cosine_margins(vectors, tasks, K)))
    scores = pq.read_table(data / "scores/null.parquet")
    added = more.assign(margins=margins, near=[np.empty(0, np.int16)] * len(more))
    first = pa.compute.equal(scores["model"], "net")
    parts = [scores.filter(first), pa.Table.from_pandas(added, schema=scores.schema, preserve_index=False)]
    pq.write_table(pa.concat_tables([*parts, scores.filter(pa.compute.invert(first))]), data / "scores/null.parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("study"))
    of_made(folder / "data")
    slope = {"slope": 5.0, "status": "calibrated"}
    write_json(folder / "data/calibration/slope.json", {"oracle": slope, "null": slope})
    # what observers said through the encoder, or beside it, leaves the units for people
    natural, synthetic = [(*key, NATURAL) for key in MADE], [(*key, SYNTHETIC) for key in MADE]
    parts = ((ANNOTATED, SIMULATED), (natural, BESIDE_MADE), (synthetic, THROUGH_ENCODER))
    human = pd.concat([pd.DataFrame(part, columns=KEY).assign(source=word) for part, word in parts], ignore_index=True)
    write_parquet(folder / "data/human/units.parquet", human)
    return folder


@pytest.fixture(scope="module")
def asked(study, tmp_path_factory):
    return export(study, tmp_path_factory.mktemp("out") / "asked", *FLAGS)


def of(folder, name, experiment):
    return [row for row in rows(folder, name) if row["experiment"] == experiment]


def test_the_same_units_with_made_images_are_asked_in_every_condition(asked):
    facts = {each["experiment"]: each for each in manifest(asked)["experiments"]}
    assert list(facts) == ["net_natural", "net_optimized", "net_mixed"]
    units = [[tuple(row[name] for name in KEY[:3]) for row in of(asked, "units", name)] for name in facts]
    assert units[0] == units[1] == units[2]
    assert len(units[0]) == 8
    assert set(units[0]) <= set(MADE) - {key[:3] for key in ANNOTATED}
    assert all(each["without_tasks"] == [] for each in facts.values())
    (network,) = manifest(asked)["networks"]
    assert network["n_candidates"] == len(set(MADE) - {key[:3] for key in ANNOTATED})
    assert network["n_annotated"] == len(ANNOTATED)
    for name, each in facts.items():
        found = experiment_of(name, ["net"], [NATURAL, SYNTHETIC, MIXED])
        assert (found.model, found.condition) == ("net", each["condition"])


def test_questions_show_the_made_images_of_the_unit_and_natural_queries(study, asked):
    table, built = read_parquet(study / "data/tasks/net.parquet", KEY), np.load(study / "data/tasks/net.npy")
    images = read_parquet(study / "data/visualisations/images.parquet").set_index("image")
    row = row_of(asked)
    for unit in of(asked, "units", "net_optimized"):
        place = table.index[(table[KEY] == [unit[name] for name in KEY]).all(axis=1)][0]
        for task in unit["tasks"]:
            right, left = ([row[file] for file in task[side]] for side in ("right", "left"))
            assert sorted(row[file] for file in shown(task)) == sorted(built[place, task["task"]])
            for side, word in ((right, "max"), (left, "min")):
                of_side = images.loc[side]
                assert set(of_side["side"]) == {word}
                assert set(of_side["unit"]) == {unit["unit"]}
                assert set(of_side["seed_set"]) == {0}
            assert max(row[task["top"]], row[task["bottom"]]) < N_IMAGES


@pytest.mark.parametrize("name", ["questions", "practice", "catch"])
def test_no_made_image_is_a_query(asked, name):
    row = row_of(asked)
    queries = [row[question[side]] for question in rows(asked, name) for side in ("top", "bottom")]
    assert queries
    assert max(queries) < N_IMAGES


def test_catch_trials_show_their_queries_among_made_explanations(asked):
    row = row_of(asked)
    (trial,) = of(asked, "catch", "net_optimized")
    wrong = trial["bottom" if trial["answer"] == "top" else "top"]
    assert (row[trial[trial["answer"]]], row[wrong]) == (row[trial["right"][0]], row[trial["left"][0]])
    rest = [row[file] for side in ("right", "left") for file in trial[side][1:]]
    assert min(rest) >= N_IMAGES, "the others are made"
    (mixed,) = of(asked, "catch", "net_mixed")
    assert row[mixed["right"][0]] == row[mixed[mixed["answer"]]]


def test_pictures_are_those_that_were_made_and_their_names_tell_nothing(study, asked):
    pictures = Pictures.open(open_images(study / "data/images"), study / "data/visualisations")
    listed = pd.read_csv(asked / "images.csv")
    made = listed[listed["image"] >= N_IMAGES]
    assert len(made) >= 8 * 2 * K, "those of the eight units"
    for row in made.to_dict("records"):
        seen = np.asarray(Image.open(asked / row["file"]).convert("RGB"))
        np.testing.assert_array_equal(seen, pictures.pixels(row["image"]))
    names = listed["file"].str.extract(r"^images/([0-9a-f]{16})\.png$")[0]
    assert names.notna().all()
    ranks = listed.assign(name=names).sort_values("name")["image"].to_numpy()
    # natural and made pictures lie among each other in the order of their names
    assert (np.diff((ranks >= N_IMAGES).astype(int)) != 0).sum() > 10
    digest = manifest(asked)["inputs"]["visualisations/run.json"]
    assert digest == sha256_file(study / "data/visualisations/run.json")


def test_answers_match_by_condition(asked, tmp_path):
    of_question = {task["question"]: (unit, task) for unit in rows(asked, "units") for task in unit["tasks"]}
    given = []
    for session in rows(asked, "sessions"):
        for question in session["questions"]:
            unit, task = of_question[question]
            wrong = {"top": "bottom", "bottom": "top"}[task["answer"]]
            right = unit["condition"] != SYNTHETIC
            given.append((question, session["session"], task["answer"] if right else wrong))
    pd.DataFrame(given, columns=["question", "participant", "choice"]).to_csv(tmp_path / "answers.csv", index=False)
    found = analysing.analyse(tmp_path / "answers.csv", asked, n_bootstrap=100)
    means = found.groups.groupby("condition")["his_mean"].mean().to_dict()
    assert means == {NATURAL: 1, SYNTHETIC: 0, MIXED: 1}


def test_natural_questions_alone_do_not_look_at_made_images(study, tmp_path):
    out = export(study, tmp_path / "out", "--backend=null", *FEW)
    assert manifest(out)["networks"][0]["n_candidates"] == 24 - len(ANNOTATED)
    assert "visualisations/run.json" not in manifest(out)["inputs"]


def test_what_cannot_be_asked_is_named(study, tmp_path):
    with pytest.raises(StudyError, match=r"--conditions names synthetic, of which oracle scores no task of net"):
        export(study, tmp_path / "out", "--conditions=synthetic", *FEW)
    with pytest.raises(StudyError, match=r"net has 13 units that nobody answered and that have made images; groups"):
        export(study, tmp_path / "out", *FLAGS, "--units=6", "--random=3")
    with pytest.raises(
        StudyError, match=r"--conditions names synthetic; other has tasks of natural.*visualisations.units"
    ):
        export(study, tmp_path / "out", "--conditions=synthetic", "--models=net,other", "--backend=null")


def test_images_made_beside_other_pictures_are_refused(study, tmp_path):
    run = study / "data/visualisations/run.json"
    before = run.read_bytes()
    write_json(run, {**read_json(run), "manifest": "0"})
    try:
        with pytest.raises(StudyError, match="were made beside other pictures"):
            export(study, tmp_path / "out", *FLAGS)
    finally:
        run.write_bytes(before)
