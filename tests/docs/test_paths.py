"""Files that pages name are there, and every table of results is explained."""

from __future__ import annotations

import re

import pytest

from tests.docs.test_commands import pipeline
from tests.helpers.markdown import braces, pages, prose, relative
from tests.helpers.rules import ROOT

FOLDERS = "interpretability|study|stages|tools|experiment|benchmarks|tests|reports|studies|results|docs|data"
WRITTEN = ("reports/report.html", "reports/compare.html", "reports/figures", "results/tables", "data/store")
PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]


def named(page):
    """Paths between backticks that begin with a folder of the repository, with {a,b} as several."""
    for text in re.findall(r"`([^`\s]+)`", prose(page.read_text(encoding="utf-8"))):
        if re.match(rf"(?:{FOLDERS})/", text) and not re.search(
            r"[A-Z]{3,}(?!ME)|[<…(]|\.\.\.", text.replace("README", "")
        ):
            yield from braces(text.rstrip("/"))


def is_there(path):
    if list(ROOT.glob(path)) or path.startswith(WRITTEN):
        return True
    outs = {re.sub(r"\$\{.*", "", out) for out in pipeline()[1]}
    kept_out = ("data/external/", "data/inputs/")
    return path.startswith(("data/",)) and (path.startswith((*outs, *kept_out)))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_paths_exist(page):
    assert [path for path in named(page) if not is_there(path)] == []


def test_every_table_is_explained():
    """docs/outputs.md names each table of results once, and no other."""
    found = [path for path in named(ROOT / "docs/outputs.md") if path.startswith("results/tables/")]
    assert len(found) == len(set(found))
    assert set(found) == {relative(path) for path in (ROOT / "results/tables").glob("*.csv")}
