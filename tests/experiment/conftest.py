"""What tests of the pages share: one Chromium a file, a profile a test, and a run with a few questions."""

from __future__ import annotations

import pytest

from experiment.rehearsal.chromium import Chromium
from tests.experiment.pages import SETTINGS, served, two_alternative


@pytest.fixture(scope="module")
def chromium():
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def profile(chromium):
    with chromium.profile() as profile:
        yield profile


@pytest.fixture
def tab(profile):
    return profile.tab()


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    return two_alternative(tmp_path_factory.mktemp("questions") / "folder")


@pytest.fixture
def run(tmp_path, questions):
    with served(tmp_path / "run", questions, **SETTINGS) as run:
        yield run
