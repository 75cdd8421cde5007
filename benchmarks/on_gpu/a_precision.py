"""Precisions against float32 on this device: lists of pictures kept, finite values, and values that are an image's own.

Weights are random; the bounds are those of the real networks. Scores of units need tasks, so how far they move is not here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import timm
import torch
from torch import Tensor, nn

from benchmarks.gpu import alone
from interpretability.errors import InputError
from interpretability.networks.capture import Capture
from interpretability.networks.independence import check_independence
from interpretability.networks.layers import Layer, find_layers
from interpretability.networks.network import initialised
from interpretability.networks.precision import PRECISIONS, arithmetic, prepared
from study.networks.precisions import FALLBACK, Overflow, refuse_overflow
from study.workers.device import exact

SECONDS = 35
_NETWORKS = {"resnet50": 224, "mobilenetv2_100": 224}
# without trained weights, linear bottlenecks leave less between two pictures than float16 rounds away (.98 of a list stays), so
# that the bounds of real networks say nothing
_TOLD = ("mobilenetv2_100", "test_efficientnet")
_TINY = {"test_resnet": 64, "test_efficientnet": 64}
_MEAN, _FIRST = 0.997, 0.97  # of a list kept: mean over units, and at their 1st percentile
_ORDER = 0.999  # correlation of ranks of all pictures, at the 1st percentile of units
_COARSE = 7  # patches along a side of a picture

Row = tuple[str, str, float, float | None, bool | None]


def checks(device: str, quick: bool) -> Iterator[Row]:
    """Rows of acceptance values 1, 3 and 4, and that weights cast once change no number (5)."""
    if device != "cpu":
        exact(device)
    n, batch, k = (24, 8, 5) if quick else (1024, 128, 40)
    for name, size in (_TINY if quick else _NETWORKS).items():
        yield from alone(f"1 {name}", _of_network(name, _pictures(n, size, device), batch, k))
    yield from alone("3 planted overflow", _overflow(device))
    yield from alone("4 planted wrong axis", _wrong_axis(device))


def _of_network(name: str, images: Tensor, batch: int, k: int) -> Iterator[Row]:
    """Rows of a network in each precision, compared with float32."""
    whole, network = None, _network(name, images[:batch])
    for precision in PRECISIONS:  # float32 first
        model = copy.deepcopy(network)
        layers = find_layers(model, images[:3])
        yield _independent(name, model, layers, images[:4], precision)
        values = _values(prepared(model, precision), layers, images, batch, precision)
        finite = bool(values.isfinite().all())
        yield f"3 {name} {precision}, finite", "equal", float(finite), 1.0, finite
        if whole is None:
            whole = values
            continue
        judged = precision != "bfloat16" and name not in _TOLD
        yield from compared(f"1 {name} {precision}", whole, values, k, judged=judged)
    yield _cast_once(name, network, images[:batch])


@torch.no_grad()
def _network(name: str, images: Tensor) -> nn.Module:
    """Random weights, and norms as training leaves them: else pictures become all the same on their way through."""
    model = initialised(lambda: timm.create_model(name, pretrained=False), 0, name).to(images.device)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0
    model.train()(images)
    return model.eval()


def _pictures(n: int, size: int, device: str) -> Tensor:
    """Patches under noise, as a network sees them (n, 3, size, size); colour and contrast differ as those of photographs."""
    generator = torch.Generator().manual_seed(1)
    contrast, colour = (
        torch.randn((n, 1, 1, 1), generator=generator).exp(),
        torch.randn((n, 3, 1, 1), generator=generator),
    )
    patches = contrast * torch.randn((n, 3, _COARSE, _COARSE), generator=generator) + colour
    noise = torch.randn((1, 3, size, size), generator=generator).to(device)
    return nn.functional.interpolate(patches.to(device), size, mode="nearest") + 0.3 * noise


def _values(model: nn.Module, layers: list[Layer], images: Tensor, batch: int, precision: str) -> Tensor:
    with Capture(model, layers, batch, images.device, precision=precision) as capture:
        return torch.cat([capture(part).clone() for part in images.split(batch)])


def compared(what: str, one: Tensor, two: Tensor, k: int, *, judged: bool) -> Iterator[Row]:
    """What stays of lists of the k most and least exciting pictures, and of the order of all, of units whose values differ."""
    live = one.std(dim=0) > 1e-6 * one.abs().amax(dim=0).clamp(min=1e-6)
    one, two = one[:, live], two[:, live]

    def row(name: str, unit: str, share: Tensor, limit: float) -> Row:
        found = float(share)
        return (
            (f"{what}, {name}", unit, found, limit, found >= limit)
            if judged
            else (f"{what}, {name}", unit, found, None, None)
        )

    for side, largest in (("top", True), ("bottom", False)):
        kept = _kept(one, two, k, largest)
        yield row(f"{side} lists kept, mean", "share", kept.mean(), _MEAN)
        yield row(f"{side} lists kept, 1st percentile", "share", _first(kept), _FIRST)
    yield row("order, 1st percentile", "correlation", _first(_correlations(one, two)), _ORDER)


def _first(values: Tensor) -> Tensor:
    """The 1st percentile."""
    return values.kthvalue(max(1, len(values) // 100)).values


def _kept(one: Tensor, two: Tensor, k: int, largest: bool) -> Tensor:
    """Share (units) of the k first pictures that are among those of the other as well.

    A picture whose value equals that of the last one of the list counts, for the study breaks such ties by a key and not by
    arithmetic.
    """
    first, second = (values.topk(k, dim=0, largest=largest) for values in (one, two))
    theirs, last = two.gather(0, first.indices), second.values[-1]
    return (theirs >= last if largest else theirs <= last).double().mean(dim=0)


def _correlations(one: Tensor, two: Tensor) -> Tensor:
    """Spearman's correlation (units) over the pictures; equal values rank as they lie."""
    first, second = (values.argsort(dim=0, stable=True).argsort(dim=0).double() for values in (one, two))
    n = len(one)
    return 1 - 6 * (first - second).square().sum(dim=0) / (n * (n**2 - 1))


