"""In what arithmetic networks run, and that weights that are cast once change no number."""

import copy
import subprocess
import sys
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from interpretability.errors import InputError
from interpretability.networks import precision
from interpretability.networks.modules import hooks, read
from interpretability.networks.precision import arithmetic, is_depthwise, laid_out, prepared, products_in_float32

HALF = ["float16", "bfloat16"]
# plain, depthwise, attention, standardised weights, weights that act in functions, tables of positions that layers compute
NETWORKS = {
    "test_resnet": 32,
    "test_efficientnet": 32,
    "test_convnext": 64,
    "test_vit": 64,
    "test_nfnet": 32,
    "test_mambaout": 32,
    "beit_base_patch16_224": 32,
    "swinv2_cr_tiny_ns_224": 64,
}
SMALLER = {
    "beit_base_patch16_224": {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 32},
    "swinv2_cr_tiny_ns_224": {"embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2), "img_size": 64, "window_size": 4},
    "test_vit": {"img_size": 64},
}


class Mixed(nn.Module):
    """A convolution, a depthwise one, one in groups of two channels, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.depthwise = nn.Conv2d(8, 16, 3, groups=8)
        self.grouped = nn.Conv2d(16, 8, 1, groups=8)
        self.linear = nn.Linear(8, 5)

    def forward(self, x):
        return self.linear(self.grouped(self.depthwise(self.conv(x))).mean((2, 3)))


def kinds(model, run):
    """Type of each module's output in a pass."""
    found = {}

    def note(path, out):
        found[path] = out.dtype

    with hooks() as add:
        for path, module in model.named_modules():
            if path:
                read(add, module, "output", partial(note, path))
        run()
    return found


def on_a_gpu_with_tf32(monkeypatch, capability=(9, 0)):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@torch.no_grad()
def test_float16_leaves_depthwise_convolutions_in_float32():
    model, batch = Mixed().eval(), torch.randn(2, 3, 8, 8)
    with arithmetic(model, "float16", "cpu"):
        found = kinds(model, lambda: model(batch))
        given = model.conv(batch)
        values = model.depthwise(given)
    assert torch.equal(values, model.depthwise(given.float()))
    expected = dict.fromkeys(("conv", "grouped", "linear"), torch.float16) | {"depthwise": torch.float32}
    assert found == expected
    assert "forward" not in vars(model.depthwise)
    with arithmetic(model, "bfloat16", "cpu"):
        assert set(kinds(model, lambda: model(batch)).values()) == {torch.bfloat16}
    assert set(kinds(model, lambda: model(batch)).values()) == {torch.float32}


@torch.no_grad()
def test_a_context_serves_many_passes_and_leaves_nothing_behind_an_error():
    model, batch = Mixed().eval(), torch.randn(2, 3, 8, 8)
    own = model.depthwise.forward
    vars(model.depthwise)["forward"] = own  # as code of others may have it
    run = arithmetic(model, "float16", "cpu")
    with run:
        first = model(batch)
    with pytest.raises(RuntimeError), run:
        model(batch[:, :2])
    assert vars(model.depthwise)["forward"] is own
    assert not torch.is_autocast_enabled("cpu")
    with run:
        assert torch.equal(first, model(batch))


def test_tf32_is_on_for_the_network_alone_but_for_its_depthwise_convolutions(monkeypatch):
    on_a_gpu_with_tf32(monkeypatch)
    model, seen = Mixed().eval(), {}

    def settings():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    def note(name, forward):
        def run(x):
            seen[name] = settings()
            return forward(x)

        return run

    for name in ("conv", "depthwise", "linear"):
        vars(getattr(model, name))["forward"] = note(name, getattr(model, name).forward)
    before = settings()
    with arithmetic(model, "tf32", "cuda"):
        model(torch.randn(2, 3, 8, 8))
        assert settings() == (True, True)
        with products_in_float32():
            assert settings() == (False, False)
    assert seen == {"conv": (True, True), "depthwise": (False, False), "linear": (True, True)}
    assert settings() == before
    with pytest.raises(RuntimeError), arithmetic(model, "tf32", "cuda"):
        raise RuntimeError
    assert settings() == before


def test_tf32_is_switched_whatever_a_program_has_set_before():
    # in a process for each: what some of these set cannot be taken back
    program = """
import os

import torch
from torch import nn
from interpretability.networks import precision
from study.workers.device import exact

def settings():
    backends = torch.backends
    return [each.fp32_precision for each in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]

def check():
    before = settings()
    for name, kind in (("float32", "ieee"), ("float16", "ieee"), ("tf32", "tf32")):
        with precision.arithmetic(nn.Conv2d(3, 4, 3), name, "cuda"):
            assert settings() == [kind] * 3, name
            with precision.products_in_float32():
                assert settings() == ["ieee"] * 3
        assert settings() == before
    exact("cuda:0")
    assert settings() == ["ieee"] * 3
    assert torch.backends.fp32_precision == "ieee"
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32

precision.used = lambda precision, device: precision
torch.cuda.is_available = lambda: False
for words in (
    "",
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.fp32_precision = 'ieee'",
    "torch.backends.cudnn.conv.fp32_precision = 'ieee'",
    "torch.backends.cudnn.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.set_float32_matmul_precision('high')",
    "torch.backends.cudnn.allow_tf32 = False",
):
    child = os.fork()
    if not child:
        exec(words)
        check()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, words
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_tf32_is_float32_where_a_device_has_none(monkeypatch):
    assert precision.used("tf32", "cpu") == "float32"
    on_a_gpu_with_tf32(monkeypatch, (7, 5))
    assert precision.used("tf32", "cuda:0") == "float32"
    on_a_gpu_with_tf32(monkeypatch)
    assert precision.used("tf32", "cuda:0") == "tf32"
    assert precision.used("float16", "cpu") == "float16"
    model, batch = Mixed().eval(), torch.randn(2, 3, 8, 8)
    plain = model(batch)
    with arithmetic(model, "tf32", "cpu"):
        assert torch.equal(plain, model(batch))


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_cast_once_change_no_number(name):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **SMALLER.get(name, {})).eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(std=0.1)
    batch = torch.randn(3, 3, NETWORKS[name], NETWORKS[name])
    for kind in HALF:
        other = prepared(copy.deepcopy(model), kind)
        with arithmetic(model, kind, "cpu"):
            expected = model(batch)
        with arithmetic(other, kind, "cpu"):
            assert torch.equal(expected, other(batch))
        cast = [value for value in other.parameters() if value.dtype == precision.PRECISIONS[kind]]
        assert sum(value.numel() for value in cast) > 0.1 * sum(value.numel() for value in other.parameters())


def test_no_product_of_a_plain_network_casts_a_weight_again():
    from torch.utils._python_dispatch import TorchDispatchMode

    sizes = []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._to_copy.default:
                sizes.append(tuple(args[0].shape))
            return func(*args, **(kwargs or {}))

    def casts(model):
        sizes.clear()
        with torch.no_grad(), arithmetic(model, "float16", "cpu"), Casts():
            model(torch.randn(2, 3, 9, 9))
        return set(sizes)

    model = Mixed().eval()
    weights = {tuple(value.shape) for value in model.parameters()}
    assert len(weights & casts(model)) == 5, "conv and grouped of one size have biases of one size"
    assert not weights & casts(prepared(model, "float16"))


@torch.no_grad()
def test_weights_that_somebody_else_may_read_stay_as_they_are():
    class Standardised(nn.Conv2d):
        def forward(self, x):
            return F.conv2d(x, self.weight - self.weight.mean())

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(5, 4)
            self.out = nn.Linear(4, 5, bias=False)
            self.out.weight = self.words.weight

    hooked, own = nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_pre_hook(lambda module, args: None)
    own.forward = lambda x: x @ own.weight.square()
    weighted = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    kept = nn.ModuleList([Standardised(3, 4, 1), Tied(), hooked, own, weighted, nn.BatchNorm2d(4), nn.LayerNorm(4)])
    depthwise, plain = nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 4)
    identity = id(plain.weight)
    for kind in HALF:
        model = copy.deepcopy(nn.ModuleList([kept, depthwise]))
        prepared(model, kind)
        assert {value.dtype for value in model[0].parameters()} == {torch.float32}
        assert (model[1].weight.dtype == torch.float32) == (kind == "float16")
    assert id(prepared(plain, "float16").weight) == identity
    assert plain.weight.dtype == plain.bias.dtype == torch.float16
    for kind in ("float32", "tf32"):
        assert {value.dtype for value in prepared(kept, kind).parameters()} == {torch.float32}


def test_depthwise_convolutions_are_those_that_see_one_channel():
    assert is_depthwise(nn.Conv2d(8, 8, 3, groups=8))
    assert is_depthwise(nn.Conv1d(8, 24, 3, groups=8))
    for other in (nn.Conv2d(8, 8, 3, groups=4), nn.Conv2d(1, 8, 3), nn.Linear(8, 8)):
        assert not is_depthwise(other)


@pytest.mark.parametrize(
    ("precision", "device", "last"),
    [("float16", "cuda", True), ("tf32", "cuda:1", True), ("float32", "cuda", False), ("bfloat16", "cpu", False)],
)
def test_channels_lie_last_where_tensor_cores_read_them(precision, device, last):
    model = laid_out(nn.Conv2d(4, 6, 3), precision, device)
    assert model.weight.is_contiguous(memory_format=torch.channels_last) == last
    assert model.weight.is_contiguous() != last


@pytest.mark.parametrize(
    "call",
    [
        lambda: arithmetic(Mixed(), "int8", "cpu"),
        lambda: prepared(Mixed(), "int8"),
        lambda: laid_out(Mixed(), "int8", "cpu"),
    ],
)
def test_an_unknown_precision_is_refused(call):
    with pytest.raises(InputError, match="precision is 'int8', allowed: float32, tf32, float16, bfloat16"):
        call()
