"""Published likeness to people: tables and decisions in every form, with cells of all kinds, damaged, and any bytes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from interpretability.analysis import likeness
from study.tabulating.likeness_files import TABLE_COLUMNS, read_decisions, read_table
from tests.fuzz.test_pairs import changed, written
from tests.fuzz.test_tables import DAMAGE, ENCODINGS, damaged
from tests.helpers.fuzzing import attempt, fuzzed

SCORES = pd.DataFrame(
    {"model": ["resnet50", "vit_b16", "a, b", "007"], "V1": ["0.5", "X", "", "1e-3"], "IT": ["0.1", "nan", "2", "-3"]}
)
TRIALS = pd.DataFrame(
    {
        "subj": ["subject-01", "subject-01", "net", "net"],
        "object_response": ["dog", "na", "dog", "cat"],
        "category": ["dog", "dog", "dog", "dog"],
        "condition": ["0", "0", "0.0", "0"],
        "imagename": ["0001_x_n01_1.png", "b-c.png", "0002_y_n01_1.png", "b-c.png"],
    }
)
TEX = (
    "\\begin{tabular}{lr}\n\\toprule\nmodel & V1 $\\uparrow$ \\\\\n\\midrule\n"
    "a\\_b & \\textbf{0.5} \\\\\nc & 1 \\\\\n\\end{tabular}\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("likeness")


def checked(path, columns, reader):
    table = attempt(reader, lambda: read_table(path, "model", columns))
    if table is None:
        return
    assert list(table.columns) == TABLE_COLUMNS
    assert (table["called"] != "").all()
    assert not table.duplicated(["called", "measure"]).any()
    assert not np.isinf(table["value"]).any()


@fuzzed(changed(SCORES), st.sampled_from(",,,;\t"), ENCODINGS, DAMAGE)
def test_tables_by_network(folder, table, sign, encoding, patches):
    checked(written(folder, table, sign, encoding, patches, "scores.csv"), ["V1", "IT"], "likeness")


@fuzzed(st.sampled_from([TEX, TEX.replace("&", ""), TEX.replace("\\\\", "\\")]), DAMAGE)
def test_latex(folder, text, patches):
    path = folder / "scores.tex"
    path.write_bytes(damaged(text.encode(), patches))
    checked(path, ["V1"], "likeness_latex")


@fuzzed(changed(TRIALS), st.sampled_from(",,,;\t"), ENCODINGS, DAMAGE)
def test_decisions(folder, table, sign, encoding, patches):
    (folder / "raw" / "rotation").mkdir(parents=True, exist_ok=True)
    written(folder / "raw" / "rotation", table, sign, encoding, patches, "trials.csv")
    found = attempt("decisions", lambda: read_decisions(folder / "raw"))
    if found is None:
        return
    assert list(found.columns) == likeness.DECISION_COLUMNS
    measures = attempt("measures", lambda: likeness.decision_measures(found))
    if measures is not None:
        assert (measures[["ood_accuracy", "observed_consistency"]].dropna().to_numpy() <= 1).all()
        assert (measures["mean_rank"].dropna() >= 1).all()
