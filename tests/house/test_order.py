"""Sorting keeps the order of ties: else it follows the instructions of the processor, and with it what is counted or drawn."""

from __future__ import annotations

import ast

import pytest

from tests.helpers.rules import ROOT

PACKAGES = ("interpretability", "study", "stages", "tools", "experiment")
FILES = sorted(path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
SORTERS = {"argsort", "argpartition", "sort_values"}
WHY = "ties"  # a comment on the line of a call, or above it, that says why they are of no consequence


def unsure_sorts(source: str) -> list[int]:
    """Lines of calls in which the order of ties is left open, without a word about it."""
    lines = source.splitlines()
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in SORTERS
        and not keeps_ties(node)
        and not any(WHY in line.partition("#")[2] for line in lines[max(node.lineno - 2, 0) : node.end_lineno])
    ]


def keeps_ties(call: ast.Call) -> bool:
    """Whether ties keep their order: by the kind of sort, or because pandas sorts by several columns, which always does."""
    named = {word.arg: word.value for word in call.keywords}
    if any(
        isinstance(value, ast.Constant) and (name, value.value) in {("kind", "stable"), ("stable", True)}
        for name, value in named.items()
    ):
        return True
    by = named.get("by", call.args[0] if call.args else None)
    several = isinstance(by, ast.List) and (
        len(by.elts) > 1 or any(isinstance(entry, ast.Starred) for entry in by.elts)
    )
    return isinstance(call.func, ast.Attribute) and call.func.attr == "sort_values" and several


@pytest.mark.parametrize("file", FILES)
def test_sorting_keeps_the_order_of_ties(file):
    assert not unsure_sorts((ROOT / file).read_text(encoding="utf-8")), (
        'sort with kind="stable", or say why ties do not matter'
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("np.argsort(x)", True),
        ("x.argsort(axis=1)", True),
        ('np.argsort(x, kind="stable")', False),
        ("x.argsort(dim=0, stable=True)", False),
        ("np.argpartition(x, 3)  # ties count alike", False),
        ("np.argpartition(x, 3)  # the third", True),
        ("# ties get one rank\nnp.argsort(x)", False),
        ('table.sort_values("x")', True),
        ("table.sort_values(KEYS)", True),
        ('table.sort_values(["x"])', True),
        ('table.sort_values(["x", "y"])', False),
        ("table.sort_values(by=[first, *others])", False),
    ],
)
def test_a_sort_that_leaves_ties_open_would_be_found(line, found):
    assert bool(unsure_sorts(line)) == found
