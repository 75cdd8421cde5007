"""What of a network a study would fail at is found before any image: its numbers, its pass, its layers."""

from __future__ import annotations

import logging
import random

import numpy as np
import pytest
import torch
from torch import nn

from interpretability.errors import InputError
from interpretability.networks.network import initialised
from interpretability.networks.preprocessing import Preprocessing
from study.networks import building, trial
from study.networks.building import load_network
from study.params.units import Units
from tests.conftest import PREPROCESSING
from tests.study.test_networks import EMPTY

RULES = Units(layer_types=("Conv", "Linear", "BatchNorm"), drop_first_last=False, linear="all", norm_act="before")
HEAD = "import torch\nfrom torch import nn\n\n\n"
BODY = "nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))"


def network(forward, init=""):
    """Code of a network with a body and this forward pass."""
    return (
        f"{HEAD}class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.body = {BODY}\n{init}\n"
        f"    def forward(self, {forward}\n\n\ndef make():\n    return Net()\n"
    )


def function(text):
    return f"{HEAD}def make():\n{text}"


def row(**cells):
    return {
        **EMPTY,
        "name": "net",
        "constructor": "net:make",
        "weights": "none",
        "preprocessing": PREPROCESSING,
    } | cells


def tried(tmp_path, text, rules=RULES, **cells):
    (tmp_path / "net.py").write_text(text)
    loaded = load_network(row(**cells), tmp_path, tmp_path, 0)
    trial.try_out(row(**cells), loaded, rules, 0)
    return loaded


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            network("x, text):\n        return self.body(x) + text"),
            r"fails: TypeError: .*missing 1 required positional argument: 'text'",
        ),
        (
            network("x):\n        return self.body(x)[99]"),
            r"its forward pass on a batch \(2, 3, 32, 32\) fails: IndexError: ",
        ),
        (
            network("x):\n        return self.body(x.permute(0, 2, 3, 1))"),
            "RuntimeError: .* A network here takes one batch of images",
        ),
        (
            network("x):\n        return self.body(x + torch.rand_like(x))"),
            "differ between a batch of 2 and the image alone",
        ),
        (network("x):\n        return self.body(x - x.mean())"), "differ between a batch of 2 and the image alone"),
        (
            network("x):\n        return self.body(x) if len(x) > 1 else self.body[0](x)"),
            "calls other modules for one image than",
        ),
        (
            network("x):\n        return self.body(x / 0)"),
            r"layer body\.0, unit 0 is \[nan, nan\] for images of noise, as are 3 more of",
        ),
        (
            function(f"    net = {BODY}\n    net[3].weight.data[1] = float('nan')\n    return net\n"),
            r"1 of its 9 tensors .* first is 3\.weight, in which 36 of 144 are nan",
        ),
        (
            function(f"    net = {BODY}\n    net[1].running_var[2] = float('inf')\n    return net\n"),
            r"first is 1\.running_var, in which 1 of 4",
        ),
        (
            function(
                f"    net = {BODY}\n    net.register_buffer('grid', torch.tensor([float('nan')]))\n    return net\n"
            ),
            "first is grid",
        ),
        (function("    return nn.Sequential(nn.Flatten(), nn.ReLU())\n"), "no layer is left"),
    ],
)
def test_a_network_that_cannot_be_studied_is_told_by_name(tmp_path, text, told):
    with pytest.raises(InputError, match=told) as caught:
        tried(tmp_path, text)
    assert str(caught.value).startswith("net: ")


@pytest.mark.parametrize(
    "text",
    [
        network("x, text=None):\n        return self.body(x)"),
        network("x):\n        return {'logits': [self.body(x)]}"),
        network(
            "x):\n        return self.body(x)",
            "        self.register_buffer('mask', torch.full((4, 4), float('-inf')).triu(1))",
        ),
        function("    return nn.Conv2d(3, 4, 3).double()\n"),
    ],
)
def test_a_network_that_can_be_studied_is(tmp_path, text):
    if "double" not in text:
        tried(tmp_path, text)


