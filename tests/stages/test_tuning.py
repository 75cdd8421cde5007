"""The stage `tuning`: what it writes where nobody answered, and which answers are to the very tasks of a study."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from interpretability.people import tuned_scores, tuning
from interpretability.randomness import generator
from interpretability.schema import KEY
from interpretability.synthetic.factors import factor_dimensions
from study.errors import StudyError
from study.files.tables import read_parquet, write_csv, write_parquet
from study.solving import tuning as stage
from study.tabulating.tuning import tuning_tables


def test_tables_without_answers_have_their_columns_and_no_rows(tmp_path):
    stage.write_tables(tmp_path, [], {})
    tables = tuning_tables(tmp_path)
    assert list(tables["tuning"].columns) == stage.COLUMNS
    assert all(table.empty for table in tables.values())


def test_a_refusal_is_a_row_with_its_reason(tmp_path):
    refused = tuned_scores.refused(stage.NO_EMBEDDING).row
    stage.write_tables(tmp_path, [{"backend": "dists", "family": "", "answers": "people", **refused}], {})
    row = read_parquet(tmp_path / stage.SUMMARY).iloc[0]
    assert (row["status"], row["reason"], row["n_answers"]) == ("not tuned", stage.NO_EMBEDDING, 0)
    assert np.isnan(row["gain"])


def test_answers_of_people_count_where_the_record_gave_the_tasks(tmp_path):
    answers = pd.DataFrame({"model": "net", "layer": "conv", "unit": [0, 1, 2], "condition": "natural"})
    mapped = answers[KEY].assign(status=["used", "the map has 3 whole tasks of 20", "used"])
    write_csv(tmp_path / "mapped.csv", mapped.head(2))
    assert stage._own(answers.assign(own_tasks=False), tmp_path, "imi").tolist() == [True, False, False]
    assert stage._own(answers.assign(own_tasks=[False, False, True]), tmp_path, "imi").tolist() == [True, False, True]


def test_tables_of_answers_to_units_of_the_record_do_not_count(tmp_path):
    """Their tasks have numbers of their own."""
    answers = pd.DataFrame({"model": "net", "layer": "conv", "unit": [0, 1], "condition": "natural"})
    write_csv(tmp_path / "mapped.csv", answers[KEY].assign(status="used"))
    assert stage._own(answers.assign(own_tasks=False), tmp_path, "table").tolist() == [False, False]


def test_a_unit_that_scores_lack_is_told(tmp_path):
    scored = pd.DataFrame({"model": "net", "layer": "conv", "unit": [0, 1], "condition": "natural", "near": [[], [1]]})
    write_parquet(tmp_path / "encoder.parquet", scored)
    places = stage.Places(**dict.fromkeys(("tasks", "scores", "human", "images", "models", "code"), tmp_path))
    used = stage._used(places, "encoder", scored, 3, True)
    assert used.tolist() == [[True, True, True], [True, False, True]]
    with pytest.raises(StudyError, match=r"encoder.parquet lacks 1 units that were answered, net/conv/7/natural first"):
        stage._used(places, "encoder", scored.assign(unit=[0, 7]), 3, True)


def test_written_weights_give_the_evidence_that_was_fitted(tmp_path):
    draw = generator(0, "written weights")
    queries, explanations = draw.standard_normal((2, 3, 4, len(factor_dimensions())))
    rows = draw.standard_normal((50, queries.shape[2]))
    for family in (tuning.BLOCKS, *tuning.FAMILIES):
        design, directions = stage._design(family, rows, (queries, explanations), 3)
        weights = np.abs(draw.standard_normal(len(design.names)))
        stage._save(tmp_path / family, stage.tensors_of(family, weights, directions))
        held = load_file(tmp_path / family)
        if family == "low_rank":
            inside = (queries @ held["directions"]) @ held["matrix"] * (explanations @ held["directions"])
            found = held["common"] * (queries * explanations).sum(axis=2) + inside.sum(axis=2)
        else:
            found = (queries * explanations) @ held["weights"]
        np.testing.assert_allclose(found, design.evidence(weights), atol=1e-9)
