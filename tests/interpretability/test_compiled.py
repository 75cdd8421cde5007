"""A network and the reading of its units traced as one function give what the plain capture gives; what cannot be says why."""

from __future__ import annotations

import pytest
import torch
import torch._inductor.config
from torch import nn
from torch._inductor.compile_fx import compile_fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from interpretability.errors import InputError
from interpretability.networks import compiled as compiled_module
from interpretability.networks.capture import Capture
from interpretability.networks.compiled import TOLERANCES, Compiled, largest_difference, traced
from interpretability.networks.layers import find_layers
from interpretability.networks.precision import arithmetic, prepared
from tests.helpers.small_networks import SIZE, SMALL


def shown(n=4, size=SIZE):
    return torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(2))


def small():
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1)
    return nn.Sequential(*layers).eval()


def as_it_is(graph, arguments):
    """No compiler: the graph, run operation by operation."""
    return graph


@pytest.fixture(autouse=True)
def in_place(monkeypatch):
    """Means go into the buffer as on a GPU."""
    monkeypatch.setattr(Capture, "_in_place", property(lambda _: True, lambda _, value: None), raising=False)


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "float16") for name in SMALL), ("vit", "float32"), ("convnext", "bfloat16")]
)
def test_traced_values_are_those_of_the_plain_capture(name, precision):
    network, batch = SMALL[name]().eval(), shown()
    layers = find_layers(network, batch[:3])
    network = prepared(network, precision)
    compiled = Compiled(network, layers, batch, precision=precision, compiler=as_it_is)
    other = shown().flip(0) * 0.7  # than it was traced with
    plain = Capture(network, layers, 4, "cpu", precision=precision, shortcut=False)(other)
    assert torch.equal(compiled(other), plain)


def test_all_weights_are_arguments_and_python_is_gone():
    network, batch = SMALL["efficientnet"]().eval(), shown()
    layers = find_layers(network, batch[:3])
    found = traced(network, layers, batch)
    n = len(list(network.parameters())) + len(list(network.buffers()))
    assert sum(node.op == "placeholder" for node in found.graph.graph.nodes) == n + 1 == len(found.arguments)
    assert {node.op for node in found.graph.graph.nodes} == {"placeholder", "call_function", "output"}
    assert not network.conv_stem._forward_hooks


def test_networks_that_differ_in_weights_alone_have_one_graph():
    batch = shown()
    graphs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = SMALL["resnet"]().eval()
        graphs.append(traced(network, find_layers(network, batch[:3]), batch).graph.code)
    assert graphs[0] == graphs[1]


def test_weights_may_change_after_compiling():
    network, batch = small(), shown()
    layers = find_layers(network, batch[:3], drop_first_last=False)
    compiled = Compiled(network, layers, batch, compiler=as_it_is)
    with torch.no_grad():
        network[0].weight.mul_(2)
    assert torch.equal(compiled(batch), Capture(network, layers, 4, "cpu", shortcut=False)(batch))


def test_layers_that_run_twice_or_act_without_a_call_are_read():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.attention = nn.Conv2d(3, 3, 3, padding=1), nn.MultiheadAttention(3, 1, batch_first=True)

        def forward(self, batch):
            tokens = self.conv(self.conv(batch)).flatten(2).mT
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    network, batch = Twice().eval(), shown(size=6)
    layers = find_layers(network, batch[:3], drop_first_last=False)
    assert [layer.name for layer in layers] == ["conv", "conv#2", "attention.in_proj", "attention.out_proj"]
    compiled = Compiled(network, layers, batch, compiler=as_it_is)
    assert torch.equal(compiled(batch), Capture(network, layers, 4, "cpu", shortcut=False)(batch))


