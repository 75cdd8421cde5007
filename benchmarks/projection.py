"""Hours, memory and disk of the full study, from what the other benchmarks measured: 1.28 million images, 835 networks.

    python -m benchmarks.projection                                        # this machine
    python -m benchmarks.projection --rates benchmarks/rates/one_gpu.csv   # and other hardware, as often as there are files
    python -m benchmarks.projection --rate cores=64 --rate gpus=8 --card H100

Reads   results/{forward_flops,loading,capture,scaling,similarities,summaries}.csv, those of this run where there are any, and
        capture_cuda.csv if there is one (python -m benchmarks.capture --device cuda --name capture_cuda ...): speed of a GPU
Writes  projection.csv: a row a phase and hardware: how much there is to do, at which rate, in how many hours, and where the
        rate comes from; projection_space.csv: bytes in memory and on disk

A rate is measured on one core and multiplied by the number of cores: workers are processes of one thread. A rate that is not
given for other hardware is the measured one of a core here. Networks, units and operations of a forward pass are the
roster's, scaled to the number of networks and of units asked for. Hours of phases on cores and on GPUs run side by side
where both are there, so the study takes at least as long as the longer of the two; reading files from disk, hashing by DVC
and waiting are not in. Run it on the machine on which the others ran.

What runs on GPUs takes the hours of benchmarks.card_hours, network by network, once for each precision and form; several
GPUs share them as evenly as schedule.csv says. Similarities run in float32 whatever networks run in, so their hours are the
same in all rows of a card. With forward_tflop_per_s given it is that one speed in place of them.

Rates   cores, gpus, networks_per_pass; a second and core: decode_images_per_s, fit_images_per_s; a second and GPU, or core
        where there is none: forward_tflop_per_s; a core: score_us_per_unit, nearest_us_per_unit; a GPU or core:
        select_ns_per_value
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import pandas as pd

from benchmarks import card_hours, throughput
from benchmarks.card_hours import Parts
from benchmarks.flops import NAME as FLOPS
from benchmarks.flops import operations
from benchmarks.harness import report
from benchmarks.measured_rates import HERE, Rates, given, measured, processor, table
from interpretability.tasks import rules
from study.extraction import compiling, forecast, grouping
from study.extraction.written import Written
from study.files.tables import read_csv
from study.images import packs
from study.params.whole import load_params

ROOT = Path(__file__).resolve().parent.parent
N_TASKS, K = 20, 9
DIM = 1792  # of DreamSim's embeddings
BATCH, PACK = 256, 256  # pictures in a batch, and the side of packed ones
PICTURES = 2 * rules.needed(N_TASKS, K)  # that the tasks of a unit show
FEATURES = {"lpips-alex": "alexnet", "lpips-vgg": "vgg16", "lpips-squeeze": "squeezenet1_1", "dists": "vgg16"}
COSINE = "dreamsim"
NAMED = ", networks of scores.feature_models"  # in studies/imagenet.yaml


@dataclass(frozen=True)
class Study:
    """`compared`: units of the networks to which LPIPS and DISTS are kept (scores.feature_models)."""

    images: int
    networks: int
    units: int
    compared: int


class Phase(TypedDict):
    """A row of the table of hours; the sum over phases has fewer columns."""

    phase: str
    on: str
    amount: NotRequired[float]
    unit: NotRequired[str]
    rate_per_s: NotRequired[float]
    hours: float
    hours_low: NotRequired[float]
    hours_high: NotRequired[float]
    basis: str


def vision() -> pd.DataFrame:
    """Operations in 1e9 and activations in 1e6 of a picture in each similarity: three ViT-B/16 for DreamSim, the trunk for LPIPS
    and DISTS, at 224 pixels.
    """
    import timm
    import torch
    import torchvision

    with torch.device("meta"):
        branch = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
        trunks = {
            name: getattr(torchvision.models, name)(weights=None).eval().features for name in set(FEATURES.values())
        }

    def counted(model: torch.nn.Module, times: int = 1) -> dict[str, float]:
        gflop = operations(model, (3, 224, 224)) / 1e9
        with torch.no_grad(), Written() as written:
            model(torch.empty((1, 3, 224, 224), device="meta"))
        return {"gflop": times * gflop, "mactivations": times * written.activations / 1e6}

    rows = {
        COSINE: counted(branch, card_hours.BRANCHES),
        **{name: counted(trunks[of]) for name, of in FEATURES.items()},
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def picture_ms(similarities: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Milliseconds of one core for a picture of each similarity at 224 pixels, and for a task when its pictures are there."""
    found = {}
    for row in similarities[similarities["size"] == 224].to_dict("records"):
        if row["backend"] == COSINE:
            found[COSINE] = (row["ms_cold"] / row["distinct"], row["ms_cached"])
        elif row["backend"] in FEATURES:
            whole = (row["ms_cold"] - row["ms_cached"]) * row["n_tasks"] / row["distinct"]
            found[row["backend"]] = (whole, row["ms_cached"])
    return found


