"""Slopes of tasks with made images: of their own answers where these tell one, else of natural tasks, and marked."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from interpretability.mis import unit_scores
from interpretability.schema import FACTS, KEY, MADE, MIXED, NATURAL, SYNTHETIC
from stages import mis as mis_stage
from study.files.sources import THROUGH_ENCODER
from study.files.tables import read_parquet, write_json, write_parquet
from study.params.reading import load
from study.people import fitting_made
from study.people.fitting import CalibrationParams, unfitted_slope
from study.tabulating.made_slopes import COLUMNS, made_slopes_table
from tests.helpers import tiny_study
from tests.helpers.rules import ROOT

UNITS, N = 40, 20
OWN, NATURAL_SLOPE = 3.0, 9.0
BACKENDS = ("encoder", "oracle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Margins of natural tasks, and under the encoder of synthetic and mixed ones."""
    made = tmp_path_factory.mktemp("slopes")
    rng = np.random.default_rng(0)
    for backend in BACKENDS:
        conditions = (NATURAL, *MADE) if backend == "encoder" else (NATURAL,)
        rows = pd.DataFrame([("net", "a", unit, name) for name in conditions for unit in range(UNITS)], columns=KEY)
        for name in FACTS:
            rows[name] = "Conv" if name == "layer_type" else 1.0
        levels = rng.normal(0.3, 0.4, (len(rows), 1))
        margins = (levels + 0.2 * rng.normal(size=(len(rows), N))).astype(np.float32)
        table = rows.assign(tie_share_pos=0.0, tie_share_neg=0.0, margins=list(margins), near=[[]] * len(rows))
        kinds = {"margins": pa.list_(pa.float32()), "near": pa.list_(pa.int16())}
        columns = {name: pa.array(table[name].tolist(), kinds.get(name)) for name in table}
        (made / "scores").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), made / f"scores/{backend}.parquet")
    return made


def params_of(folder, **changes):
    changes = {"scores__backends": list(BACKENDS), "calibration__fraction": 0.1, **changes}
    tiny_study.write_params(folder / "params.yaml", ROOT, **changes)
    return load(folder / "params.yaml", CalibrationParams)


def answered(folder, condition, count, noise=0.02):
    """Scores of people whose slope is OWN."""
    table = read_parquet(folder / "scores/encoder.parquet")
    rows = table[table["condition"] == condition].head(count).reset_index(drop=True)
    right = expit(OWN * np.stack(rows["margins"])).mean(axis=1)
    his = np.clip(right + noise * np.random.default_rng(1).normal(size=count), 0, 1)
    return rows[KEY].assign(his=his, n_responses=30, source=THROUGH_ENCODER)


def fitted(folder, people, **changes):
    params = params_of(folder, **changes)
    natural = {name: unfitted_slope(name, NATURAL_SLOPE) for name in BACKENDS}
    return fitting_made.fit_made(params, folder / "scores", people, natural)


def test_own_answers_give_the_slope_of_their_condition_alone(folder):
    found = fitted(folder, answered(folder, SYNTHETIC, UNITS))
    assert list(found.slopes) == ["encoder"], "known factors solve no task with made images"
    own, mixed = (found.slopes["encoder"][name] for name in MADE)
    assert own["slope"] == pytest.approx(OWN, rel=0.15)
    assert (own["source"], own["answers"], own["identified"]) == ("own answers", THROUGH_ENCODER, True)
    assert own["n_units"] == UNITS, "a tenth of the units would be fewer than calibration.min_units"
    assert (mixed["slope"], mixed["source"], mixed["reason"]) == (
        NATURAL_SLOPE,
        "natural tasks",
        "nobody was asked such tasks",
    )
    assert mixed["answers"] == ""
    assert len(found.split) == UNITS
    assert set(found.split["condition"]) == {SYNTHETIC}


def test_many_answered_units_leave_some_outside_of_the_split(folder):
    found = fitted(folder, answered(folder, SYNTHETIC, UNITS), calibration__fraction=0.5)
    assert found.slopes["encoder"][SYNTHETIC]["n_units"] == len(found.split) == UNITS // 2


def test_answers_that_tell_no_slope_leave_that_of_natural_tasks(folder):
    people = answered(folder, SYNTHETIC, 12)
    blind = people.assign(his=np.random.default_rng(2).permutation(np.linspace(0.2, 0.9, 12)))
    entry = fitted(folder, blind).slopes["encoder"][SYNTHETIC]
    assert (entry["slope"], entry["source"], entry["answers"]) == (NATURAL_SLOPE, "natural tasks", THROUGH_ENCODER)
    assert entry["reason"] != "nobody was asked such tasks"
    assert fitted(folder, blind).split.empty


def test_without_made_tasks_there_are_no_such_slopes(folder, tmp_path):
    (tmp_path / "scores").mkdir()
    for backend in BACKENDS:
        table = pq.read_table(folder / "scores/oracle.parquet")
        pq.write_table(table, tmp_path / f"scores/{backend}.parquet")
    found = fitted(tmp_path, answered(folder, NATURAL, 12))
    assert found.slopes == {}
    assert found.split.empty
    table = made_slopes_table(tmp_path, BACKENDS)
    assert list(table.columns) == COLUMNS
    assert table.empty


def test_scores_of_a_condition_have_its_slope(folder, tmp_path):
    found = fitted(folder, answered(folder, SYNTHETIC, UNITS))
    calibration = tmp_path / "calibration"
    write_json(calibration / "slope.json", {name: unfitted_slope(name, NATURAL_SLOPE) for name in BACKENDS})
    write_json(calibration / "made.json", found.slopes)
    write_parquet(calibration / "split.parquet", found.split)
    params_of(tmp_path)
    places = {"params": tmp_path / "params.yaml", "scores": folder / "scores", "calibration": calibration}
    mis_stage.main([f"--{name}={path}" for name, path in (places | {"out": tmp_path / "mis"}).items()])
    table = read_parquet(tmp_path / "mis/units.parquet")
    given = read_parquet(folder / "scores/encoder.parquet")
    for condition, slope in ((NATURAL, NATURAL_SLOPE), (MIXED, NATURAL_SLOPE), (SYNTHETIC, None)):
        rows = table[(table["backend"] == "encoder") & (table["condition"] == condition)]
        slope = found.slopes["encoder"][SYNTHETIC]["slope"] if slope is None else slope
        expected = unit_scores(np.stack(given.loc[given["condition"] == condition, "margins"]), slope)
        # files of numbers hold six digits of a slope
        np.testing.assert_allclose(rows["mis"], expected["mis"], rtol=1e-5)
        assert rows["in_split"].all() == (condition == SYNTHETIC)
    shown = made_slopes_table(calibration, BACKENDS)
    assert shown[["backend", "condition", "source"]].values.tolist() == [
        ["encoder", SYNTHETIC, "own answers"],
        ["encoder", MIXED, "natural tasks"],
    ]
