"""The notebook runs from top to bottom, on random weights and drawn images, and holds no results."""

import json

import pytest

from tests.helpers.rules import ROOT

NOTEBOOK = ROOT / "docs/library.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_is_a_notebook_without_results():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 4)
    for cell in CELLS:
        assert cell["cell_type"] in ("markdown", "code")
        assert isinstance(cell["source"], list)
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert CELLS[0]["cell_type"] == "markdown"


def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, cell in enumerate(cell for cell in CELLS if cell["cell_type"] == "code"):
        exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, code cell {number + 1}", "exec"), names)
    assert len(plt.get_fignums()) == 3
    plt.close("all")
    assert names["units"]["mis"].iloc[0] > 0.95
    assert names["units"]["mis"].iloc[8] == pytest.approx(0.5, abs=0.2)
    assert names["units"]["constant"].tolist() == [False] * 9 + [True]
    scored = names["scored"]
    assert scored["mis"].between(0, 1).sum() > 100
    assert isinstance(names["ceiling"], pd.DataFrame)
    # what the steps find is what the composed call has found
    assert len(scored) == names["values"].shape[1]
