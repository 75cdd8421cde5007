"""The frame of commands: their line, and that they run the library of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import interpretability
from study import command
from tests.helpers.rules import ROOT

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")


def test_folders_must_be_given_and_defaults_need_not():
    defaults = {"image-map": "b/c", "units": ("d", "folder of lists")}
    args = command.arguments("doc", ["--out", "a"], folders=("out",), defaults=defaults)
    assert (args.out, args.image_map, args.units) == (Path("a"), Path("b/c"), Path("d"))


def test_a_folder_that_is_left_out_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        command.arguments("doc", [], folders=("out", "cost"))
    assert ended.value.code == 2
    assert "the following arguments are required: --out, --cost" in capsys.readouterr().err


def test_flags_and_words_are_those_of_argparse():
    flags = {"plan": {"action": "store_true"}, "n": {"type": int, "default": 3}}
    words = {"versions": {"nargs": "*"}}
    args = command.arguments("doc", ["x", "y", "--plan"], flags=flags, words=words)
    assert (args.plan, args.n, args.versions) == (True, 3, ["x", "y"])


def test_help_is_the_docstring_line_by_line(capsys):
    with pytest.raises(SystemExit):
        command.arguments("One.\n\nReads   this\nWrites  that", ["--help"], defaults={"out": ("data/x", "the page")})
    shown = capsys.readouterr().out
    assert "\nReads   this\nWrites  that\n" in shown
    assert "the page (data/x)" in shown


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_does(stage):
    text = (ROOT / f"stages/{stage}.py").read_text()
    assert "args = arguments(__doc__, argv" in text
    assert all(f"\n{word} " in text for word in ("Reads", "Writes", "Run"))


def test_a_library_from_elsewhere_is_refused(monkeypatch, tmp_path, message):
    monkeypatch.setattr(interpretability, "__file__", str(tmp_path / "site-packages/interpretability/__init__.py"))
    text = message(lambda: pytest.fail("it ran"))
    assert (
        f"`interpretability` was imported from {tmp_path}/site-packages/interpretability, not from this checkout"
        in text
    )
    assert f"Run the command in {ROOT}" in text


def test_an_installed_copy_stops_a_stage_before_it_reads_anything(tmp_path):
    """The copy goes before the checkout on the path, as an installed one does for a command that runs elsewhere."""
    shutil.copytree(ROOT / "interpretability", tmp_path / "interpretability")
    call = "from stages import mis; from study.command import run; run(mis.main)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", call, "--params", "none.yaml"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"\nError: `interpretability` was imported from {tmp_path}/interpretability, not from"
    )
