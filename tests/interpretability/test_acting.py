"""Layers whose weights act without a call of their module, beside values worked out by hand in double precision."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from interpretability.errors import InputError
from interpretability.networks.acting import Acting, weights_of
from interpretability.networks.capture import Capture
from interpretability.networks.clusters import layer_clusters
from interpretability.networks.independence import check_independence
from interpretability.networks.layers import find_layers, survey
from interpretability.schema import SCORED_TYPES


def layers_of(model, batch, **rules):
    return find_layers(model.eval(), batch[:3], **{"drop_first_last": False, **rules})


def values_of(model, layers, batch, name, **options):
    """Values (images, units) of one layer."""
    start = 0
    for layer in layers:
        if layer.name == name:
            break
        start += layer.width
    with Capture(model, layers, len(batch), batch.device, **options) as capture:
        return capture(batch)[:, start : start + layer.width].clone()


def inputs_of(model, path, batch):
    """What a module is given in a pass, in double precision."""
    seen = []
    handle = model.get_submodule(path).register_forward_pre_hook(lambda module, args: seen.append(args[0].double()))
    with torch.no_grad():
        model(batch)
    handle.remove()
    return seen[0]


def by_hand(given, weight, bias):
    """What a linear layer makes of `given` (..., channels) in double precision."""
    return given @ weight.double().T + (0 if bias is None else bias.double())


def means(value, n):
    """Means (n, channels) over all positions of n images, or of their windows."""
    return value.reshape(n, -1, value.shape[-1]).mean(1)


class RmsNorm(nn.RMSNorm):
    """As timm calls it."""


class Direct(nn.Module):
    """Every function that has weights, given those of a module that is not called."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6)
        self.up, self.group = nn.ConvTranspose2d(6, 8, 2), nn.GroupNorm(2, 8)
        self.tokens, self.layer, self.rms = nn.Linear(8, 10), nn.LayerNorm(10), RmsNorm(10)
        self.line, self.head = nn.Conv1d(10, 12, 1), nn.Linear(12, 4)
        torch.manual_seed(1)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)
        with torch.no_grad():
            for module in (self.norm, self.group, self.layer, self.rms):
                module.weight.normal_()

    def forward(self, x):
        norm = self.norm
        x = F.conv2d(x, self.conv.weight)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False)
        x = F.conv_transpose2d(torch.relu_(x), self.up.weight, self.up.bias)
        x = F.group_norm(x, 2, self.group.weight, self.group.bias)
        x = F.linear(x.flatten(2).mT, self.tokens.weight, bias=self.tokens.bias)
        x = F.layer_norm(x, (10,), self.layer.weight, self.layer.bias)
        x = F.rms_norm(x, (10,), self.rms.weight, self.rms.eps)
        x = F.conv1d(x.mT, self.line.weight, self.line.bias)
        return F.linear(input=x.mean(2), weight=self.head.weight, bias=self.head.bias)


class Called(Direct):
    """The same network, its modules called."""

    def forward(self, x):
        x = self.up(torch.relu(self.norm(self.conv(x))))
        x = self.rms(self.layer(self.tokens(self.group(x).flatten(2).mT)))
        return self.head(self.line(x.mT).mean(2))


def pair(seed=0):
    torch.manual_seed(seed)
    direct, called = Direct().eval(), Called().eval()
    called.load_state_dict(direct.state_dict())
    return direct, called


def test_a_network_of_functions_has_the_layers_of_one_of_calls():
    direct, called = pair()
    batch = torch.randn(5, 3, 10, 10)
    found = [
        [
            (
                layer.name,
                layer.layer_type,
                layer.layer_index,
                layer.depth,
                layer.width,
                layer.batch_axis,
                layer.channel_axis,
            )
        ]
        for layer in layers_of(direct, batch)
    ]
    expected = [
        [
            (
                layer.name,
                layer.layer_type,
                layer.layer_index,
                layer.depth,
                layer.width,
                layer.batch_axis,
                layer.channel_axis,
            )
        ]
        for layer in layers_of(called, batch)
    ]
    assert found == expected
    assert len(found) == 9
    assert survey(direct, batch[:3], drop_first_last=False).left_out == []


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("options", [{}, {"shortcut": False}, {"precision": "bfloat16"}, {"pieces": 3}])
def test_and_the_same_values(options):
    direct, called = pair()
    batch = torch.randn(5, 3, 10, 10)
    found = []
    for model in (direct, called):
        with Capture(model, layers_of(model, batch), 5, batch.device, **{"shortcut": False, **options}) as capture:
            first = capture(batch).clone()
            assert torch.equal(capture(batch), first), "a second call gives the same"
            found.append(first)
    tolerance = 2e-2 if "precision" in options else 1e-6
    torch.testing.assert_close(*found, atol=tolerance, rtol=tolerance)
    spread = found[0].std(dim=0)
    assert spread.min() > 1e-5
    assert spread.median() > 1e-3
    check_independence(direct, layers_of(direct, batch), batch)


