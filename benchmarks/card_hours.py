"""Hours of GPUs for the full study, by card, precision and form: 1.28 million images, 835 networks.

    python -m benchmarks.card_hours [--images N] [--networks N] [--units N]

The time of each network is that of benchmarks.throughput. To it comes what the study does beside a forward pass: reading
every unit's map, the filter of selection at the bytes that it may take a value, and DreamSim's three ViT-B/16 on every image,
which run in float32 whatever networks run in. Reading moves, for each number that a network writes, as many bytes as in the
worse of the networks of launches.csv: in half precision more than the maps have, since pointwise layers are read there and norms
write float32. Left out are launches, and that maps of depthwise convolutions, which float16 leaves in float32, are twice as
large as others.

A form "compiled" compiles the networks that the study compiles: those whose pass is long beside what compiling takes, on cores
while the GPU works on others; in TF32 not those with depthwise convolutions. It reads maps while they are made, but is charged
for reading like the plain form. The study as it is shipped (studies/imagenet.yaml) compiles none.

Constants are those measured on the card, where gpu.csv has them; else those of public tables. `hours_low` is what the constants
of the better of the two public cards give, `hours` that of the other, and `hours_high` as far above `hours` as `hours_low` is
below: by as much as constants of one card miss the other. Around measured constants the range is by how much they miss the
worst single network there. Where only plain passes were measured, a compiled network takes what the measured plain constants or
the public compiled ones say, whichever is less; `basis` names both.

Writes  card_hours.csv: a row a card and form, with the hours of each part on one card, their sum, and on eight with what the
        last of eight workers loses (schedule.csv)
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import harness, throughput
from benchmarks.harness import report
from benchmarks.measured_rates import table
from benchmarks.throughput import COMPILED, EAGER, Card, Constants
from study.extraction import compiling
from study.files.tables import read_csv

FORMS = {
    "float32": ("float32", EAGER),
    "TF32": ("tf32", EAGER),
    "TF32, compiled": ("tf32", COMPILED),
    "float16": ("float16", EAGER),
    "float16, compiled": ("float16", COMPILED),
}
CARDS = {"H100": "H100", "H200": "H200"}  # by what is said of them in the name of the device
VALUE_BYTES = 6.0  # a value of a unit, that the filter of selection may move
BRANCHES = 3  # of DreamSim, each a ViT-B/16 at 224 pixels
BRANCH = "vit_base_patch16_224"
EXACT = "float32"  # what similarities run in (study.workers.device.exact)
PUBLIC = "throughput.csv, public tables in half precision"


@dataclass(frozen=True)
class Parts:
    """Hours of one card; `forward` low, middle and high; `compiled` networks of `networks`."""

    forward: tuple[float, float, float]
    capture: float
    selection: float
    embedding: float
    compiled: float
    source: str

    def total(self, which: int) -> float:
        """The sum with the low (0), middle (1) or high (2) hours of forward passes."""
        return self.forward[which] + self.capture + self.selection + self.embedding


def measured(card: str, precision: str, form: str) -> tuple[Constants, float] | None:
    """Constants that benchmarks.gpu measured on this card, if it did, and by which factor they miss the worst network there."""
    path = harness.COMMITTED / "gpu.csv"
    if not path.is_file():
        return None
    rows = read_csv(path, text=["value", "card"])
    rows = rows[rows["card"].str.contains(CARDS[card])].set_index("value")["measured"]
    names = [f"9 {what}, {precision} {form}" for what in ("a", "b", "largest of predicted over measured")]
    if not set(names) <= set(rows.index):
        return None
    a, b, missed = (float(rows[name]) for name in names)
    return Constants(a, b), missed


def constants(
    card: str, precision: str, form: str, public: dict[tuple[str, str], Constants]
) -> tuple[Constants, Constants, str]:
    """The best and those to reckon with, and where they come from."""
    if (there := measured(card, precision, form)) is not None:
        found, missed = there
        return Constants(found.a / missed, found.b / missed), found, "gpu.csv"
    return *throughput.constants_of(form, public), PUBLIC


def exact_constants(card: str) -> tuple[Constants, str]:
    """Constants of what runs in float32 whatever networks run in, and where they come from."""
    _, usual, source = constants(card, EXACT, EAGER, throughput.public_constants(throughput.tables()))
    return usual, source


def read_bytes(networks: pd.DataFrame, precision: str) -> float:
    """Bytes that reading all units moves for each number that a network writes: the most of those in launches.csv."""
    rows = table("launches", "launches")
    counted_in = "float16" if throughput.BYTES[precision] < throughput.BYTES[EXACT] else EXACT
    rows = rows[(rows["where"] == "capture") & (rows["precision"] == counted_in)]
    ours = networks.drop_duplicates("network").set_index("network")["mactivations"]
    return float((1e9 * rows["gigabytes"] / rows["batch"] / (1e6 * rows["network"].map(ours))).max())


def passes(
    networks: pd.DataFrame,
    images: int,
    card: Card,
    precision: str,
    eager: Constants,
    compiled: Constants | None,
    *,
    never_slower: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Seconds of each network over all images, and which are compiled, `never_slower` than they run plainly."""
    alone = images * throughput.seconds(networks, card, precision, eager)
    if compiled is None:
        return alone, np.zeros(len(alone), dtype=bool)
    work = zip(1e9 * networks["gflop"], 1e6 * networks["mactivations"], strict=True)
    long = np.array([compiling.is_long(flops, written, images, precision) for flops, written in work])
    if precision == "tf32":  # see interpretability.networks.compiled
        long &= networks["depthwise"].to_numpy() == 0
    taken = images * throughput.seconds(networks, card, precision, compiled)
    return np.where(long, np.minimum(taken, alone) if never_slower else taken, alone), long


