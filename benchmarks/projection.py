"""Hours, memory and disk of the full study, from what the other benchmarks measured: 1.28 million images, 835 networks.

    python -m benchmarks.projection                                        # this machine
    python -m benchmarks.projection --rates benchmarks/rates/one_gpu.csv   # and other hardware
    python -m benchmarks.projection --rate cores=64 --rate gpus=8 --rate forward_tflop_per_s=100

Reads   results/{forward_flops,loading,capture,scaling,similarities,summaries}.csv, those of this run where there are any, and
        capture_cuda.csv if there is one (python -m benchmarks.capture --device cuda --name capture_cuda ...): speed of a GPU
Writes  projection.csv: a row a phase and hardware: how much there is to do, at which rate, in how many hours, and where the
        rate comes from; projection_space.csv: bytes in memory and on disk

A rate is measured on one core and multiplied by the number of cores: workers are processes of one thread. A rate that is not
given for other hardware is the measured one of a core here. Networks, units and operations of a forward pass are the
roster's, scaled to the number of networks and of units asked for. Hours of phases on cores and on GPUs run side by side
where both are there, so the study takes at least as long as the longer of the two; reading files from disk, hashing by DVC
and waiting are not in. Run it on the machine on which the others ran.

Rates   cores, gpus, networks_per_pass; a second and core: decode_images_per_s, fit_images_per_s; a second and GPU, or core
        where there is none: forward_tflop_per_s; a core: score_us_per_unit, nearest_us_per_unit; a GPU or core:
        select_ns_per_value. With GPUs selection runs there, but its time is known only if given or measured on one
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import pandas as pd

from benchmarks import harness
from benchmarks.flops import NAME as FLOPS
from benchmarks.flops import operations
from benchmarks.harness import report
from interpretability.tasks import rules
from study.errors import StudyError
from study.extraction import forecast, grouping
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


@dataclass(frozen=True)
class Rate:
    """A number and where it comes from; `low` and `high` where it was measured on several networks."""

    value: float
    source: str
    low: float = math.nan
    high: float = math.nan


Rates = dict[str, Rate]


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


def table(name: str, command: str) -> pd.DataFrame:
    """A table of results: of this run, else the committed one."""
    for folder in (harness.RESULTS, harness.COMMITTED):
        if (folder / f"{name}.csv").is_file():
            return read_csv(folder / f"{name}.csv")
    raise StudyError(f"there is no {name}.csv in {harness.RESULTS}; run: python -m benchmarks.{command}")


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def measured() -> Rates:
    """Rates of one core of the machine on which the other benchmarks ran, and its number of cores."""
    loading = table("loading", "loading").set_index("case")["images_per_cpu_s"]
    capture = table("capture", "capture")
    capture = capture[(capture["device"] == "cpu") & (capture["precision"] == "float32")]
    if capture.empty:
        raise StudyError("capture.csv has no row for float32 on a CPU; run: python -m benchmarks.capture")
    scaling = table("scaling", "scaling")
    last = scaling[scaling["series"] == "images"].sort_values("images").groupby("phase").last()
    chosen, scored = (last.loc[phase].to_dict() for phase in ("selection", "scoring"))
    many = f"scaling.csv, {chosen['images']:,.0f} images"
    return {
        "cores": Rate(len(os.sched_getaffinity(0)), "this machine"),
        "gpus": Rate(0, "this machine"),
        "networks_per_pass": Rate(1, "default of MIS_NETWORKS_PER_PASS on a CPU"),
        "decode_images_per_s": Rate(loading["decoded"], "loading.csv, `decoded`"),
        "fit_images_per_s": Rate(
            1 / (1 / loading["ours"] - 1 / loading["decoded"]), "loading.csv, `ours` less `decoded`"
        ),
        "select_ns_per_value": Rate(1e9 * chosen["cpu_seconds"] / chosen["images"] / chosen["units"], many),
        "score_us_per_unit": Rate(1e6 * scored["cpu_seconds"] / scored["units"], many),
        "nearest_us_per_unit": Rate(scored["nearest_us"], many),
        **_forward(capture, "capture.csv"),
        **_gpu(),
    }


def _forward(capture: pd.DataFrame, name: str) -> Rates:
    """Speed of forward passes, of a thread or of a GPU, and what capturing adds."""
    speed = capture["gflop_per_s"] / np.where(capture["device"] == "cpu", capture["threads"], 1) / 1000
    source = f"{name}, median of {len(capture)} networks"
    return {
        "forward_tflop_per_s": Rate(float(speed.median()), source, float(speed.min()), float(speed.max())),
        "capture_ratio": Rate(float(capture["capture_ratio"].median()), source),
    }


def _gpu() -> Rates:
    """Rates of a GPU in place of those of a core, if capture_cuda.csv says how fast one is."""
    path = harness.RESULTS / "capture_cuda.csv"
    if not path.is_file():
        return {}
    capture = read_csv(path)
    selecting = 1e9 * (capture["select_s"] - capture["capture_s"]) / capture["batch"] / capture["units"]
    return {
        "gpus": Rate(1, f"{capture['device'].iloc[0]}, capture_cuda.csv"),
        "networks_per_pass": Rate(8, "default of MIS_NETWORKS_PER_PASS on a GPU"),
        "select_ns_per_value": Rate(float(selecting.median()), "capture_cuda.csv, `select` less `capture`"),
        **_forward(capture, "capture_cuda.csv"),
    }


def given(path: Path | None, pairs: Sequence[str], own: Rates) -> Rates:
    """The measured rates with those of a file (rate, value, source) and of NAME=VALUE in their place."""
    rows = (
        [] if path is None else read_csv(path, ["rate", "value", "source"], text=["rate", "source"]).to_dict("records")
    )
    for pair in pairs:
        name, _, value = pair.partition("=")
        rows.append({"rate": name, "value": value, "source": "given"})
    rates = {name: rate if name == "capture_ratio" else _as_here(rate) for name, rate in own.items()}
    for row in rows:
        if row["rate"] not in own:
            raise StudyError(f"rate {row['rate']!r} is unknown; allowed: {', '.join(own)}")
        try:
            value = float(row["value"])
        except ValueError:
            raise StudyError(f"rate {row['rate']} is {row['value']!r}, it must be a number") from None
        if value < 0 or (value == 0 and row["rate"] != "gpus"):
            raise StudyError(f"rate {row['rate']} is {value:g}, it must be positive")
        rates[row["rate"]] = Rate(value, str(row["source"]))
    if rates["gpus"].value and rates["forward_tflop_per_s"].source.endswith(_HERE):
        raise StudyError("gpus are given, but not forward_tflop_per_s, operations a second of one GPU in 1e12")
    return rates


_HERE = "; as a core here"


def _as_here(rate: Rate) -> Rate:
    return Rate(rate.value, rate.source + _HERE, rate.low, rate.high)


def vision_gflop() -> dict[str, float]:
    """Operations a picture in the similarities: three ViT-B/16 for DreamSim, the trunk for LPIPS and DISTS, at 224 pixels."""
    import timm
    import torch
    import torchvision

    with torch.device("meta"):
        branch = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
        trunks = {
            name: getattr(torchvision.models, name)(weights=None).eval().features for name in set(FEATURES.values())
        }
    counted = {name: operations(trunk, (3, 224, 224)) / 1e9 for name, trunk in trunks.items()}
    return {COSINE: 3 * operations(branch, (3, 224, 224)) / 1e9, **{name: counted[of] for name, of in FEATURES.items()}}


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
) -> list[Phase]:
    """A row a phase: amount, rate of all cores or GPUs together, hours, and what was assumed."""
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
    speed = rates["forward_tflop_per_s"]
    tflop = study.networks * study.images * gflop / 1000
    within = None if math.isnan(speed.low) else (many * speed.low, many * speed.high)
    mean = f"mean of {gflop:.1f} GFLOP a picture from {FLOPS}.csv"
    add("forward", device, tflop, "TFLOP", many * speed.value, f"{mean}; {speed.source}", within)
    extra = value["capture_ratio"] - 1
    if extra > 0:
        add(
            "capture",
            device,
            tflop,
            "TFLOP",
            many * speed.value / extra,
            f"{extra:.3f} of forward; {source['capture_ratio']}",
        )
    there = gpus > 0 and not source["select_ns_per_value"].endswith(_HERE)
    add(
        "selection",
        device if there else "cores",
        study.images * study.units,
        "values",
        (many if there else cores) * 1e9 / value["select_ns_per_value"],
        f"moments included; {source['select_ns_per_value']}; longer studies have fewer entrants"
        + ("; it would run on the GPUs, where it was not measured" if gpus and not there else ""),
    )
    for backend, (picture, task) in picture_ms(similarities).items():
        on_gpu = f"{gflops[backend]:.1f} GFLOP a picture; {speed.source}"
        on_core = "similarities.csv, one thread"
        rate = gpus * speed.value * 1000 / gflops[backend] if gpus else cores * 1000 / picture
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


def totals(rows: Sequence[Phase]) -> list[Phase]:
    """Hours of cores and of GPUs for a study with DreamSim alone: all phases but those of LPIPS and DISTS."""
    chosen = [row for row in rows if not any(name in row["phase"] for name in FEATURES)]
    hours = {on: sum(row["hours"] for row in chosen if row["on"] == on) for on in ("cores", "gpus", "one core")}
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
    parser.add_argument("--rates", type=Path, help="CSV of rate, value and source for other hardware")
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=VALUE", help="one rate of other hardware")
    parser.add_argument("--unit-table", type=Path, default=ROOT / "data/external/models/imagenet_units.csv")
    args = parser.parse_args()
    units, named = read_csv(args.unit_table), load_params(ROOT / "studies/imagenet.yaml").scores.feature_models
    compared = int(units.loc[units["model"].isin(named), "n_units"].sum())
    study, own = Study(args.images, args.networks, args.units, compared), measured()
    hardware = {"this machine": own}
    if args.rates or args.rate:
        hardware[args.rates.stem if args.rates else "given"] = given(args.rates, args.rate, own)
    flops = table(FLOPS, "flops")
    gflop = float(flops["gflop"].mean())
    similarities, statistics = table("similarities", "similarities"), table("summaries", "summaries")
    rows = []
    for name, rates in hardware.items():
        machine = f"{name}: {rates['cores'].value:g} cores, {rates['gpus'].value:g} GPUs"
        machine += f" ({processor()})" if rates is own else ""
        found = phases(study, rates, gflop, vision_gflop(), similarities, statistics)
        rows += [{"hardware": machine, **row} for row in [*found, *totals(found)]]
    title = f"{study.images:,} images, {study.networks} networks, {study.units:,} units"
    report("projection", f"Hours: {title}", rows)
    report("projection_space", f"Space: {title}", space(study, flops, units))


if __name__ == "__main__":
    main()
