"""What the documentation says of speed and memory is what the benchmarks have measured."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from tests.helpers.markdown import rows
from tests.helpers.rules import ROOT

RESULTS = ROOT / "benchmarks/results"
README, PAGE = (
    re.sub(r"\s+", " ", (ROOT / name).read_text(encoding="utf-8")) for name in ("README.md", "docs/scale.md")
)


@pytest.fixture(scope="module")
def forms():
    return pd.read_csv(RESULTS / "end_to_end.csv").set_index("case")


def test_the_readme_quotes_both_baselines(forms):
    ours, careful, published = (forms.loc[name] for name in ("ours", "careful", "published"))
    assert f"takes {ours['seconds']:.2f} seconds and {ours['own_bytes'] / 1e6:.0f} MB" in README
    assert f"{careful['ratio']:.0f} times as long and {careful['own_ratio']:.0f} times the memory" in README
    assert f"{published['ratio']:.0f} times as long and {published['own_ratio']:.0f} times the memory" in README


def test_the_page_on_scale_has_the_numbers_of_both(forms):
    found = {cells[0]: cells[2:] for cells in rows(ROOT / "docs/scale.md") if cells[0] in ("careful", "published")}
    for name in ("careful", "published"):
        row = forms.loc[name]
        ratio = f"{row['ratio']:.1f} ({row['ratio_low']:.1f} to {row['ratio_high']:.1f})"
        assert found[name] == [ratio, f"{row['cpu_ratio']:.1f}", f"{row['own_ratio']:.0f}"]
    assert f"elsewhere ({forms.loc['careful', 'above_imports_ratio']:.1f} times)" in PAGE
    assert f"here {forms.loc['ours', 'own_bytes'] / 1e6:.0f} MB" in PAGE


def test_the_page_on_scale_has_the_ratios_of_selection():
    ratio = pd.read_csv(RESULTS / "selection.csv").set_index("case")["ratio"]
    words = "is {empty:.0f} times `torch.topk` on (state, batch) from nothing, {empty_zeros:.0f} times"
    assert words.format(**ratio) in PAGE
    assert "and {late:.0f} and {late_zeros:.0f} times from the state".format(**ratio) in PAGE


def test_the_page_on_scale_has_the_stages_of_the_largest_study():
    table = pd.read_csv(RESULTS / "summaries_stages.csv").set_index("part")
    minutes, memory = table["seconds"] / 60, table["peak_bytes"] / 1e9
    assert f"`mis` takes {minutes['mis']:.0f} minutes and {memory['mis']:.1f} GB" in PAGE
    for part in ("stats", "report"):
        assert f"`{part}` {minutes[part]:.0f} minutes and {memory[part]:.1f} GB" in PAGE
    assert f"`tools.compare` {minutes['compare']:.0f} minutes" in PAGE


def test_the_page_on_scale_has_the_time_of_windows():
    ns = pd.read_csv(RESULTS / "windows.csv").set_index("stream")["ns"]
    assert f"{ns['uniform']:.0f} ns ({ns['zeros']:.0f} where 95 % are zeros)" in PAGE