def test_and_the_same_clusters():
    direct, called = pair()
    batch = torch.randn(3, 3, 10, 10)
    found = [layer_clusters(model, batch, layers_of(model, batch)) for model in (direct, called)]
    assert found[0] == found[1]
    assert (found[0]["norm"], found[0]["rms"], found[0]["group"]) == ("conv", "tokens", "up")


# --------------------------------------------------------------------------- attention


class Attention(nn.Module):
    """A stem, attention of torch, and a head."""

    def __init__(self, **kwargs):
        super().__init__()
        self.first = kwargs.get("batch_first", False)
        self.stem, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)
        self.attention, self.head = nn.MultiheadAttention(8, 2, **kwargs), nn.Linear(8, 4)
        torch.manual_seed(2)
        for name, value in self.attention.named_parameters():
            if "bias" in name:
                value.data.normal_()

    def forward(self, x):
        x = self.norm(self.stem(x).flatten(2).mT)
        x = x if self.first else x.transpose(0, 1)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1 if self.first else 0))


def attention_by_hand(module, given):
    """What the first projection and the last one give, in double precision, of tokens (images, positions, channels)."""
    joined = by_hand(given, module.in_proj_weight, module.in_proj_bias)
    n, length, _ = given.shape
    heads = module.num_heads
    query, key, value = (part.reshape(n, length, heads, -1).transpose(1, 2) for part in joined.chunk(3, dim=-1))
    weights = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1)
    mixed = (weights @ value).transpose(1, 2).reshape(n, length, -1)
    return joined, by_hand(mixed, module.out_proj.weight, module.out_proj.bias)


@pytest.mark.parametrize("kwargs", [{"batch_first": True}, {}, {"batch_first": True, "bias": False}])
@pytest.mark.parametrize("shortcut", [True, False])
def test_attention_of_torch_is_read_at_both_its_projections(kwargs, shortcut):
    torch.manual_seed(0)
    model, batch = Attention(**kwargs).eval(), torch.randn(5, 3, 16, 12)
    layers = layers_of(model, batch)
    names = ["stem", "norm", "attention.in_proj", "attention.out_proj", "head"]
    assert [(layer.name, layer.layer_type, layer.width) for layer in layers] == [
        (name, kind, width)
        for name, kind, width in zip(
            names, ["Conv", "LayerNorm", "Linear", "Linear", "Linear"], [8, 8, 24, 8, 4], strict=True
        )
    ]
    with torch.no_grad():
        tokens = model.norm(model.stem(batch).flatten(2).mT).double()
        joined, last = attention_by_hand(model.attention, tokens)
    for name, expected in (("attention.in_proj", joined), ("attention.out_proj", last)):
        found = values_of(model, layers, batch, name, shortcut=shortcut)
        torch.testing.assert_close(found.double(), expected.mean(1), atol=1e-6, rtol=1e-5)
    check_independence(model, layers, batch)
    assert layer_clusters(model, batch[:3], layers) == {**{name: name for name in names}, "norm": "stem"}


@pytest.mark.parametrize(
    "kwargs",
    [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6, "vdim": 6}, {"dropout": 0.5}, {"bias": False}],
)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_attention_that_is_watched_gives_the_same_bits(kwargs, need_weights, masked):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, **kwargs).eval()
    query = torch.randn(5, 3, 8)
    other = torch.randn(5, 3, kwargs["kdim"]) if "kdim" in kwargs else query
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if masked else None
    arguments = {"need_weights": need_weights, "attn_mask": mask}
    with torch.no_grad():
        plain = module(query, other, other, **arguments)
        with Acting(weights_of(module), lambda *_: None):
            watched = module(query, other, other, **arguments)
    assert torch.equal(plain[0], watched[0])
    assert (plain[1] is None) == (watched[1] is None)
    assert plain[1] is None or torch.equal(plain[1], watched[1])


def test_projections_that_are_kept_apart_are_layers_of_their_own():
    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.other = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(3, 6, 4, stride=4)
            self.attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)

        def forward(self, x):
            other = self.other(x).flatten(2).mT
            return self.attention(self.stem(x).flatten(2).mT, other, other)[0].mean(1)

    torch.manual_seed(0)
    model, batch = Cross().eval(), torch.randn(4, 3, 16, 16)
    layers = layers_of(model, batch)
    parts = [f"attention.{part}_proj" for part in ("q", "k", "v", "out")]
    assert [layer.name for layer in layers] == ["other", "stem", *parts]
    with torch.no_grad():
        other = model.other(batch).flatten(2).mT.double()
    weight, bias = model.attention.v_proj_weight, model.attention.in_proj_bias[16:]
    expected = by_hand(other, weight, bias).mean(1)
    found = values_of(model, layers, batch, "attention.v_proj").double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    check_independence(model, layers, batch)


