"""What axe-core finds wrong on a page that Chromium shows; it comes with the npm packages of the experiment."""

from __future__ import annotations

import json

from tests.helpers.browser import Tab
from tests.helpers.programs import PACKAGES

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]


def violations(tab: Tab) -> list[tuple[str, list[tuple[list[str], str]]]]:
    """Rules that the page breaks, each with the places and what to mend. It runs through the protocol, which no policy stops."""
    if not tab.run("typeof axe === 'object'"):
        tab.run((PACKAGES / "axe-core/axe.min.js").read_text(encoding="utf-8") + "; null")
    found = tab.run(
        f"axe.run({{runOnly: {{type: 'tag', values: {json.dumps(RULES)}}}, resultTypes: ['violations']}})"
        ".then(({passes, violations}) => ({n: passes.length, violations}))"
    )
    assert found["n"] > 5, "axe-core has looked at next to nothing"
    return [
        (each["id"], [(node["target"], node["failureSummary"]) for node in each["nodes"]])
        for each in found["violations"]
    ]
