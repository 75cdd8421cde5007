"""Every layer of the wanted types gives units, or stands in the list of those that do not, with its reason."""

from collections import OrderedDict, namedtuple

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.clusters import layer_clusters
from interpretability.networks.independence import check_independence
from interpretability.networks.layers import LeftOut, find_layers, survey, unit_values
from interpretability.networks.modules import first_tensor
from interpretability.networks.taps import Tap
from interpretability.schema import LAYER_TYPES

BATCH = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A stem, a network's own `odd` part, and a head; `act` says how the part is used."""

    def __init__(self, odd, act):
        super().__init__()
        self.stem, self.odd, self.head = nn.Conv2d(3, 4, 3), odd, nn.Linear(4, 2)
        self.act = act

    def forward(self, x):
        x = self.stem(x).mean((2, 3))
        return self.head(self.act(self, x))


class Wrapped(nn.Linear):
    """A linear layer that gives something else than a tensor."""

    def __init__(self, wrap):
        super().__init__(4, 4)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(super().forward(x))


class ComplexLinear(nn.Linear):
    def forward(self, x):
        return torch.fft.fft(super().forward(x))


class Summed(nn.Linear):
    def forward(self, x):
        return super().forward(x).sum(dim=1)


class Narrow(nn.Linear):
    def forward(self, x):
        return super().forward(x)[:, :3]


def computed(module, name):
    return nn.utils.parametrizations.weight_norm(module, name)


def tied():
    layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    layers[1].weight = layers[0].weight
    return layers


NEVER = "never called in a pass"
LEFT_OUT = {
    "never called": (lambda: nn.Linear(4, 7), lambda net, x: x, [("odd", "Linear", 7, NEVER)]),
    "two of them": (
        lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4)),
        lambda net, x: x,
        [("odd.0", "BatchNorm", 4, NEVER), ("odd.1", "Linear", 4, NEVER)],
    ),
    "transposed by hand": (
        lambda: nn.Linear(4, 4),
        lambda net, x: x @ net.odd.weight.t() + net.odd.bias,
        [("odd", "Linear", 4, f"{NEVER}; its weights act through t, which is not read")],
    ),
    "transposed as an attribute": (
        lambda: nn.Linear(4, 4),
        lambda net, x: x @ net.odd.weight.T,
        [("odd", "Linear", 4, f"{NEVER}; its weights act through T, which is not read")],
    ),
    "multiplied": (
        lambda: nn.Linear(4, 4),
        lambda net, x: torch.matmul(x, net.odd.weight),
        [("odd", "Linear", 4, f"{NEVER}; its weights act through matmul, which is not read")],
    ),
    "in a list": (
        lambda: nn.Linear(4, 4),
        lambda net, x: F.linear(x, torch.cat([net.odd.weight, net.odd.weight])[:4]),
        [("odd", "Linear", 4, f"{NEVER}; its weights act through cat, which is not read")],
    ),
    "given as values": (
        lambda: nn.Linear(4, 4),
        lambda net, x: x + F.linear(net.odd.weight, torch.ones(4, 4)).mean(0),
        [("odd", "Linear", 4, f"{NEVER}; its weights act through linear, which is not read")],
    ),
    "looked at": (
        lambda: nn.Linear(4, 4),
        lambda net, x: x.to(net.odd.weight.dtype) * net.odd.weight.shape[0],
        [("odd", "Linear", 4, NEVER)],
    ),
    "computed weights": (
        lambda: computed(nn.Linear(4, 4), "weight"),
        lambda net, x: F.linear(x, net.odd.weight),
        [("odd", "Linear", 4, NEVER)],
    ),
    "called and beside": (
        lambda: nn.Linear(4, 4),
        lambda net, x: F.linear(net.odd(x), net.odd.weight),
        [("odd", "Linear", 4, "its weights also act outside of its own calls, which is not read")],
    ),
    "weights of another": (
        tied,
        lambda net, x: net.odd[0](x),
        [("odd.1", "Linear", 4, f"{NEVER}; its weights are those of odd.0")],
    ),
    "weights of two that act": (
        tied,
        lambda net, x: F.linear(x, net.odd[1].weight),
        [("odd.1", "Linear", 4, f"{NEVER}; its weights are those of odd.0")],
    ),
    "no tensor": (
        lambda: Wrapped(lambda out: {"shape": out.shape}),
        lambda net, x: x * len(net.odd(x)),
        [("odd", "Linear", 4, "gives no tensor")],
    ),
    "a table of positions": (
        lambda: nn.Linear(1, 4),
        lambda net, x: x + net.odd(torch.ones(5, 1)).mean(0),
        [("odd", "Linear", 4, "its output does not grow with the batch")],
    ),
    "other axes for more images": (
        lambda: Wrapped(lambda out: out[0] if len(out) == 1 else out),
        lambda net, x: x + net.odd(x),
        [("odd", "Linear", 4, "its output does not grow with the batch")],
    ),
    "no channels": (
        lambda: Summed(4, 4),
        lambda net, x: x + net.odd(x)[:, None],
        [("odd", "Linear", 4, "its output has no channels")],
    ),
    "fewer channels": (
        lambda: Narrow(4, 4),
        lambda net, x: x + net.odd(x).sum(dim=1, keepdim=True),
        [("odd", "Linear", 4, "no axis of its output, of shape (1, 3) for an image, has its 4 channels")],
    ),
    "complex values": (
        lambda: ComplexLinear(4, 4),
        lambda net, x: net.odd(x).abs(),
        [("odd", "Linear", 4, "complex values")],
    ),
    "complex weights": (
        lambda: nn.Linear(4, 4, dtype=torch.complex64),
        lambda net, x: net.odd(x.to(torch.complex64)).real,
        [("odd", "Linear", 4, "complex values")],
    ),
    "complex weights that act": (
        lambda: nn.Linear(4, 4, dtype=torch.complex64),
        lambda net, x: F.linear(x.to(torch.complex64), net.odd.weight).real,
        [("odd", "Linear", 4, "complex values")],
    ),
    "once as a value, once as a table": (
        lambda: nn.Linear(4, 4),
        lambda net, x: net.odd(x) + net.odd(torch.ones(5, 4)).mean(0),
        [("odd#2", "Linear", 4, "its output does not grow with the batch")],
    ),
    "no layer": (nn.Identity, lambda net, x: net.odd(x), []),
    "a type that is not wanted": (lambda: nn.PReLU(4), lambda net, x: x, []),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_gives_no_units_is_listed_with_its_reason(name):
    torch.manual_seed(0)
    make, act, rows = LEFT_OUT[name]
    model = Net(make(), act).eval()
    found = survey(model, BATCH, drop_first_last=False)
    assert found.left_out == [LeftOut(*row) for row in rows]
    assert [layer.name for layer in found.layers] == [
        "stem",
        *[layer.name for layer in found.layers if layer.name.startswith("odd")],
        "head",
    ]
    assert found.layers == find_layers(model, BATCH, drop_first_last=False)
    check_independence(model, found.layers, BATCH)
    assert set(layer_clusters(model, BATCH, found.layers)) == {layer.name for layer in found.layers}


