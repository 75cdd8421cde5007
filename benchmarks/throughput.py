"""How long a forward pass takes, by network: two constants fitted to pictures a second that others measured, and their misses.

    python -m benchmarks.throughput

A picture takes  a x operations / peak + b x activations x bytes / bandwidth  seconds on a card: its products run at a share
1 / a of the card's highest rate, and each number that a convolution or product writes is carried b times to memory or back.
Both constants are those of a form, eager or compiled, on a card; operations and activations are those of benchmarks.flops.

Reads   rates/public_throughput.csv: pictures a second of 120 of our architectures, in half precision, on two cards;
        rates/cards.csv: peaks in TFLOP/s by precision, and bandwidth in TB/s
Writes  throughput.csv: the constants of each table, and what they predict: the total over the table, the sum over 20 networks
        drawn by time from constants fitted to the others, the share within 1.5 times what was measured;
        throughput_families.csv: predicted over measured time by family

The fit minimises the squared error of a time over that time, which keeps the total of the table. A network that runs eagerly
has the same kernels for its products, so `a` is that of the compiled form and `b` alone is fitted; how often a map is carried
then differs by family, and two constants miss single ones by more.

Expected: compiled, totals within 2 % and the 20 drawn within 15 %; nine of ten networks within 1.5 times in every table.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.flops import NAME as FLOPS
from benchmarks.harness import report
from interpretability.randomness import generator
from study.errors import StudyError
from study.files.tables import read_csv

ROOT = Path(__file__).resolve().parent.parent
RATES = ROOT / "benchmarks/rates"
ROSTER = ROOT / "data/external/models/imagenet.csv"
BYTES = {"float32": 4, "tf32": 4, "float16": 2}
EAGER, COMPILED = "eager", "compiled"
NEAR, FAR = "rtx4090", "pro6000maxq"  # cards of the public tables: both forms were measured on the first
DRAWN, SEED = 20, 0
WITHIN = 1.5
FAMILIES = {
    "plain ViT": r"(vit_(?!.*_r\d+_)|deit|beit|eva|flexivit|dinov2|clip_vit)",
    "ConvNeXt": r"convnext",
    "RegNet": r"regnet[xyv]",
    "mobile and EfficientNet": r"(tf_)?(mobile|efficientnet|mnasnet|mixnet|lcnet|tinynet|ghostnet|repghost|fbnet|hardcore|spnas"
    r"|semnas|rexnet|regnetz|edgenext|repvit|fastvit)",
    "ResNet and kin": r"(.*res(net|next|nest)|dla|densenet|hrnet|res2n|vgg|repvgg|dpn|cs3|darknet|selecs|gernet|nf_|inception"
    r"|.*nfnet|xception|.*vovnet)",
}
OTHERS = "other attention and mixers"


@dataclass(frozen=True)
class Card:
    """Peaks in operations a second by precision, and bytes a second."""

    name: str
    peak: dict[str, float]
    bandwidth: float


@dataclass(frozen=True)
class Constants:
    """`a` and `b` of a form on a card."""

    a: float
    b: float


def cards() -> dict[str, Card]:
    """Cards of rates/cards.csv by name."""
    rows = read_csv(RATES / "cards.csv").to_dict("records")
    return {
        row["card"]: Card(row["card"], {name: 1e12 * row[name] for name in BYTES}, 1e12 * row["bandwidth"])
        for row in rows
    }


def family(network: str) -> str:
    """The family of an architecture by its name."""
    return next((name for name, names in FAMILIES.items() if re.match(names, network)), OTHERS)


def counted() -> pd.DataFrame:
    """Networks of the roster with architecture, family, gflop and mactivations of a picture."""
    path = next(
        (found for folder in (harness.RESULTS, harness.COMMITTED) if (found := folder / f"{FLOPS}.csv").is_file()), None
    )
    if path is None:
        raise StudyError(f"there is no {FLOPS}.csv in {harness.RESULTS}; run: python -m benchmarks.flops")
    table = read_csv(path)
    if "mactivations" not in table:
        raise StudyError(f"{path} has no column mactivations; run: python -m benchmarks.flops")
    roster = read_csv(ROSTER, text=["name", "constructor"])[["name", "constructor"]]
    table = table.merge(roster, left_on="model", right_on="name", validate="one_to_one")
    table["network"] = table["constructor"].str.split(".").str[0]
    return table.assign(family=table["network"].map(family))


def costs(networks: pd.DataFrame, card: Card, precision: str) -> NDArray[np.float64]:
    """Seconds (networks, 2) of a picture: operations at the card's peak, and each activation carried once."""
    operations = 1e9 * networks["gflop"].to_numpy(np.float64) / card.peak[precision]
    carried = 1e6 * networks["mactivations"].to_numpy(np.float64) * BYTES[precision] / card.bandwidth
    return np.stack([operations, carried], axis=1)


def seconds(networks: pd.DataFrame, card: Card, precision: str, constants: Constants) -> NDArray[np.float64]:
    """Seconds (networks) of a picture, as predicted."""
    return costs(networks, card, precision) @ np.array([constants.a, constants.b])


