"""Layers and units of networks whose weights partly act without a call, and of the nine that people were asked about.

    python -m benchmarks.layers_found        # a minute

`layers_called` and `units_called` are those that hooks on modules see; `layers` and `units` are all that are read, with the
weights that functions of torch are given directly. `left_out` counts layers of the wanted types that give no units and that
nobody asked to leave out. Networks are built without weights on torch's meta device; rules are those of studies/imagenet.yaml.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torchvision

from benchmarks.harness import report
from interpretability.networks.acting import parameter_of
from interpretability.networks.layers import Layer, survey
from interpretability.networks.reasons import ASKED
from interpretability.networks.taps import find_taps
from study.networks import building
from study.networks.constructors import Constructor
from study.networks.roster import read_roster, rows_of
from study.params.units import Units
from study.params.whole import load_params

NAME = "layers_found"
CODE, MODELS = Path("data/external/code"), Path("data/external/models")
OF_TIMM = (
    ("vit_base_patch16_224", 224),
    ("beit_base_patch16_224", 224),
    ("eva02_tiny_patch14_224", 224),
    ("swinv2_tiny_window8_256", 256),
)
OF_TORCHVISION = (("vit_b_16", 224), ("swin_t", 224))
# annotated networks whose rows people add to the roster with their weights
ADDED = {"googlenet": ("lucent_inception:inception_v1", 229, "imi"), "robust_resnet50_l2": ("resnet50", 224, "imi")}


@dataclass(frozen=True)
class Case:
    """A network to count: how it is built on the meta device, the side of its pictures, and its rules of taps."""

    name: str
    of: str
    build: Any
    size: int
    taps: str = ""


def counts(case: Case, rules: Units) -> dict[str, object]:
    """Layers and units of a network by calls alone and in all."""
    with torch.device("meta"):
        model = case.build().eval()
        taps = find_taps([path for path, _ in model.named_modules()], case.taps)
        everything = asdict(replace(rules, drop_first_last=False))
        found = survey(model, torch.empty(3, 3, case.size, case.size), taps=taps, **everything)
    called = [layer for layer in found.layers if parameter_of(layer.tap) is None]
    row: dict[str, object] = {"network": case.name, "of": case.of, "input_size": case.size}
    for ending, layers in (("_called", called), ("", found.layers)):
        kept = layers[1:-1] if rules.drop_first_last else layers
        row |= {f"layers{ending}": len(kept), f"units{ending}": _units(kept)}
    return {**row, "left_out": sum(each.reason not in ASKED for each in found.left_out)}


def _units(layers: list[Layer]) -> int:
    return sum(layer.width for layer in layers)


def cases(roster: Path) -> Iterator[Case]:
    """The networks of the table in its order."""
    import timm

    for name, size in OF_TORCHVISION:
        yield Case(name, "torchvision", lambda name=name: torchvision.models.get_model(name, weights=None), size)
    for name, size in OF_TIMM:
        yield Case(name, "timm", lambda name=name: timm.create_model(name, pretrained=False), size)
    rows = {row["name"]: row for row in rows_of(read_roster(roster))}
    for name in pd.read_csv(MODELS / "imi_names.csv")["name"]:
        if name in rows:
            row = rows[name]
            build = Constructor.of(row, CODE)
            with torch.device("meta"):
                size = building.preprocessing_of(row, build()).crop
            yield Case(name, "annotated", build, size, row["taps"])
        else:
            constructor, size, taps = ADDED[name]
            row = next(iter(rows.values())).copy()
            row["name"], row["constructor"], row["kwargs"] = name, constructor, ""
            yield Case(name, "annotated", Constructor.of(row, CODE), size, taps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("studies/imagenet.yaml"))
    params = load_params(parser.parse_args().params)
    table = pd.DataFrame([counts(case, params.units) for case in cases(Path(params.models.roster))])
    report(NAME, "Layers and units by calls alone, and with weights that act without one", table)


if __name__ == "__main__":
    main()