def test_the_compiler_of_torch_gives_the_same_values_but_for_rounding(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network, batch = nn.Sequential(nn.Linear(8, 4), nn.ReLU()).eval(), shown(size=8)
    layers = find_layers(network, batch[:3], drop_first_last=False)
    # there is one kernel to compile
    with torch._inductor.config.patch({"cpp_cache_precompile_headers": False, "cpp.simdlen": 1, "compile_threads": 1}):
        compiled = Compiled(network, layers, batch)
    plain = Capture(network, layers, 4, "cpu")(batch)
    assert largest_difference(compiled(batch), plain, layers) < 1e-6
    assert torch.equal(compiled(batch), compiled(batch))


def test_a_compiler_that_traces_again_casts_no_product_that_is_float32_on_purpose(monkeypatch):
    monkeypatch.setattr(
        torch.cuda.amp.common, "amp_definitely_not_available", lambda: False
    )  # tensors say they are there
    network = nn.Conv2d(8, 8, 3, groups=8).eval()

    def run(batch, weight, factor):
        outputs = torch.ops.aten.convolution.default(batch, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 8)
        return torch.ops.aten.mm.default(outputs[0, 0].half(), factor)

    with FakeTensorMode(allow_non_fake_inputs=True):
        sizes = (1, 8, 8, 8), (8, 1, 3, 3), (8, 8)
        batch, weight, factor = (torch.empty(size, device="cuda") for size in sizes)
        given = [batch, weight, factor.half()]
        graph = make_fx(run)(*given)
    monkeypatch.setattr(compiled_module, "traced", lambda *_: compiled_module.Traced(graph, (), given))
    seen = {}

    def spy(lowered, arguments, **options):
        for node in lowered.graph.nodes:
            if node.target in (torch.ops.aten.convolution.default, torch.ops.aten.mm.default):
                seen[node.target] = node.meta["val"].dtype
        return lambda *given: ()

    def compiler(graph, arguments):
        compile_fx(graph, arguments, inner_compile=spy)
        return lambda *given: (torch.is_autocast_enabled("cuda"),)

    compiled = Compiled(network, [], batch, precision="float16", compiler=compiler)
    assert seen == {torch.ops.aten.convolution.default: torch.float32, torch.ops.aten.mm.default: torch.float16}
    assert compiled(batch) is False
    with arithmetic(network, "float16", "cuda"):
        assert torch.is_autocast_enabled("cuda"), "else nothing is shown"


def test_tensors_that_a_network_has_not_registered_are_constants():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.by = small(), torch.tensor([1.0, 2.0, 3.0])[:, None, None]

        def forward(self, batch):
            return self.inner(batch + self.by)

    network, batch = Shifted().eval(), shown()
    layers = find_layers(network, batch[:3], drop_first_last=False)
    compiled = Compiled(network, layers, batch, compiler=as_it_is)
    assert torch.equal(compiled(2 * batch), Capture(network, layers, 4, "cpu", shortcut=False)(2 * batch))


class Asking(nn.Module):
    def __init__(self, ask):
        super().__init__()
        self.inner, self._ask = small(), ask

    def forward(self, batch):
        return self.inner(self._ask(batch))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            lambda batch: batch if batch.mean() > 0 else -batch,
            r"DataDependentOutputException: aten\._local_scalar_dense",
        ),
        (lambda batch: batch + batch.nonzero().sum(), r"DynamicOutputShapeException: aten\.nonzero"),
        (lambda batch: torch.from_numpy(batch.numpy()), "numpy"),
    ],
)
def test_a_network_that_looks_at_values_says_so(ask, words):
    network, batch = Asking(ask).eval(), shown()
    layers = find_layers(network, batch[:3])
    with pytest.raises(InputError, match=r"^the network cannot be traced \(.*" + words):
        Compiled(network, layers, batch, compiler=as_it_is)


def test_depthwise_convolutions_beside_tf32_say_so():
    network, batch = SMALL["efficientnet"]().eval(), shown()
    layers = find_layers(network, batch[:3])
    with pytest.raises(InputError, match="depthwise convolutions in float32 beside products in TF32"):
        Compiled(network, layers, batch, precision="tf32", compiler=as_it_is)


def test_a_compiler_that_fails_is_named():
    def broken(graph, arguments):
        raise RuntimeError("no\nTriton")

    network, batch = small(), shown()
    with pytest.raises(InputError, match=r"^the network cannot be compiled \(RuntimeError: no Triton\)$"):
        Compiled(network, find_layers(network, batch[:3]), batch, compiler=broken)


def test_batches_of_another_shape_are_refused():
    network, batch = small(), shown()
    compiled = Compiled(network, find_layers(network, batch[:3]), batch, compiler=as_it_is)
    with pytest.raises(InputError, match=r"\(2, 3, 32, 32\); the network was compiled for \(4, 3, 32, 32\)"):
        compiled(batch[:2])


def test_differences_count_by_layer():
    network, batch = small(), shown()
    layers = find_layers(network, batch[:3], drop_first_last=False)
    right = torch.ones(4, 13)
    right[0, 0], right[1, 8] = 1000, -10
    values = right.clone()
    assert largest_difference(values, right, layers) == 0
    values[2, 9] += 1
    assert largest_difference(values, right, layers) == pytest.approx(0.1)
    values[2, 1] -= 200
    assert largest_difference(values, right, layers) == pytest.approx(0.2)
    right[3, 3] = torch.inf
    assert largest_difference(values, right, layers) == torch.inf > max(TOLERANCES.values())
    values[3, 3] = torch.nan
    assert largest_difference(values, right, layers) == pytest.approx(0.2)
