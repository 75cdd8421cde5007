"""docs/design.md is a map: every room is on it, and every path on it exists."""

from __future__ import annotations

import re

import pytest

from tests.helpers.rules import ROOT
from tests.house.test_imports import LIBRARY, STUDY

MAP = (ROOT / "docs/design.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:interpretability|study|stages|tools|experiment|tests|reports)/[\w/.]+)`", MAP)))
DRAWING = "\n".join(line for line in MAP.splitlines() if line.startswith("    "))


@pytest.mark.parametrize("path", [path for path in PATHS if "NAME" not in path])
def test_what_the_map_names_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("room", sorted({room for floors in (LIBRARY, STUDY) for level in floors for room in level}))
def test_every_room_is_drawn(room):
    assert re.search(rf"\b{room}\b", DRAWING)


def test_the_map_names_paths():
    assert len(PATHS) > 25