def test_layers_that_are_not_asked_for_are_listed_too():
    model = Net(nn.Linear(4, 4), lambda net, x: net.odd(x)).eval()
    found = survey(model, BATCH)
    assert [layer.name for layer in found.layers] == ["odd"]
    assert [(row.name, row.reason) for row in found.left_out] == [
        ("stem", "the first of the layers"),
        ("head", "the last of the layers"),
    ]


def test_linear_layers_outside_of_blocks_are_listed():
    sized = {"img_size": 56, "depths": (1, 1), "embed_dim": 24, "num_heads": (2, 2)}
    model = timm.create_model("swin_tiny_patch4_window7_224", **sized).eval()
    found = survey(model, torch.randn(3, 3, 56, 56), linear="blocks")
    assert [(row.name, row.width, row.reason) for row in found.left_out] == [
        ("patch_embed.proj", 24, "the first of the layers"),
        ("layers.1.downsample.reduction", 48, "outside of attention and feed-forward blocks"),
        ("head.fc", 1000, "the last of the layers"),
    ]


def test_the_list_follows_the_modules_and_not_the_pass():
    parts = nn.ModuleList([nn.Linear(4, 4) for _ in range(4)])
    model = Net(parts, lambda net, x: net.odd[3](x)).eval()
    names = [row.name for row in survey(model, BATCH).left_out]
    assert names == ["stem", "odd.0", "odd.1", "odd.2", "head"]


def test_other_modules_are_listed_where_they_are_wanted_and_declare_channels():
    class Scale(nn.Module):
        num_features = 4

        def forward(self, x):
            return 2 * x

    model = Net(nn.ModuleList([Scale(), Scale(), nn.ReLU()]), lambda net, x: net.odd[2](net.odd[0](x))).eval()
    found = survey(model, BATCH, layer_types=LAYER_TYPES, drop_first_last=False)
    assert [layer.name for layer in found.layers] == ["stem", "odd.0", "head"]
    assert found.left_out == [LeftOut("odd.1", "Other", 4, NEVER)]


