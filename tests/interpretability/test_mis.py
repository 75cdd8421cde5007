"""Scores of units from margins."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from interpretability import mis
from interpretability.errors import InputError
from interpretability.schema import KEY
from stages import mis as mis_stage
from study.files.tables import read_parquet, write_json, write_parquet
from study.solving import unit_scores as scoring
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT

MARGINS = hnp.arrays(np.float32, (3, 5), elements=st.floats(-4, 4, width=32))


def test_scores_of_a_unit_by_hand():
    # slope ln 3: sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2, sigmoid(-ln 3) = 1/4, sigmoid(ln 3 * 2) = 9/10
    margins = np.array([[1.0, 0.0, -1.0, 2.0]])
    unit = mis.unit_scores(margins, np.log(3)).iloc[0]
    assert unit["mis"] == pytest.approx(0.6)  # (.75 + .5 + .25 + .9) / 4
    # squared deviations .0225 + .01 + .1225 + .09 = .245; / 3; root; / sqrt 4
    assert unit["mis_se"] == pytest.approx(np.sqrt(0.245 / 3) / 2)
    assert unit["accuracy"] == pytest.approx(0.625)  # two right, one tie
    assert unit["margin_mean"] == pytest.approx(0.5)
    assert unit["margin_sd"] == pytest.approx(np.sqrt((0.25 + 0.25 + 2.25 + 2.25) / 3))
    assert (unit["n_tasks"], unit["n_near"]) == (4, 0)


def test_probability_saturates_without_overflow():
    with np.errstate(all="raise", under="ignore"):
        assert mis.probabilities(np.array([-1e30, 0.0, 1e30]), 1e4).tolist() == [0.0, 0.5, 1.0]


def test_literal_slope_cannot_reach_the_scores_of_the_paper():
    # largest margin of cosine similarities is 4: sigmoid(0.64) = 0.6548
    assert mis.probabilities(np.array([4.0]), mis.LITERAL_SLOPE)[0] == pytest.approx(0.6548, abs=1e-4)


def test_near_duplicates_are_counted_and_left_out_only_on_demand():
    margins = np.array([[1.0, -1.0, 3.0], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0]])
    near = mis.near_mask(np.array([1, 2, 3]), np.array([2, 0, 2, 0, 1, 2]), 3)
    assert near.tolist() == [[False, False, True], [True, False, True], [True, True, True]]
    kept = mis.unit_scores(margins, 1.0, near)
    dropped = mis.unit_scores(margins, 1.0, near, drop=True)
    assert kept["n_near"].tolist() == dropped["n_near"].tolist() == [1, 2, 3]
    assert kept["n_tasks"].tolist() == [3, 3, 3]
    assert dropped["n_tasks"].tolist() == [2, 1, 0]
    assert dropped["margin_mean"][0] == 0.0  # (1 - 1) / 2
    assert dropped["mis"][0] == pytest.approx(0.5)
    assert np.isnan(dropped["mis_se"][1])
    assert np.isnan(dropped.loc[2, ["mis", "mis_se", "accuracy", "margin_mean"]].astype(float)).all()


def test_single_task_has_no_spread():
    unit = mis.unit_scores(np.array([[0.3]]), 2.0).iloc[0]
    assert np.isnan(unit["mis_se"])
    assert np.isnan(unit["margin_sd"])
    assert unit["accuracy"] == 1.0


def test_units_beyond_one_block_are_scored_alike(monkeypatch):
    margins = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    whole = mis.unit_scores(margins, 3.0)
    monkeypatch.setattr(mis, "_BLOCK", 3)
    assert mis.unit_scores(margins, 3.0).equals(whole)


def test_float32_margins_are_summed_in_double_precision():
    # in single precision 1e8 + 1 = 1e8, so the mean of (1e8, 1, -1e8) would come out as 0
    unit = mis.unit_scores(np.array([[1e8, 1.0, -1e8]], dtype=np.float32), 1.0).iloc[0]
    assert unit["margin_mean"] == pytest.approx(1 / 3)


def test_missing_margin_is_an_error_that_names_it():
    margins = np.zeros((2, 3))
    margins[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"margins holds nan at \[1, 2\]"):
        mis.unit_scores(margins, 1.0)


def test_wrong_shapes_are_errors():
    with pytest.raises(ValueError, match="shape"):
        mis.unit_scores(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="near"):
        mis.unit_scores(np.zeros((2, 3)), 1.0, np.zeros((2, 2), dtype=bool))


@given(MARGINS, st.floats(1e-3, 1e4))
def test_turning_margins_round_mirrors_the_scores(margins, slope):
    right, wrong = mis.unit_scores(margins, slope), mis.unit_scores(-margins, slope)
    np.testing.assert_allclose(right["mis"] + wrong["mis"], 1.0, atol=1e-12)
    np.testing.assert_allclose(right["accuracy"] + wrong["accuracy"], 1.0, atol=1e-12)
    np.testing.assert_allclose(right["mis_se"], wrong["mis_se"], atol=1e-9)


@given(MARGINS)
def test_score_lies_between_chance_and_accuracy_in_the_limit_of_slopes(margins):
    # slope to 0: every task at one half; slope to infinity: the hard decision
    np.testing.assert_allclose(mis.unit_scores(margins, 1e-12)["mis"], 0.5, atol=1e-9)
    coarse = np.round(margins)
    hard = mis.unit_scores(coarse, 1e6)
    np.testing.assert_allclose(hard["mis"], hard["accuracy"], atol=1e-12)


# ---- the stage


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    tiny_study.write_study(folder / "data")
    slopes = {"oracle": {"slope": 6.25}, "null": {"slope": 1.5}}
    write_json(folder / "data" / "calibration" / "slope.json", slopes)
    units = read_parquet(folder / "data" / "scores" / "oracle.parquet", KEY)
    split = units[(units["model"] == "net") & (units["unit"] == 3)]
    write_parquet(folder / "data" / "calibration" / "split.parquet", split)
    return folder


def run_stage(study, out, **changes):
    tiny_study.write_params(out.parent / "params.yaml", ROOT, **changes)
    folders = {name: study / "data" / name for name in ("scores", "calibration")} | {"out": out}
    mis_stage.main([f"--params={out.parent / 'params.yaml'}", *(f"--{name}={path}" for name, path in folders.items())])
    return read_parquet(out / "units.parquet")


def test_stage_scores_every_unit_of_every_backend_with_its_slope(study, tmp_path, monkeypatch):
    table = run_stage(study, tmp_path / "mis")
    assert list(table.columns) == scoring.ORDER
    for backend, slope in (("oracle", 6.25), ("null", 1.5)):
        given = read_parquet(study / "data" / "scores" / f"{backend}.parquet")
        expected = mis.unit_scores(np.stack(given["margins"]), slope)
        rows = table[table["backend"] == backend].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[KEY], given[KEY])
        np.testing.assert_array_equal(rows["mis"], expected["mis"])
        assert rows["n_near"].tolist() == [len(tasks) for tasks in given["near"]]
    split = table[table["in_split"]]
    assert len(split) == 6  # unit 3 of three layers, two backends
    assert set(split["model"]) == {"net"}
    # batches of another size hold the same rows
    monkeypatch.setattr(scoring, "_ROWS", 37)
    pd.testing.assert_frame_equal(run_stage(study, tmp_path / "again"), table)


def test_stage_leaves_near_duplicates_out_on_demand(study, tmp_path):
    table = run_stage(study, tmp_path / "mis", mis__drop_near_duplicates=True)
    assert (table["n_tasks"] + table["n_near"] == tiny_study.N_TASKS).all()
    assert table["n_near"].max() == 2


def test_stage_needs_a_slope_and_scores_of_every_backend(study, tmp_path):
    with pytest.raises(InputError, match=r"no such file, but scores.backends names pixel"):
        run_stage(study, tmp_path / "mis", scores__backends=["oracle", "pixel"])
    slopes = study / "data" / "calibration" / "slope.json"
    content = slopes.read_bytes()
    write_json(slopes, {"oracle": {"slope": 1.0}})
    try:
        with pytest.raises(InputError, match=r"slope.json has no slope of null; it has \['oracle'\]"):
            run_stage(study, tmp_path / "mis")
    finally:
        slopes.write_bytes(content)