def test_noise_is_keyed_and_of_the_size_of_the_network():
    view = Preprocessing.parse(PREPROCESSING, "net")
    one = trial.noise(view, 0, "net")
    assert one.shape == (2, 3, 32, 32)
    assert torch.equal(one, trial.noise(view, 0, "net"))
    assert not torch.equal(one, trial.noise(view, 1, "net"))
    assert not torch.equal(one[0], one[1])
    wide = Preprocessing(16, 24, (0.5,) * 3, (0.5,) * 3)
    framed = Preprocessing(16, 12, (0.5,) * 3, (0.5,) * 3, mode="border")
    assert trial.noise(wide, 0, "net").shape == trial.noise(framed, 0, "net").shape == (2, 3, 16, 16)


LAZY = function("    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))\n")


def test_lazy_layers_get_weights_that_seed_and_name_draw(tmp_path):
    first = tried(tmp_path, LAZY)
    assert first.model[3].weight.shape == (5, 4 * 30 * 30)
    assert tried(tmp_path, LAZY).digest == first.digest
    assert tried(tmp_path, LAZY, name="other").digest != first.digest
    assert tried(tmp_path, LAZY, sha256=first.digest).digest == first.digest
    again = tmp_path / "w.pth"
    torch.save(first.model.state_dict(), again)
    from interpretability.files import sha256_file

    cells = {"name": "other", "weights": str(again), "sha256": sha256_file(again)}
    assert tried(tmp_path, LAZY, **cells).digest == first.digest


def test_lazy_layers_that_a_pass_does_not_reach_are_told(tmp_path):
    text = network("x):\n        return self.body(x)", "        self.extra = nn.LazyLinear(4)")
    with pytest.raises(
        InputError, match=r"net: a pass of the network gives no shape to 2 of its 2 weights .*, extra.weight the first"
    ):
        tried(tmp_path, text)


@pytest.mark.parametrize(("kind", "name"), [("half", "float16"), ("bfloat16", "bfloat16"), ("double", "float64")])
def test_weights_of_other_precision_run_in_float32_and_it_is_said(tmp_path, kind, name, caplog):
    logging.getLogger("stages").propagate = True
    try:
        with caplog.at_level(logging.INFO):
            found = tried(tmp_path, function(f"    return {BODY}.{kind}()\n"))
    finally:
        logging.getLogger("stages").propagate = False
    assert {value.dtype for value in found.model.parameters()} == {torch.float32}
    assert f"net: 6 of its 6 tensors of weights are {name}; they run in" in caplog.text


DRAWS = f"""{HEAD}import random
import numpy as np


def make():
    net = {BODY}
    net[0].bias.data[0] = np.random.rand() + random.random()
    return net
"""


def test_draws_of_numpy_and_python_are_keyed_and_left_as_they_were(tmp_path):
    numpy = np.random.mtrand._rand  # the generator of the process
    numpy.seed(3)
    random.seed(3)
    states = numpy.get_state()[1].tolist(), random.getstate()
    first = tried(tmp_path, DRAWS)
    assert (numpy.get_state()[1].tolist(), random.getstate()) == states
    numpy.seed(4)
    random.seed(4)
    assert tried(tmp_path, DRAWS).digest == first.digest
    assert tried(tmp_path, DRAWS, name="other").digest != first.digest


def test_keyed_draws_do_not_hang_on_what_was_drawn_before():
    def drawn(name):
        return initialised(lambda: nn.Linear(2, 2), 0, name).weight

    torch.rand(3)
    assert torch.equal(drawn("a"), drawn("a"))
    assert not torch.equal(drawn("a"), drawn("b"))


def test_an_error_of_the_disk_is_no_error_of_the_network():
    full = OSError(28, "No space left on device")
    assert building.forward_failure(full, "net", (2, 3, 8, 8)) is full
    own = InputError("ours")
    assert building.forward_failure(own, "net", (2, 3, 8, 8)) is own
