"""Every key of params.yaml is explained once, with what its dataclass allows."""

from __future__ import annotations

import dataclasses
import re
import typing

import pytest
from ruamel.yaml import YAML

from study.params.whole import Params
from tests.helpers.markdown import pages, relative, rows
from tests.helpers.rules import ROOT

NAMES = {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}


def rules_of(kind, prefix=""):
    """Dotted key -> type and rule of every value."""
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        hint = hints[spec.name]
        if dataclasses.is_dataclass(hint):
            yield from rules_of(hint, f"{prefix}{spec.name}.")
        else:
            yield prefix + spec.name, (hint, spec.metadata)


RULES = dict(rules_of(Params))


def allowed(hint, rule):
    """What a page must say that a value may be."""
    if typing.get_origin(hint) is tuple:
        return "list: " + allowed(typing.get_args(hint)[0], rule)
    if rule.get("choices"):
        return ", ".join(f"`{choice}`" for choice in rule["choices"])
    low, high, above = (rule.get(name) for name in ("low", "high", "above"))
    bounds = [
        f"{plain(low)} to {plain(high)}" if low is not None and high is not None else "",
        f"≥ {plain(low)}" if low is not None and high is None else "",
        f"≤ {plain(high)}" if high is not None and low is None else "",
        f"> {plain(above)}" if above is not None else "",
    ]
    return ", ".join([NAMES[hint], *filter(None, bounds)])


def plain(value):
    return "2⁶³ − 1" if value == 2**63 - 1 else f"{value:g}"


def explained():
    """Key -> the rows of pages that begin with it."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for page in pages():
        for cells in rows(page):
            if (match := re.fullmatch(r"`([a-z_0-9.]+)`", cells[0])) and match[1] in RULES:
                found.setdefault(match[1], []).append((relative(page), cells))
    return found


EXPLAINED = explained()


def test_keys_are_those_of_the_file():
    def leaves(content, prefix=""):
        for key, value in content.items():
            yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]

    content = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert set(leaves(content)) == set(RULES)


@pytest.mark.parametrize("key", RULES)
def test_a_key_is_explained_once(key):
    found = EXPLAINED.get(key, [])
    assert len(found) == 1, f"{key} is explained in {[page for page, _ in found] or 'no page'}"
    _, cells = found[0]
    assert cells[1] == allowed(*RULES[key])
    assert len(cells[2].split()) >= 2, f"{key}: {cells[2]}"


def test_rows_name_no_key_that_is_gone():
    page = ROOT / "docs/params.md"
    keys = [cells[0].strip("`") for cells in rows(page) if cells[0].startswith("`")]
    assert set(keys) <= set(RULES)
    groups = [key.partition(".")[0] for key in keys]
    assert groups == sorted(groups, key=list(dict.fromkeys(key.partition(".")[0] for key in RULES)).index)
