"""How time and memory grow with the number of images and of units: selection with moments, and scoring.

    python -m benchmarks.scaling [--repeats 3] [--share 1]           # about five minutes on one core

Four series, one thread, every point `--repeats` times in a process of its own, in changing order:

selection, images   10,000 to 160,000 images past 4,000 units: Extremes.update, Moments.update and the final ranking
selection, units    10,000 images past 2,000 to 120,000 units
scoring, images     the tasks of 4,000 units over 10,000 to 160,000 images of dimension 1,792: cosine_margins
scoring, units      the tasks of 2,000 to 120,000 units over 20,000 images

Values, embeddings and tasks are drawn outside the clock; memory is the peak above what the process held before, the batch
in hand, the embeddings and the tasks not counted. Exponents are slopes of straight lines through the logarithms of all
runs, with 95 % intervals; that of time is of processor seconds. `--share` divides all sizes, for a first look.

Expected: results/scaling_fit.csv, drawn in results/scaling.svg. Time should be linear in units, and at most so in images
(selection: few values enter a list late; scoring: not at all), memory of selection constant in images.
"""

from __future__ import annotations

import argparse
import json
from time import perf_counter, process_time

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter
from scipy import stats

from benchmarks import harness
from benchmarks.harness import in_process, memory, report
from interpretability.extremes.moments import Moments
from interpretability.extremes.selection import Extremes
from interpretability.margins import cosine_margins, nearest_explanation, unit_rows
from interpretability.randomness import generator, unit_keys
from study.files.tables import write_text
from study.report.figures import style

SEED = 0
K_IMAGES, N_TASKS, K, DIM, BATCH = 200, 20, 9, 1792, 256
IMAGES = (10_000, 20_000, 40_000, 80_000, 160_000)
UNITS = (2_000, 8_000, 30_000, 60_000, 120_000)
FIXED = {
    ("selection", "images"): 4_000,
    ("selection", "units"): 10_000,
    ("scoring", "images"): 4_000,
    ("scoring", "units"): 20_000,
}
CHECKED = 4_000  # units, at most, whose tasks are also searched for near-duplicates
CONFIDENCE = 0.95


def selection(images: int, units: int) -> dict[str, float]:
    """Cost of selecting and counting; of the seconds, `moments_s` go to Moments."""
    keys = unit_keys(SEED, "benchmark", "scaling", np.arange(units))
    block = np.zeros((BATCH, units), dtype=np.float32)
    for warm in (Extremes(keys[:1], 1), Moments(1)):  # loads the compiled code
        warm.update(block[:, :1], *([np.arange(BATCH)] if isinstance(warm, Extremes) else []))
    draw = generator(SEED, "benchmark", "scaling values")
    draw.standard_normal(out=block, dtype=np.float32)
    before = memory("VmRSS")
    extremes, moments = Extremes(keys, K_IMAGES), Moments(units)
    passed, used, counting = 0.0, 0.0, 0.0
    for start in range(0, images, BATCH):
        draw.standard_normal(out=block, dtype=np.float32)
        values = block[: images - start]
        begun = perf_counter(), process_time()
        extremes.update(values, np.arange(start, start + len(values)))
        between = process_time()
        moments.update(values)
        counting += process_time() - between
        passed, used = passed + perf_counter() - begun[0], used + process_time() - begun[1]
    begun = perf_counter(), process_time()
    ranked = extremes.ranked()
    passed, used = passed + perf_counter() - begun[0], used + process_time() - begun[1]
    assert (np.diff(ranked.top_values) <= 0).all()
    return {"seconds": passed, "cpu_seconds": used, "moments_s": counting, "peak_bytes": memory("VmHWM") - before}


def scoring(images: int, units: int) -> dict[str, float]:
    """Cost of the margins of random tasks over random unit rows; `nearest_us` is that of nearest_explanation, a unit."""
    draw = generator(SEED, "benchmark", "scaling rows")
    rows = np.empty((images, DIM), dtype=np.float32)
    for start in range(0, images, 1024):
        part = rows[start : start + 1024]
        part[:] = unit_rows(draw.standard_normal(part.shape, dtype=np.float32))
    tasks = draw.integers(images, size=(units, N_TASKS, 2 * (K + 1)), dtype=np.int32)
    for kernel in (cosine_margins, nearest_explanation):  # loads the compiled code
        kernel(rows, tasks[:1], K)
    before, begun = memory("VmRSS"), (perf_counter(), process_time())
    margins = cosine_margins(rows, tasks, K)
    passed, used, peak = perf_counter() - begun[0], process_time() - begun[1], memory("VmHWM") - before
    few, started = tasks[:CHECKED], process_time()
    nearest = nearest_explanation(rows, few, K)
    checking = 1e6 * (process_time() - started) / len(few)
    assert np.abs(margins).max() <= 4
    assert np.abs(nearest).max() <= 1.001
    return {"seconds": passed, "cpu_seconds": used, "nearest_us": checking, "peak_bytes": peak}


