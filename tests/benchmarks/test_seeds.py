"""Rows of a study under a seed, from its tables."""

import pandas as pd
import pytest

from benchmarks import seeds
from study.files.tables import read_csv, write_csv, write_json
from study.report.page.seeds import read_seeds
from tests.helpers.rules import ROOT


def study(folder, seed, digest="d"):
    """The tables that a row needs, by hand: networks a, 007 and an older step of a, of which people know a alone."""
    write_json(
        folder / "provenance.json",
        {"digests": {"study": digest}, "params": {"seed": seed, "human": {"source": "simulated"}}},
    )
    write_json(folder / "metrics.json", {"ceiling": 0.75, "mis_mean": 0.7})
    names = ["model", "backend", "role", "last", "mis_mean", "accuracy_mean"]
    models = [("a-step0", "e", "study", 0, 0.6, 0.8), ("a", "e", "study", 1, 0.7, 0.9)]
    models += [("007", "e", "study", 1, 0.72, 0.91), ("controls", "e", "control", 1, 0.5, 0.5)]
    tables = {
        "models": pd.DataFrame(models, columns=names),
        "his_models": pd.DataFrame({"model": ["a", "a"], "condition": ["natural", "hard85"], "his_mean": [0.8, 0.6]}),
        "calibration": pd.DataFrame({"backend": ["e"], "slope": [5.0], "low": [4.0], "high": [6.0]}),
        "network_tests": pd.DataFrame(
            [
                ("e", "a", "007", "**"),
                ("human", "a", "007", "NS"),
                ("e_synthetic", "a", "007", ""),
                ("p", "a", "b", "*"),
            ],
            columns=["backend", "first", "second", "stars"],
        ),
    }
    for name, table in tables.items():
        write_csv(folder / "tables" / f"{name}.csv", table)
    return seeds.rows_of(folder)


def test_rows_of_a_study_by_hand(tmp_path):
    rows = study(tmp_path, 3)
    assert list(rows.columns) == seeds.COLUMNS
    assert rows["model"].tolist() == ["a", "007"]
    first = rows.iloc[0].to_dict()
    assert first == {
        "study": "d",
        "seed": 3,
        "backend": "e",
        "model": "a",
        "mis_mean": 0.7,
        "accuracy": 0.9,
        "answers": "simulated",
        "his_mean": 0.8,
        "slope": 5.0,
        "slope_low": 4.0,
        "slope_high": 6.0,
        "ceiling": 0.75,
        "differs": '["007"]',
        "his_differs": "[]",
    }
    assert rows.iloc[1]["differs"] == '["a"]'
    assert pd.isna(rows.iloc[1]["his_mean"])


def test_seeds_of_one_study_are_joined_and_others_go(tmp_path):
    path = tmp_path / "seeds.csv"
    write_csv(path, study(tmp_path / "x", 0, "other"))
    for seed in (2, 1, 2):
        before = read_csv(path, seeds.COLUMNS, seeds.TEXT)
        write_csv(path, seeds.joined(before, study(tmp_path / f"{seed}", seed)))
    found = read_seeds(path, "d")
    assert found["seed"].tolist() == [1, 1, 2, 2]
    assert found["model"].tolist() == ["a", "007"] * 2
    assert len(read_csv(path)) == 4


def test_the_committed_table_has_the_columns_of_the_script():
    assert read_csv(ROOT / "benchmarks/results/seeds.csv").columns.tolist() == seeds.COLUMNS


@pytest.mark.parametrize("stars", ["NS", "", "too few"])
def test_only_stars_mark_a_pair(stars):
    assert seeds._marked(pd.DataFrame({"backend": ["e"], "first": ["a"], "second": ["b"], "stars": [stars]})) == {}