def test_a_tap_that_is_not_reached_is_listed():
    model = Net(nn.Identity(), lambda net, x: x).eval()
    found = survey(model, BATCH, taps=[Tap("place", "odd", "output", 1)], drop_first_last=False)
    assert found.left_out == [LeftOut("place", "Other", None, NEVER)]


def test_where_nothing_is_left_the_types_of_the_network_are_named():
    model = Net(nn.BatchNorm1d(4), lambda net, x: net.odd(x)).eval()
    with pytest.raises(InputError, match=r"no layer is left of 0 .*; the network has 1 Conv, 1 Linear, 1 BatchNorm"):
        survey(model, BATCH, layer_types=["GroupNorm"])
    with pytest.raises(InputError, match=r"the network has none of the types Conv, Linear"):
        survey(nn.Sequential(nn.ReLU()).eval(), BATCH)


PLAIN = (nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: torch.jit.script(nn.Sequential(*PLAIN).eval()), ""),
        (lambda: torch.jit.trace(nn.Sequential(*PLAIN).eval(), BATCH), ""),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 3, 1), torch.jit.script(nn.Sequential(*PLAIN).eval())).eval(),
            " in its part 1",
        ),
    ],
)
def test_scripted_networks_are_refused_in_plain_words(make, part):
    told = f"model is scripted or traced by torch.jit{part}, and nothing inside can be read; build it from its code"
    with pytest.raises(InputError, match=told):
        survey(make(), BATCH)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.LazyConv2d(5, 3)), ["0", "1", "2"]),
        (lambda: torch.compile(nn.Sequential(*PLAIN), backend="eager"), ["_orig_mod.0", "_orig_mod.2"]),
        (lambda: torch.fx.symbolic_trace(nn.Sequential(*PLAIN)), ["0", "2"]),
        (
            lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Conv2d(4, 5, 3)),
            ["0", "1"],
        ),
    ],
)
def test_networks_in_other_dress_have_their_layers(make, names):
    found = survey(make().eval(), BATCH, drop_first_last=False)
    assert [layer.name for layer in found.layers] == names
    assert found.left_out == []


# --------------------------------------------------------------------------- outputs that hold tensors

Pair = namedtuple("Pair", "first second")
WRAPPED = {
    "tuple": (lambda out: (out, 2 * out), lambda given: given[0]),
    "list": (lambda out: [out, 2 * out], lambda given: given[0]),
    "named tuple": (lambda out: Pair(out, 2 * out), lambda given: given.first),
    "dict": (lambda out: {"b": out, "a": 2 * out}, lambda given: given["b"]),
    "ordered dict": (lambda out: OrderedDict(z=None, y=out), lambda given: given["y"]),
    "tuple with nothing in front": (lambda out: (None, "name", 3, out), lambda given: given[3]),
    "nested": (lambda out: ([], {"k": (out, 2 * out)}, 3 * out), lambda given: given[1]["k"][0]),
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("shortcut", [True, False])
def test_the_first_tensor_of_an_output_counts(name, shortcut):
    torch.manual_seed(0)
    wrap, unwrap = WRAPPED[name]
    model = Net(Wrapped(wrap), lambda net, x: unwrap(net.odd(x))).eval()
    found = survey(model, BATCH, drop_first_last=False)
    assert [layer.name for layer in found.layers] == ["stem", "odd", "head"]
    assert found.left_out == []
    with Capture(model, found.layers, 3, BATCH.device, shortcut=shortcut) as capture:
        values = capture(BATCH)[:, 4:8].clone()
    with torch.no_grad():
        expected = F.linear(model.stem(BATCH).mean((2, 3)), model.odd.weight, model.odd.bias)
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-5)
    check_independence(model, found.layers, BATCH)


@pytest.mark.parametrize("value", [None, 3, "text", (), {}, [(), {"a": None}], {1, 2}])
def test_where_there_is_no_tensor_none_is_found(value):
    assert first_tensor(value) is None


# --------------------------------------------------------------------------- complex values


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_values_are_refused_by_name(dtype):
    with pytest.raises(InputError, match=rf"{dtype} holds complex values"):
        unit_values(torch.zeros(2, 3, 4, 4, dtype=dtype), 2, 0, 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int16, torch.bool])
def test_real_values_of_any_type_have_a_mean(dtype):
    values = unit_values(torch.ones(2, 3, 4, 4, dtype=dtype), 2, 0, 1)
    assert torch.equal(values, torch.ones(2, 3))