def parts(form: str, card: Card, networks: pd.DataFrame, images: int, n_networks: int, units: int) -> Parts:
    """Hours of one card in a form of FORMS; rows of `networks` stand for `n_networks`."""
    precision, how = FORMS[form]
    public = throughput.public_constants(throughput.tables())
    scale = n_networks / len(networks) / 3600
    best, usual, source = constants(card.name, precision, EAGER, public)
    fast = slow = None
    mixed = False
    if how == COMPILED:
        fast, slow, other = constants(card.name, precision, COMPILED, public)
        mixed = other != source
        source = f"plain: {source}; compiled: {other}; the faster of both for each network" if mixed else source
    low = scale * float(passes(networks, images, card, precision, best, fast, never_slower=mixed)[0].sum())
    each, long = passes(networks, images, card, precision, usual, slow, never_slower=mixed)
    middle = scale * float(each.sum())
    read = read_bytes(networks, precision) * 1e6 * networks["mactivations"].to_numpy(np.float64) / card.bandwidth
    branch = networks[networks["network"] == BRANCH].iloc[:1]
    exact = throughput.seconds(branch, card, EXACT, exact_constants(card.name)[0])
    return Parts(
        (low, middle, middle**2 / low),
        scale * images * float(read.sum()),
        VALUE_BYTES * units * images / card.bandwidth / 3600,
        BRANCHES * images * float(exact[0]) / 3600,
        float(long.mean()) * n_networks,
        source,
    )


def lost_at_the_end(gpus: int) -> float:
    """What uneven passes cost several GPUs: time to the end over an even share, as simulated."""
    if gpus == 1 or not (path := harness.COMMITTED / "schedule.csv").is_file():
        return 1.0
    rows = read_csv(path)
    return float(
        rows.loc[
            (rows["case"] == "times as predicted within their error") & (rows["executor"] == "local"), "ratio"
        ].iloc[0]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 1_281_167), ("networks", 835), ("units", 70_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    networks, there, rows = throughput.counted(), throughput.cards(), []
    for card in CARDS:
        for form in FORMS:
            found = parts(form, there[card], networks, args.images, args.networks, args.units)
            rows.append(
                {
                    "card": card,
                    "form": form,
                    "forward": found.forward[1],
                    "capture": found.capture,
                    "selection": found.selection,
                    "embedding": found.embedding,
                    "hours": found.total(1),
                    "hours_low": found.total(0),
                    "hours_high": found.total(2),
                    "hours_of_eight": found.total(1) / 8 * lost_at_the_end(8),
                    "compiled": found.compiled,
                    "tflop_per_s": args.networks
                    * args.images
                    * networks["gflop"].mean()
                    / 1e3
                    / found.forward[1]
                    / 3600,
                    "basis": found.source,
                }
            )
    title = f"{args.images:,} images, {args.networks} networks, {args.units:,} units"
    report("card_hours", f"Hours of one card: {title}", rows)


if __name__ == "__main__":
    main()
