"""A skipped test is reported with its reason, and fails where all tests must run."""

from __future__ import annotations

import ast

import pytest

from tests.helpers import programs
from tests.helpers.rules import ROOT

pytest_plugins = ["pytester"]
SKIPPED = """
import pytest
from tests.helpers.programs import FACTS, need, needs

@pytest.fixture
def needing():
    need("git", "Ghost")

@needs("Ghost")
def test_by_a_mark(): pass

def test_by_a_fixture(needing): pass

def test_by_a_call(): need("Ghost")

def test_without_a_word(): pytest.skip("not today")

def test_fact(): pytest.skip(FACTS[0])

@pytest.mark.xfail
def test_that_is_known_to_fail(): assert False

@needs("git")
def test_that_runs(): need("git")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run these tests; Ghost is a program that is nowhere, git one that is here."""
    monkeypatch.setitem(programs._PROGRAMS, "Ghost", (lambda: None, "ask a medium"))
    monkeypatch.setitem(programs._PROGRAMS, "git", (lambda: "git", ""))
    monkeypatch.delenv("MIS_TEST_ALL", raising=False)
    # the plugins of this run are those of the outer one, or not there at all
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def with_tests(content=SKIPPED, **settings):
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        pytester.makepyfile(content)
        return pytester.runpytest_inprocess("-p", "tests.helpers.programs", "-rs")

    return with_tests


def test_a_missing_program_skips_its_tests(run):
    done = run()
    done.assert_outcomes(passed=1, skipped=5, xfailed=1)
    assert done.ret == 0
    done.stdout.fnmatch_lines(["SKIPPED *: needs Ghost: ask a medium"])


def test_where_all_must_run_only_facts_are_reasons(run):
    done = run(MIS_TEST_ALL="1")
    done.assert_outcomes(passed=1, skipped=1, xfailed=1, errors=2, failed=2)
    assert done.ret == 1
    done.stdout.fnmatch_lines_random(
        [
            "*test_by_a_mark was skipped, but MIS_TEST_ALL is set: needs Ghost: ask a medium",
            "*test_without_a_word was skipped, but MIS_TEST_ALL is set: not today",
        ]
    )


def test_a_file_that_skips_itself_is_noticed(run):
    content = "import pytest; pytest.importorskip('no_such_module')"
    run(content).assert_outcomes(skipped=1)
    done = run(content, MIS_TEST_ALL="1")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*was skipped, but MIS_TEST_ALL is set: could not import 'no_such_module'*"])


def test_files_that_come_first_exist():
    assert [name for name in programs.LONGEST if not (ROOT / name).is_file()] == []


def test_facts_are_reasons_of_tests():
    said = {
        node.value
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    }
    assert set(programs.FACTS) <= said
