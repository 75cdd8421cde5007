"""Texts by the labels of real photographs for units of a real network, where both lie beside the repository."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from stages import explanations, inputs
from study.files.tables import read_parquet
from tests.conftest import Study
from tests.study.test_realdata import REAL, row

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real data beside the repository")

ANIMALS = ("n01440764", "n02102040")  # a tench and an English springer
THINGS = ("n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413", "n03445777", "n03888257")
EACH = 24


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Explanations of a layer of SqueezeNet on the photographs of ten classes."""
    study = Study(tmp_path_factory.mktemp("real"))
    folder, external = study.folder, study.folder / "external"
    for label in (*ANIMALS, *THINGS):
        (folder / "photographs" / label).mkdir(parents=True)
        for path in sorted((REAL / "images" / label).iterdir())[:EACH]:
            (folder / "photographs" / label / path.name).symlink_to(path)
    external.mkdir()
    above = [(label, "animal") for label in ANIMALS] + [(label, "thing") for label in THINGS]
    pd.DataFrame(above, columns=["label", "superclass"]).to_csv(external / "superclasses.csv", index=False)
    network = {name: value for name, value in row("squeezenet").items() if name != "name"}
    study.roster({"name": "squeezenet", **network})
    changes = {
        "images__source": "folder",
        "images__root": str(folder / "photographs"),
        "human__source": "none",
        "scores__backends": ["pixel"],
        "models__roster": str(folder / "roster.csv"),
        "explanations__presence": "labels",
        "crowd__source": "table",
        "explanations__make": ["best", "invert", "le_label"],
        "explanations__length": 2,
        "explanations__units": ["squeezenet/features.12.expand3x3/*"],
        "activations__n_extremes": 20,
        "activations__batch_size": 50,
    }
    study.params(**{"sensitivity__models": [], **changes})
    look = [f"--params={folder / 'params.yaml'}", f"--code={folder / 'code'}", f"--explanations={external}"]
    inputs.main([*look, f"--out={folder / 'inputs'}"])
    (folder / "explained.csv").write_bytes((folder / "inputs" / "explained_units.csv").read_bytes())
    study.run_images()
    study.run_models()
    study.run_activations()
    flags = [f"--{name}={folder / name}" for name in ("images", "models", "activations")]
    flags += [f"--{name}={external / name}" for name in ("presence", "guide", "gold")]
    flags += [f"--params={folder / 'params.yaml'}", f"--texts={folder / 'inputs' / 'explanations'}"]
    explanations.main([*flags, f"--out={folder / 'explanations'}"])
    return folder / "explanations"


def test_labels_and_superclasses_are_where_the_folders_say(out):
    concepts = read_parquet(out / "concepts.parquet").set_index("concept")
    named = set(concepts.index)
    assert named <= {*ANIMALS, *THINGS, "animal", "thing"}
    for label in named & {*ANIMALS, *THINGS}:
        assert concepts.loc[label, "prevalence"] == pytest.approx(0.1)
    assert concepts.loc["animal", "prevalence"] == pytest.approx(0.2)


def test_texts_made_of_some_photographs_hold_on_others(out):
    """A late layer of a network that tells these classes apart answers to them, on photographs that no text was made from."""
    scores = read_parquet(out / "scores.parquet")
    assert (scores["n_images"] == 5 * EACH).all()
    alive = scores[scores["reason"] == ""]
    assert len(alive) > 0.9 * len(scores)
    means = alive.groupby("method")[["rho", "control_rho", "recall"]].mean()
    noise = 1 / np.sqrt(5 * EACH)
    for method in ("best", "le_label", "le_label_1"):
        assert means.loc[method, "rho"] > 2 * noise, method
        assert abs(means.loc[method, "control_rho"]) < means.loc[method, "rho"] / 2, method
    # what a sum of several labels predicts is nearer than one label
    assert means.loc["le_label", "rho"] > means.loc["le_label_1", "rho"]


def test_people_are_asked_without_a_guide(out):
    run = json.loads((out / "run.json").read_text())
    assert run["guide"] == "none"
    assert not run["simulated"]
    pairs, gold = read_parquet(out / "pairs.parquet"), pd.read_csv(out / "gold.csv")
    assert pairs["rho_guide_only"].isna().all()
    assert pairs["rho_true"].isna().all()
    assert set(load_file(out / "presence.safetensors")) == {"presence"}
    questions = pd.read_csv(out / "questions.csv").set_index(["text", "image"])
    labels = (
        questions.loc[list(gold[["text", "image"]].itertuples(index=False, name=None)), "path"].str.split("/").str[-2]
    )
    shown = np.where(
        gold["text"].isin(["animal"]),
        labels.isin(ANIMALS),
        np.where(gold["text"] == "thing", labels.isin(THINGS), labels == gold["text"].to_numpy()),
    )
    np.testing.assert_array_equal(shown, gold["label"] == 1)
