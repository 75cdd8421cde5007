"""What the README shows of the library runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.helpers.markdown import code, links, rows
from tests.helpers.rules import ROOT

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def block(kind):
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return found


def test_the_library_in_ten_lines_runs():
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= 10
    done = subprocess.run([sys.executable, "-c", block("python")], cwd=ROOT, capture_output=True, text=True, check=True)
    head, *units = done.stdout.strip().splitlines()
    assert head.split() == ["unit", "mis", "mis_se"]
    assert len(units) == 3
    assert all(0.5 < float(line.split()[2]) <= 1 for line in units)


def test_what_the_library_s_last_line_calls_exists():
    import interpretability

    for name in re.findall(r"\bit\.(\w+)", block("python")):
        assert hasattr(interpretability, name), name


def test_two_commands_begin():
    """The first block of code is what a stranger types: a clone, and one command."""
    first = code(README)[0].splitlines()
    assert [line.split()[0] for line in first] == ["git", "make"]


def test_pictures_say_in_words_what_they_show():
    alternatives = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", TEXT)
    assert len(alternatives) >= 2
    assert all(len(words.split()) >= 4 and (ROOT / path).is_file() for words, path in alternatives)


def test_the_three_papers_are_those_of_the_citation():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    titles = [title for cells in rows(README) for title in re.findall(r"\*(.+?)\*", cells[0])]
    assert len(titles) == 3
    assert all(f"title: {title}\n" in cited for title in titles)
    assert "CITATION.cff" in links(README)
