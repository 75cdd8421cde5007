"""Variables of the environment: checked in one form, read anew at each call, and by one file alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interpretability.errors import InputError
from study.environment import Environment, variables_of_worker
from tests.helpers.rules import ROOT

NAMES = {
    "MIS_STORE": "elsewhere",
    "MIS_IMAGES": "pictures",
    "MIS_WEIGHTS": "files",
    "MIS_DEVICE": "cuda",
    "MIS_WORKERS": "3",
    "MIS_EXECUTOR": "ray",
    "MIS_DECODERS": "0",
    "MIS_NETWORKS_PER_PASS": "4",
    "MIS_MEMORY_GB": "1.5",
    "MIS_FEATURE_CACHE_GB": "0",
    "MIS_CUDA_GRAPHS": "off",
    "RAY_ADDRESS": "head:6379",
    "CUDA_VISIBLE_DEVICES": "3,5",
}


def test_what_is_set_is_read_at_each_call(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    usual = Environment.read()
    assert (usual.store, usual.weights, usual.images) == (Path("data/store"), Path("data/external/weights"), "")
    assert (usual.device, usual.executor, usual.visible_gpus) == ("auto", "local", ())
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)
    assert Environment.read() == Environment(
        Path("elsewhere"), "pictures", Path("files"), "cuda", 3, "ray", 0, 4, 1.5, 0.0, False, "head:6379", ("3", "5")
    )


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")
    found = Environment.read()
    assert (found.store, found.device, found.workers, found.memory_gb) == (Path("data/store"), "auto", None, None)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("MIS_DEVICE", "gpu", "allowed: auto, cpu, cuda"),
        ("MIS_CUDA_GRAPHS", "no", "allowed: on, off"),
        ("MIS_EXECUTOR", "slurm", "allowed: local, ray"),
        ("MIS_WORKERS", "²", "it must be a whole number of at least 1"),
        ("MIS_NETWORKS_PER_PASS", "0", "it must be a whole number of at least 1"),
        ("MIS_DECODERS", "-1", "it must be a whole number; 0 decodes without threads of its own"),
        ("MIS_MEMORY_GB", "0", "it must be a number of gigabytes above 0"),
        ("MIS_MEMORY_GB", "inf", "it must be a number of gigabytes above 0"),
        ("MIS_FEATURE_CACHE_GB", "nan", "it must be a number of gigabytes of at least 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(monkeypatch, name, value, rule):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        Environment.read()
    assert str(caught.value) == f"{name} is {value!r}, {rule}"


def test_a_worker_elsewhere_gets_the_settings_but_those_that_share_out_the_work(monkeypatch):
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)
    taken = variables_of_worker("cpu")
    assert taken["MIS_STORE"] == "elsewhere"
    assert (taken["MIS_EXECUTOR"], taken["MIS_DEVICE"], taken["OMP_NUM_THREADS"]) == ("local", "cpu", "1")
    assert not {"MIS_WORKERS", "RAY_ADDRESS", "CUDA_VISIBLE_DEVICES"} & set(taken)


@pytest.mark.parametrize("package", ["stages", "tools", "benchmarks", "tests"])
def test_numeric_libraries_get_one_thread_before_any_of_them_loads(package):
    code = (
        f"import sys, os, {package}; print(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'], "
        "sorted({'numpy', 'torch', 'numba'} & set(sys.modules)))"
    )
    settings = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=settings, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 PASSIVE []\n"
