"""Rules of the library: what it opens, the words that it shares, and how it speaks."""

from __future__ import annotations

import ast
import re

import pytest

import interpretability
from interpretability import schema
from study.errors import KEYS
from study.params.whole import keys
from tests.helpers.rules import ROOT

LIBRARY = ROOT / "interpretability"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in LIBRARY.rglob("*.py"))
TREES = {name: ast.parse((ROOT / name).read_text()) for name in FILES}
OPENERS = {"images", "files", "weights"}
FILES_OF_CODES = "interpretability/directions/files.py"
OWNED_BY_SCHEMA = {
    "UNIT",
    "KEY",
    "FACTS",
    "NATURAL",
    "SYNTHETIC",
    "HARD",
    "CONDITIONS",
    "SIDES",
    "ROLES",
    "LAYER_TYPES",
    "LEVELS",
    "UNIT_SETS",
    "SCORE_COLUMNS",
    "MAP_STATISTICS",
    "GROUPS",
}
OWNED_BY_STATISTICS = {"MIN_POINTS", "FEWEST", "FEWEST_CORRELATED"}
WORDS_OF_SCHEMA = {schema.NATURAL, schema.SYNTHETIC, *schema.HARD}
OPENING = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "read_csv",
    "read_parquet",
    "to_csv",
    "to_parquet",
    "memmap",
    "load_file",
    "safe_open",
    "save_file",
    "urlopen",
}


def room(name):
    """Room of a file or of a dotted module: the first name below the library."""
    parts = name.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def docstrings(tree):
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.body and isinstance(node.body[0], ast.Expr)
    }


def strings(tree):
    """String constants of the code, docstrings left out."""
    docs = docstrings(tree)
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_only_the_front_door_names_api():
    for name, tree in TREES.items():
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert "interpretability.api" not in modules or name == "interpretability/__init__.py", name


@pytest.mark.parametrize("name", FILES)
def test_only_images_files_weights_and_files_of_codes_open_files(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            of_numpy = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in ("np", "numpy", "torch")
            if called in OPENING or (called in ("load", "save") and of_numpy):
                assert room(name) in OPENERS or name == FILES_OF_CODES, f"{name}:{node.lineno} {ast.unparse(node.func)}"


@pytest.mark.parametrize("name", FILES)
def test_nothing_names_a_key_of_a_study_nor_its_error(name):
    text = "\n".join(strings(TREES[name]))
    dotted = [key for key in keys() if "." in key]
    for key in dotted:
        assert not re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", text), f"{name} names {key}"
    assert "MIS_" not in text
    source = (ROOT / name).read_text()
    assert "StudyError" not in source
    assert "params.yaml" not in source.replace("keys of a file", "")


@pytest.mark.parametrize("name", FILES)
def test_words_that_tables_share_have_one_home(name):
    for node in ast.walk(TREES[name]):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        flat = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
        for target in flat:
            called = target.id.lstrip("_") if isinstance(target, ast.Name) else ""
            assert called not in OWNED_BY_SCHEMA or name.endswith("schema.py"), f"{name}:{node.lineno} {called}"
            assert called not in OWNED_BY_STATISTICS or name.endswith("statistics.py"), f"{name}:{node.lineno} {called}"
        if isinstance(node, ast.List | ast.Tuple):
            values = [part.value for part in node.elts if isinstance(part, ast.Constant)]
            assert values[:3] != schema.UNIT or name.endswith("schema.py"), f"{name}:{node.lineno} spells UNIT out"
    if not name.endswith("schema.py"):
        assert not WORDS_OF_SCHEMA & set(strings(TREES[name])), name


@pytest.mark.parametrize("name", FILES)
def test_templates_of_errors_are_filled(name):
    """Every hole of a literal template is an argument or a value, and every argument and value has a hole."""
    for node in ast.walk(TREES[name]):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", getattr(node.func, "attr", "")) not in (
            "InputError",
            "wrong",
        ):
            continue
        parts = node.args
        literal = [part for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        if len(literal) != len(parts) or not parts or any(word.arg is None for word in node.keywords):
            continue  # a text put together in code
        if getattr(node.func, "attr", getattr(node.func, "id", "")) == "wrong":
            named, template = {literal[0].value}, "{" + literal[0].value + "} " + literal[1].value
        else:
            named, template = {part.value for part in literal[1:]}, literal[0].value
        values = {word.arg for word in node.keywords}
        if not (named or values):
            continue  # a plain text
        holes = set(re.findall(r"{(\w+)[^}]*}", template))
        assert holes == named | values, f"{name}:{node.lineno}"
        assert not named & values, f"{name}:{node.lineno}"


def test_no_assert_stands_for_an_error_of_input():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), f"{name}:{node.lineno}"


def test_public_names_have_homes_and_their_order():
    assert interpretability.__all__ == sorted(interpretability.__all__)
    assert set(interpretability._HOMES) == set(interpretability.__all__)
    for name in interpretability.__all__:
        assert getattr(interpretability, name).__name__ == name
        assert getattr(interpretability, name).__module__ == f"interpretability.{interpretability._HOMES[name]}"
    typed = next(node for node in TREES["interpretability/__init__.py"].body if isinstance(node, ast.If))
    listed = {alias.name: node.module for node in typed.body for alias in node.names}
    assert listed == {name: f"interpretability.{home}" for name, home in interpretability._HOMES.items()}


def test_a_study_names_arguments_by_keys_that_there_are():
    known = {*keys(), "The variable MIS_WEIGHTS"}
    assert set(KEYS.values()) <= known
    assert list(KEYS) == sorted(KEYS)
