"""From arrays to the MIS of every unit by one call of the library, against two straightforward ways.

    python -m benchmarks.library [--images 50000] [--units 2048] [--dim 1792] [--rounds 3] [--folder FOLDER]

score_units   the library's call: checks, scaling of the embeddings, selection, tasks, margins, scores
kept          the same on embeddings that have length 1 already, as a study keeps them
kernels       the compiled kernels behind both, called as the study calls them
careful       numpy and torch, unit by unit: one column sorted at a time, the rows of one unit's tasks gathered and compared
published     a plain form, as published code does it: the whole matrix sorted, the rows of all units' tasks gathered, then 4K
              cosines a task unit by unit

The last three are those of `benchmarks.end_to_end`; all start from the same arrays in a temporary folder and draw the same tasks.
Each form runs in a process of its own on 2 threads, everything compiled and loaded before its clock starts; rounds alternate.
Work is counted from the sizes: values that are ordered or compared with a bound, rows of embeddings that are read, and products
of two rows. Scores must agree to 1e-6, but of units some of whose values are tied.

Expected on 2 cores: `ratio` (form / score_units) and `ratio_to_kept` as in results/library.csv; the aim is 20 times for `careful`
to `kept`, and no more time for `kept` than for `kernels` but for its checks, on cores that nobody else uses.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

import interpretability as it
from benchmarks import end_to_end, scoring
from benchmarks.harness import THREADS, memory, ratios, use_threads, whole_path_parser, whole_paths

N_TASKS, K, SLOPE, SEED = scoring.N_TASKS, scoring.K, scoring.SLOPE, scoring.SEED
TOLERANCE, MOST_TIED = 1e-6, 0.05  # of an MIS, and share of units that ties may change
KERNELS = {"kernels": "ours", "careful": "careful", "published": "published"}  # forms of `benchmarks.end_to_end`
FORMS = ("score_units", "kept", *KERNELS)


def write_inputs(folder: Path, images: int, units: int, dim: int) -> None:
    """activations.npy; embeddings.npy, rows of length 1; and raw.npy, the same before they were scaled."""
    end_to_end.write_inputs(folder, images, units, dim)
    np.save(folder / "raw.npy", scoring.embeddings(images, dim)[1])


def scores(form: str, folder: Path) -> NDArray[np.float64]:
    """MIS of every unit in one of the forms."""
    if form in KERNELS:
        return end_to_end.FORMS[KERNELS[form]](folder, lambda phase: None)["mis"]
    activations = np.load(folder / "activations.npy", mmap_mode="r")
    embeddings = np.load(folder / ("embeddings.npy" if form == "kept" else "raw.npy"), mmap_mode="r")
    table = it.score_units(
        activations,
        embeddings,
        n_tasks=N_TASKS,
        n_explanations=K,
        slope=SLOPE,
        seed=SEED,
        model="benchmark",
        layer="end to end",
        threads=THREADS,
    )
    return table["mis"].to_numpy()


def measure(form: str, folder: Path) -> dict[str, float]:
    """Seconds, processor seconds and peak memory of one form; its scores go to FORM.npy."""
    if form in ("careful", "published"):
        use_threads()
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), images=2 * end_to_end.DEPTH + 100, units=300, dim=64)
        scores(form, Path(name))
    before, start, used = memory("VmRSS"), perf_counter(), process_time()
    found = scores(form, folder)
    passed, used = perf_counter() - start, process_time() - used
    np.save(folder / f"{form}.npy", found)
    peak = memory("VmHWM")
    return {"seconds": passed, "cpu_seconds": used, "peak_bytes": peak, "above_imports_bytes": peak - before}


def work(form: str, images: int, units: int) -> dict[str, int]:
    """What a form does: values ordered or compared with a bound, rows read, products of two rows."""
    tasks = units * N_TASKS
    of_tasks = (
        (2 * (K + 1), 1) if form in ("score_units", "kept", "kernels") else (4 * (K + 1), 4 * K)
    )  # queries meet both sides
    rows, products = (tasks * each for each in of_tasks)
    return {"values": images * units, "rows_read": rows + images * (form != "careful"), "products": products}


def rows_of(
    measured: dict[str, list[dict[str, float]]], folder: Path, images: int, units: int
) -> list[dict[str, object]]:
    """Rows of the result table: medians of each form, ratios to score_units within a round, work and agreement."""
    times = {form: [np.array([run["seconds"], run["cpu_seconds"]]) for run in runs] for form, runs in measured.items()}
    mine = np.load(folder / "score_units.npy")
    rows = []
    for form, runs in measured.items():
        row: dict[str, object] = {"case": form}
        row |= {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
        row |= ratios(times[form], times["score_units"]) | work(form, images, units)
        row["ratio_to_kept"] = ratios(times[form], times["kept"])["ratio"]
        difference = np.abs(np.load(folder / f"{form}.npy") - mine)
        tied = difference > TOLERANCE
        if tied.mean() > MOST_TIED:
            raise AssertionError(f"{form}: MIS of {tied.sum()} of {units} units differ by more than {TOLERANCE:g}")
        rows.append(row | {"units_with_ties": int(tied.sum()), "mis_difference": float(difference[~tied].max())})
    return rows


def main() -> None:
    args = whole_path_parser(__doc__, FORMS, 1.2).parse_args()
    rows = partial(rows_of, images=args.images, units=args.units)
    whole_paths(args, "benchmarks.library", FORMS, measure, write_inputs, rows)


if __name__ == "__main__":
    main()
