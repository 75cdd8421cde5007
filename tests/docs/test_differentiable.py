"""The example of docs/differentiable.md runs as it stands there, on a tiny study."""

from __future__ import annotations

import json
import re

import pytest
import torch

from tests.conftest import Study
from tests.helpers.rules import ROOT

PAGE = ROOT / "docs/differentiable.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHOWN = json.dumps({"crop": 32, "resize": 32, "mean": [0.5] * 3, "std": [0.5] * 3})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scenes, and two networks under the names that the example has for them."""
    made = Study(tmp_path_factory.mktemp("differentiable"))
    made.params()
    usual = {"kwargs": json.dumps({"num_classes": 4}), "preprocessing": SHOWN}
    made.roster(
        {"name": "resnet", "constructor": "test_resnet", **usual},
        {"name": "encoder", "constructor": "test_byobnet", "role": "similarity", **usual},
    )
    made.run_images()
    made.run_models()
    return made.folder


def example(data, steps):
    """The block of code, with fewer steps of smaller batches."""
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    ours = f'DATA, NAME, LAYER, STEPS, BATCH = Path({str(data)!r}), "resnet", "layer3.0.bn2", {steps}, 48\n'
    block, found = re.subn(r"^DATA, .*\n", ours, block, flags=re.MULTILINE)
    assert found == 1
    names: dict[str, object] = {}
    torch.manual_seed(0)
    exec(block, names)
    return names


def test_the_example_trains_with_the_score(data, capsys):
    names = example(data, 6)
    said = re.findall(r"step \d: soft score (0\.\d{3}), directions (\d+\.\d)", capsys.readouterr().out)
    assert len(said) == 6
    assert float(said[-1][0]) > float(said[0][0])
    assert names["optimizer"].param_groups[0]["lr"] == 0
