"""Who may import whom, how large a file may be, and where a shared name has its home: docs/design.md shows the same as a map."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from interpretability import schema
from tests.helpers.rules import ROOT
from tools.dependencies import module_files

PACKAGES = ("interpretability", "study", "stages", "tools", "experiment", "benchmarks")
# A package imports from those of lower floors. Benchmarks time whole stages too, so they stand above them.
HOUSE = (("interpretability",), ("study",), ("stages", "tools", "experiment"), ("benchmarks",))
# A room imports from rooms of lower floors only. A room is a folder or a file of its package.
LIBRARY = (
    ("errors", "files", "schema", "statistics"),
    ("casts", "intrinsics"),
    ("arguments", "checkpoints", "colour", "randomness"),
    ("weights",),
    ("directions",),
    ("columns", "extremes", "images", "margins", "mis", "networks", "synthetic"),
    ("people", "similarity", "tasks"),
    ("analysis", "explanations", "label_free", "soft", "visualisations"),
    ("design",),
    ("api",),
)
STUDY = (
    ("errors", "log"),
    ("environment",),
    ("params",),
    ("files", "process", "timing", "workers"),
    ("command", "images"),
    ("networks",),
    ("crowd", "extraction", "inputs", "people", "report", "solving", "tabulating", "visualisations"),
    ("explanations", "label_free", "tasks"),
)
MOST_LINES, MOST_ENTRY_LINES = 450, 80
CODE_IN_INIT = {"interpretability", "stages", "tools", "experiment", "benchmarks"}  # names on first use; one thread


def python_files(*packages: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for name in packages for path in (ROOT / name).rglob("*.py"))


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def modules_in(source: ast.Module) -> set[str]:
    """Local modules that a file imports, wherever in it, but not for type checking alone: the innermost ones."""
    skipped = {
        id(inner)
        for node in ast.walk(source)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for part in node.body
        for inner in ast.walk(part)
    }
    found = set()
    for node in ast.walk(source):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name for name in names if name.split(".")[0] in PACKAGES}
    return found


@cache
def imported(file: str) -> frozenset[str]:
    """Files that a file imports, without the packages around them."""
    return frozenset(files[-1] for name in modules_in(tree(file)) if (files := module_files(name))) - {file}


def package(file: str) -> str:
    return file.split("/")[0]


def room(file: str) -> str:
    return file.split("/")[1].removesuffix(".py")


def floor_of(name: str, floors: tuple[tuple[str, ...], ...]) -> int:
    return next(level for level, rooms in enumerate(floors) if name in rooms)


def climbing(edges: set[tuple[str, str]], floors: tuple[tuple[str, ...], ...]) -> set[tuple[str, str]]:
    """Arrows between two names that do not go down."""
    return {(a, b) for a, b in edges if a != b and floor_of(b, floors) >= floor_of(a, floors)}


def test_every_room_stands_on_a_floor():
    for name, floors in (("interpretability", LIBRARY), ("study", STUDY)):
        rooms = {room(file) for file in python_files(name)} - {"__init__"}
        assert rooms == {each for level in floors for each in level} & rooms
        assert not [each for each in rooms if sum(each in level for level in floors) != 1]


@pytest.mark.parametrize("file", python_files(*PACKAGES))
def test_imports_go_down(file):
    others = {(package(file), package(target)) for target in imported(file)}
    assert not climbing(others, HOUSE)
    for name, floors in (("interpretability", LIBRARY), ("study", STUDY)):
        if package(file) == name and room(file) != "__init__":
            inside = {(room(file), room(target)) for target in imported(file) if package(target) == name}
            assert not climbing({edge for edge in inside if edge[1] != "__init__"}, floors)


def circle(files: list[str]) -> list[str]:
    """Files that import each other in a ring, the first one found; or none."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(file: str) -> list[str]:
        state[file] = 1
        path.append(file)
        for target in sorted(imported(file)):
            if state.get(target) == 1:
                return [*path[path.index(target) :], target]
            if target not in state and (ring := visit(target)):
                return ring
        path.pop()
        state[file] = 2
        return []

    return next((ring for file in files if file not in state and (ring := visit(file))), [])


def test_no_files_import_each_other_in_a_ring():
    assert not circle(python_files(*PACKAGES))


def test_a_ring_would_be_found(monkeypatch):
    ring = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    monkeypatch.setattr(f"{__name__}.imported", lambda file: frozenset(ring[file]))
    found = circle(["d", "a"])
    assert found[0] == found[-1]
    assert set(found) == {"a", "b", "c"}
    assert all(b in ring[a] for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from study.files import tables", {"study.files.tables"}),
        ("def f():\n    import interpretability.mis", {"interpretability.mis"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from study import log", set()),
        ("import numpy", set()),
    ],
)
def test_imports_are_seen_wherever_they_are(source, names):
    assert modules_in(ast.parse(source)) == names


def test_an_arrow_up_or_sideways_would_be_found():
    assert climbing({("mis", "schema"), ("people", "mis")}, LIBRARY) == set()
    assert climbing({("mis", "people")}, LIBRARY)
    assert climbing({("people", "tasks")}, LIBRARY)


@pytest.mark.parametrize("file", python_files(*PACKAGES))
def test_files_are_short(file):
    most = MOST_ENTRY_LINES if package(file) == "stages" else MOST_LINES
    assert len((ROOT / file).read_text().splitlines()) <= most


@pytest.mark.parametrize("file", [file for file in python_files(*PACKAGES) if file.endswith("/__init__.py")])
def test_a_package_begins_with_a_docstring_and_nothing_else(file):
    if str(Path(file).parent) not in CODE_IN_INIT:
        assert len(tree(file).body) == 1
    assert ast.get_docstring(tree(file))


def test_every_stage_and_tool_can_be_called():
    for file in [*python_files("stages"), *(f"tools/{path.name}" for path in (ROOT / "tools").glob("*.py"))]:
        if not file.endswith("__init__.py"):
            assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree(file).body), file


SHARED = [name for name in vars(schema) if name.isupper()]


def test_shared_names_have_one_home():
    """Nobody else gives a name of the schema the value that it has there."""
    homes = defaultdict(list)
    for file in python_files(*PACKAGES):
        for node in tree(file).body:
            if isinstance(node, ast.Assign) and file != "interpretability/schema.py":
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id.lstrip("_") in SHARED:
                        value = getattr(schema, target.id.lstrip("_"))
                        written = ast.unparse(node.value).replace("'", '"')
                        if written in (repr(value).replace("'", '"'), repr(list(value)).replace("'", '"')):
                            homes[target.id].append(file)
    assert not homes


def environment_readers(source: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and ast.unparse(node.value) == "os"
        for node in ast.walk(source)
    )


@pytest.mark.parametrize("file", python_files("interpretability", "study", "stages", "tools", "experiment"))
def test_only_one_file_reads_the_environment(file):
    assert not environment_readers(tree(file)) or file == "study/environment.py"


def test_reading_the_environment_would_be_seen():
    assert environment_readers(ast.parse("import os\nx = os.environ.get('MIS_STORE')"))
    assert not environment_readers(ast.parse("import os\nx = os.getpid()"))
