"""That everything a GPU needs lies on it: devices and shapes are followed through torch's fake tensors, without a GPU.

Fake tensors hold no numbers; an operation on tensors of two devices is an error there, as it is on a GPU. What comes out
is compared elsewhere, on the CPU.
"""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from interpretability.extremes.on_gpu import DeviceSelection
from interpretability.networks import preprocessing
from interpretability.networks.capture import Capture
from interpretability.networks.layers import find_layers
from interpretability.networks.preprocessing import Preprocessing
from tests.helpers import random_weights as given

TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")
GPU = torch.device("cuda:0")


@pytest.fixture
def mode():
    yield FakeTensorMode(allow_non_fake_inputs=True)
    preprocessing._levels.cache_clear()  # of fake ones


def moved(mode, model):
    """The network with fake parameters and buffers on a GPU."""
    with mode:
        for part in model.modules():
            for kept, made in (
                (part._parameters, lambda t: nn.Parameter(t, requires_grad=False)),
                (part._buffers, nn.Buffer),
            ):
                for name, value in kept.items():
                    if value is not None:
                        kept[name] = made(mode.from_tensor(value.data).to(GPU))
    return model


def read(mode, monkeypatch, model, size):
    monkeypatch.setattr(Capture, "_refusals", lambda self: 0)  # asks the driver
    with mode:
        batch = torch.empty((4, 3, size, size), device=GPU)
        layers = find_layers(moved(mode, model.eval()), batch[:3], layer_types=TYPES)
        with Capture(model, layers, 4, GPU) as capture:
            return capture(batch), sum(layer.width for layer in layers)


@pytest.mark.parametrize(
    ("name", "kwargs", "size"),
    [
        ("test_resnet", {}, 64),
        ("test_efficientnet", {}, 64),
        ("test_nfnet", {}, 64),
        ("test_convnext", {}, 64),
        ("mobilenetv2_100", {}, 64),
        ("test_vit", {"img_size": 64}, 64),
        ("xcit_nano_12_p16_224", {"img_size": 64}, 64),
        ("swin_tiny_patch4_window7_224", {}, 224),
        ("beit_base_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}, 32),
    ],
)
def test_units_are_read_where_the_network_is(mode, monkeypatch, name, kwargs, size):
    values, width = read(mode, monkeypatch, timm.create_model(name, pretrained=False, **kwargs), size)
    assert (values.device, values.dtype, tuple(values.shape)) == (GPU, torch.float32, (4, width))


def test_attention_of_torch_is_read_where_the_network_is(mode, monkeypatch):
    model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    values, width = read(mode, monkeypatch, model, 32)
    assert (values.device, tuple(values.shape)) == (GPU, (4, width))
    assert width == 2 * (16 + 48 + 16 + 16 + 32 + 16) + 16, "two blocks, and the last norm; not the stem and the head"


def test_a_tensor_left_on_the_cpu_is_found(mode, monkeypatch):
    class Mixed(nn.Sequential):
        def forward(self, x):
            return super().forward(x * torch.ones(3, 1, 1))

    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        read(mode, monkeypatch, Mixed(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)), 16)


def test_images_are_selected_where_the_values_are(mode, monkeypatch):
    monkeypatch.setattr("interpretability.extremes.late.Late.send", lambda self, numbers, rows: None)  # asks the driver
    monkeypatch.setattr("interpretability.extremes.on_gpu.CHUNK", 64)
    with mode:
        selection = DeviceSelection(np.arange(50, dtype=np.uint64), 8, GPU, kernel=False)
        for first in range(0, 144, 16):
            selection.update(torch.empty((16, 50), device=GPU), first)
        assert selection.merges == 2
        selection._bound(slice(0, 50))
        assert [tuple(best.shape) for best in selection._best] == [(50, 9)] * 2
        assert {one.device for one in (*selection._best, *vars(selection._held).values())} == {GPU}


def test_pictures_are_normalised_where_they_are(mode):
    view = Preprocessing(8, 9, (0.5, 0.4, 0.3), (0.5, 0.4, 0.3))
    with mode:
        stacked = torch.empty((4, 3, 8, 8), dtype=torch.uint8, device=GPU, memory_format=torch.channels_last)
        ready = view.normalised(stacked)
    assert (ready.device, ready.dtype, ready.is_contiguous()) == (GPU, torch.float32, True)


@pytest.mark.parametrize("name", ["lpips-alex", "lpips-vgg", "lpips-squeeze", "dists"])
def test_features_are_compared_where_they_are(mode, name):
    backend = given.opened(name, check=False)
    # what depends on the values of weights is found before they are fake
    heads, _ = getattr(backend, "_heads", []), getattr(backend, "_weights", None)
    moved(mode, backend.model)
    backend._device = str(GPU)
    with mode:
        backend.__dict__["_heads"] = [tuple(mode.from_tensor(part).to(GPU) for part in head) for head in heads]
        rows = backend.features(torch.empty((3, 3, 64, 64), device=GPU))
        found = backend.compare_rows(rows, rows[:2], 64)
    assert (rows.device, found.device, tuple(found.shape)) == (GPU, GPU, (3, 2))
