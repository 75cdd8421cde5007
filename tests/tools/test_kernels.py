"""What setting up the environment compiles ahead: every kernel that a stage of the embedded study asks for."""

import os
import subprocess
import sys

from tests.helpers.rules import ROOT

# in a process of its own: others here have compiled for their own ends
PROGRAM = """
import importlib
from tools import kernels
from numba.core.registry import CPUDispatcher

kernels.main([])
found = {}
for name in (
    "explanations.experiment_kernels", "explanations.latent.chains", "explanations.latent.kernels", "extremes.moments",
    "extremes.scanning", "extremes.shrinking", "label_free.kernels", "margins", "tasks.dealing", "tasks.one_sided",
):
    module = importlib.import_module(f"interpretability.{name}")
    found |= {word: each for word, each in vars(module).items() if isinstance(each, CPUDispatcher)}
called = {name for each in found.values() for name in each.py_func.__code__.co_names}  # by kernels, whose code has theirs
print(*(name for name, each in found.items() if name not in called and not each.stats.cache_hits))
"""
FOR_MAPS_ALONE = {"_distance_margins", "_distance_values"}  # which the embedded study has none of


def test_every_kernel_that_a_stage_asks_for_is_there():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    for _ in range(2):  # the second time all are found
        ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) == FOR_MAPS_ALONE
