"""The example of docs/differentiable.md runs as it stands there, on a tiny study, and its tables are those of the benchmark."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
import torch

from benchmarks.harness import COMMITTED
from tests.conftest import Study
from tests.helpers.markdown import rows
from tests.helpers.rules import ROOT

PAGE = ROOT / "docs/differentiable.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHOWN = json.dumps({"crop": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.5] * 3})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scenes, and two networks under the names that the example has for them."""
    made = Study(tmp_path_factory.mktemp("differentiable"))
    made.params()
    usual = {"kwargs": json.dumps({"num_classes": 4}), "preprocessing": SHOWN}
    made.roster(
        {"name": "resnet", "constructor": "test_resnet", **usual},
        {"name": "encoder", "constructor": "test_byobnet", "role": "similarity", **usual},
    )
    made.run_images()
    made.run_models()
    return made.folder


def example(data, steps):
    """The block of code, with fewer steps of smaller batches."""
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    ours = f'DATA, NAME, LAYER, STEPS, BATCH = Path({str(data)!r}), "resnet", "layer3.0.bn2", {steps}, 48\n'
    block, found = re.subn(r"^DATA, .*\n", ours, block, flags=re.MULTILINE)
    assert found == 1
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(block, names)
    return names


def test_the_example_trains_with_the_score(data, capsys):
    names = example(data, 6)
    said = re.findall(r"step \d: soft score (0\.\d{3}), directions (\d+\.\d)", capsys.readouterr().out)
    assert len(said) == 6
    assert float(said[-1][0]) > float(said[0][0])
    assert names["optimizer"].param_groups[0]["lr"] == 0


def short(value, digits=3):
    return f"{value:.{digits}f}".replace("0.", ".", 1) if value < 1 else f"{value:.{digits}f}"


def table_after(heading):
    """Cells of the first table behind a heading, without its two lines of head."""
    found = [cells for cells in rows_of_section(heading) if not set("".join(cells)) <= set("-: ")]
    return found[1:]


def rows_of_section(heading):
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [cells for cells in rows(PAGE) if "| " + " | ".join(cells) + " |" in section]


def test_the_table_of_temperatures_is_that_of_the_benchmark():
    bands = pd.read_csv(COMMITTED / "differentiable_bands.csv")
    whole = bands[bands["sd"].isna()].set_index("temperature")
    batches = bands[bands["sd"].notna()].set_index(["temperature", "images"])
    sizes = sorted(bands.loc[bands["sd"].notna(), "images"].unique())
    expected = []
    for temperature, row in whole.iterrows():
        cells = [f"{temperature:g}".lstrip("0"), *(short(row[name]) for name in ("pearson", "mean", "difference"))]
        for size in sizes:
            there = (temperature, size) in batches.index
            part = batches.loc[(temperature, size)] if there else None
            cells.append("" if part is None else f"{short(part['pearson'], 2)} ({short(part['sd'])})")
        expected.append(cells)
    assert table_after("How near it is to the hard score") == expected
    assert whole.loc[0.03, "pearson"] >= 0.96
    assert whole.loc[0.1, "pearson"] >= 0.95
    assert whole.loc[0.003, "pearson"] >= 0.975
    assert ((whole["mean"] - whole["hard_mean"]).abs()[[0.003, 0.03, 0.1]] < 0.02).all()


def test_what_training_does_is_as_the_page_says():
    table = pd.read_csv(COMMITTED / "differentiable.csv").groupby("run", sort=False).mean(numeric_only=True)
    control, with_score = table.loc["control"], table.loc["recommended"]
    assert with_score["mis"] - control["mis"] >= 0.07
    assert with_score["mis_oracle"] - control["mis_oracle"] >= 0.06
    assert with_score["accuracy"] - control["accuracy"] >= -0.015
    assert with_score["participation"] >= control["participation"]
    assert table.loc["no decorrelation", "participation"] < 0.6 * control["participation"]
    assert abs(table.loc["random vectors", "soft_last"] - 0.5) <= 0.01
    for row in table.itertuples():
        assert (
            f" | {short(row.accuracy)} | {short(row.mis)} | {short(row.mis_tenth)} | {short(row.mis_oracle)} | "
            f"{row.participation:.1f} | {short(row.mis_before)} / {short(row.mis_after)} |"
        ) in TEXT, row.Index