def _independent(name: str, model: nn.Module, layers: list[Layer], images: Tensor, precision: str) -> Row:
    if reason := _refusal(model, layers, images, precision):
        print(f"{name} {precision}: {reason}", flush=True)
    return f"4 {name} {precision}, values are of one image", "equal", float(not reason), 1.0, not reason


def _refusal(model: nn.Module, layers: list[Layer], images: Tensor, precision: str) -> str:
    """Why values are not those of one image; nothing if they are."""
    try:
        check_independence(model, layers, images, precision=precision)
    except InputError as error:
        return str(error)
    return ""


@torch.no_grad()
def _cast_once(name: str, model: nn.Module, batch: Tensor) -> Row:
    device = batch.device
    with arithmetic(model, "float16", device):
        expected = model(batch)
    with arithmetic(prepared(model, "float16"), "float16", device):
        equal = bool(torch.equal(expected, model(batch)))
    return f"5 {name} float16, weights cast once", "equal", float(equal), 1.0, equal


class _Bright(nn.Module):
    """Leaves what float16 holds in the middle, and in nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 6, 3), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last((self.middle(self.first(images).relu() * 1e6) / 1e6).mean((2, 3)))


class _Transposed(nn.Module):
    """A linear layer over sequences that have positions in front and images behind."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.middle(self.first(images).flatten(2).permute(2, 0, 1))).mean(0)


def _overflow(device: str) -> Iterator[Row]:
    """Whether float16 is refused for a network that it does not hold, which then is finite in what it falls back to."""
    images, refused = _pictures(8, 32, device), False
    values = {}
    for precision in ("float16", FALLBACK):
        model = initialised(_Bright, 0, "bright").eval().to(device)
        layers = find_layers(model, images[:3])
        values[precision] = _values(prepared(model, precision), layers, images, 4, precision)
    try:
        refuse_overflow(values["float16"], "float16")
    except Overflow:
        refused = True
    passed = refused and bool(values[FALLBACK].isfinite().all())
    yield f"3 planted overflow, refused in float16 and finite in {FALLBACK}", "equal", float(passed), 1.0, passed


def _wrong_axis(device: str) -> Iterator[Row]:
    """Whether a layer that is read with places for images is refused in each precision."""
    images = _pictures(4, 16, device)
    for precision in PRECISIONS:
        model = initialised(_Transposed, 0, "transposed").eval().to(device)
        found = find_layers(model, images[:3], drop_first_last=False)
        [sound] = [layer for layer in found if layer.name == "middle"]
        wrong = replace(sound, batch_axis=0)
        passed = [bool(_refusal(model, [layer], images, precision)) for layer in (sound, wrong)] == [False, True]
        yield f"4 planted wrong axis, {precision}, is refused", "equal", float(passed), 1.0, passed
