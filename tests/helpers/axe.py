"""What axe-core finds wrong on a page that Chromium shows; it comes with the npm packages of the experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.helpers.browser import Tab
from tests.helpers.programs import PACKAGES

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]


def violations(tab: Tab, rules: Sequence[str] | None = None) -> list[tuple[str, list[tuple[list[str], str]]]]:
    """Rules that the page breaks, each with the places and what to mend; all those of RULES, or some by name.

    It runs through the protocol, which no policy stops.
    """
    if not tab.run("typeof axe === 'object'"):
        tab.run((PACKAGES / "axe-core/axe.min.js").read_text(encoding="utf-8") + "; null")
    only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": RULES}
    found = tab.run(
        f"axe.run({json.dumps({'runOnly': only, 'resultTypes': ['violations']})})"
        ".then(({passes, violations}) => ({n: passes.length, violations}))"
    )
    assert found["n"] > (0 if rules else 5), "axe-core has looked at next to nothing"
    return [
        (each["id"], [(node["target"], node["failureSummary"]) for node in each["nodes"]])
        for each in found["violations"]
    ]
