"""Layers of the nine annotated networks: every one that people were asked about is found, where they were asked about it."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest
import timm
import torch

from interpretability.networks import taps
from interpretability.networks.capture import Capture
from interpretability.networks.independence import check_independence
from interpretability.networks.layers import find_layers
from interpretability.networks.preprocessing import Preprocessing
from study import errors
from study.files.tables import read_csv
from study.networks import imi_naming
from study.networks.constructors import Constructor
from study.networks.roster import TAPS, read_roster
from tests.helpers.rules import ROOT

TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")
CODE = ROOT / "data/external/code"


def layers_of(model, example, rules="imi"):
    found = taps.find_taps([path for path, _ in model.named_modules()], rules)
    return find_layers(model.eval(), example, layer_types=TYPES, taps=found)


def resnet(wide=1, prefix=""):
    """IMI's layers of a bottleneck ResNet-50 and their widths: seven a block, without the downsampling branch."""
    widths = {}
    for stage, depth in enumerate((3, 4, 6, 3)):
        inner, outer = wide * 64 * 2**stage, 256 * 2**stage
        for block, part in product(range(depth), ("conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "shortcut")):
            widths[f"{prefix}layer{stage + 1}_{block}_{part}"] = inner if part[-1] in "12" else outer
    return widths


def densenet():
    """Growth 32, bottlenecks of 128, transitions that halve."""
    widths, width = {}, 64
    for number, depth in enumerate((6, 12, 48, 32), start=1):
        for layer in range(1, depth + 1):
            place = f"features_denseblock{number}_denselayer{layer}"
            widths |= {f"{place}_norm1": width, f"{place}_conv1": 128, f"{place}_norm2": 128, f"{place}_conv2": 32}
            width += 32
        if number < 4:
            widths |= {f"features_transition{number}_norm": width, f"features_transition{number}_conv": width // 2}
            width //= 2
    return widths


def vit(block, parts):
    return {f"{block}_{i}_{part}": 3072 if place == 3 else 768 for i in range(12) for place, part in enumerate(parts)}


def convnext():
    widths = {}
    for stage, (depth, width) in enumerate(zip((3, 3, 27, 3), (128, 256, 512, 1024), strict=True)):
        for block in range(depth):
            place = f"stages_{stage}_blocks_{block}"
            widths |= {place: width, f"{place}_conv_dw": width, f"{place}_norm": width}
            widths |= {f"{place}_mlp_fc1": 4 * width, f"{place}_mlp_fc2": width}
    return widths


def inception():
    """Widths from the published shape of Inception V1 in TensorFlow: mixed4a has 508 channels."""
    outer = {"3a": (64, 128, 32, 32), "3b": (128, 192, 96, 64), "4a": (192, 204, 48, 64), "4b": (160, 224, 64, 64)}
    outer |= {"4c": (128, 256, 64, 64), "4d": (112, 288, 64, 64), "4e": (256, 320, 128, 128)}
    outer |= {"5a": (256, 320, 128, 128), "5b": (384, 384, 128, 128)}
    inner = {"3a": (96, 16), "3b": (128, 32), "4a": (96, 16), "4b": (112, 24), "4c": (128, 24), "4d": (144, 32)}
    inner |= {"4e": (160, 32), "5a": (160, 48), "5b": (192, 48)}
    widths = {}
    for name in outer:
        parts = zip(("1x1", "3x3", "5x5", "pool_reduce"), outer[name], strict=True)
        widths |= {f"mixed{name}_{part}_pre_relu_conv": width for part, width in parts}
        parts = zip(("3x3_bottleneck", "5x5_bottleneck"), inner[name], strict=True)
        widths |= {f"mixed{name}_{part}_pre_relu_conv": width for part, width in parts}
    return widths


CLIP_VIT = ("ln_1", "ls_1", "ln_2", "mlp_c_fc", "mlp_c_proj", "ls_2")
# constructor, number of layers of interest (Clip ResNet: open_clip's blocks are those of a ResNet-50), their widths
ANNOTATED = {
    "googlenet": ("lucent_inception:inception_v1", 54, inception()),
    "densenet_201": ("densenet201.tv_in1k", 398, densenet()),
    "resnet50": ("resnet50.tv_in1k", 112, resnet()),
    "resnet50-l2": ("resnet50", 112, resnet()),
    "clip-resnet50": ("resnet50_clip.openai", 112, resnet(prefix="visual_")),
    "wide_resnet50": ("wide_resnet50_2.tv2_in1k", 112, resnet(wide=2)),
    "in1k-vit_b32": (
        "vit_base_patch32_224.augreg_in1k",
        72,
        vit("blocks", ("norm1", "ls1", "norm2", "mlp_fc1", "mlp_fc2", "ls2")),
    ),
    "clip-vit_b32": ("vit_base_patch32_clip_224.laion2b", 72, vit("visual_transformer_resblocks", CLIP_VIT)),
    "convnext_b": ("convnext_base.fb_in1k", 180, convnext()),
}


@pytest.mark.parametrize("name", ANNOTATED)
def test_every_layer_of_interest_is_a_layer_of_ours(name):
    constructor, count, widths = ANNOTATED[name]
    assert len(widths) == count
    with torch.device("meta"):  # shapes alone: no weights, no arithmetic
        model = Constructor.of({"name": name, "constructor": constructor, "kwargs": ""}, CODE)()
        found = layers_of(model, torch.zeros(3, 3, 224, 224))
    matched = imi_naming.match_layers(widths, [layer.name for layer in found])
    assert len(set(matched.values())) == count
    width_of = {layer.name: layer.width for layer in found}
    assert {imi_name: width_of[matched[imi_name]] for imi_name in widths} == widths
    assert [layer.layer_index for layer in found] == list(range(1, len(found) + 1))
    assert [layer.depth for layer in found] == [layer.layer_index / (len(found) + 1) for layer in found]
    assert len(width_of) == len(found), "no two layers have one name"


def test_the_roster_asks_for_these_rules_where_people_were_asked():
    names = imi_naming.read_names(ROOT / "data/external/models/imi_names.csv")
    roster = read_roster(ROOT / "data/external/models/imagenet.csv").set_index("name")
    for imi_name, name in names.items():
        if name in roster.index:
            assert roster.loc[name, "taps"] == "imi"
            assert roster.loc[name, "constructor"] == ANNOTATED[imi_name][0]
    assert set(names.values()) - set(roster.index) == {"googlenet", "robust_resnet50_l2"}
    assert set(names) == set(ANNOTATED)


def test_rows_to_copy_for_the_two_networks_with_files_are_valid(tmp_path):
    text = (ROOT / "data/external/models/README.md").read_text()
    header = re.search(r"`(name,constructor,kwargs,weights,sha256.*)`", text)[1]
    assert header == (ROOT / "data/external/models/imagenet.csv").read_text().split("\n")[0]
    rows = re.findall(r"^    (\w+,.*,DIGEST,.*)$", text, re.MULTILINE)
    path = tmp_path / "roster.csv"
    path.write_text("\n".join([header, *rows]).replace("DIGEST", "0" * 64) + "\n")
    roster = read_roster(path)
    assert roster["name"].tolist() == ["googlenet", "robust_resnet50_l2"]
    assert roster["taps"].tolist() == ["imi", "imi"]
    expected = [ANNOTATED[name][0] for name in ("googlenet", "resnet50-l2")]
    assert roster["constructor"].tolist() == expected
    crops = [Preprocessing.parse(row, "row").crop for row in roster["preprocessing"]]
    assert crops == [229, 224]
    # IMI's x * 255 - 117
    first = json.loads(roster["preprocessing"][0])
    assert first["mean"][0] == pytest.approx(117 / 255, abs=1e-6)
    assert first["std"][0] == pytest.approx(1 / 255, abs=1e-9)


def test_rules_that_a_roster_may_name_are_those_there_are(tmp_path):
    assert set(TAPS) == set(taps.RULES)
    path = tmp_path / "roster.csv"
    path.write_text("name,constructor,taps\na,resnet18,imi\nb,resnet18,other\n")
    with pytest.raises(errors.InputError, match=r"row 3 \(b\): taps is 'other', allowed: imi, or empty"):
        read_roster(path)
    assert read_csv(path, text=["taps"])["taps"].tolist() == ["imi", "other"]


def test_without_rules_there_are_no_taps():
    assert taps.find_taps(["layer1.0", "layer1.0.act3", "blocks.0.ls1"], "") == []


# --------------------------------------------------------------------------- values


def values_of(model, batch, size=None):
    """Layer name -> values (images, units), after the check that images do not mix."""
    layers = layers_of(model, batch[:3])
    check_independence(model, layers, batch)
    with Capture(model, layers, len(batch), batch.device) as capture:
        values, start, found = capture(batch), 0, {}
        for layer in layers:
            found[layer.name] = values[:, start : start + layer.width].clone()
            start += layer.width
    return found


@pytest.mark.parametrize(
    ("constructor", "block", "sum_of"),
    [
        (
            "resnet26",
            "layer2.0",
            lambda b, x: b.bn3(b.conv3(b.act2(b.bn2(b.conv2(b.act1(b.bn1(b.conv1(x)))))))) + b.downsample(x),
        ),
        (
            "resnet50_clip.openai",
            "stages.1.0",
            lambda b, x: b.conv3_1x1(b.conv2_kxk(b.conv1_1x1(x))) + b.shortcut(x),
        ),
    ],
)
def test_a_residual_sum_is_read_before_its_activation(constructor, block, sum_of):
    torch.manual_seed(0)
    model = timm.create_model(constructor, pretrained=False).eval()
    for part in model.modules():  # the last norm of a block starts at zero, which would leave the shortcut alone
        if isinstance(getattr(part, "weight", None), torch.nn.Parameter) and part.weight.ndim == 1:
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
    batch = torch.randn(3, 3, *(224, 224) if "clip" in constructor else (64, 64))
    seen = []
    found = model.get_submodule(block)
    hook = found.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with torch.no_grad():
        model(batch)
        hook.remove()
        by_hand = sum_of(found, seen[0])
    value = values_of(model, batch)[f"{block}.residual_sum"]
    torch.testing.assert_close(value, by_hand.mean((2, 3)), atol=1e-5, rtol=1e-4)
    assert (by_hand < 0).any(), "behind the ReLU there would be nothing below zero"


@pytest.mark.parametrize("init_values", [None, 0.1])
def test_layer_scale_is_averaged_over_all_tokens_also_where_it_does_nothing(init_values):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=48, depth=2, init_values=init_values).eval()
    batch, seen = torch.randn(4, 3, 48, 48), []
    block = model.blocks[1]
    hook = block.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with torch.no_grad():
        model(batch)
        hook.remove()
        by_hand = block.attn(block.norm1(seen[0])) * (1 if init_values is None else block.ls1.gamma)
    found = values_of(model, batch)
    torch.testing.assert_close(found["blocks.1.ls1"], by_hand.mean(1), atol=1e-6, rtol=1e-4)
    assert {"blocks.0.ls1", "blocks.0.ls2", "blocks.1.ls2"} <= set(found)


def test_a_block_of_convnext_is_channels_first_and_its_norm_channels_last():
    torch.manual_seed(0)
    # 48 pixels leave a map of 12 x 12 with 12 channels: only the rule tells the axes apart
    model = timm.create_model("test_convnext", dims=[12, 24, 48, 64]).eval()
    batch = torch.randn(4, 3, 48, 48)
    with torch.no_grad():
        x = model.stem(batch)
        block = model.stages[0].blocks[0]
        inner = block.norm(block.conv_dw(x).permute(0, 2, 3, 1))
        out = block(x)
    found = values_of(model, batch)
    assert out.shape == (4, 12, 12, 12)
    torch.testing.assert_close(found["stages.0.blocks.0"], out.mean((2, 3)), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found["stages.0.blocks.0.norm"], inner.mean((1, 2)), atol=1e-6, rtol=1e-4)


def test_inception_reads_convolutions_before_their_activation():
    torch.manual_seed(0)
    row = {"name": "g", "constructor": "lucent_inception:inception_v1", "kwargs": ""}
    model = Constructor.of(row, CODE)().eval()
    batch = 50 * torch.randn(3, 3, 229, 229)
    value = values_of(model, batch)["mixed4a_pool_reduce_pre_relu_conv"]
    assert value.shape == (3, 64)
    assert (value < 0).any()
    assert model(batch).shape == (3, 1008)