def test_attention_between_two_inputs_tells_which_weights_are_not_read():
    class Two(Attention):
        def forward(self, x):
            x = self.norm(self.stem(x).flatten(2).mT)
            return self.head(self.attention(x, 2 * x, 2 * x)[0].mean(1))

    model, batch = Two(batch_first=True).eval(), torch.randn(3, 3, 16, 16)
    found = survey(model, batch, drop_first_last=False)
    assert [layer.name for layer in found.layers] == ["stem", "norm", "attention.out_proj", "head"]
    assert [(row.name, row.width, row.reason) for row in found.left_out] == [
        ("attention.in_proj", 24, "never called in a pass; its weights act through chunk, which is not read")
    ]


def test_a_transformer_of_torch_is_read_layer_by_layer_though_it_has_a_fused_form():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 4, stride=4)
            block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.blocks = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)

        def forward(self, x):
            return self.blocks(self.stem(x).flatten(2).mT).mean(1)

    torch.manual_seed(0)
    model, batch = Encoder().eval(), torch.randn(5, 3, 16, 16)
    parts = ("self_attn.in_proj", "self_attn.out_proj", "norm1", "linear1", "linear2", "norm2")
    layers = layers_of(model, batch)
    assert [layer.name for layer in layers] == [
        "stem",
        *(f"blocks.layers.{block}.{part}" for block in (0, 1) for part in parts),
    ]
    check_independence(model, layers, batch)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_fused_form_is_as_before_after_a_network_that_fails(enabled):
    class Failing(Attention):
        def forward(self, x):
            super().forward(x)
            raise RuntimeError("after attention")

    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        with pytest.raises(RuntimeError, match="after attention"):
            layers_of(Failing(batch_first=True), torch.randn(3, 3, 16, 16))
        assert torch.backends.mha.get_fastpath_enabled() == enabled
        assert torch.overrides._get_current_function_mode() is None
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


# --------------------------------------------------------------------------- networks of others


def timm_network(name, **kwargs):
    return timm.create_model(name, pretrained=False, **kwargs)


BEIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
SWIN = {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": (2, 1), "num_heads": (2, 2)}
NETWORKS = {
    "beit": (lambda: timm_network("beit_base_patch16_224", **BEIT), 32, "blocks.1.attn", "qkv"),
    "eva02": (
        lambda: timm_network(
            "eva02_tiny_patch14_224", img_size=28, patch_size=7, embed_dim=24, depth=2, num_heads=2, num_classes=5
        ),
        28,
        "blocks.1.attn",
        None,
    ),
    "swinv2": (lambda: timm_network("swinv2_tiny_window8_256", **SWIN), 32, "layers.0.blocks.1.attn", "qkv"),
    "swin of torchvision": (
        lambda: torchvision.models.SwinTransformer([4, 4], 8, [2, 1], [2, 2], [4, 4], num_classes=5),
        32,
        "features.1.1.attn",
        "qkv",
    ),
    "vit of torchvision": (
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5),
        32,
        "encoder.layers.encoder_layer_1.self_attention",
        "in_proj",
    ),
}


def with_biases(model):
    """A network whose biases and scales do something."""
    generator = torch.Generator().manual_seed(3)
    for name, value in model.named_parameters():
        if "bias" in name:
            value.data.copy_(torch.randn(value.shape, generator=generator))
    return model.eval()


def joined_bias(module):
    """The bias of queries, keys and values as these networks put it together."""
    if isinstance(module, nn.MultiheadAttention):
        return module.in_proj_bias
    parts = [getattr(module, name, None) for name in ("q_bias", "k_bias", "v_bias")]
    return module.qkv.bias if parts[0] is None else torch.cat(parts)


