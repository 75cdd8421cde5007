"""How well made pictures do what they are made for: beside all natural ones, after a shift, with diversity, and at what cost.

    python -m benchmarks.visualisations [--parts planted study default still diverse photographs] [--data data]
                                        [--photographs FOLDER --weights FILE] [--layers 8] [--units 3]

planted       functions of pixels with known answers, against 1,600 drawn scenes
study         units of random layers of the networks of a finished embedded study in --data, against all its pictures: 96 steps at
              rate .05
default       one unit of each of 8 random layers of the three convolutional networks: 64 steps at rate .1
still         resnet of the study with transforms and without: what a shift by 3 pixels leaves
diverse       adaptive diversity for units whose weakest picture beats nature with 5 % to spare
photographs   SqueezeNet 1.1 with the weights of a file (torchvision's names), convolutions before their ReLU and what follows a
              max-pool, against 500 photographs of a folder: 96 steps, 2 pictures

The committed table joins three runs, and its seconds are those of a busy machine.

A row a part, network and side. ratio: (made - median) / (natural extreme - median), of stored bytes; best_beats, weakest_beats:
shares of units whose best and whose weakest picture lies beyond every natural one. One thread, kernels of a portable study.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.harness import report
from interpretability.images import ImageFolder
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, find_layers
from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import generator, key64
from interpretability.schema import MADE_SIDES, UNREACHABLE
from interpretability.visualisations.making import make_images
from interpretability.visualisations.settings import ADAPTIVE, Made, Natural, Settings
from interpretability.visualisations.target import Target
from study.networks.building import load_network
from study.networks.roster import read_roster, rows_of
from tests.helpers import planted_pixels

SEED = 0
CONVOLUTIONAL = ("resnet", "convnext", "efficientnet")
SPARE = 1.05  # ratio of the weakest picture from which diversity has room
Picked = list[tuple[Layer, int, Natural]]


def opened(data: Path, name: str) -> tuple[nn.Module, Preprocessing]:
    """A network of a finished study."""
    row = next(row for row in rows_of(read_roster(data / "models" / "roster.csv")) if row["name"] == name)
    network = load_network(row, data / "models", data / "external" / "code", SEED)
    return network.model.eval(), network.preprocessing


def picked(
    model: nn.Module,
    prepare: Preprocessing,
    layers: Sequence[Layer],
    pictures: Sequence[NDArray[np.uint8]],
    n_units: int,
) -> Picked:
    """Random units of layers that are not constant, with their values over all natural pictures."""
    with Capture(model, layers, 100, "cpu") as capture:
        values = np.concatenate(
            [
                capture(prepare.batch(pictures[start : start + 100])).numpy().astype(np.float64)
                for start in range(0, len(pictures), 100)
            ]
        )
    found: Picked = []
    start = 0
    for layer in layers:
        order = generator(SEED, "benchmark", layer.name).permutation(layer.width)
        columns = [(int(unit), values[:, start + int(unit)]) for unit in order]
        live = [(unit, column) for unit, column in columns if column.min() < column.max()]
        found += [
            (layer, unit, Natural(float(np.median(column)), float(column.min()), float(column.max())))
            for unit, column in live[:n_units]
        ]
        start += layer.width
    return found


def drawn(layers: Sequence[Layer], n: int) -> list[Layer]:
    """Some layers, in their order."""
    places = generator(SEED, "benchmark", "layers").choice(len(layers), min(n, len(layers)), replace=False)
    return [layers[place] for place in sorted(places)]


def made_of(
    model: nn.Module, prepare: Preprocessing, units: Picked, settings: Settings, sides: Sequence[str] = MADE_SIDES
) -> Iterator[tuple[str, Made, float]]:
    """Pictures of every unit and side, and the seconds they took."""
    for layer, unit, natural in units:
        for side in MADE_SIDES:
            if side not in sides:
                continue
            before = time.perf_counter()
            with Target(model, layer, unit, prepare) as target:
                made = make_images(target, natural, side, settings, key64(SEED, layer.name, unit, side))
            yield side, made, time.perf_counter() - before


def rows_from(
    part: str, network: str, settings: Settings, found: Iterator[tuple[str, Made, float]]
) -> list[dict[str, object]]:
    """A row a side."""
    all_made = list(found)
    rows: list[dict[str, object]] = []
    for side in MADE_SIDES:
        chosen = [(made, seconds) for each, made, seconds in all_made if each == side]
        if not chosen:
            continue
        there = [made for made, _ in chosen if made.status != UNREACHABLE]
        kept = [made.kept_after_shift for made in there]
        rows.append(
            {
                "part": part,
                "network": network,
                "steps": settings.steps,
                "rate": settings.rate,
                "diversity": settings.diversity,
                "transforms": settings.transforms,
                "side": side,
                "units": len(chosen),
                "unreachable": len(chosen) - len(there),
                "best_beats": sum(made.ratio_best > 1 for made in there) / len(chosen),
                "weakest_beats": sum(made.ratio_weakest > 1 for made in there) / len(chosen),
                "position_bound": sum(made.position_bound for made in there) / len(chosen),
                "ratio_best": float(np.median([made.ratio_best for made in there])),
                "kept_after_shift": float(np.nanmedian(kept)),
                "kept_lowest": float(np.nanmin(kept)),
                "alike": float(np.median([made.alike for made in there])),
                "weight": float(np.median([made.weight for made in there])),
                "passes": max(made.passes for made in there),
                "seconds_a_side": float(np.mean([seconds for _, seconds in chosen])),
            }
        )
        print(rows[-1], flush=True)
    return rows


def planted(args: argparse.Namespace) -> list[dict[str, object]]:
    pictures = planted_pixels.scenes(1600)
    units: dict[str, tuple[nn.Module, int, bool]] = {
        "energy of a filter": (planted_pixels.Energy(), 96, True),
        "red": (planted_pixels.Colour(1, 0, 0), 96, True),
        "red, longer": (planted_pixels.Colour(1, 0, 0), 256, True),
        "red minus others": (planted_pixels.Colour(1, -0.5, -0.5), 96, True),
        "grating of one phase": (planted_pixels.Matched(), 96, True),
        "grating of one phase, still": (planted_pixels.Matched(), 96, False),
    }
    rows: list[dict[str, object]] = []
    for name, (unit, steps, transforms) in units.items():
        network = planted_pixels.as_network(unit)
        chosen = [(planted_pixels.layer_of(), 0, planted_pixels.natural_of(network, pictures))]
        settings = Settings(steps=steps, diversity=0.0, transforms=transforms)
        rows += rows_from("planted", name, settings, made_of(network, planted_pixels.PLAIN, chosen, settings))
    return rows


def of_study(
    args: argparse.Namespace, part: str, names: Sequence[str], settings: Settings, units: int
) -> list[dict[str, object]]:
    pictures = np.load(args.data / "images" / "pixels.npy", mmap_mode="r")
    rows: list[dict[str, object]] = []
    for name in names:
        model, prepare = opened(args.data, name)
        layers = drawn(find_layers(model, prepare.batch(pictures[:3])), args.layers)
        chosen = picked(model, prepare, layers, pictures, units)
        rows += rows_from(part, name, settings, made_of(model, prepare, chosen, settings))
    return rows


def study(args: argparse.Namespace) -> list[dict[str, object]]:
    return of_study(args, "study", (*CONVOLUTIONAL, "vit"), Settings(steps=96, diversity=0.0), args.units)


def default(args: argparse.Namespace) -> list[dict[str, object]]:
    return of_study(args, "default", CONVOLUTIONAL, Settings(steps=64, rate=0.1, diversity=0.0), 1)


def still(args: argparse.Namespace) -> list[dict[str, object]]:
    moved = Settings(steps=96, diversity=0.0)
    fixed = Settings(steps=96, diversity=0.0, transforms=False)
    return [row for settings in (moved, fixed) for row in of_study(args, "still", ("resnet",), settings, 1)]


def diverse(args: argparse.Namespace) -> list[dict[str, object]]:
    """Units with room to spare, before and after."""
    pictures = np.load(args.data / "images" / "pixels.npy", mmap_mode="r")
    model, prepare = opened(args.data, "resnet")
    layers = drawn(find_layers(model, prepare.batch(pictures[:3])), 4)
    units = picked(model, prepare, layers, pictures, 1)
    plain, adaptive = (Settings(steps=64, rate=0.1, diversity=diversity) for diversity in (0.0, ADAPTIVE))
    rows: list[dict[str, object]] = []
    for layer, unit, natural in units:
        first = list(made_of(model, prepare, [(layer, unit, natural)], plain, ("max",)))
        if not first[0][1].ratio_weakest >= SPARE:
            continue
        name = f"resnet {layer.name} {unit}"
        rows += rows_from("diverse", name, plain, iter(first))
        rows += rows_from(
            "diverse", name, adaptive, made_of(model, prepare, [(layer, unit, natural)], adaptive, ("max",))
        )
    return rows


def photographs(args: argparse.Namespace) -> list[dict[str, object]]:
    if args.photographs is None or args.weights is None:
        raise SystemExit("the part photographs needs --photographs FOLDER and --weights FILE")
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    model = squeezenet1_1(weights=None)
    model.load_state_dict(load_file(args.weights))
    prepare = Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")
    folder = ImageFolder(args.photographs)
    order = generator(SEED, "benchmark", "photographs").permutation(len(folder))[:500]
    pictures = [folder.pixels(int(row)) for row in order]
    model.eval()
    layers = drawn(find_layers(model, prepare.batch(pictures[:3])), 11)
    settings = Settings(n_images=2, steps=96, diversity=0.0)
    chosen = picked(model, prepare, layers, pictures, 1)
    rows = rows_from("photographs", "squeezenet1_1, convolutions", settings, made_of(model, prepare, chosen, settings))
    pooled = Layer("features.5", "Other", 0, 0.0, 128, "features.5", 0, "output", 0, 1)
    after = picked(model, prepare, [pooled], pictures, 2)
    return rows + rows_from(
        "photographs", "squeezenet1_1, after max-pool", settings, made_of(model, prepare, after, settings)
    )


PARTS: dict[str, Callable[[argparse.Namespace], list[dict[str, object]]]] = {
    "planted": planted,
    "study": study,
    "default": default,
    "still": still,
    "diverse": diverse,
    "photographs": photographs,
}


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    line.add_argument("--data", type=Path, default=Path("data"), help="of a finished embedded study")
    line.add_argument("--photographs", type=Path)
    line.add_argument("--weights", type=Path)
    line.add_argument("--layers", type=int, default=8, help="of each network of the study")
    line.add_argument("--units", type=int, default=3, help="of each of these layers")
    args = line.parse_args()
    torch.set_num_threads(1)
    rows = [row for part in args.parts for row in PARTS[part](args)]
    report("visualisations", "made pictures, one thread", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
