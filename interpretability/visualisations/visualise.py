"""Pictures of units of any network, from one call."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.images import Images, checked_pixels
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, check_network, checked_device, find_layers
from interpretability.networks.precision import PRECISIONS
from interpretability.networks.preprocessing import Preprocessing, preprocessing_of
from interpretability.randomness import key64
from interpretability.schema import LAYER_TYPES, MADE_SIDES, UNREACHABLE
from interpretability.similarity.registry import check_images_object
from interpretability.tasks.network_extremes import at_work
from interpretability.visualisations.canvas import Canvas, margin_of
from interpretability.visualisations.making import make_images
from interpretability.visualisations.settings import Made, Natural, Settings
from interpretability.visualisations.target import Target

if TYPE_CHECKING:
    from torch import nn

NOT_COMPARED = "not_compared"  # status of a side without natural images
_NOISE = 16  # pictures of noise that stand in for natural images
_ARRAYS = ("pixels", "values", "diverse")


@dataclass(frozen=True, eq=False)
class Visualised:
    """Pictures of units; sides are max (exciting) and min, in this order.

    images   uint8 (units, 2, K, crop, crop, 3), black where a side is unreachable
    values   float32 (units, 2, K): the unit's value of each stored picture; NaN where a side is unreachable
    table    a row a unit and side: layer, unit, side, median and extreme of natural images (NaN without), and what
             `interpretability.visualisations.settings.Made` tells of the pictures: status, weight, passes, start, gradient,
             stop_ratio, ratio_best, ratio_weakest, kept_after_shift, alike, position_bound
    """

    images: NDArray[np.uint8]
    values: NDArray[np.float32]
    table: pd.DataFrame


def visualise(
    model: nn.Module,
    layer: str | Layer,
    units: Sequence[int],
    images: Images | None = None,
    *,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    n_images: int = 9,
    steps: int = 256,
    rate: float = 0.05,
    diversity: Literal["adaptive"] | float = 0.0,
    transforms: bool = True,
    seed: int = 0,
    name: str = "network",
    device: str = "cpu",
    precision: str = "float32",
    batch_size: int = 100,
) -> Visualised:
    """Pictures made to excite units of a network, and to keep them quiet (IMI, section 3.2 and appendix A.4).

    model          a torch.nn.Module, on any device; it is left as it was found. It is shown RGB: one of grey pictures has to
                   turn them grey itself
    layer          a name, or one of the layers that `find_layers` gives; any place with channels can be named
    units          channels of the layer
    images         natural images as for `score_network`: what there is to beat. Without any, values are not compared (status
                   not_compared; ratios and kept_after_shift are NaN)
    preprocessing  what the network was trained with, as for `score_network`; left out, timm's record of the network
    n_images       K, pictures a side; steps, rate: of gradient ascent (Adam)
    diversity      weight by which pictures are pushed apart, in units of the natural range; "adaptive" finds the largest with
                   which the weakest picture beats every natural one, at about nine times the cost
    transforms     whether pictures are moved, scaled and turned at each step; without, they are patterns of single pixels
    seed, name     with layer, unit and side they name every random draw
    device, precision   where the network runs (cpu, cuda, ...), and in what: float32, tf32, float16 or bfloat16
    batch_size     natural images of a forward pass

    Values and status are of the stored pictures, as the network sees them: of its crop, not resized again. Equal arguments
    give equal bytes with one thread (`torch.set_num_threads(1)`) on one kind of processor; elsewhere rounding grows in the
    climb: values stay within some per cent, pixels do not. On a GPU resampling adds in a fixed order, but the network's own
    backward passes (convolutions, attention, pooling) are reproducible only where torch has such kernels, under
    `torch.use_deterministic_algorithms(True)`. Raises InputError for a layer or unit that the network lacks, for what is no
    network of RGB pictures, adaptive diversity without images, and values or gradients that are not finite.
    Departure: IMI takes 2,500 to 20,000 steps and adaptive diversity (steps=2500, diversity="adaptive"); the defaults here
    are for a first look.

    >>> import torch
    >>> from interpretability import visualise
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3))
    >>> shown = {"crop": 16, "resize": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    >>> made = visualise(network, "2", [0, 3], preprocessing=shown, n_images=2, steps=4)
    >>> made.images.shape, made.table["status"].unique().tolist()
    ((2, 2, 2, 16, 16, 3), ['not_compared'])
    """
    check_network(model)
    checked_device(device)
    arguments.choice(precision, "precision", PRECISIONS)
    settings = Settings(n_images=n_images, steps=steps, rate=rate, diversity=diversity, transforms=transforms)
    if images is not None:
        check_images_object(images)
    elif settings.is_adaptive:
        raise InputError(
            "{diversity} is adaptive, which asks whether natural images are beaten, and {images} is None; pass some, or a number",
            "diversity",
            "images",
        )
    ids = arguments.count(seed, "seed", 0), arguments.text(name, "name")
    arguments.count(batch_size, "batch_size")
    prepare = preprocessing_of(model, preprocessing)
    with at_work(model, device):
        found = layer if isinstance(layer, Layer) else _layer_named(model, layer, prepare, device)
        chosen = [arguments.count(unit, "units", 0, found.width - 1) for unit in units]
        if not chosen:
            raise arguments.wrong("units", "names none; it must be one or more channels of the layer")
        natural = _natural(model, found, chosen, images, prepare, device, batch_size)
        made = [
            _made(Target(model, found, unit, prepare, device=device, precision=precision), known, settings, ids)
            for unit, known in zip(chosen, natural, strict=True)
        ]
    return _joined(found, chosen, natural, made, settings, prepare.crop, compared=images is not None)


def _made(target: Target, natural: Natural, settings: Settings, ids: tuple[int, str]) -> list[Made]:
    """Both sides of a unit."""
    with target:
        return [
            make_images(target, natural, side, settings, key64(*ids, target.layer.name, target.unit, side))
            for side in MADE_SIDES
        ]


def _layer_named(model: nn.Module, name: object, prepare: Preprocessing, device: str) -> Layer:
    """The layer of this name, of whatever type."""
    wanted = arguments.text(name, "layer")
    blank = torch.full((2, 3, prepare.crop, prepare.crop), 127, dtype=torch.uint8, device=device)
    try:
        layers = {
            each.name: each
            for each in find_layers(model, prepare.normalised(blank), layer_types=LAYER_TYPES, drop_first_last=False)
        }
    except RuntimeError as error:
        raise arguments.wrong(
            "model",
            "does not take pictures of shape (n, 3, {crop}, {crop}), red, green and blue in the size of its crop: {text}",
            crop=prepare.crop,
            text=" ".join(str(error).split()),
        ) from error
    if wanted not in layers:
        near = difflib.get_close_matches(wanted, layers, cutoff=0.4) or list(layers)[:3]
        raise arguments.wrong(
            "layer",
            "is {name!r}, which the network lacks, or which gives no units; near: {near}",
            name=wanted,
            near=", ".join(near),
        )
    return layers[wanted]


def _natural(
    model: nn.Module,
    layer: Layer,
    units: list[int],
    images: Images | None,
    prepare: Preprocessing,
    device: str,
    batch_size: int,
) -> list[Natural]:
    """Values of the units over natural images, or over pictures of noise, which give a scale and no more."""
    count = _NOISE if images is None else len(images)
    noise = torch.from_numpy(_noise(prepare.crop))
    parts: list[NDArray[np.float32]] = []
    with Capture(model, [layer], batch_size, device) as capture:
        for start in range(0, count, batch_size):
            rows = range(start, min(start + batch_size, count))
            if images is None:
                batch = prepare.normalised(noise[rows.start : rows.stop].to(device))
            else:
                batch = prepare.batch([checked_pixels(images.pixels(row), row) for row in rows], device)
            parts.append(capture(batch)[:, units].cpu().numpy())
    values = np.concatenate(parts).astype(np.float64)
    return [_summary(column, unit, compared=images is not None) for column, unit in zip(values.T, units, strict=True)]


def _noise(crop: int) -> NDArray[np.uint8]:
    """Pictures (n, 3, crop, crop) as those that a climb starts from, but strong."""
    canvas = Canvas(crop, margin_of(crop, Settings.margin), torch.device("cpu"))
    return canvas.stored(canvas.colours(canvas.noise(0, range(_NOISE), 1.0))).numpy()


def _summary(values: NDArray[np.float64], unit: int, *, compared: bool) -> Natural:
    """What is known of a unit from its values (images,)."""
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)][0]
        raise arguments.wrong(
            "model", "gives unit {unit} the value {value}; all values must be finite", unit=unit, value=bad
        )
    low, high, median = (float(each) for each in (values.min(), values.max(), np.median(values)))
    if low < high:
        return Natural(median, low, high)
    if compared:
        raise arguments.wrong(
            "units", "names {unit}, which has the value {value:g} for all images", unit=unit, value=low
        )
    # silent on noise: any scale will do, because a step of Adam does not depend on it
    return Natural(median, median - 1, median + 1)


def _joined(
    layer: Layer,
    units: list[int],
    natural: list[Natural],
    made: list[list[Made]],
    settings: Settings,
    crop: int,
    *,
    compared: bool,
) -> Visualised:
    shape = len(units), len(MADE_SIDES), settings.n_images
    images = np.zeros((*shape, crop, crop, 3), dtype=np.uint8)
    values = np.full(shape, np.nan, dtype=np.float32)
    rows: list[dict[str, object]] = []
    for place, (unit, known, both) in enumerate(zip(units, natural, made, strict=True)):
        for number, (side, found) in enumerate(zip(MADE_SIDES, both, strict=True)):
            if found.status != UNREACHABLE:
                images[place, number], values[place, number] = found.pixels, found.values
            extreme = known.extreme(side)
            facts = {name: value for name, value in vars(found).items() if name not in _ARRAYS}
            row: dict[str, object] = {
                "layer": layer.name,
                "unit": unit,
                "side": side,
                "median": known.median,
                "extreme": extreme,
                **facts,
            }
            rows.append(row if compared else row | _uncompared(found.status))
    return Visualised(images, values, pd.DataFrame(rows))


def _uncompared(status: str) -> dict[str, object]:
    """What replaces all that is measured by natural images."""
    unknown = ("median", "extreme", "ratio_best", "ratio_weakest", "kept_after_shift")
    return {
        **dict.fromkeys(unknown, np.nan),
        "status": status if status == UNREACHABLE else NOT_COMPARED,
        "position_bound": False,
    }
