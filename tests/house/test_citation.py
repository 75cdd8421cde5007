"""CITATION.cff has what version 1.2.0 of its format asks for, and says what the package says."""

from __future__ import annotations

import re
import tomllib

from ruamel.yaml import YAML

from tests.helpers.rules import ROOT

CITATION = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KEYS = {
    *("cff-version", "message", "title", "authors", "type", "abstract", "version", "license", "keywords", "references"),
    *("doi", "url", "repository-code", "date-released", "identifiers", "preferred-citation", "contact", "commit"),
}
OF_REFERENCE = {"type", "title", "authors", "year", "url", "identifiers", "notes", "doi", "journal", "conference"}
PERSON = {"family-names", "given-names", "orcid", "affiliation"}


def test_it_has_what_the_format_asks_for():
    assert str(CITATION["cff-version"]) == "1.2.0"
    assert set(CITATION) <= KEYS
    assert CITATION["type"] == "software"
    assert all(isinstance(CITATION[key], str) and CITATION[key] for key in ("message", "title", "abstract", "version"))
    assert all(set(author) <= PERSON or set(author) == {"name"} for author in CITATION["authors"])


def test_it_says_what_the_package_says():
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    holder = re.search(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text())[1]
    assert CITATION["authors"] == [{"name": holder}]


def test_the_papers_are_cited():
    assert [reference["year"] for reference in CITATION["references"]] == [2024, 2023, 2025]
    for reference in CITATION["references"]:
        assert set(reference) <= OF_REFERENCE
        assert reference["type"] == "article"
        assert reference["title"]
        assert reference["url"].startswith("https://")
        assert reference["authors"]
        assert all({"family-names", "given-names"} <= set(author) <= PERSON for author in reference["authors"])
        for identifier in reference.get("identifiers", []):
            assert set(identifier) == {"type", "value"}
            assert identifier["type"] in ("doi", "url", "swh", "other")
            assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", identifier["value"])
            assert reference["url"].endswith(identifier["value"].partition(":")[2])
