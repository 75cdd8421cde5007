"""Other N, K and slopes; facts of feature maps and values of units: the science and the stage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from interpretability.analysis import histograms, other_settings
from interpretability.errors import InputError
from stages import sensitivity
from study.files.tables import read_parquet


def test_first_tasks_are_those_of_the_study_and_rebuilt_ones_are_not():
    top = np.arange(40, dtype=np.int32)[None].repeat(3, 0)
    bottom = top + 100
    keys = np.arange(3, dtype=np.uint64)

    asked = []

    def margins(tasks, k):
        asked.append(tasks)
        # the margin of a task is the number of its positive query, over a hundred
        return (tasks[..., -2] / 100).astype(np.float32)

    found = other_settings.settings(
        top,
        bottom,
        keys,
        margins,
        n_tasks=4,
        n_explanations=2,
        other_n_tasks=[1, 2, 4],
        other_n_explanations=[1],
        slopes=[1.0],
        slope=1.0,
    ).set_index(["setting", "value"])
    # of N = 4 and K = 2 the queries are ranks 8 to 11, in some order: all tasks of all units score their mean
    own = expit(np.arange(8, 12) / 100).mean()
    assert found.loc[("n_tasks", 4), "mis_mean"] == pytest.approx(own, rel=1e-6)
    assert found.loc[("n_tasks", 4), "mean_abs_diff"] == 0
    # rebuilt for N = 1 the only query is rank 2 (two explanations come first)
    assert found.loc[("n_tasks", 1), "mis_mean"] == pytest.approx(expit(0.02), rel=1e-6)
    # the study's own tasks are asked about first; the score of the first one is that of its query alone
    alone = expit(asked[0][:, 0, -2] / 100)
    first = found.loc[("first_tasks", 1)]
    assert first["mis_mean"] == pytest.approx(alone.mean(), rel=1e-6)
    assert first["mean_abs_diff"] == pytest.approx(np.abs(alone - own).mean(), rel=1e-4)
    assert found.loc["first_tasks"].index.tolist() == [1, 2]
    assert found.loc[("first_tasks", 2), "mean_abs_diff"] < found.loc[("n_tasks", 2), "mean_abs_diff"]


def run_stage(finished, study, **changes):
    usual = {"scores__backends": ["oracle", "null"], "activations__keep": ["tiny/middle/3", "tiny/norm/0"]}
    usual |= {
        "sensitivity__models": ["tiny"],
        "sensitivity__n_tasks": [1, 2],
        "sensitivity__map_models": ["tiny", "vit"],
    }
    path = study.params(**usual | {"sensitivity__map_images": 20} | changes)
    folders = [f"--{name}={finished.folder / name}" for name in ("activations", "images", "models", "code")]
    sensitivity.main([f"--params={path}", *folders, f"--out={study.folder / 'out'}"])
    return study.folder / "out"


def test_stage_measures_maps_and_values(finished_study, study):
    out = run_stage(finished_study, study)
    settings = read_parquet(out / "settings.parquet")
    assert set(settings["setting"]) == {"n_tasks", "first_tasks", "n_explanations", "slope"}
    maps = read_parquet(out / "maps.parquet").set_index(["model", "layer", "unit"]).sort_index()
    assert maps["n_images"].unique().tolist() == [20]
    # a convolution has a contrast, tokens have none; shares are shares
    assert maps.loc["tiny", "contrast"].gt(0).sum() > 0
    assert maps.loc["vit", "contrast"].isna().all()
    assert maps[["pixel_sparseness", "channel_sparseness"]].stack().between(0, 1).all()
    assert (maps["channel_sparseness"] <= maps["pixel_sparseness"] + 1e-9).all()
    values = read_parquet(out / "histograms.parquet")
    owners = values[["model", "layer", "unit"]].drop_duplicates().to_numpy().tolist()
    assert owners == [["tiny", "norm", 0], ["tiny", "middle", 3]]
    assert len(values) == 2 * histograms.N_BINS
    assert values.groupby("layer")["share"].sum().to_numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lost", "no network that could be loaded; allowed: tiny, vit"),
        ("chance", "'chance', which has no feature maps"),
    ],
)
def test_map_models_must_be_networks(finished_study, study, name, words):
    with pytest.raises(InputError, match=words):
        run_stage(finished_study, study, sensitivity__map_models=[name], sensitivity__models=[])


def test_nothing_asked_gives_empty_tables(finished_study, study):
    out = run_stage(finished_study, study, sensitivity__map_models=[], sensitivity__models=[])
    for name in ("settings", "maps", "histograms"):
        assert read_parquet(out / f"{name}.parquet").empty
