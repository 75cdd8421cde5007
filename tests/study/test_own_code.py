"""Networks of the user's own code: several files, kept apart, and a record of every file that was read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from interpretability.errors import InputError
from study.networks import own_code
from study.networks.building import load_network
from study.networks.constructors import Constructor
from tests.conftest import PREPROCESSING
from tests.helpers.rules import ROOT
from tests.study.test_networks import EMPTY

PLAIN = "from torch import nn\n\n\ndef make(width={width}):\n    return nn.Conv2d(3, width, 3)\n"


MAKE = PLAIN.format(width=5)


def written(folder, files):
    """A code folder of files by their paths."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def row(constructor="net:make", **cells):
    return {
        **EMPTY,
        "name": "net",
        "constructor": constructor,
        "weights": "none",
        "preprocessing": PREPROCESSING,
    } | cells


def built(code, constructor="net:make", **cells):
    return Constructor.of(row(constructor, **cells), code)()


def recorded(code, constructor="net:make", run=True):
    model = built(code, constructor)
    if run:
        model(torch.zeros(1, 3, 8, 8))
    return sorted(json.loads(own_code.record(row(constructor), code, model)))


@pytest.mark.parametrize(
    ("files", "constructor"),
    [
        ({"net.py": "from parts import make\n", "parts.py": MAKE}, "net:make"),
        ({"net.py": "from lib.parts import make\n", "lib/parts.py": MAKE}, "net:make"),
        (
            {"net.py": "from lib import make\n", "lib/__init__.py": "from .parts import make\n", "lib/parts.py": MAKE},
            "net:make",
        ),
        ({"repo/net.py": "from parts import make\n", "repo/parts.py": MAKE}, "repo.net:make"),
        ({"repo/net.py": "from .parts import make\n", "repo/parts.py": MAKE}, "repo.net:make"),
        ({"repo/net.py": "from repo.parts import make\n", "repo/parts.py": MAKE}, "repo.net:make"),
        ({"net.py": "def make():\n    from parts import make\n    return make()\n", "parts.py": MAKE}, "net:make"),
        # of the name of an installed package
        (
            {"timm/net.py": "from .parts import make\n", "timm/parts.py": MAKE, "timm/__init__.py": "x = 1\n"},
            "timm.net:make",
        ),
    ],
)
def test_files_of_the_code_folder_import_each_other(tmp_path, files, constructor):
    code = written(tmp_path, files)
    before = list(sys.path), dict(sys.modules)
    assert built(code, constructor).out_channels == 5
    assert recorded(code, constructor) == sorted(files)
    assert sys.path == before[0]
    assert {name: module for name, module in sys.modules.items() if name in before[1]} == before[1], (
        "nothing is replaced"
    )
    assert not [name for name in sys.modules if name.split(".")[0] in ("parts", "lib", "repo")]


def test_two_rows_with_files_of_equal_names_do_not_mix(tmp_path):
    files = {
        "one/net.py": "import parts\n\n\ndef make():\n    return parts.make()\n",
        "one/parts.py": PLAIN.format(width=4),
        "two/net.py": "def make():\n    import parts\n    return parts.make()\n",
        "two/parts.py": PLAIN.format(width=7),
    }
    code = written(tmp_path, files)
    assert [built(code, f"{name}.net:make").out_channels for name in ("one", "two", "one")] == [4, 7, 4]
    assert recorded(code, "two.net:make") == ["two/net.py", "two/parts.py"]


LATE = """
from torch import nn


class Net(nn.Conv2d):
    def forward(self, images):
        import late
        return late.twice(super().forward(images))


def make():
    return Net(3, 4, 3)
"""


def test_what_a_network_imports_when_it_runs_is_found_and_recorded(tmp_path):
    code = written(tmp_path, {"net.py": LATE, "late.py": "def twice(x):\n    return 2 * x\n"})
    assert recorded(code, run=False) == ["net.py"]
    assert recorded(code) == ["late.py", "net.py"]
    model = built(code)
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 2, 8, 8))
    assert "late" not in sys.modules, "left behind by a pass that failed, too"
    model(torch.zeros(1, 3, 8, 8))


ADDS = """
import pathlib
import sys

from torch import nn

sys.path.append(str(pathlib.Path(__file__).parent / "repo"))
import deep.first


class Net(nn.Conv2d):
    def forward(self, images):
        from deep.second import twice
        return twice(super().forward(images))


def make():
    return Net(3, 4, 3)
"""


def test_code_may_name_more_folders_to_import_from(tmp_path):
    files = {
        "net.py": ADDS,
        "repo/deep/first.py": "x = 1\n",
        "repo/deep/second.py": "def twice(x):\n    return 2 * x\n",
    }
    code = written(tmp_path, files)
    before = list(sys.path)
    assert recorded(code) == sorted(files)
    assert recorded(code, run=False) == ["net.py", "repo/deep/first.py"]
    assert sys.path == before
    assert "deep.first" not in sys.modules


