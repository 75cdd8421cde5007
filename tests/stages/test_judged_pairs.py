"""A study without any network: an archive in the form that sae-for-vlm publishes, through every stage to the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from interpretability.extremes.selection import rank_images
from interpretability.randomness import unit_keys
from interpretability.synthetic.factors import factor_vectors
from stages import (
    calibration,
    ceiling,
    crowd,
    explanation_kinds,
    explanations,
    human,
    inputs,
    label_free,
    mis,
    report,
    scores,
    sensitivity,
    stats,
    tuning,
)
from study.errors import StudyError
from study.files.tables import read_csv, read_json, read_parquet, write_csv, write_parquet
from study.networks import activation_tables
from tests.helpers.made_images import fabricate
from tests.helpers.report_fixture import seeds_rows
from tests.helpers.rules import ROOT
from tests.helpers.text_tables import COSTS, CURVE

N, SEED, WIDTH, N_PAIRS = 400, 0, 40, 120
BACKENDS = ("oracle", "null")
PARAMS = {
    "seed": SEED,
    "images__generated__n": N,
    "activations__n_extremes": 50,
    "tasks__n_tasks": 5,
    "tasks__n_explanations": 4,
    "tasks__one_sided": [],
    "sensitivity__n_tasks": [3],
    "sensitivity__n_explanations": [4],
    "sensitivity__models": [],
    "scores__backends": list(BACKENDS),
    "human__source": "pairs",
    "human__pairs__file": "pairs.csv",
    "human__pairs__model": "sae",
    "calibration__n_bootstrap": 20,
    "calibration__n_splits": 5,
    "ceiling__n_simulations": 20,
    "label_free__models": ["sae", "sae-permuted"],
    "label_free__n_images": 300,
    "label_free__n_range": 150,
    "stats__n_bootstrap": 100,
    "stats__n_extreme": 3,
    "report__n_exemplars": 1,
}


class Archive:
    """A study of one table whose units look at one direction of the factors, the more so the larger their number `k`."""

    def __init__(self, study):
        self.study, self.folder = study, study.folder
        self.external = self.folder / "external"
        self.external.mkdir()
        study.params(models__roster=str(self.folder / "roster.csv"), **PARAMS)
        study.run_images()
        paths = read_parquet(self.folder / "images/manifest.parquet")["path"]
        factors = read_parquet(self.folder / "images/factors.parquet")
        rng = np.random.default_rng(1)
        vectors = factor_vectors(factors)
        self.clear = np.linspace(0, 1, WIDTH)
        self.numbers = 7 * np.arange(WIDTH) + 3
        seen = vectors @ rng.normal(size=(vectors.shape[1], WIDTH))
        noise = rng.normal(size=seen.shape)
        self.values = (self.clear * seen / seen.std(axis=0) + (1 - self.clear) * noise).astype(np.float32)
        self.write(paths)
        first, second = np.array([rng.choice(WIDTH, 2, replace=False) for _ in range(N_PAIRS)]).T
        chosen = np.where(self.clear[first] > self.clear[second], first, second)
        table = {"k_x": self.numbers[first], "k_y": self.numbers[second], "R_user": self.numbers[chosen]}
        for side, units in (("x", first), ("y", second)):
            table |= {f"MS_{side}_dino": self.clear[units], f"MS_{side}_clip": 1 - self.clear[units]}
        pd.DataFrame(table).drop_duplicates().to_csv(self.external / "pairs.csv", index=False)
        study.roster(
            {"name": "sae", "constructor": "table:activations.csv", "preprocessing": ""},
            {
                "name": "sae-permuted",
                "constructor": "control:permuted",
                "kwargs": '{"of": "sae"}',
                "preprocessing": "",
                "role": "control",
            },
        )

    def write(self, paths, turned=False):
        """The table of activations: columns are pictures in the order of their file names, rows in any order."""
        order = np.argsort([Path(path).name for path in paths], kind="stable")
        rows = np.random.default_rng(2).permutation(WIDTH)[:: -1 if turned else 1]
        table = pd.DataFrame(self.values[order][:, rows].T, columns=[f"a_{place + 1}" for place in range(N)])
        table.insert(0, "k", self.numbers[rows])
        table.to_csv(self.external / "activations.csv", index=False)

    def flags(self, *names, **places):
        found = {"params": "params.yaml", **{name: name for name in names}, **places}
        return [f"--{name}={self.folder / place}" for name, place in found.items()]

    def look(self):
        texts = f"--explanations={self.folder / 'texts'}"
        (self.folder / "texts").mkdir(exist_ok=True)
        places = f"--code={self.study.code}", f"--human={self.external}"
        inputs.main([*self.flags(out="inputs"), *places, texts])
        return read_json(self.folder / "inputs/networks.json")

    def extract(self, out="activations"):
        self.study.run_models()
        return self.study.run_activations(out)

    def run(self):
        self.look()
        self.extract()
        self.study.run_tasks()
        of_tasks = self.flags("tasks", "images", "models", "code")
        for name in BACKENDS:
            scores.main(
                [
                    *of_tasks,
                    f"--backend={name}",
                    *self.flags(out=f"scores/{name}.parquet", cost=f"scores/{name}.cost.json")[1:],
                ]
            )
        names = f"--names={ROOT / 'data/external/models/imi_names.csv'}"
        human.main([*self.flags("tasks", "images", "external", roster="models/roster.csv", out="human"), names])
        calibration.main(self.flags("scores", "human", out="calibration"))
        tuning.main(self.flags("tasks", "scores", "human", "images", "models", "code", out="tuning"))
        mis.main(self.flags("scores", "calibration", out="mis"))
        ceiling.main(self.flags("human", "mis", out="ceiling"))
        fabricate(self.folder / "visualisations", self.folder / "images", [])
        of_kinds = self.flags("tasks", "visualisations", "images", "models", "code", out="explanation_kinds")
        explanation_kinds.main(of_kinds)
        label_free.main(self.flags("activations", "tasks", "images", "models", "code", out="label_free"))
        sensitivity.main(self.flags("activations", "images", "models", "code", out="sensitivity"))
        known = {"presence": "texts", "guide": "texts", "gold": "texts", "texts": "inputs/explanations"}
        explanations.main(self.flags("images", "models", "activations", **known, out="explanations"))
        crowd.main(self.flags("explanations", ratings="texts", out="crowd"))
        for name, columns in {"curves": CURVE, "pareto": f"{CURVE} front", "costs": COSTS}.items():
            write_parquet(self.folder / f"simulation/{name}.parquet", pd.DataFrame(columns=columns.split()))
        folders = ("images", "activations", "tasks", "scores", "human", "calibration", "tuning", "mis", "ceiling")
        folders += ("sensitivity", "explanations", "crowd", "simulation", "label_free", "visualisations")
        folders += ("explanation_kinds",)
        out = {"metrics": "metrics.json", "provenance": "provenance.json"}
        stats.main(
            self.flags(
                *folders,
                "tables",
                roster="models",
                **out,
            )
        )
        write_csv(self.folder / "seeds.csv", seeds_rows(self.folder, ["sae"], seeds=0))
        shown = ("images", "activations", "tasks", "scores", "human", "calibration", "mis", "explanations", "crowd")
        shown += ("visualisations", "explanation_kinds")
        places = {**out, "seeds": "seeds.csv", "plots": "plots", "figures": "figures", "out": "report.html"}
        own = [f"--{name}={ROOT / 'reports' / name}" for name in ("template", "captions")]
        report.main([*self.flags(*shown, "tables", **places), *own])
        return self

    def table(self, name):
        return read_csv(self.folder / f"tables/{name}.csv", text=("model", "layer", "backend"))


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIS_STORE", str(tmp_path_factory.mktemp("store")))
        yield patch


@pytest.fixture(scope="module")
def archive(tmp_path_factory, patched):
    from tests.conftest import Study

    folder = tmp_path_factory.mktemp("archive")
    patched.setattr(activation_tables, "FOLDER", folder / "external")
    return Archive(Study(folder)).run()


def test_extremes_are_those_of_the_values(archive):
    found = load_file(archive.folder / "activations/sae.safetensors")
    keys = unit_keys(SEED, "sae", "units", np.arange(WIDTH))
    expected = rank_images(archive.values, 50, keys)
    np.testing.assert_array_equal(found["top_images"], expected.top_images)
    np.testing.assert_array_equal(found["bottom_values"], expected.bottom_values)
    np.testing.assert_allclose(found["mean"], archive.values.mean(axis=0, dtype=np.float64), atol=1e-12)
    labels = read_csv(archive.folder / "activations/control_labels.csv", text=["label"])
    assert labels["label"].tolist() == [str(k) for k in archive.numbers]


def test_scores_rise_with_what_units_see(archive):
    units = read_parquet(archive.folder / "mis/units.parquet")
    own = units[(units["model"] == "sae") & (units["backend"] == "oracle")].sort_values("unit")
    assert len(own) == WIDTH
    assert np.corrcoef(own["mis"], archive.clear)[0, 1] > 0.75
    models = archive.table("models").set_index(["backend", "model"])
    assert models.loc[("oracle", "sae"), "n_units"] == WIDTH  # layers of no known type are not left out
    permuted = models.loc[("oracle", "sae-permuted")]
    assert permuted["n_units"] == WIDTH
    assert permuted["mis_mean"] == pytest.approx(0.5, abs=0.04)
    assert set(archive.table("layers")["model"]) == {"sae"}


def test_the_whole_range_is_read_from_the_table(archive):
    means = archive.table("label_free")
    whole = means[means["layer"] == ""].set_index(["backend", "model"])["rho_mean"]
    assert whole["oracle", "sae"] > 0.3
    assert abs(whole["oracle", "sae-permuted"]) < 0.05
    assert abs(whole["null", "sae"]) < 0.05


def test_pairs_agree_with_what_is_known(archive):
    pairs = archive.table("judged_pairs").set_index(["score", "backend"])
    ours = {(score, name) for score in ("mis", "rho", "spearman", "ms", "ms_z", "index", "firing") for name in BACKENDS}
    assert set(pairs.index) == {*ours, ("MS_dino", ""), ("MS_clip", "")}  # no maps, so nothing of places
    assert pairs.loc[("rho", "oracle"), "low"] > 0.75
    n = len(pd.read_csv(archive.external / "pairs.csv"))
    assert (pairs["n_pairs"] == n).all()
    assert pairs.loc[("MS_dino", ""), "share"] == 1
    assert pairs.loc[("MS_clip", ""), "share"] == 0
    assert pairs.loc[("mis", "oracle"), "low"] > 0.65
    null = pairs.loc[("mis", "null")]
    assert null["low"] < 0.5 < null["high"]


def test_every_stage_says_that_pairs_are_no_answers(archive):
    slopes = read_json(archive.folder / "calibration/slope.json")
    assert {fit["slope"] for fit in slopes.values()} == {6.25}
    assert read_parquet(archive.folder / "human/units.parquet").empty
    assert archive.table("agreement").empty
    assert archive.table("noise_ceiling").empty
    page = (archive.folder / "report.html").read_text()
    assert "No human answers" in page
    assert "judged pairs" in page


def test_the_order_of_rows_changes_no_byte(archive):
    before = {path.name: path.read_bytes() for path in (archive.folder / "activations").glob("*.*")}
    archive.write(read_parquet(archive.folder / "images/manifest.parquet")["path"], turned=True)
    after = {path.name: path.read_bytes() for path in archive.extract("again").glob("*.*")}
    assert before == after


def test_a_changed_table_is_seen(archive):
    known = archive.look()
    assert set(known) == {"activations.csv"}
    path = archive.external / "activations.csv"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"k,a_1", b"k ,a_1"))
    assert archive.look() != known
    path.write_bytes(content)
    assert archive.look() == known
    path.rename(path.with_name("away.csv"))
    assert archive.look() == known  # what is not here counts as it was
    with pytest.raises(StudyError, match=r"'activations\.csv' of activations does not exist"):
        archive.study.run_models("lost")
    path.with_name("away.csv").rename(path)


def test_pairs_of_an_unknown_network_are_refused(archive):
    archive.study.params(
        models__roster=str(archive.folder / "roster.csv"), **{**PARAMS, "human__pairs__model": "other"}
    )
    places = archive.flags("tasks", "images", "external", roster="models/roster.csv", out="nobody")
    with pytest.raises(StudyError, match=r"human\.pairs\.model is 'other', but .* allowed: sae, sae-permuted"):
        human.main([*places, f"--names={ROOT / 'data/external/models/imi_names.csv'}"])


def test_a_table_has_no_maps(archive):
    settings = PARAMS | {"sensitivity__map_models": ["sae"]}
    archive.study.params(models__roster=str(archive.folder / "roster.csv"), **settings)
    with pytest.raises(StudyError, match="names the table 'sae', which has no feature maps"):
        sensitivity.main(archive.flags("activations", "images", "models", "code", out="maps"))