def phases(
    study: Study,
    rates: Rates,
    gflop: float,
    gflops: dict[str, float],
    similarities: pd.DataFrame,
    statistics: pd.DataFrame,
    card: Parts | None = None,
    exact: Mapping[str, float] | None = None,
) -> list[Phase]:
    """A row a phase: amount, rate of all cores or GPUs together, hours, and what was assumed.

    `card` has the hours of one GPU where they are known network by network, and `exact` its seconds for a picture of each
    similarity; else a GPU has one speed for all.
    """
    value = {name: rate.value for name, rate in rates.items()}
    source = {name: rate.source for name, rate in rates.items()}
    cores, gpus = value["cores"], value["gpus"]
    device, many = ("gpus", gpus) if gpus else ("cores", cores)
    passed = math.ceil(study.networks / value["networks_per_pass"])
    rows: list[Phase] = []

    def add(
        phase: str,
        on: str,
        amount: float,
        what: str,
        rate: float,
        basis: str,
        within: tuple[float, float] | None = None,
    ) -> None:
        fast, slow = (amount / pace / 3600 if within else math.nan for pace in (within or (1.0, 1.0))[::-1])
        rows.append(
            {
                "phase": phase,
                "on": on,
                "amount": amount,
                "unit": what,
                "rate_per_s": rate,
                "hours": amount / rate / 3600,
                "hours_low": fast,
                "hours_high": slow,
                "basis": basis,
            }
        )

    add(
        "decode",
        "cores",
        passed * study.images,
        "pictures",
        cores * value["decode_images_per_s"],
        f"{passed} passes, {value['networks_per_pass']:g} networks in each ({source['networks_per_pass']}); "
        f"{source['decode_images_per_s']}",
    )
    add(
        "resize",
        "cores",
        study.networks * study.images,
        "pictures",
        cores * value["fit_images_per_s"],
        f"for every network of its own; {source['fit_images_per_s']}",
    )
    tflop = study.networks * study.images * gflop / 1000
    mean = f"mean of {gflop:.1f} GFLOP a picture from {FLOPS}.csv"
    values = study.images * study.units
    if card is not None:
        speed, said = tflop / card.forward[1] / 3600, f"network by network; {card.source}"

        def on_cards(phase: str, amount: float, what: str, hours: float, basis: str, *, spread: bool = False) -> None:
            paces = [gpus * amount / 3600 / each for each in (card.forward if spread else (hours,) * 3)]
            add(phase, "gpus", amount, what, paces[1], basis, (paces[2], paces[0]) if spread else None)

        on_cards("forward", tflop, "TFLOP", card.forward[1], f"{mean}; {said}", spread=True)
        on_cards("capture", tflop, "TFLOP", card.capture, "bytes of launches.csv, at the card's bandwidth")
        on_cards(
            "selection",
            values,
            "values",
            card.selection,
            f"{card_hours.VALUE_BYTES:g} bytes a value, which a GPU may take at most",
        )
        if card.compiled:
            hours = card.compiled * compiling.SECONDS / 3600
            add(
                "compile",
                "cores",
                card.compiled,
                "networks",
                cores * card.compiled / hours / 3600,
                "one core a network",
            )
    else:
        flat = rates["forward_tflop_per_s"]
        speed, said = flat.value, flat.source
        within = None if math.isnan(flat.low) else (many * flat.low, many * flat.high)
        add("forward", device, tflop, "TFLOP", many * speed, f"{mean}; {said}", within)
        extra = value["capture_ratio"] - 1
        if extra > 0:
            basis = f"{extra:.3f} of forward; {source['capture_ratio']}"
            add("capture", device, tflop, "TFLOP", many * speed / extra, basis)
        there = gpus > 0 and not source["select_ns_per_value"].endswith(HERE)
        add(
            "selection",
            device if there else "cores",
            values,
            "values",
            (many if there else cores) * 1e9 / value["select_ns_per_value"],
            f"moments included; {source['select_ns_per_value']}; longer studies have fewer entrants"
            + ("; it would run on the GPUs, where it was not measured" if gpus and not there else ""),
        )
    for backend, (picture, task) in picture_ms(similarities).items():
        how = said if exact is None else f"{card_hours.EXACT}, with the constants of card_hours.csv"
        on_gpu = f"{gflops[backend]:.1f} GFLOP a picture; {how}"
        on_core = "similarities.csv, one thread"
        rate = gpus * speed * 1000 / gflops[backend] if gpus else cores * 1000 / picture
        if exact is not None:
            rate = gpus / exact[backend]
        if backend == COSINE:
            add(f"embedding {backend}", device, study.images, "pictures", rate, on_gpu if gpus else on_core)
            for name, label in (("score", "scoring"), ("nearest", "near-duplicates")):
                add(
                    f"{label} {backend}",
                    "cores",
                    study.units,
                    "units",
                    cores * 1e6 / value[f"{name}_us_per_unit"],
                    source[f"{name}_us_per_unit"],
                )
        else:
            for of, units in (("", study.units), (NAMED, study.compared)):
                add(
                    f"features {backend}{of}",
                    device,
                    PICTURES * units,
                    "pictures",
                    rate,
                    f"{PICTURES} pictures a unit, none shared; {on_gpu if gpus else on_core}",
                )
                add(
                    f"tasks {backend}{of}",
                    "cores",
                    N_TASKS * units,
                    "tasks",
                    cores * 1000 / task,
                    f"pictures' features at hand; {on_core}",
                )
    for row in statistics.to_dict("records"):
        add(
            f"statistics, {row['part']}",
            "one core",
            study.units,
            "units",
            row["n_units"] / row["cpu_seconds"],
            f"one similarity; summaries.csv, {row['n_units']:,.0f} units",
        )
    return rows


