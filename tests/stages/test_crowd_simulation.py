"""The stage of the crowd paper's simulations: the same tables however it is run, all of it called simulated."""

from __future__ import annotations

import numpy as np
import pytest

from interpretability.errors import InputError
from stages import crowd_simulation
from study.crowd import simulation
from study.files.tables import read_parquet
from study.params.whole import load_params
from tests.helpers.rules import ROOT
from tests.helpers.tiny_study import write_params

SMALL = {
    "crowd_simulation__worlds": ["embedded_like/good", "rare/mediocre"],
    "crowd_simulation__n_units": 6,
    "crowd_simulation__n_images": 1500,
    "crowd_simulation__n_draws": 2,
    "crowd_simulation__budgets": [30, 300],
    "crowd_simulation__raters": [1, 3],
    "crowd_simulation__eta": [0.23, 0.4],
    "crowd_simulation__gamma": [0.0, 0.2],
    "crowd_simulation__alpha": [2.0],
    "crowd_simulation__beta": [0.05],
    "crowd_simulation__latent_budgets": [90],
    "crowd_simulation__latent_studies": 1,
}
TABLES = ("curves", "pareto", "costs")


def made(folder, **changes):
    folder.mkdir(exist_ok=True)
    path = folder / "params.yaml"
    write_params(path, ROOT, **SMALL | changes)
    crowd_simulation.main(["--params", str(path), "--out", str(folder / "out")])
    return {name: folder / f"out/{name}.parquet" for name in TABLES}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return made(tmp_path_factory.mktemp("simulation"))


def test_another_run_gives_the_same_bytes_whatever_the_blocks(files, tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "BLOCK", 4)
    again = made(tmp_path / "again")
    for name in TABLES:
        assert files[name].read_bytes() == again[name].read_bytes()


def test_every_table_says_that_it_is_simulated_and_of_which_world(files):
    for name in TABLES:
        table = read_parquet(files[name])
        assert table["simulated"].all()
        assert set(table["world"]) == {"embedded_like-good", "rare-mediocre"}


def test_every_part_is_there_and_the_guide_stands_beside(files):
    curves = read_parquet(files["curves"])
    assert set(curves["part"]) == {
        *("sampling", "aggregation", "setting_1", "gamma", "alpha", "beta", "eta", "eta_assumed", "error_model")
    }
    noisy = curves[curves["part"] == "setting_1"]
    # three samplers, four aggregations, two numbers of raters, two budgets
    assert noisy.groupby("world").size().min() >= 3 * 4 * 2 * 2
    latent = noisy[noisy["method"] == "latent"]
    assert latent[["budget", "images", "raters", "n_draws"]].drop_duplicates().to_numpy().tolist() == [[90, 30, 3, 1]]
    assert set(latent["world"]) == set(noisy["world"])
    guide = noisy[noisy["method"] == "guide_only"]
    assert (guide["ratings"] == 0).all()
    assert len(guide) == 2
    assert curves["rce"].notna().all()
    varied = curves[curves["part"] == "gamma"]
    assert set(varied["gamma"]) == {0.0, 0.2}
    assert sorted(curves.loc[curves["part"] == "eta", "eta"].unique()) == [0.23, 0.4]
    models = curves[curves["part"] == "error_model"]
    assert np.isclose(models["eta"], 0.75 / 3.25).all()
    assert set(models["errors_assumed"]) == {"constant", "beta"}


def test_fronts_and_costs_are_those_of_the_curves(files):
    curves, pareto, costs = (read_parquet(files[name]) for name in TABLES)
    noisy = curves[curves["part"] == "setting_1"]
    least = noisy.groupby(["world", "method"])["rce"].min()
    assert (pareto.groupby(["world", "method"])["rce"].min() == least).all()
    assert sorted(costs["level"].unique()) == [0.1, 0.275]
    shown = costs[(costs["part"] == "setting_1") & (costs["level"] == 0.275)].set_index(["world", "method"])
    assert (shown["least_rce"] == least).all()
    reached = shown["ratings"].notna()
    assert (shown["least_rce"][reached] <= 0.275).all()
    assert (shown["least_rce"][~reached] > 0.275).all()
    ours = shown["ratings"]["embedded_like-good", "latent"]
    others = shown.loc["embedded_like-good"].query("ratings > 0")
    assert (others["ratio_to_ours"] == others["ratings"] / ours).all() or np.isnan(ours)
    published = shown.loc["embedded_like-good", "published_ratings"].dropna().to_dict()
    assert published == {
        "mg_is+bragg_guide": 550,
        "mg_is+majority": 1760,
        "uniform+bragg_guide": 14607,
        "uniform+majority": 22560,
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"worlds": ["rare"]}, "crowd_simulation.worlds names 'rare'; it must be setting/guide"),
        ({"worlds": ["rare/clever"]}, "a guide of good, mediocre"),
        ({"raters": [3, 1]}, "crowd_simulation.raters is [3, 1], it must ascend"),
        ({"eta": []}, "crowd_simulation.eta is empty, it needs at least one entry"),
        ({"eta": [0.5]}, "crowd_simulation.eta[0] is 0.5, it must be at most 0.49"),
        ({"n_images": 3}, "crowd_simulation.n_images is 3, it must be 0 or at least 20"),
    ],
)
def test_what_is_no_simulation_is_refused(tmp_path, changes, told):
    path = tmp_path / "params.yaml"
    write_params(path, ROOT, **{f"crowd_simulation__{name}": value for name, value in changes.items()})
    with pytest.raises(InputError) as error:
        load_params(path)
    assert told in str(error.value)
