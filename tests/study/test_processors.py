"""A portable study computes with the same kernels on every x86-64 processor, whatever the caller's variables say."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version

import pytest

from study import environment, process
from study.environment import SWITCHES, is_portable, variables_of_worker
from study.errors import StudyError
from study.files import store
from study.params import reading
from study.params.ceiling import Ceiling
from tests.helpers.kernel_hashes import PACKAGES, RECORDED
from tests.helpers.programs import need
from tests.helpers.rules import ROOT

# each switch otherwise, and what would go before it
HOSTILE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_MAX_CPU_ISA": "AVX512_CORE",
    "MKL_CBWR": "AUTO",
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_ENABLE_CPU_FEATURES": "X86_V4",
    "NPY_DISABLE_CPU_FEATURES": "",
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "+sse2",
}
PROCESSORS = ("Haswell", "EPYC")  # of Intel and of AMD, with caches of other sizes
able = pytest.mark.skipif(not environment._able(), reason="this processor has no AVX2 and FMA")


def clean(**changes):
    """The environment of these tests without the switches."""
    mine = {name: value for name, value in os.environ.items() if name not in {*HOSTILE, *SWITCHES}}
    return {**mine, **changes}


def hashes(*parts, before=(), **changes):
    command = [*before, sys.executable, "-m", "tests.helpers.kernel_hashes", *parts]
    return subprocess.Popen(
        command, cwd=ROOT, env=clean(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read(running):
    out, errors = running.communicate()
    assert running.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def recorded():
    known = json.loads(RECORDED.read_text())
    assert {name: version(name) for name in PACKAGES} == known["versions"], (
        "packages are others: python -m tests.helpers.kernel_hashes --write"
    )
    return known


@able
def test_hostile_variables_change_nothing(recorded):
    found = read(hashes("basic", "networks", "chosen", **HOSTILE))
    assert found == {part: recorded[part] for part in found}


@able
def test_without_the_switches_other_kernels_compute(recorded):
    """The recorded digests do see kernels: MKL's for this processor are others than those for all."""
    code = (
        "import study.environment as e; e.portable = lambda: True; import sys, runpy; "
        "sys.argv = ['', 'basic']; runpy.run_module('tests.helpers.kernel_hashes', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean(**HOSTILE | {"NPY_ENABLE_CPU_FEATURES": ""}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["basic"]
    differing = {name for name, value in found.items() if value != recorded["basic"][name]}
    assert {"torch product", "numpy product", "numba cosine_margins", "one step"} <= differing
    assert not {"roots", "scipy expit"} & differing, "these need no switch"


@pytest.fixture(scope="module")
def emulated(recorded):
    """Digests of all emulated processors, which run side by side, by name."""
    need("qemu")
    # compiled here, because compiling takes minutes there
    assert read(hashes("basic", "--no-compiler"))["basic"] == recorded["basic"]
    running = {
        name: hashes("basic", "--no-compiler", before=[shutil.which("qemu-x86_64"), "-cpu", name])
        for name in PROCESSORS
    }
    return {name: read(each) for name, each in running.items()}


@able
@pytest.mark.parametrize("name", PROCESSORS)
def test_other_processors_give_the_same_bytes(emulated, recorded, name):
    assert emulated[name]["basic"] == recorded["basic"]


def after_import(tmp_path, line, before="", **changes):
    """The switches and the loaded packages after `import stages` in a process with such a line."""
    code = (
        f"import sys; sys.argv = {line!r}; {before}\nimport stages, os, json; print(json.dumps([dict(os.environ), "
        "sorted({'numpy', 'torch', 'numba'} & set(sys.modules))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean(PYTHONPATH=str(ROOT), **changes),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    variables, loaded = json.loads(done.stdout)
    assert not loaded
    return {name: variables.get(name) for name in HOSTILE}


@able
@pytest.mark.parametrize("line", [["-m", "--params", "p.yaml"], ["-m", "--out", "x", "--params=p.yaml"]])
def test_a_stage_of_a_portable_study_sets_all_switches(tmp_path, line):
    (tmp_path / "p.yaml").write_text("processor: portable\n")
    found = after_import(tmp_path, line, **HOSTILE)
    assert {name: found[name] for name in SWITCHES} == SWITCHES
    assert not found["NPY_ENABLE_CPU_FEATURES"]


@pytest.mark.parametrize("text", ["processor: native\n", "seed: 0\n", "- x\n", "a: [\n", None])
def test_any_other_study_leaves_the_variables_alone(tmp_path, text):
    if text is not None:
        (tmp_path / "p.yaml").write_text(text)
    assert after_import(tmp_path, ["-m", "--params", "p.yaml"], **HOSTILE) == HOSTILE


@able
def test_without_a_name_the_file_is_params_yaml(tmp_path):
    (tmp_path / "params.yaml").write_text("processor: portable\n")
    assert after_import(tmp_path, ["-m"])["MKL_CBWR"] == SWITCHES["MKL_CBWR"]


def test_a_worker_keeps_what_its_stage_set(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", "from multiprocessing...", "--multiprocessing-fork"])
    monkeypatch.setattr(process, "content_of", lambda path: pytest.fail("read the parameters again"))
    process.choose_kernels()


def test_a_worker_elsewhere_gets_the_switches(monkeypatch):
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)
    taken = variables_of_worker("cpu")
    assert {name: taken.get(name) for name in SWITCHES} == SWITCHES


@able
@pytest.mark.parametrize(("before", "named"), [("import numpy", "numpy"), ("import numpy, numba", "numpy and numba")])
def test_a_process_that_has_chosen_kernels_already_is_told(before, named):
    code = f"{before}; from study.environment import portable; portable()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=clean(), capture_output=True, text=True)
    assert f"StudyError: {named} chose the kernels of this processor when loaded" in done.stderr


@able
def test_a_portable_study_is_refused_in_a_process_of_other_kernels(monkeypatch):
    assert is_portable(), "these tests compute as stages do"
    assert reading.load(ROOT / "params.yaml", WithCeiling).processor == "portable"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    with pytest.raises(StudyError, match="processor is portable, but"):
        reading.load(ROOT / "params.yaml", WithCeiling)
    assert reading.load(ROOT / "studies/imagenet.yaml", WithCeiling).processor == "native"


@dataclass(frozen=True, kw_only=True)
class WithCeiling:
    processor: str
    ceiling: Ceiling


def test_another_processor_is_left_alone_and_told(monkeypatch, caplog):
    monkeypatch.setattr(environment, "_able", lambda: False)
    monkeypatch.setattr(environment.log, "propagate", True)
    monkeypatch.setattr(logging.getLogger("stages"), "propagate", True)
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    assert not environment.portable()
    assert os.environ["MKL_CBWR"] == "AUTO"
    assert "numbers will differ" in caplog.text
    assert not is_portable()
    environment.require_portable()


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        ("processor : 0\nflags : fpu fma avx avx2 sse\n", "x86_64", True),
        ("flags : fpu avx\n", "x86_64", False),
        ("Features : fp asimd\n", "x86_64", False),
        ("flags : fma avx2\n", "aarch64", False),
        (None, "x86_64", False),
    ],
)
def test_what_a_processor_must_have(monkeypatch, tmp_path, text, machine, expected):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(environment, "Path", lambda _: path)
    monkeypatch.setattr(environment.platform, "machine", lambda: machine)
    assert environment._able.__wrapped__() == expected


def test_a_store_keeps_both_kinds_apart(tmp_path, monkeypatch):
    def path(portable, phase):
        monkeypatch.setattr(store, "is_portable", lambda: portable)
        return store.WorkStore(tmp_path).path(phase, {"seed": 1}, ".npy")

    assert path(True, "margins") != path(False, "margins")
    assert path(True, "counts") == path(False, "counts")
    assert path(False, "margins").stem == store.fingerprint({"seed": 1})
