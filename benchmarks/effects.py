"""What other precisions and packed pictures do to the images that are selected.

    python -m benchmarks.effects --images FOLDER --roster FILE.csv [--n 2000] [--side 256] [--precisions bfloat16,float16]

Every network runs over the first n pictures of the folder (in the order of a study) in float32, and once with each change:
other arithmetic of the network (CHANGES), and pictures from a pack of squares (activations.pack). Weights of the roster are
files, hub or none; real photographs and trained networks say most.

A row a network and change: the mean difference of pixels in levels of 255; of unit values, relative to their standard
deviation over pictures; the share of the 200 most (least) exciting pictures of a unit that stay the same, mean over units
and the 5th percentile of units; and the seconds of processor time a picture.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import emulated
from benchmarks.harness import report
from interpretability.extremes.selection import Extremes, Ranked
from interpretability.networks.capture import Capture
from interpretability.networks.layers import Layer, find_layers
from interpretability.networks.network import Network
from stages import images as images_stage
from study.images.feed import ImageRows
from study.images.manifest import open_images
from study.images.packs import Pack, fits, pack_files
from study.log import Progress, logger
from study.networks import roster
from study.networks.building import load_network
from study.params.whole import load_params
from study.workers.device import Failure, guarded

log = logger("effects")
K, BATCH = 200, 32


class Change(NamedTuple):
    """Other arithmetic: a precision of the study, what is around it, and whether maps lie channel by channel in memory."""

    precision: str
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    batch: int = BATCH
    channels_last: bool = False


@contextmanager
def float16_everywhere() -> Generator[None]:
    """Autocast as it is, which takes depthwise convolutions along."""
    with torch.autocast("cpu", torch.float16), emulated.half():
        yield


# by name; products are emulated
CHANGES = {
    "float32": Change("float32"),
    "other layout": Change("float32", batch=BATCH // 2, channels_last=True),
    "tf32": Change("float32", emulated.tf32),
    "float16": Change("float16", emulated.half),
    "float16 everywhere": Change("float32", float16_everywhere),
    "bfloat16": Change("bfloat16", emulated.half),
}


class Selected(NamedTuple):
    """Ranked extremes, all values (pictures, units), and processor seconds a picture."""

    ranked: Ranked
    values: NDArray[np.float32]
    seconds: float


def select(network: Network, layers: Sequence[Layer], source: ImageRows, rows: range, name: str) -> Selected:
    """What a network selects from the pictures of these rows in one of CHANGES."""
    change = CHANGES[name]
    layout = torch.channels_last if change.channels_last else torch.contiguous_format
    network.model.to(memory_format=layout)
    n_units = sum(layer.width for layer in layers)
    extremes, values = Extremes(np.arange(n_units, dtype=np.uint64), K), np.empty((len(rows), n_units), np.float32)
    began, progress = process_time(), Progress(log, len(rows), f"{network.name} {name}", every=20)
    capture = Capture(network.model, layers, change.batch, torch.device("cpu"), precision=change.precision)
    with capture, change.around():
        for start in range(0, len(rows), change.batch):
            some = np.array(rows[start : start + change.batch], dtype=np.int32)
            batch = network.preprocessing.batch([source.pixels(int(row)) for row in some])
            found = capture(batch.contiguous(memory_format=layout)).numpy()
            values[some] = found
            extremes.update(found, some)
            progress.step(len(some))
    return Selected(extremes.ranked(), values, (process_time() - began) / len(rows))


def kept(one: NDArray[np.int32], two: NDArray[np.int32]) -> NDArray[np.float64]:
    """Share of each unit's images (units, k) that are among the other's."""
    return np.array([np.isin(a, b).mean() for a, b in zip(one, two, strict=True)])


def compare(name: str, change: str, usual: Selected, other: Selected, pixels: float) -> dict[str, object]:
    values = usual.values
    spread = values.std(axis=0)
    live = spread > 1e-8
    moved = np.abs(other.values - values).mean(axis=0)[live] / spread[live]
    row: dict[str, object] = {
        "network": name,
        "change": change,
        "n_images": len(values),
        "n_units": int(live.sum()),
        "pixel_levels": pixels,
        "value_difference": float(np.median(moved)),
    }
    for side in ("top", "bottom"):
        mine, theirs = (getattr(form.ranked, f"{side}_images")[live] for form in (usual, other))
        share = kept(mine, theirs)
        row |= {f"{side}_kept": share.mean(), f"{side}_kept_p5": np.quantile(share, 0.05)}
    return row | {"seconds_usual": usual.seconds, "seconds": other.seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True)
    parser.add_argument("--roster", type=Path, required=True)
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--precisions", default="bfloat16,float16", help=f"of {', '.join(CHANGES)}")
    args = parser.parse_args()
    os.environ["MIS_IMAGES"] = args.images
    rules = load_params("studies/custom.yaml").units
    table, rows = roster.read_roster(args.roster), []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MIS_STORE", f"{folder}/store")
        images_stage.main(["--params", "studies/custom.yaml", "--out", f"{folder}/images"])
        images = open_images(f"{folder}/images", quick=True)
        some = range(min(args.n, len(images)))
        packed = Pack(images, pack_files(images, args.side))
        for row in roster.rows_of(table[table["role"] == "study"]):
            network = guarded(partial(load_network, models=Path(folder), code=args.code, seed=0), row)
            if isinstance(network, Failure):
                raise SystemExit(network.reason)
            view = network.preprocessing
            first = view.batch([images.pixels(i) for i in range(3)])
            layers = find_layers(network.model, first, layer_types=rules.layer_types, norm_act=rules.norm_act)
            usual = select(network, layers, images, some, "float32")
            for precision in filter(None, args.precisions.split(",")):
                other = select(network, layers, images, some, precision)
                rows.append(compare(network.name, precision, usual, other, 0.0))
            if fits(view, args.side):
                pairs = [(view.fit(packed.pixels(i)).int(), view.fit(images.pixels(i)).int()) for i in some[:200]]
                moved = float(np.mean([(a - b).abs().float().mean() for a, b in pairs]))
                other = select(network, layers, packed, some, "float32")
                rows.append(compare(network.name, f"pack {args.side}", usual, other, moved))
    report("effects", "What other precisions and packed pictures do to the selection", rows)


if __name__ == "__main__":
    main()
