"""That values of an image are its own is tried out in the arithmetic of the study, and what is planted shows in each."""

import pytest
import timm
import torch
from torch import nn

from benchmarks import emulated
from interpretability.errors import InputError
from interpretability.networks import independence, layers
from interpretability.networks.independence import TOLERANCES, check_independence, tolerance
from interpretability.networks.layers import find_layers

TYPES = ("Conv", "Linear", "BatchNorm", "LayerNorm", "GroupNorm")
EVERY = ["float32", "tf32", "float16", "bfloat16"]


class Windows(nn.Module):
    """Windows of 4 x 4 through a linear layer, image by image or, where `mixed`, place by place: another order."""

    def __init__(self, mixed):
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 6), nn.Linear(6, 3)
        self.mixed = mixed

    def forward(self, x):
        n = len(x)
        x = self.first(x).unflatten(2, (-1, 4)).unflatten(4, (-1, 4))  # n, 8, a, 4, b, 4
        order = (2, 4, 0, 3, 5, 1) if self.mixed else (0, 2, 4, 3, 5, 1)
        x = self.middle(x.permute(order).flatten(3, 4).flatten(0, 2))
        return self.last(x).mean(1).view(n, -1) if not self.mixed else self.last(x).mean(1)[:n]


class Transposed(nn.Module):
    """A linear layer over sequences that have positions in front and images behind."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.middle(self.first(x).flatten(2).permute(2, 0, 1))).mean(0)


def as_on_a_gpu(monkeypatch, precision):
    """TF32 as if this processor had it: emulated products, to the bound for them."""
    if precision == "tf32":
        monkeypatch.setattr(independence, "used", lambda precision, device: precision)
        return emulated.tf32()
    return emulated.half()


@pytest.mark.parametrize("precision", EVERY)
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_sound_networks_pass(name, precision, monkeypatch):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, **({"img_size": 64} if "vit" in name else {})).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.3)
            part.running_var.uniform_(0.5, 2)
        if isinstance(part, nn.Linear):
            part.weight.data *= 10
    batch = torch.randn(4, 3, 64, 64)
    found = find_layers(model, batch[:3], layer_types=TYPES)
    with as_on_a_gpu(monkeypatch, precision):
        values = check_independence(model, found, batch, precision=precision)
    if precision != "float32":
        assert not torch.equal(values, check_independence(model, found, batch)), "it ran in that arithmetic"


@pytest.mark.parametrize("precision", EVERY)
def test_what_is_planted_is_found(precision, monkeypatch):
    torch.manual_seed(0)
    batch = torch.randn(4, 3, 16, 16)

    def refused(model, found):
        with as_on_a_gpu(monkeypatch, precision), pytest.raises(InputError, match="differ between a batch of 4"):
            check_independence(model, found, batch, precision=precision)

    sound = Windows(mixed=False).eval()
    found = find_layers(sound, batch[:3], layer_types=TYPES)
    with as_on_a_gpu(monkeypatch, precision):
        check_independence(sound, found, batch, precision=precision)
    refused(Windows(mixed=True).eval(), found)
    turned = Transposed().eval()
    found = find_layers(turned, batch[:3], layer_types=TYPES, drop_first_last=False)
    wrong = [layers.Layer(**{**vars(found[1]), "batch_axis": 0, "channel_axis": 2})]
    assert found[1].batch_axis == 1
    refused(turned, wrong)
    trained = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3))
    found = find_layers(trained.eval(), batch[:3], layer_types=TYPES)
    refused(trained.train(), found)


def test_a_shortcut_that_does_not_follow_is_found_in_half_precision(monkeypatch):
    from interpretability.networks import capture

    class Wrong(capture.Norm):
        def __init__(self, norm):
            super().__init__(norm)
            self.factor = 1.2 * self.factor

    monkeypatch.setattr(capture, "Norm", Wrong)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3)).eval()
    batch = torch.randn(3, 3, 8, 8) + 3
    found = find_layers(model, batch, layer_types=TYPES, drop_first_last=False)
    for precision in EVERY:
        with pytest.raises(InputError, match=r"1 layers: 1 \("):
            check_independence(model, found, batch, precision=precision)


def test_bounds_by_precision_and_device(monkeypatch):
    assert tolerance("float32", "cpu") == tolerance("tf32", "cpu") == 1e-5, "a processor has no TF32"
    assert tolerance("float32", "cuda") == 3e-4
    assert tolerance("float16", "cpu") == tolerance("float16", "cuda") == TOLERANCES["float16"]
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert tolerance("tf32", "cuda") == TOLERANCES["tf32"]
