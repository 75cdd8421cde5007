"""Precisions against float32 on this device: lists of pictures kept, finite values, and values that are an image's own.

Weights are random, so what is kept is told beside the bound of the real networks at their 1st percentile.
"""

from __future__ import annotations

from collections.abc import Iterator

import timm
import torch
from torch import Tensor, nn

from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.independence import check_independence
from interpretability.networks.layers import Layer, find_layers
from interpretability.networks.network import initialised
from interpretability.networks.precision import arithmetic, prepared
from study.workers.device import exact

SECONDS = 40
_NETWORKS = {"resnet50": 224, "mobilenetv2_100": 224}
_TINY = {"test_resnet": 64, "test_efficientnet": 64}
_KEPT = 0.97  # of the lists of a unit, at least
_COARSE = 7  # patches along a side of a picture

Row = tuple[str, str, float, float | None, bool | None]


def checks(device: str, quick: bool) -> Iterator[Row]:
    """Rows of acceptance values 1 and 4, and that weights cast once change no number (5)."""
    if device != "cpu":
        exact(device)
    n, batch, k = (24, 8, 5) if quick else (1024, 128, 40)
    for name, size in (_TINY if quick else _NETWORKS).items():
        images, whole = _pictures(n, size, device), None
        for precision in ("float32", "tf32", "float16", "bfloat16"):
            model = _network(name, device)
            layers = find_layers(model, images[:3])
            yield _independent(name, model, layers, images[:4], precision)
            values = _values(prepared(model, precision), layers, images, batch, precision)
            finite = bool(values.isfinite().all())
            yield f"3 {name} {precision}, finite", "equal", float(finite), 1.0, finite
            if whole is None:
                whole = values
                continue
            share = _kept(whole, values, k)
            if precision == "bfloat16":
                yield f"1 {name} {precision}, lists kept", "share", share, None, None
            else:
                yield f"1 {name} {precision}, lists kept", "share", share, _KEPT, share >= _KEPT
        yield _cast_once(name, _network(name, device), images[:batch], device)


def _network(name: str, device: str) -> nn.Module:
    model = initialised(lambda: timm.create_model(name, pretrained=False), 0, name).eval()
    generator = torch.Generator().manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(std=0.1, generator=generator)
            part.running_var.uniform_(0.2, 1, generator=generator)
    return model.to(device)


def _pictures(n: int, size: int, device: str) -> Tensor:
    """Patches of colour under noise, as a network sees them (n, 3, size, size)."""
    generator = torch.Generator().manual_seed(1)
    patches = torch.randn((n, 3, _COARSE, _COARSE), generator=generator)
    noise = torch.randn((1, 3, size, size), generator=generator).to(device)
    return nn.functional.interpolate(patches.to(device), size, mode="nearest") + 0.3 * noise


def _values(model: nn.Module, layers: list[Layer], images: Tensor, batch: int, precision: str) -> Tensor:
    with Capture(model, layers, batch, images.device, precision=precision) as capture:
        return torch.cat([capture(part).clone() for part in images.split(batch)])


def _kept(one: Tensor, two: Tensor, k: int) -> float:
    """Share of the k most exciting pictures of each unit that stay, mean over units whose values differ."""
    live = one.std(dim=0) > 1e-6 * one.abs().amax(dim=0).clamp(min=1e-6)
    first, second = (values[:, live].topk(k, dim=0).indices.T for values in (one, two))
    return float((first[:, :, None] == second[:, None]).any(dim=2).double().mean())


def _independent(name: str, model: nn.Module, layers: list[Layer], images: Tensor, precision: str) -> Row:
    row = f"4 {name} {precision}, values are of one image", "equal"
    try:
        check_independence(model, layers, images, precision=precision)
    except InputError as error:
        print(f"{name} {precision}: {error}", flush=True)
        return *row, 0.0, 1.0, False
    return *row, 1.0, 1.0, True


@torch.no_grad()
def _cast_once(name: str, model: nn.Module, batch: Tensor, device: str) -> Row:
    with arithmetic(model, "float16", device):
        expected = model(batch)
    with arithmetic(prepared(model, "float16"), "float16", device):
        equal = bool(torch.equal(expected, model(batch)))
    return f"5 {name} float16, weights cast once", "equal", float(equal), 1.0, equal
