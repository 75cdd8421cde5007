"""Which layers repeat which, in networks by hand and in those of timm."""

import json
from functools import partial

import pandas as pd
import pytest
import timm
import torch
from timm.layers import BatchNormAct2d, LayerNorm2d
from torch import nn
from torch.nn import functional as F

from interpretability.networks.clusters import layer_clusters
from interpretability.networks.layers import find_layers
from interpretability.networks.taps import Tap
from tests.helpers.rules import ROOT

TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")


def clusters(model, size=16, *, images=3, layer_types=TYPES, **rules):
    torch.manual_seed(0)
    model.eval()
    example = torch.rand(images, 3, size, size)
    layers = find_layers(model, example, layer_types=layer_types, **{"drop_first_last": False, **rules})
    found = layer_clusters(model, example, layers)
    assert list(found) == [layer.name for layer in layers]
    assert all(found[found[name]] == found[name] for name in found), "a cluster begins with one of its own"
    return found


def repeated(model, **rules):
    """Layers that are in a cluster which another one begins."""
    return {name: first for name, first in clusters(model, **rules).items() if name != first}


class Net(nn.Module):
    """Modules by name, and a forward pass over them."""

    def __init__(self, forward, **modules):
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def conv(i=8, o=8, **how):
    return nn.Conv2d(i, o, how.pop("kernel", 3), padding=how.pop("padding", 1), **how)


def depthwise(n=8):
    return conv(n, n, groups=n)


def after(between, last, first=None):
    """The names that repeat `first` where `between` stands between it and `last`."""
    return repeated(Net(lambda net, x: net.last(between(net.first(x))), first=first or conv(3), last=last))


@pytest.mark.parametrize(
    ("last", "repeats"),
    [
        (nn.BatchNorm2d(8), True),
        (nn.GroupNorm(2, 8), True),
        (LayerNorm2d(8), True),
        (depthwise(), True),
        (nn.ConvTranspose2d(8, 8, 3, groups=8), True),
        (conv(), False),
        (conv(groups=4), False),
        (conv(8, 16, groups=8), False),
    ],
)
def test_norms_and_depthwise_convolutions_repeat_the_layer_before(last, repeats):
    assert after(lambda x: x, last) == ({"last": "first"} if repeats else {})


@pytest.mark.parametrize(
    "between",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu_,
        F.gelu,
        F.hardswish,
        nn.PReLU(8),
        nn.Dropout().eval(),
        nn.Identity(),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.ZeroPad2d(1),
        nn.ReflectionPad2d(1),
        nn.Upsample(scale_factor=2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        lambda x: x * torch.sigmoid(x),
        lambda x: x * F.relu6(x + 3) / 6,
        lambda x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3))),
        lambda x: x * torch.linspace(1, 2, 8).view(1, 8, 1, 1) + torch.rand(1, 1, 16, 16),
        lambda x: x.mul_(2).add_(1),
        lambda x: x.flatten(2).transpose(1, 2).reshape(len(x), 16, 16, 8).permute(0, 3, 1, 2).contiguous(),
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: x.amax(3, keepdim=True).expand(-1, -1, -1, 4),
        lambda x: x.roll(2, 3)[:, :, 1:, ::2],
        lambda x: torch.where(x > 0, x, 0.1 * x),
        lambda x: x.double().float().clone().detach(),
        lambda x: x.split(8, 3)[1],
        lambda x: x.view(len(x), 8, 4, 4, 16).unbind(3)[1],
        lambda x: x[:, :, 0].unsqueeze(2).squeeze(2).unsqueeze(-1),
    ],
)
def test_what_leaves_channels_apart_may_stand_between(between):
    assert after(between, nn.BatchNorm2d(8)) == {"last": "first"}


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x + x.flip(0).mean(1, keepdim=True),
        lambda x: torch.softmax(x, 1),
        lambda x: x * x.mean(1, keepdim=True),
        lambda x: torch.cat([x[:, :4], x[:, 4:]], 1),
        lambda x: torch.einsum("nchw,cd->ndhw", x, torch.rand(8, 8)),
        lambda x: x.flatten(2).transpose(1, 2).reshape(len(x), 8, 16, 16),
        lambda x: x.view(len(x), 2, 4, 16, 16).transpose(1, 2).reshape(len(x), 8, 16, 16),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: F.pad(x, (0, 0, 0, 0, 1, -1)),
        lambda x: x.cumsum(1),
        lambda x: torch.cat([x, x], 1)[:, 4:12],
        lambda x: x.sum(1, keepdim=True).expand(-1, 8, -1, -1),
    ],
)
def test_what_mixes_channels_ends_the_chain(between):
    assert after(between, nn.BatchNorm2d(8)) == {}