def totals(rows: Sequence[Phase], uneven: float = 1.0) -> list[Phase]:
    """Hours of cores and of GPUs for a study with DreamSim alone: all phases but those of LPIPS and DISTS.

    `uneven`: by how much several GPUs exceed an even share.
    """
    chosen = [row for row in rows if not any(name in row["phase"] for name in FEATURES)]
    hours = {on: sum(row["hours"] for row in chosen if row["on"] == on) for on in ("cores", "gpus", "one core")}
    hours["gpus"] *= uneven
    both = max(hours["cores"], hours["gpus"]) + hours["one core"]
    basis = f"{COSINE} alone; {hours['cores']:.4g} h of cores beside {hours['gpus']:.4g} h of GPUs, then statistics"
    return [{"phase": "study", "on": "all", "hours": both, "basis": basis}]


def space(study: Study, flops: pd.DataFrame, units: pd.DataFrame) -> list[dict[str, object]]:
    """Bytes in memory and on disk, as the plan of the stage `activations` counts them, or as measured."""
    k = rules.needed(N_TASKS, K)
    scaling, summaries = table("scaling", "scaling"), table("summaries", "summaries")
    widest = scaling[scaling["phase"] == "selection"].sort_values("units").iloc[-1]
    streaming = widest["peak_bytes"] / widest["units"]
    most = int(units.groupby("model")["n_units"].sum().max())
    mean, rows = study.units / study.networks, list[dict[str, object]]()

    def add(item: str, where: str, count: float, of: str, each: float, basis: str) -> None:
        rows.append(
            {
                "item": item,
                "where": where,
                "count": count,
                "of": of,
                "bytes_each": each,
                "gigabytes": count * each / 1e9,
                "basis": basis,
            }
        )

    peak, planned = f"scaling.csv, {widest['units']:,.0f} units", "as `stages.activations --plan` says"
    on_gpu = grouping.state_bytes(1, k, BATCH, on_device=True)
    add("selection and moments, mean network", "memory, a network", mean, "units", streaming, peak)
    add("selection and moments, widest network", "memory, a network", most, "units", streaming, peak)
    add("the same on a GPU, mean network", "memory, a network", mean, "units", on_gpu, f"{planned}, batches of {BATCH}")
    add(
        "weights, largest network",
        "memory, a network",
        float(flops["n_params"].max()),
        "weights",
        4,
        f"{FLOPS}.csv, float32",
    )
    add("embeddings", "memory mapped, and disk", study.images, "pictures", 4 * DIM, "float32; float16 halves it")
    saved = 2 * forecast.state_file_bytes(1, k)
    add(
        "saved states, mean network",
        "disk, a network that runs",
        mean,
        "units",
        saved,
        "two of each, until it has ended",
    )
    each = grouping.extremes_bytes(1, k)
    add("extremes", "store, cache and data", study.units, "units", each, f"{planned}, once if on one file system")
    each = packs.pack_bytes(1, PACK)
    add("pictures packed", "store", study.images, "pictures", each, f"only with activations.pack = {PACK}")
    add("tasks", "data/tasks", study.units, "units", 4 * N_TASKS * 2 * (K + 1), "int32 images")
    add("margins", "data/scores, a similarity", study.units, "units", 4 * N_TASKS, "float32, before compression")
    first = summaries.iloc[0]
    each = first["file_gib"] * 2**30 / first["n_units"]
    add("scores", "data/mis, a similarity", study.units, "units", each, "summaries.csv, compressed")
    add("tables", "memory", 1, "process", float(summaries["peak_gib"].max() * 2**30), "summaries.csv")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 1_281_167), ("networks", 835), ("units", 70_000_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--rates", type=Path, action="append", default=[], help="CSV of rate, value and source for other hardware"
    )
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=VALUE", help="one rate of other hardware")
    parser.add_argument("--card", choices=sorted(card_hours.CARDS), default="H200", help="what the GPUs are")
    parser.add_argument("--unit-table", type=Path, default=ROOT / "data/external/models/imagenet_units.csv")
    args = parser.parse_args()
    units, named = read_csv(args.unit_table), load_params(ROOT / "studies/imagenet.yaml").scores.feature_models
    compared = int(units.loc[units["model"].isin(named), "n_units"].sum())
    study, own = Study(args.images, args.networks, args.units, compared), measured()
    flops = table(FLOPS, "flops")
    gflop = float(flops["gflop"].mean())
    similarities, statistics = table("similarities", "similarities"), table("summaries", "summaries")
    seen, there, rows = vision(), throughput.cards()[args.card], list[dict[str, object]]()
    gflops = dict(zip(seen.index, seen["gflop"], strict=True))
    seconds = throughput.seconds(seen, there, card_hours.EXACT, card_hours.exact_constants(args.card)[0])
    exact = dict(zip(seen.index, seconds, strict=True))

    def add(name: str, rates: Rates, card: Parts | None = None, uneven: float = 1.0) -> None:
        found = phases(study, rates, gflop, gflops, similarities, statistics, card, exact if card else None)
        rows.extend({"hardware": name, **row} for row in [*found, *totals(found, uneven)])

    add(f"this machine: {own['cores'].value:g} cores, {own['gpus'].value:g} GPUs ({processor()})", own)
    for path in args.rates or ([None] if args.rate else []):
        rates = given(path, args.rate, own)
        gpus = rates["gpus"].value
        name = f"{path.stem if path else 'given'}: {rates['cores'].value:g} cores, {gpus:g} "
        if not gpus or not rates["forward_tflop_per_s"].source.endswith(HERE):
            add(f"{name}GPUs", rates)
            continue
        networks = throughput.counted()
        for form in card_hours.FORMS:
            card = card_hours.parts(form, there, networks, study.images, study.networks, study.units)
            add(f"{name}{args.card}, {form}", rates, card, card_hours.lost_at_the_end(int(gpus)))
    title = f"{study.images:,} images, {study.networks} networks, {study.units:,} units"
    report("projection", f"Hours: {title}", rows)
    report("projection_space", f"Space: {title}", space(study, flops, units))


if __name__ == "__main__":
    main()
