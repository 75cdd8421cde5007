"""From activations and embeddings on disk to the MIS of every unit: the study's path against two straightforward ones.

    python -m benchmarks.end_to_end [--images 50000] [--units 2048] [--dim 1792] [--rounds 3] [--folder FOLDER]

ours        the activations pass by in batches, a batch mapped at a time: Extremes, its ranking, tasks.build, cosine_margins
careful     the same with numpy and torch, unit by unit: one column sorted at a time, the rows of one unit's tasks gathered
            and compared in 4K cosines a task
published   as published code does it: everything loaded, the shuffled matrix sorted whole (shuffling settles ties), the
            rows of all units' tasks gathered, then 4K cosines a task unit by unit

All start from the same two files in a temporary folder: activations (images, units) float32 and, as the study keeps them,
unit rows (images, dim) float32. They are simulated: noisy directions of a latent space that the embeddings show too.
Each form runs in a process of its own on 2 threads; imports, compiled code and idle threads are there before its clock
starts. Rounds alternate. Tasks are those of tasks.build in every form, so that results can be compared: equal values in every
list, equal images but for ties, and the same MIS to 1e-6 for every unit whose lists are the same.

`peak_bytes` counts pages of mapped files while they are mapped: ours maps the table of rows whole, and touches all of it. The
system takes such pages away where memory is short, and shares them between workers. `own_bytes` is the most that a form holds
above its imports of what only it can give back, looked at every 10 ms.

Expected on 2 cores: `ratio` and the peaks as in results/end_to_end.csv; the aims are 25 times against the careful form and 16 in
processor time, at a quarter of its own memory, and 80 times against the published one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import scoring
from benchmarks.harness import THREADS, Highest, memory, ratios, use_threads, whole_path_parser, whole_paths
from interpretability import randomness
from interpretability.extremes.selection import Extremes
from interpretability.margins import cosine_margins, unit_rows
from interpretability.mis import unit_scores
from interpretability.randomness import generator
from interpretability.tasks import natural, rules

SEED, SLOPE = scoring.SEED, scoring.SLOPE
N_TASKS, K = scoring.N_TASKS, scoring.K
DEPTH = rules.needed(N_TASKS, K)  # images a side
BATCH = 1024  # images of the activation file that are mapped at a time
TOLERANCE = 1e-6  # of an MIS

Found = dict[str, NDArray[Any]]  # lists of images and of their values, and scores
Note = Callable[[str], None]  # says that the phase so called ends here


def write_inputs(folder: Path, images: int, units: int, dim: int) -> None:
    """activations.npy and embeddings.npy, drawn from keyed generators."""
    latent, shown = scoring.embeddings(images, dim)
    np.save(folder / "embeddings.npy", np.concatenate([unit_rows(part) for part in np.array_split(shown, 16)]))
    draw = generator(SEED, "benchmark", "end to end")
    directions = draw.standard_normal((latent.shape[1], units), dtype=np.float32)
    directions /= np.float32(np.sqrt(latent.shape[1]))
    with open(folder / "activations.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (images, units)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, images, 1024):
            values = latent[start : start + 1024] @ directions
            values += draw.standard_normal(values.shape, dtype=np.float32)
            file.write(values.data)


def keys_of(units: int) -> NDArray[np.uint64]:
    return randomness.unit_keys(SEED, "benchmark", "end to end", np.arange(units))


def ours(folder: Path, note: Note) -> Found:
    images, units = np.load(folder / "activations.npy", mmap_mode="r").shape
    extremes = Extremes(keys_of(units), DEPTH, threads=THREADS)
    for start in range(0, images, BATCH):
        values = np.load(folder / "activations.npy", mmap_mode="r")[start : start + BATCH]
        extremes.update(values, np.arange(start, start + len(values)))
    ranked = extremes.ranked()
    del extremes
    note("select")
    built = natural.build(ranked.top_images, ranked.bottom_images, keys_of(units), N_TASKS, K, threads=THREADS)
    note("tasks")
    rows = np.load(folder / "embeddings.npy", mmap_mode="r")
    mis = unit_scores(cosine_margins(rows, built, K, threads=THREADS), SLOPE)["mis"].to_numpy()
    note("score")
    return {
        "top": ranked.top_images,
        "bottom": ranked.bottom_images,
        "top_values": ranked.top_values,
        "bottom_values": ranked.bottom_values,
        "mis": mis,
    }


def published(folder: Path, note: Note) -> Found:
    import torch

    activations = torch.from_numpy(np.load(folder / "activations.npy"))
    rows = torch.from_numpy(np.load(folder / "embeddings.npy"))
    order = torch.from_numpy(generator(SEED, "benchmark", "shuffle").permutation(len(activations)))
    ranked = order[activations[order].argsort(dim=0)]
    bottom, top = ranked[:DEPTH].T.contiguous(), ranked.flip(0)[:DEPTH].T.contiguous()
    lists = {"top": top, "bottom": bottom}
    lists |= {f"{side}_values": activations.gather(0, images.T).T.contiguous() for side, images in lists.items()}
    found = {name: values.numpy() for name, values in lists.items()}
    note("select")
    built = natural.build(
        found["top"].astype(np.int32), found["bottom"].astype(np.int32), keys_of(len(top)), N_TASKS, K, threads=THREADS
    )
    note("tasks")
    gathered = [rows[torch.from_numpy(part)] for part in scoring.parts(built)]
    mis = [float(torch.sigmoid(SLOPE * scoring.direct_margins(*unit)).mean()) for unit in zip(*gathered, strict=True)]
    note("score")
    return found | {"mis": np.array(mis)}


def careful(folder: Path, note: Note) -> Found:
    import torch

    activations, embedded = (np.load(folder / f"{name}.npy") for name in ("activations", "embeddings"))
    units = activations.shape[1]
    found: Found = {side: np.empty((units, DEPTH), dtype=np.int32) for side in ("top", "bottom")}
    found |= {f"{side}_values": np.empty((units, DEPTH), dtype=np.float32) for side in ("top", "bottom")}
    for unit in range(units):
        column = np.ascontiguousarray(activations[:, unit])
        order = column.argsort()
        for side, chosen in (("top", order[: -DEPTH - 1 : -1]), ("bottom", order[:DEPTH])):
            found[side][unit], found[f"{side}_values"][unit] = chosen, column[chosen]
    note("select")
    built = natural.build(found["top"], found["bottom"], keys_of(units), N_TASKS, K, threads=THREADS)
    note("tasks")
    margins = scoring.gather(embedded, built, at_once=1)
    mis = torch.sigmoid(SLOPE * torch.from_numpy(margins)).mean(dim=1).numpy()
    note("score")
    return found | {"mis": mis}


FORMS = {"ours": ours, "careful": careful, "published": published}


def warm_up(form: str) -> None:
    """Load what the form compiled or links to, and start its threads, on a few numbers."""
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), images=20 * DEPTH, units=300, dim=64)
        FORMS[form](Path(name), lambda phase: None)


def measure(form: str, folder: Path) -> dict[str, float]:
    """Seconds of each phase and in all, processor seconds and peak memory of one form; its results go to FORM.npz."""
    if form != "ours":
        use_threads()
    warm_up(form)
    before, own_before = memory("VmRSS"), memory("RssAnon")
    with Highest("RssAnon") as own:
        marks = [("start", perf_counter(), process_time())]
        found = FORMS[form](folder, lambda phase: marks.append((phase, perf_counter(), process_time())))
    peak = memory("VmHWM")
    phases = {f"{name}_s": now - then for (_, then, _), (name, now, _) in pairwise(marks)}
    with open(folder / f"{form}.npz", "wb") as file:
        np.savez(file, allow_pickle=False, **found)
    return {
        "seconds": marks[-1][1] - marks[0][1],
        "cpu_seconds": marks[-1][2] - marks[0][2],
        **phases,
        "peak_bytes": peak,
        "above_imports_bytes": peak - before,
        "own_bytes": own.bytes - own_before,
    }


def compare(mine: Found, theirs: Found) -> tuple[int, float]:
    """Units whose lists differ by ties, and the largest difference of MIS among all others; raises if anything else differs."""
    same = np.ones(len(mine["mis"]), dtype=bool)
    for side in ("top", "bottom"):
        value = mine[f"{side}_values"]
        if not np.array_equal(value, theirs[f"{side}_values"]):
            raise AssertionError(f"{side} side: the selected values differ")
        differ = mine[side] != theirs[side]
        tied = value == value[:, -1:]
        tied[:, 1:] |= value[:, 1:] == value[:, :-1]
        tied[:, :-1] |= value[:, 1:] == value[:, :-1]
        if (differ & ~tied).any():
            raise AssertionError(f"{side} side: images differ that are not tied")
        same &= ~differ.any(axis=1)
    if not same.any():
        raise AssertionError("no unit has the same lists in both forms, so no score can be compared")
    difference = float(np.abs(mine["mis"] - theirs["mis"])[same].max())
    if difference > TOLERANCE:
        raise AssertionError(f"MIS differs by {difference:g}, more than {TOLERANCE:g}")
    return int((~same).sum()), difference


def rows_of(measured: dict[str, list[dict[str, float]]], folder: Path) -> list[dict[str, object]]:
    """Rows of the result table: medians of each form, ratios to ours within a round, and the agreement of results."""
    mine = dict(np.load(folder / "ours.npz"))
    times = {form: [np.array([run["seconds"], run["cpu_seconds"]]) for run in runs] for form, runs in measured.items()}
    first = {form: runs[0].keys() for form, runs in measured.items()}
    rows = []
    for form, runs in measured.items():
        medians = {name: float(np.median([run[name] for run in runs])) for name in first[form]}
        row: dict[str, object] = {"case": form, **medians, **ratios(times[form], times["ours"])}
        for name in ("peak_bytes", "above_imports_bytes", "own_bytes"):
            own = float(np.median([run[name] for run in measured["ours"]]))
            row[f"{name.removesuffix('_bytes')}_ratio"] = medians[name] / own
        row["units_with_ties"], row["mis_difference"] = compare(mine, dict(np.load(folder / f"{form}.npz")))
        rows.append(row)
    return rows


def main() -> None:
    args = whole_path_parser(__doc__, tuple(FORMS), 0.8).parse_args()
    whole_paths(args, "benchmarks.end_to_end", list(FORMS), measure, write_inputs, rows_of)


if __name__ == "__main__":
    main()