def test_a_sum_of_two_branches_ends_the_chain():
    model = Net(
        lambda net, x: net.last(net.norm(net.second(y := net.first(x))) + y),
        first=conv(3),
        second=conv(),
        norm=nn.BatchNorm2d(8),
        last=nn.BatchNorm2d(8),
    )
    assert repeated(model) == {"norm": "second"}


def test_the_sum_of_a_layer_and_what_repeats_it_ends_the_chain_too():
    model = Net(
        lambda net, x: net.last(net.dw(y := net.first(x)) + y), first=conv(3), dw=depthwise(), last=nn.BatchNorm2d(8)
    )
    assert repeated(model) == {"dw": "first"}


def test_a_sum_in_place_ends_the_chain():
    def forward(net, x):
        y = net.first(x)
        z = net.second(y)
        z += y
        return net.last(z)

    model = Net(forward, first=conv(3), second=conv(), last=nn.BatchNorm2d(8))
    assert repeated(model) == {}


def test_a_change_in_place_of_what_a_view_shows_ends_the_chain():
    def forward(net, x):
        y = net.first(x)
        seen = y[:]
        y.add_(y.flip(0).mean(1, keepdim=True))
        return net.last(seen)

    assert repeated(Net(forward, first=conv(3), last=nn.BatchNorm2d(8))) == {}


def test_a_tensor_that_is_filled_from_a_layer_and_another_ends_the_chain():
    def forward(net, x):
        y = torch.zeros(len(x), 8, 16, 16)
        y[:, :4] = net.other(x)[:, :4]
        return net.last(net.first(x) * y)

    assert repeated(Net(forward, first=conv(3), other=conv(3), last=nn.BatchNorm2d(8))) == {}


def test_a_gate_ends_the_chain():
    def forward(net, x):
        y = net.norm(net.first(x))
        return net.last(y * torch.sigmoid(net.gate(y.mean((2, 3), keepdim=True))))

    model = Net(forward, first=conv(3), norm=nn.BatchNorm2d(8), gate=conv(kernel=1, padding=0), last=depthwise())
    assert repeated(model) == {"norm": "first"}


def test_attention_ends_the_chain():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.value, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x):
            value = self.value(x)
            return self.norm(F.scaled_dot_product_attention(value, value, value))

    model = Net(lambda net, x: net.attn(net.first(x).flatten(2).transpose(1, 2)), first=conv(3), attn=Attention())
    assert repeated(model) == {}


def test_a_chain_goes_over_several_layers_and_begins_with_the_first():
    model = nn.Sequential(
        conv(3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), depthwise(), nn.BatchNorm2d(8), nn.ReLU(), conv()
    )
    assert clusters(model) == {"0": "0", "1": "0", "3": "0", "4": "0", "6": "6"}


def test_layers_that_are_no_units_still_connect_others():
    model = nn.Sequential(conv(3), nn.BatchNorm2d(8), nn.ReLU(), depthwise(), nn.BatchNorm2d(8), conv())
    assert clusters(model, layer_types=("BatchNorm",)) == {"1": "1", "4": "1"}
    assert clusters(model, drop_first_last=True) == {"1": "1", "3": "1", "4": "1"}


def test_layer_norms_on_the_last_axis_repeat_by_channel_and_not_by_position():
    def forward(net, x):
        y = net.first(x).permute(0, 2, 3, 1)
        y = net.norm(y).permute(0, 3, 1, 2)
        return net.rows(net.second(y))

    square = Net(forward, first=conv(3, 16), norm=nn.LayerNorm(16), second=conv(16, 16), rows=nn.LayerNorm(16))
    # the second norm is over the 16 columns of an image, not over its 16 channels
    assert repeated(square) == {"norm": "first"}


def test_norms_with_an_activation_inside_repeat_before_and_behind_it():
    model = nn.Sequential(conv(3), BatchNormAct2d(8), depthwise(), BatchNormAct2d(8, act_layer=nn.SiLU), conv())
    for rule in ("before", "after"):
        assert clusters(model, norm_act=rule) == {"0": "0", "1": "0", "2": "0", "3": "0", "4": "4"}


def test_every_call_of_a_shared_module_is_a_layer_of_its_own():
    def forward(net, x):
        return net.norm(net.second(net.norm(net.first(x))))

    model = Net(forward, first=conv(3), second=conv(), norm=nn.BatchNorm2d(8))
    assert clusters(model) == {"first": "first", "norm": "first", "second": "second", "norm#2": "second"}


