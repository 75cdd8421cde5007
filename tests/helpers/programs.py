"""A plugin for all tests: programs that some need, what becomes of a test that was skipped, and which files come first.

Without such a program its tests are skipped, with the way to get it as the reason. Where MIS_TEST_ALL is set, as in
continuous integration, a skipped test has failed, unless its reason is among FACTS.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from tests.helpers import browser, firefox
from tests.helpers.rules import ROOT

# what no installation would change
FACTS = (
    "no folder of real data beside the repository",
    "no photographs at hand",
    "needs real photographs and a real network",
    "this system does not let a test mount a disk of its own",
    "sees factors, not pictures",
    "this processor has no AVX2 and FMA",
    "needs a GPU",
    "the sampler numpyro is not installed",
    "the library sae_lens is not installed",
    "the library overcomplete is not installed",
    "the library dictionary_learning is not installed",
)
# Files of more than a minute, longest first. Before them come those in which most of our kernels are compiled, once for all
# others: copies of the repository take along what is compiled when they are made.
LONGEST = (
    "tests/stages/test_crowd.py",
    "tests/stages/test_crowd_simulation.py",
    "tests/stages/test_end_to_end.py",
    "tests/study/test_processors.py",
    "tests/stages/test_inputs.py",
    "tests/docs/test_first_steps.py",
    "tests/interpretability/test_similarities.py",
    "tests/benchmarks/test_coverage.py",
    "tests/stages/test_scores.py",
    "tests/study/test_ray.py",
    "tests/stages/test_activations.py",
)
PACKAGES = ROOT / "experiment/page/node_modules"
_PROGRAMS: dict[str, tuple[Callable[[], object], str]] = {
    "Chromium": (browser.executable, "apt-get install chromium"),
    "Firefox": (firefox.executable, "apt-get install firefox-esr"),
    "Ray": (lambda: find_spec("ray"), "pip install --require-hashes -r requirements-cluster.lock"),
    "datasets": (lambda: find_spec("datasets"), "pip install --require-hashes -r requirements-datasets.lock"),
    "git": (lambda: shutil.which("git"), "apt-get install git"),
    "qemu": (lambda: shutil.which("qemu-x86_64"), "apt-get install qemu-user"),
    "make": (lambda: shutil.which("make"), "apt-get install make"),
    "npm": (lambda: shutil.which("npm"), "apt-get install npm"),
    "npm packages": (
        lambda: all((PACKAGES / name / "package.json").is_file() for name in ("jspsych", "axe-core")),
        "make experiment, or npm ci --ignore-scripts in experiment/page",
    ),
}


def _missing(names: tuple[str, ...]) -> str | None:
    """Reason of a skip, None if all are there."""
    gone = [name for name in names if not _PROGRAMS[name][0]()]
    return "; ".join(f"needs {name}: {_PROGRAMS[name][1]}" for name in gone) or None


def need(*names: str) -> None:
    """In a test or a fixture: go on only with these programs."""
    if reason := _missing(names):
        pytest.skip(reason)


def needs(*names: str) -> pytest.MarkDecorator:
    """The same as a mark."""
    reason = _missing(names)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


def _judged(report: pytest.TestReport | pytest.CollectReport) -> pytest.TestReport | pytest.CollectReport:
    """The report, of a failure where no test may be skipped for this reason."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("MIS_TEST_ALL"):
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason not in FACTS:
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} was skipped, but MIS_TEST_ALL is set: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _judged((yield))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Processes side by side begin with the files that take longest, so that they end at about the same time."""
    if hasattr(config, "workerinput"):
        places = {ROOT / name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: places.get(item.path, len(places)))