PHASES = {"selection": selection, "scoring": scoring}


def points(share: int) -> list[tuple[str, str, int, int]]:
    """Phase, what grows, number of images and of units of every point."""
    found = []
    for (phase, series), fixed in FIXED.items():
        sizes = IMAGES if series == "images" else UNITS
        for size in sizes:
            pair = (size, fixed) if series == "images" else (fixed, size)
            found.append((phase, series, *(max(number // share, 2 * K_IMAGES) for number in pair)))
    return found


def measure(repeats: int, share: int) -> pd.DataFrame:
    """One row a run."""
    rows = []
    for turn in range(repeats):
        order = points(share)
        for phase, series, images, units in order if turn % 2 == 0 else reversed(order):
            cost = in_process("benchmarks.scaling", "--point", phase, "--images", images, "--units", units)
            rows.append({"phase": phase, "series": series, "images": images, "units": units, **cost})
        print(f"round {turn + 1} of {repeats}", flush=True)
    return pd.DataFrame(rows)


def exponents(runs: pd.DataFrame) -> pd.DataFrame:
    """Exponent of every series, with its interval, for time and for memory of selection; one row each."""
    rows = []
    for phase, series in FIXED:
        part = runs[(runs["phase"] == phase) & (runs["series"] == series)]
        for quantity in ("cpu_seconds", "peak_bytes") if phase == "selection" else ("cpu_seconds",):
            line = stats.linregress(np.log(part[series]), np.log(part[quantity]))
            reach = stats.t.ppf((1 + CONFIDENCE) / 2, len(part) - 2) * line.stderr
            rows.append(
                {
                    "phase": phase,
                    "series": series,
                    "quantity": quantity,
                    "exponent": line.slope,
                    "low": line.slope - reach,
                    "high": line.slope + reach,
                    "intercept": line.intercept,
                    "runs": len(part),
                }
            )
    return pd.DataFrame(rows)


def figure(table: pd.DataFrame, fits: pd.DataFrame) -> str:
    """SVG: medians of every point over the fitted lines; panels of time and of memory, exponents in their titles."""
    panels = [
        ("images", "cpu_seconds", "processor seconds"),
        ("units", "cpu_seconds", "processor seconds"),
        ("images", "peak_bytes", "peak memory, MB"),
        ("units", "peak_bytes", "peak memory, MB"),
    ]
    with style.styled():
        drawn = Figure(figsize=(style.WIDE, 5.6), layout="constrained")
        for axes, (series, quantity, label) in zip(drawn.subplots(2, 2).flat, panels, strict=True):
            scale = 1e6 if quantity == "peak_bytes" else 1
            chosen = fits[(fits["series"] == series) & (fits["quantity"] == quantity)].to_dict("records")
            drawn_values = []
            for fit in chosen:
                place = list(PHASES).index(fit["phase"])
                part = table[(table["phase"] == fit["phase"]) & (table["series"] == series)]
                ends = np.array([part[series].min(), part[series].max()])
                line = np.exp(fit["intercept"]) * ends ** fit["exponent"] / scale
                look = {"color": style.COLOURS[place]}
                axes.plot(ends, line, **look)
                axes.plot(part[series], part[quantity] / scale, linestyle="", marker=style.MARKERS[place], **look)
                drawn_values += [*line, *part[quantity] / scale]
            words = [f"{fit['phase']}: {fit['exponent']:.2f} ({fit['low']:.2f} to {fit['high']:.2f})" for fit in chosen]
            axes.set(xscale="log", yscale="log", xlabel=f"number of {series}", ylabel=label, title="\n".join(words))
            axes.xaxis.set_major_locator(FixedLocator(sorted(set(table.loc[table["series"] == series, series]))))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:g}k"))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda height, _: f"{height:g}"))
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_minor_formatter(NullFormatter())
            # at least a factor of ten, so that a flat line looks flat
            low, high = min(drawn_values), max(drawn_values)
            room = max(1.3, (10 * low / high) ** 0.5)
            axes.set_ylim(low / room, high * room)
        return style.to_svg(drawn, "Time and memory against the number of images and of units")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--point", choices=PHASES, help=argparse.SUPPRESS)
    for name in ("images", "units"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.point:
        print(json.dumps(PHASES[args.point](args.images, args.units)))
        return
    runs = measure(args.repeats, args.share)
    table = runs.groupby(["phase", "series", "images", "units"], as_index=False).median()
    fits = exponents(runs)
    report("scaling", "Cost of every point, one thread, medians", table)
    report("scaling_fit", "Exponents", fits)
    write_text(harness.RESULTS / "scaling.svg", figure(table, fits))


if __name__ == "__main__":
    main()