def test_a_block_that_is_called_like_a_norm_is_none():
    class LayerNormMlp(nn.Sequential):
        out_features = 8

    model = nn.Sequential(
        conv(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), LayerNormMlp(nn.Linear(8, 8), nn.LayerNorm(8))
    )
    assert repeated(model) == {"3.1": "3.0"}


def test_keyword_inputs_and_inputs_of_other_types_are_followed():
    class Scaled(nn.BatchNorm2d):
        def forward(self, *, factor, input):
            return super().forward(input) * factor

    model = Net(lambda net, x: net.last(factor=2.0, input=net.first(x)), first=conv(3), last=Scaled(8))
    assert repeated(model) == {"last": "first"}


def test_taps_and_other_modules_are_clusters_of_their_own():
    model = nn.Sequential(conv(3), nn.ReLU(), nn.BatchNorm2d(8), conv())
    taps = [Tap("relu", "1", "output", 1)]
    assert clusters(model, taps=taps) == {"0": "0", "relu": "relu", "2": "0", "3": "3"}


def test_nothing_is_left_on_the_network():
    model = nn.Sequential(conv(3), nn.BatchNorm2d(8)).eval()
    clusters(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_channels_of_a_cluster_answer_to_the_first_layer_alone():
    """The slow way: change one channel of a layer's output and see which channels of the others move."""
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_small_050", pretrained=False).eval()
    example = torch.rand(3, 3, 64, 64)
    layers = find_layers(model, example, drop_first_last=False, norm_act="after")
    found = layer_clusters(model, example, layers)
    groups = {}
    for layer in layers:
        groups.setdefault(found[layer.name], []).append(layer)
    several = [group for group in groups.values() if len(group) > 1]
    assert max(map(len, several)) >= 4, "expansion, its norm, the depthwise convolution, its norm"
    for first, *others in several[::3]:
        outputs = {}

        def keep(name, module, args, out, outputs=outputs):
            outputs[name] = out.clone()

        handles = [
            model.get_submodule(layer.module).register_forward_hook(partial(keep, layer.name)) for layer in others
        ]
        with torch.no_grad():
            model(example)
            before = dict(outputs)
            nudge = model.get_submodule(first.module).register_forward_hook(
                lambda _, args, out: out + torch.eye(out.shape[1])[1].view(1, -1, 1, 1)
            )
            model(example)
        for handle in (*handles, nudge):
            handle.remove()
        for layer in others:
            moved = (outputs[layer.name] - before[layer.name]).abs().amax((0, 2, 3)) > 0
            assert not moved[torch.arange(len(moved)) != 1].any(), (first.name, layer.name)


def small(name, **more):
    return timm.create_model(name, pretrained=False, **more)


def test_networks_of_timm_have_the_clusters_of_their_design():
    assert len(set(clusters(small("resnet18"), 64, drop_first_last=True).values())) == 20
    assert len(set(clusters(small("vgg11_bn"), 64, drop_first_last=True).values())) == 10
    resnet = clusters(small("test_resnet"), 64)
    assert resnet["layer1.0.bn1"] == "layer1.0.conv1"
    assert resnet["layer2.0.conv1"] == "layer2.0.conv1", "after the sum of two branches"


def test_the_networks_of_the_embedded_study():
    roster = pd.read_csv(ROOT / "data/external/models/synthetic.csv").set_index("name")
    counts = {}
    for name in ("resnet", "convnext", "efficientnet", "vit"):
        constructor, kwargs = roster.loc[name, ["constructor", "kwargs"]]
        found = clusters(small(constructor, **json.loads(kwargs)), 64, drop_first_last=True)
        counts[name] = len(found), len(set(found.values()))
        if name == "convnext":
            chain = [layer for layer, first in found.items() if first == "stages.1.downsample.1"]
            assert chain == ["stages.1.downsample.1", "stages.1.blocks.0.conv_dw", "stages.1.blocks.0.norm"]
        if name == "efficientnet":
            chain = [layer for layer, first in found.items() if first == "blocks.3.0.conv_pw"]
            assert chain == [f"blocks.3.0.{part}" for part in ("conv_pw", "bn1", "conv_dw", "bn2")]
    assert counts == {"resnet": (31, 16), "convnext": (28, 19), "efficientnet": (29, 15), "vit": (19, 19)}


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "regnety_002", "edgenext_xx_small", "densenet121"])
def test_networks_of_many_designs_are_followed(name):
    found = clusters(small(name), 224 if name.startswith("swin") else 64)
    n = len(set(found.values()))
    assert 0.3 * len(found) < n < len(found)
