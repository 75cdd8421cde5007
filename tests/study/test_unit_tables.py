"""Scored units, one network at a time."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from interpretability.errors import InputError
from study.errors import StudyError
from study.files.unit_tables import UNIT_COLUMNS, Margins, Scored, TaskRows, matrix
from study.tabulating import facts


@pytest.fixture
def stored(tmp_path):
    """Two backends with three networks in row groups that no border of a network meets."""
    rng = np.random.default_rng(0)
    names = ("b", "a", "0.10")
    parts = [
        pd.DataFrame(
            {
                **dict.fromkeys(UNIT_COLUMNS, 0),
                "model": model,
                "layer": "0.1",
                "unit": np.arange(size),
                "condition": "natural",
                "layer_type": "Conv",
                "mis": rng.random(size),
                "in_split": False,
                "backend": backend,
                "note": "not read",
            }
        )
        for backend in ("pixel", "null")
        for model, size in zip(names, (70, 45, 10), strict=True)
    ]
    units = pd.concat(parts, ignore_index=True)
    units.loc[3, "mis"] = np.nan
    path = tmp_path / "units.parquet"
    pq.write_table(pa.Table.from_pandas(units, preserve_index=False), path, row_group_size=32)
    return path, units


def test_units_are_those_of_one_network_and_backend_in_their_order(stored):
    path, units = stored
    scored = Scored(path)
    for (backend, model), rows in units.groupby(["backend", "model"]):
        found = scored.units(backend, model)
        expected = rows.loc[rows["mis"].notna(), UNIT_COLUMNS].reset_index(drop=True)
        pd.testing.assert_frame_equal(found.astype(expected.dtypes), expected)
    assert len(scored.units("pixel", "b")) == 69  # one has no tasks left
    assert list(scored.units("null", "a", ["unit", "mis"]).columns) == ["unit", "mis"]


def test_an_unknown_network_has_no_units(stored):
    for name in ("", "aa", "zz"):
        assert len(Scored(stored[0]).units("pixel", name)) == 0


def test_a_missing_file_is_named(tmp_path):
    for reader in (Scored, Margins):
        with pytest.raises(InputError, match=r"lost\.parquet: no such file.*dvc repro"):
            reader(tmp_path / "lost.parquet")


def test_margins_are_a_matrix_also_without_rows(tmp_path):
    rows = pa.table({"model": ["a", "b", "a"], "margins": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    pq.write_table(rows, tmp_path / "null.parquet")
    margins = Margins(tmp_path / "null.parquet")
    assert matrix(margins.rows(["a"], ["margins"])["margins"]).tolist() == [[1, 2], [5, 6]]
    assert matrix(margins.rows([], ["margins"])["margins"]).shape == (0, 0)


def test_levels_are_those_of_the_easy_condition():
    units = pd.DataFrame({"condition": ["natural", "hard95", "natural", "synthetic"], "mis": [0.1, 0.2, 0.3, 0.4]})
    assert facts.easy_units(units)["mis"].tolist() == [0.1, 0.3]
    # a network without natural explanations is summarised by what it has
    assert len(facts.easy_units(units[units["condition"] == "synthetic"])) == 1


def test_rows_of_tasks_are_those_of_the_units(tmp_path):
    layers, conditions = ("0.1", "0.10", "a"), ("natural", "hard95")
    keys = [(layer, unit, condition) for condition in conditions for layer in layers for unit in range(20)]
    table = pd.DataFrame(keys, columns=["layer", "unit", "condition"]).sample(frac=1, random_state=0, ignore_index=True)
    table["tie_share_pos"] = np.arange(len(table), dtype=np.float32)
    table.to_parquet(tmp_path / "net.parquet")
    rows = TaskRows(tmp_path, "net")
    units = table.sample(9, random_state=1).astype({"layer": "category"})
    at, found = rows.find(units, ["tie_share_pos"])
    assert at.tolist() == units.index.tolist()
    assert found["tie_share_pos"].tolist() == units["tie_share_pos"].tolist()
    assert rows.natural().tolist() == table.index[table["condition"] == "natural"].tolist()
    with pytest.raises(StudyError, match=r"net\.parquet has no natural tasks of unit 20 of a, .* run `dvc repro`"):
        rows.find(units.assign(layer="a", unit=20, condition="natural"))
    with pytest.raises(StudyError, match=r"other\.parquet: no such file"):
        TaskRows(tmp_path, "other")
