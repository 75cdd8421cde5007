"""Every command of every page parses: modules and their options, targets of make, stages and keys of DVC."""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
from ruamel.yaml import YAML

from tests.docs.test_params_page import RULES
from tests.helpers.markdown import braces, code, commands, pages, relative
from tests.helpers.rules import ROOT

PAGES = [page for page in pages() if page.name != "CHANGELOG.md"]  # which tells of commands that have moved since
COMMANDS = sorted({command for page in PAGES for command in commands(page)})
LACKING = "the following arguments are required"  # a page may name a command without what it works on
PLACEHOLDERS = ("NAME", "$out")
PARSE = argparse.ArgumentParser.parse_args


class ParsedError(Exception):
    """The command line is understood, and nothing more shall be done."""


@pytest.fixture
def only_parsing(monkeypatch):
    def parse(self, args=None, namespace=None):
        PARSE(self, args, namespace)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


def words_of(command):
    """Words of a command line, without what the shell sets before it and puts into it."""
    words = shlex.split(re.sub(r"\$\([^)]*\)", "X", command))
    while "=" in words[0]:
        words = words[1:]
    return words


def of(program):
    found = [command for command in COMMANDS if words_of(command)[0] == program]
    return [command for command in found if not any(word in command for word in PLACEHOLDERS)]


def module_of(command):
    return words_of(command)[2]


@pytest.mark.parametrize(
    "command", [command for command in of("python") if not re.search(r"-m (pytest|benchmarks)", command)]
)
def test_options_of_a_module_exist(command, only_parsing):
    module = module_of(command)
    assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file() or (ROOT / module / "__main__.py").is_file()
    main = importlib.import_module(f"{module}.__main__" if module == "experiment" else module).main
    if "--timing" in command:  # shown before the options are parsed, from what the last run left
        with redirect_stdout(io.StringIO()) as shown:
            main(words_of(command)[3:])
        assert shown.getvalue()
        return
    told = io.StringIO()
    try:
        with redirect_stderr(told), pytest.raises(ParsedError):
            main(words_of(command)[3:])
    except SystemExit:
        named_alone = len(words_of(command)) == 3 and LACKING in told.getvalue()
        assert named_alone, f"{command}: {told.getvalue()}"


def test_benchmarks_and_tests_that_pages_name_exist():
    named = [words_of(command)[2:] for command in of("python") if re.search(r"-m (pytest|benchmarks)", command)]
    assert len(named) > 3
    for module, *rest in named:
        if module == "pytest":
            assert all((ROOT / path).exists() for path in rest)
            continue
        source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
        for option in (word for word in rest if word.startswith("-") and word != "--help"):
            assert f'"{option}"' in source, f"{module} {option}"


@functools.cache
def targets():
    lines = (ROOT / "Makefile").read_text().splitlines()
    rules = [match[1] for line in lines if (match := re.match(r"([^\s:=#][^:=]*):(?!=)", line))]
    ready = {"$(READY)": ".venv/.ready", "$(PACKAGES)": "experiment/page/node_modules/.ready"}
    return {ready.get(name, name) for rule in rules for name in rule.split()}


@pytest.mark.parametrize("command", of("make"))
def test_targets_of_make_exist(command):
    for word in words_of(command)[1:]:
        name, given, _ = word.partition("=")
        if given:
            assert re.search(rf"\b{name}\b", (ROOT / "Makefile").read_text()), f"the Makefile knows no {name}"
        else:
            assert word in targets()


@functools.cache
def pipeline():
    """Stages of dvc.yaml, and what they write."""
    content = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
    outs = set()
    for stage in content["stages"].values():
        body = stage.get("do", stage)
        for out in body.get("outs", []) + body.get("metrics", []):
            outs.add(next(iter(out)) if isinstance(out, dict) else out)
    return set(content["stages"]), outs


@pytest.mark.parametrize("command", of("dvc"))
def test_words_of_dvc_are_understood(command, caplog):
    from dvc.cli import DvcParserError
    from dvc.cli.parser import get_main_parser

    try:
        args = get_main_parser().parse_args(words_of(command)[1:])
    except DvcParserError:
        assert len(words_of(command)) == 2, caplog.text
        assert LACKING in caplog.text
        return
    for assignment in getattr(args, "set_param", None) or []:
        assert assignment.partition("=")[0] in RULES
    if args.cmd in ("repro", "pull"):
        assert set(args.targets or []) <= pipeline()[0] | pipeline()[1]


def test_outs_that_a_loop_pulls_exist():
    loops = [block for page in PAGES for block in code(page) if re.search(r"for out in", block)]
    assert loops
    stages, outs = pipeline()
    written = {re.sub(r"\$\{item\}|/\$\{.*", "", out) for out in outs}
    for loop in loops:
        for name in (each for word in re.search(r"for out in (.*?); do", loop)[1].split() for each in braces(word)):
            assert name in stages | outs | written, name


def test_there_are_commands_of_every_kind():
    assert len(of("python")) > 30
    assert len(of("dvc")) > 10
    assert len(of("make")) > 6
    assert sys.modules["argparse"].ArgumentParser.parse_args is PARSE


def test_environment_variables_are_those_that_are_read():
    """Variables of pages are read by study/environment.py, or by tests and Makefile."""
    read = "".join((ROOT / name).read_text() for name in ("study/environment.py", "Makefile", "tests/conftest.py"))
    named = {(name, relative(page)) for page in PAGES for name in re.findall(r"\bMIS_[A-Z_]+\b", page.read_text())}
    assert len({name for name, _ in named}) >= 10
    assert {(name, page) for name, page in named if name not in read} == set()
