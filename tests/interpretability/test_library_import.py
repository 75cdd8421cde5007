"""Importing the library costs little and changes nothing for whoever imports it."""

import json
import pkgutil
import subprocess
import sys

import pytest

import interpretability
from tests.helpers.rules import ROOT

MODULES = [
    "interpretability",
    *(each.name for each in pkgutil.walk_packages(interpretability.__path__, "interpretability.")),
]
CORE = {"numpy", "scipy", "pandas", "numba"}
HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "PIL",
    "pandas",
    "numba",
    "scipy",
    "numpy",
    "lpips",
    "piq",
    "dreamsim",
    "matplotlib",
)
# Whatever one may set for a whole process. What the packages themselves change when they load is none of the library's doing:
# all are there before the first reading.
SETTINGS = """
import os, warnings, locale, random
import dreamsim, lpips, matplotlib, numba, numpy as np, pandas as pd, peft, PIL.Image, PIL.ImageFile, piq, safetensors, scipy
import statsmodels.stats.power, statsmodels.stats.proportion, scikit_posthocs, timm, torch, torchvision

def settings():
    return {
        "environ": dict(os.environ),
        "filters": [repr(each) for each in warnings.filters],
        "locale": locale.setlocale(locale.LC_ALL),
        "random": [repr(random.getstate())[:200], repr(np.random.get_state()), torch.get_rng_state().tolist()],
        "numpy": [np.geterr(), np.get_printoptions()],
        "pandas": {name: repr(pd.get_option(name)) for name in (
            "mode.copy_on_write", "display.max_rows", "future.infer_string", "compute.use_numexpr")},
        "pillow": [PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES],
        "matplotlib": repr(sorted(dict(matplotlib.rcParams).items(), key=str)),
        "numba": [numba.get_num_threads(), numba.config.CACHE_DIR, numba.config.NUMBA_NUM_THREADS],
        "torch": [
            torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled(), str(torch.get_default_dtype()),
            str(torch.get_default_device()), torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
            torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.mkldnn.enabled,
            torch.hub.get_dir(), repr(torch.load), repr(torch.hub.load),
        ],
        "torchvision": torchvision.get_image_backend(),
    }
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_takes_no_time_and_loads_no_package():
    code = f"""
import json, sys, time
start = time.perf_counter()
import interpretability as it
seconds = time.perf_counter() - start
print(json.dumps([seconds, [name for name in {HEAVY} if name in sys.modules], dir(it)]))
"""
    seconds, loaded, listed = run(code)
    assert seconds < 1
    assert loaded == []
    assert set(interpretability.__all__) <= set(listed)


def test_arrays_and_tables_need_the_core_alone():
    """Scores, tasks and people, where nothing is installed but numpy, scipy, pandas and numba."""
    others = sorted(
        set(HEAVY) - CORE | {"pyarrow", "statsmodels", "scikit_posthocs", "safetensors", "sklearn", "study"}
    )
    code = f"""
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {others}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
import interpretability as it
needs_torch = {{"Capture", "Code", "ImageFolder", "encode", "find_layers", "open_similarity", "similarity_names", "visualise"}}
needs_torch |= {{"decorrelation", "participation", "shares", "soft_mis"}}
opened = [name for name in it.__all__ if name not in needs_torch and getattr(it, name)]
draw = np.random.default_rng(0)
units = it.score_units(draw.standard_normal((60, 5)), draw.standard_normal((60, 4)), n_tasks=3, n_explanations=2)
import doctest, importlib
failed = 0
for name in opened:
    finder = doctest.DocTestFinder(recurse=False)
    if name != "score_network":
        for test in finder.find(getattr(it, name), name):
            failed += doctest.DocTestRunner().run(test).failed
try:
    it.find_layers
except ModuleNotFoundError as error:
    said = str(error)
print(json.dumps([len(opened), len(units), failed, said]))
"""
    *counts, said = run(code)
    assert counts == [len(interpretability.__all__) - 12, 5, 0]
    assert said.startswith("find_layers needs the package torch, which is not installed; the extras networks and")


def test_no_module_changes_a_setting_of_the_process():
    code = f"""{SETTINGS}
import importlib, json
changed, before = [], settings()
for name in {MODULES}:
    importlib.import_module(name)
    after = settings()
    changed += [(name, key) for key in before if before[key] != after[key]]
    before = after
print(json.dumps(changed))
"""
    assert run(code) == []


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'interpretability' has no attribute 'score'"):
        interpretability.score  # noqa: B018


def test_decoding_leaves_pillows_limit_alone(monkeypatch):
    from PIL import Image

    from interpretability.images import decode
    from tests.conftest import encoded

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(encoded(Image.new("RGB", (20, 20)))).shape == (20, 20, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