READS = """
import json
import pathlib

from torch import nn

width = json.loads((pathlib.Path(__file__).parent / "width.json").read_text())


def make():
    return nn.Conv2d(3, width, 3)
"""


def test_settings_that_a_network_reads_belong_to_its_code(tmp_path):
    code = written(tmp_path, {"net.py": READS, "width.json": "6", "README.md": "not read"})
    assert recorded(code) == ["net.py", "width.json"]
    assert recorded(code) == ["net.py", "width.json"], "also where the module comes from its cache"


def loaded(folder, **cells):
    return load_network(row(**cells), folder, folder, 0)


def test_a_change_of_any_file_since_the_models_stage_is_told(tmp_path):
    code = written(tmp_path, {"net.py": "from parts import make\n", "parts.py": MAKE, "other.py": "x = 1\n"})
    record = own_code.record(row(), code, loaded(code).model)
    assert loaded(code, code=record).digest == loaded(code).digest
    (code / "other.py").write_text("x = 2\n")
    assert loaded(code, code=record).digest == loaded(code).digest, "it is not read"
    (code / "parts.py").write_text(MAKE + "\n# edited\n")
    with pytest.raises(
        InputError, match=r"net: its code is not what the stage `models` saw: parts\.py changed since; run `dvc"
    ):
        loaded(code, code=record)
    (code / "parts.py").unlink()
    with pytest.raises(InputError, match=r"parts\.py changed since"):
        loaded(code, code=record)


def test_a_new_file_of_the_code_is_told(tmp_path):
    code = written(
        tmp_path, {"net.py": f"import importlib.util\n\nif importlib.util.find_spec('more'):\n    import more\n{MAKE}"}
    )
    record = own_code.record(row(), code, loaded(code).model)
    assert sorted(json.loads(record)) == ["net.py"]
    written(tmp_path, {"more.py": "x = 1\n"})
    with pytest.raises(InputError, match=r"more\.py changed since"):
        loaded(code, code=record)


def test_records_are_equal_in_every_process(tmp_path):
    code = written(tmp_path, {"net.py": "from parts import make\n", "parts.py": MAKE})
    program = f"""
import study.environment
study.environment.portable()
import sys
sys.path.append({str(code)!r})
import parts  # something else of this name was loaded before
from pathlib import Path
from study.networks import own_code
from study.networks.constructors import Constructor
row = {row()!r}
print(own_code.record(row, Path({str(code)!r}), Constructor.of(row, Path({str(code)!r}))()))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == own_code.record(row(), code, built(code))


def test_installed_code_is_told_by_its_release_or_its_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "lab"))
    written(tmp_path / "lab", {"mylab/__init__.py": "", "mylab/net.py": MAKE})
    here = row("mylab.net:make")
    record = own_code.record(here, tmp_path, built(tmp_path, "mylab.net:make"))
    assert sorted(json.loads(record)) == ["mylab/__init__.py", "mylab/net.py"]
    assert own_code.record_unseen(here, tmp_path) == record
    assert [path.name for path in own_code.code_files(here, tmp_path)] == ["__init__.py", "net.py"]
    loaded(tmp_path, constructor="mylab.net:make", code=record)
    (tmp_path / "lab/mylab/net.py").write_text(PLAIN.format(width=4))
    with pytest.raises(InputError, match=r"mylab/net\.py changed since"):
        loaded(tmp_path, constructor="mylab.net:make", code=record)
    release = own_code.record(row("torch.nn:Identity"), tmp_path, torch.nn.Identity())
    assert list(json.loads(release)) == ["torch"]
    assert not own_code.code_files(row("torch.nn:Identity"), tmp_path)


@pytest.mark.parametrize("constructor", ["resnet18", "resnet18.a1_in1k", "shufflenet_v2_x1_0", "control:planted"])
def test_networks_of_timm_and_torchvision_have_no_code_of_their_own(tmp_path, constructor):
    assert own_code.record(row(constructor), tmp_path, torch.nn.Identity()) == ""
    assert own_code.record_unseen(row(constructor), tmp_path) == ""


def test_linked_files_belong_to_the_folder(tmp_path):
    written(tmp_path / "elsewhere", {"net.py": "from parts import make\n", "parts.py": MAKE})
    code = tmp_path / "code"
    code.mkdir()
    for name in ("net.py", "parts.py"):
        (code / name).symlink_to(tmp_path / "elsewhere" / name)
    assert recorded(code) == ["net.py", "parts.py"]
    assert recorded(Path(tmp_path / "elsewhere")) == ["net.py", "parts.py"]


@pytest.mark.parametrize("name", ["random", "types", "numpy"])
def test_own_files_do_not_stand_in_for_what_everything_imports(tmp_path, name):
    text = f"import {name}\n\nassert not hasattr({name}, 'mine')\n{MAKE}"
    code = written(tmp_path, {"net.py": text, f"{name}.py": "mine = 1\n"})
    assert recorded(code) == ["net.py"]
    (code / f"{name}.py").write_text(PLAIN.format(width=9))
    assert built(code, f"{name}:make").out_channels == 9, "but may be a constructor's file"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def make(:\n", r"net: importing net from .* fails: SyntaxError: "),
        ("1 / 0\n", r"net: importing net from .* fails: ZeroDivisionError: division by zero"),
        (
            "def make():\n    return 1 / 0\n",
            r"net: constructing it by net:make with kwargs \{\} fails: ZeroDivisionError: ",
        ),
        ("def make():\n    return {}\n", "net: net:make gives dict, it must give a torch.nn.Module"),
        (
            "import torch\n\ndef make():\n    return torch.jit.script(torch.nn.Linear(1, 1))\n",
            "net: net:make gives a network of TorchScript",
        ),
    ],
)
def test_code_that_fails_is_told_with_what_was_done(tmp_path, text, told):
    code = written(tmp_path, {"net.py": text})
    with pytest.raises(InputError, match=told):
        built(code)
    assert "net" not in sys.modules


CONSTANT = """
from pathlib import Path
from safetensors.torch import load_file
from torch import nn


