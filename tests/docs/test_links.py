"""Every link of every page leads somewhere, and every page is in the index."""

from __future__ import annotations

import re

import pytest

from tests.helpers.markdown import anchors, links, pages, relative
from tests.helpers.rules import ROOT

README = ROOT / "README.md"
MOST_LINES = 120


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_links_lead_somewhere(page):
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target}: no such file"
        assert file.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(file), f"{target}: {relative(file)} has no such heading"


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_the_index_lists_every_page():
    index = ROOT / "docs/README.md"
    named = {target for target in links(index) if "/" not in target}
    assert named == {path.name for path in (ROOT / "docs").iterdir() if path.is_file() and path != index}


def test_pages_begin_with_what_they_are_for():
    """A heading, then a paragraph of one to four lines, before anything else."""
    for path in (ROOT / "docs").glob("*.md"):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("# "), path
        assert not lines[1], path
        first = lines[2 : lines.index("", 2)]
        assert 1 <= len(first) <= 5, path
        assert not re.match(r"[|#`\-!]|    ", first[0]), path


def test_no_paragraph_stands_twice():
    """A fact has one home, and other pages a link to it."""
    seen: dict[str, str] = {}
    for path in (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        for paragraph in re.split(r"\n\s*\n", path.read_text()):
            plain = " ".join(paragraph.split())
            if len(plain) > 120:
                assert plain not in seen, f"{relative(path)} repeats {seen[plain]}: {plain[:80]}"
                seen[plain] = relative(path)


def test_files_that_messages_name_are_there():
    """Code and parameters send readers to pages of docs."""
    sources = [*ROOT.glob("*.yaml"), *ROOT.glob("studies/*.yaml")]
    for package in ("interpretability", "study", "stages", "tools", "experiment", "benchmarks", "tests"):
        sources += (ROOT / package).rglob("*.py")
    named = {
        (match, path) for path in sources for match in re.findall(r"(?<!tests/)\bdocs/[\w/]+\.\w+", path.read_text())
    }
    assert len(named) > 10
    assert {(name, path) for name, path in named if not (ROOT / name).is_file()} == set()