def fitted(parts: NDArray[np.float64], times: NDArray[np.float64], a: float | None = None) -> Constants:
    """Constants, not negative, that minimise the squared errors over the times; with `a` given, b alone."""
    from scipy.optimize import nnls

    weights = 1 / np.sqrt(times)
    if a is None:
        found, _ = nnls(parts * weights[:, None], times * weights)
        return Constants(float(found[0]), float(found[1]))
    found, _ = nnls(parts[:, 1:] * weights[:, None], (times - a * parts[:, 0]) * weights)
    return Constants(a, float(found[0]))


@dataclass(frozen=True)
class Table:
    """What a public table has of our networks: each architecture and size once, `n` networks of the roster with it."""

    card: Card
    form: str
    networks: pd.DataFrame
    parts: NDArray[np.float64]
    times: NDArray[np.float64]

    @property
    def name(self) -> str:
        return f"{self.card.name}_{self.form}"


def tables() -> dict[tuple[str, str], Table]:
    """Public tables by card and form."""
    public, networks, there = read_csv(RATES / "public_throughput.csv"), counted(), cards()
    sizes = networks.groupby(["network", "input_size"], as_index=False, sort=True)
    ours = sizes.agg(n=("model", "size"), gflop=("gflop", "first"), mactivations=("mactivations", "first"))
    joined = public.merge(ours, on=["network", "input_size"], validate="one_to_one")
    if len(joined) < len(public):
        raise StudyError(f"rates/public_throughput.csv has {len(public) - len(joined)} networks that {FLOPS}.csv lacks")
    joined["family"] = joined["network"].map(family)
    found = {}
    for card, form in ((NEAR, COMPILED), (NEAR, EAGER), (FAR, COMPILED)):
        chosen = joined[joined[f"{card}_{form}"].notna()].reset_index(drop=True)
        times = 1 / chosen[f"{card}_{form}"].to_numpy(np.float64)
        found[card, form] = Table(there[card], form, chosen, costs(chosen, there[card], "float16"), times)
    return found


def public_constants(found: dict[tuple[str, str], Table]) -> dict[tuple[str, str], Constants]:
    """Constants of each public table by card and form."""
    compiled = {card: fitted(table.parts, table.times) for (card, form), table in found.items() if form == COMPILED}
    constants = {(card, COMPILED): value for card, value in compiled.items()}
    near = found[NEAR, EAGER]
    return constants | {(NEAR, EAGER): fitted(near.parts, near.times, compiled[NEAR].a)}


def constants_of(form: str, public: dict[tuple[str, str], Constants]) -> tuple[Constants, Constants]:
    """Constants of a form for a card that was not measured: the best that may be hoped for, and those to reckon with.

    The latter are those of the public card that reaches less of its peaks; what was measured on the other one alone is raised
    as the compiled form is from one card to the other.
    """
    near, far = public[NEAR, COMPILED], public[FAR, COMPILED]
    low = public[NEAR, form]
    return low, Constants(low.a * far.a / near.a, low.b * far.b / near.b)


def _missed(table: Table, constants: Constants) -> NDArray[np.float64]:
    return table.parts @ np.array([constants.a, constants.b]) / table.times


def spread(table: Table, constants: Constants) -> float:
    """Standard deviation of the logarithm of predicted over measured times."""
    return float(np.std(np.log(_missed(table, constants)), ddof=1))


def drawn_total(table: Table, a: float | None) -> float:
    """Predicted over measured time of 20 networks, drawn by their time, from constants fitted to the others."""
    draws = generator(SEED, "throughput", table.name)
    weights = table.times * table.networks["n"].to_numpy()
    chosen = draws.choice(len(table.times), DRAWN, replace=False, p=weights / weights.sum())
    others = np.setdiff1d(np.arange(len(table.times)), chosen)
    constants = fitted(table.parts[others], table.times[others], a)
    return float((table.parts[chosen] @ np.array([constants.a, constants.b])).sum() / table.times[chosen].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    found = tables()
    public = public_constants(found)
    rows, families = [], []
    for key, table in found.items():
        constants, n = public[key], table.networks["n"].to_numpy()
        missed, given = _missed(table, constants), public[NEAR, COMPILED].a if key[1] == EAGER else None
        rows.append(
            {
                "card": key[0],
                "form": key[1],
                "networks": len(table.times),
                "a": constants.a,
                "b": constants.b,
                "total": float((missed * table.times * n).sum() / (table.times * n).sum()),
                "drawn_total": drawn_total(table, given),
                "within_1.5": float(np.mean((missed < WITHIN) & (missed > 1 / WITHIN))),
                "largest": float(np.exp(np.abs(np.log(missed)).max())),
                "spread": spread(table, constants),
            }
        )
        for name, chosen in table.networks.groupby("family", sort=True).groups.items():
            some = missed[chosen]
            row = {"card": key[0], "form": key[1], "family": name, "networks": len(some), "median": np.median(some)}
            families.append({**row, "lowest": some.min(), "highest": some.max()})
    near, far = public[NEAR, COMPILED], found[FAR, COMPILED]
    carried = float((_missed(far, near) * far.times).sum() / far.times.sum())
    print(f"constants of {NEAR} on {FAR}, compiled: {carried:.2f} of the measured time")
    report("throughput", "Constants of forward passes, and predicted over measured times", rows)
    report("throughput_families", "Predicted over measured times by family", families)


if __name__ == "__main__":
    main()