def make():
    model = nn.Conv2d(3, 5, 3)
    model.scale = load_file(Path(__file__).parent / "c.safetensors")["scale"]
    return model
"""


def test_files_that_are_opened_unheard_are_recorded_as_long_as_they_lie_in_the_folder(tmp_path):
    from safetensors.torch import save_file

    written(tmp_path, {"net.py": CONSTANT, "other.py": MAKE, "README.md": "", ".hidden": ""})
    for value in (1.0, -3.0):
        save_file({"scale": torch.tensor([value])}, tmp_path / "c.safetensors")
        record = json.loads(own_code.record(row(), tmp_path, built(tmp_path)))
        assert sorted(record) == ["c.safetensors", "net.py"]
        digest, before = record["c.safetensors"], locals().get("digest")
        assert digest != before


OUTSIDE = """
import sys
from pathlib import Path
sys.path.insert(0, {lab!r})
from helper import WIDTH
from torch import nn


def make():
    return nn.Conv2d(3, WIDTH + len(Path({table!r}).read_text()), 3)
"""


def test_files_outside_of_the_folder_are_recorded_and_noted_for_the_next_look(tmp_path):
    lab = written(tmp_path / "lab", {"helper.py": "WIDTH = 2\n", "table.txt": "abc"})
    code = written(tmp_path / "code", {"net.py": OUTSIDE.format(lab=str(lab), table=str(lab / "table.txt"))})
    wanted = ["net.py", str(lab / "helper.py"), str(lab / "table.txt")]
    assert not own_code.outside_files(row(), code)
    for _ in range(2):  # also where another network of this process has loaded them
        record = own_code.record(row(), code, built(code))
        assert sorted(json.loads(record)) == sorted(wanted)
        own_code.note_outside(row(), code, record)
        assert [str(path) for path in own_code.outside_files(row(), code)] == sorted(wanted[1:])
    assert "helper" not in sys.modules
    (lab / "helper.py").write_text("WIDTH = 3\n")
    with pytest.raises(InputError, match=r"helper\.py changed since"):
        loaded(code, code=record)


def test_what_own_code_sets_in_torch_ends_with_it(tmp_path, monkeypatch):
    text = "import os, torch\ntorch.set_default_dtype(torch.float64)\nos.chdir('/')\n" + MAKE
    before = Path.cwd()
    written(tmp_path, {"net.py": text})
    try:
        built(tmp_path)
        assert torch.get_default_dtype() == torch.float32
        assert Path.cwd() == before
    finally:
        torch.set_default_dtype(torch.float32)
        monkeypatch.chdir(before)


@pytest.mark.parametrize(
    "line",
    [
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",  # after which torch refuses to read the older names
        "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
        "torch.backends.cudnn.allow_tf32 = False",
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
        "torch.backends.cudnn.benchmark = True",
    ],
)
def test_arithmetic_that_own_code_chooses_ends_with_it(tmp_path, line):
    def now():
        backends = torch.backends
        by_operation = backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul
        older = torch.get_float32_matmul_precision(), backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
        newer = [switch.fp32_precision for switch in (backends, backends.cudnn, backends.mkldnn, *by_operation)]
        return older, newer, backends.cudnn.benchmark

    before = now()
    built(written(tmp_path, {"net.py": f"import torch\n{line}\n{MAKE}"}))
    assert now() == before


@pytest.mark.parametrize(
    "text",
    [
        "import argparse\nline = argparse.ArgumentParser()\nline.add_argument('--x', required=True)\nline.parse_args([])\n",
        "def make():\n    raise SystemExit('no')\n",
    ],
)
def test_code_that_ends_the_program_costs_its_network_alone(tmp_path, text, capsys):
    with pytest.raises(InputError, match="ends the program"):
        built(written(tmp_path, {"net.py": text}))
