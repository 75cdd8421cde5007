"""Rates of the machine at hand, as the other benchmarks measured them, and those of other hardware in their place."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import harness
from study.errors import StudyError
from study.files.tables import read_csv


@dataclass(frozen=True)
class Rate:
    """A number and where it comes from; `low` and `high` where it was measured on several networks."""

    value: float
    source: str
    low: float = math.nan
    high: float = math.nan


Rates = dict[str, Rate]


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
    return rates


HERE = "; as a core here"


def _as_here(rate: Rate) -> Rate:
    return Rate(rate.value, rate.source + HERE, rate.low, rate.high)