@pytest.mark.parametrize("name", [name for name, entry in NETWORKS.items() if entry[3]])
def test_queries_keys_and_values_of_networks_in_use_are_exact(name):
    make, size, path, part = NETWORKS[name]
    torch.manual_seed(0)
    model, batch = with_biases(make()), torch.randn(4, 3, size, size)
    layers = layers_of(model, batch)
    assert f"{path}.{part}" in [layer.name for layer in layers]
    module = model.get_submodule(path)
    with torch.no_grad():
        weight = module.in_proj_weight if part == "in_proj" else module.qkv.weight
        bias = joined_bias(module)
        if name == "swin of torchvision":  # its shift turns the map, which changes no mean
            assert module.shift_size == [2, 2]
        expected = means(by_hand(inputs_of(model, path, batch), weight, bias), len(batch))
    found = values_of(model, layers, batch, f"{path}.{part}").double()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.std(dim=0).min() > 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_no_linear_layer_of_networks_in_use_is_missed(name):
    make, size, *_ = NETWORKS[name]
    torch.manual_seed(0)
    model, batch = with_biases(make()), torch.randn(4, 3, size, size)
    found = survey(model, batch[:3], drop_first_last=False)
    check_independence(model, found.layers, batch)
    assert {row.reason for row in found.left_out} <= {"its output does not grow with the batch"}
    linear = {path for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert linear <= {layer.name for layer in found.layers} | {row.name for row in found.left_out}
    clusters = layer_clusters(model, batch[:3], found.layers)
    assert set(clusters) == {layer.name for layer in found.layers}
    with Capture(model, found.layers, 4, batch.device, precision="bfloat16") as capture:
        half = capture(batch).clone()
    with Capture(model, found.layers, 4, batch.device) as capture:
        whole = capture(batch).clone()
        assert torch.equal(capture(batch), whole)
    assert not torch.equal(half, whole)
    assert ((half - whole).abs().max() / whole.abs().max()).item() < 0.03


def test_layers_that_are_called_stay_as_they_are_where_others_appear():
    torch.manual_seed(0)
    make, size, *_ = NETWORKS["beit"]
    model, batch = with_biases(make()), torch.randn(4, 3, size, size)
    layers = layers_of(model, batch)
    called = [layer for layer in layers if layer.tap == "output"]
    assert 0 < len(called) < len(layers)
    with Capture(model, called, 4, batch.device, shortcut=False) as capture:
        alone = capture(batch).clone()
    found = torch.cat([values_of(model, layers, batch, layer.name, shortcut=False) for layer in called], dim=1)
    assert torch.equal(found, alone)


# --------------------------------------------------------------------------- what is watched, and what is not


def test_nothing_is_watched_where_every_layer_is_called(monkeypatch):
    torch.manual_seed(0)
    model, batch = timm_network("test_vit", img_size=32).eval(), torch.randn(3, 3, 32, 32)
    layers = layers_of(model, batch)

    def never(*args, **kwargs):
        raise AssertionError("a function was watched")

    monkeypatch.setattr(Acting, "__torch_function__", never)
    with Capture(model, layers, 3, batch.device) as capture:
        assert capture(batch).isfinite().all()


def test_nothing_is_watched_after_a_capture():
    direct, _ = pair()
    batch = torch.randn(3, 3, 10, 10)
    layers = layers_of(direct, batch)
    with Capture(direct, layers, 3, batch.device) as capture:
        inside = capture(batch).clone()
        capture.buffer.zero_()
        direct(batch)  # somebody else's pass
        assert not capture.buffer.any()
    assert torch.overrides._get_current_function_mode() is None
    assert torch.equal(Capture(direct, layers, 3, batch.device)(batch), inside), "and without a context"


def test_a_layer_that_acts_twice_is_two_layers():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.shared = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

        def forward(self, x):
            x = self.stem(x).mean((2, 3))
            return F.linear(F.linear(x, self.shared.weight), self.shared.weight, self.shared.bias)

    torch.manual_seed(0)
    model, batch = Twice().eval(), torch.randn(4, 3, 8, 8)
    layers = layers_of(model, batch)
    assert [layer.name for layer in layers] == ["stem", "shared", "shared#2"]
    with torch.no_grad():
        once = model.stem(batch).mean((2, 3)) @ model.shared.weight.T
        torch.testing.assert_close(values_of(model, layers, batch, "shared"), once, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(values_of(model, layers, batch, "shared#2"), model(batch), atol=1e-6, rtol=1e-5)


def test_a_network_that_takes_another_path_is_told():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.second, self.direct = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), True

        def forward(self, x):
            x = self.stem(x).mean((2, 3))
            return F.linear(x, self.second.weight) if self.direct else x

    model, batch = Fickle().eval(), torch.randn(3, 3, 8, 8)
    layers = layers_of(model, batch)
    model.direct = False
    with pytest.raises(InputError, match="1 of 2 layers were reached"):
        Capture(model, layers, 3, batch.device)(batch)


def test_weights_of_types_that_are_not_wanted_are_no_layers():
    direct, _ = pair()
    layers = layers_of(direct, torch.randn(3, 3, 10, 10), layer_types=("Conv", "GroupNorm"))
    assert [layer.name for layer in layers] == ["conv", "up", "group", "line"]
    assert set(SCORED_TYPES) > {layer.layer_type for layer in layers}
