"""Fast forms of the similarities against the packages' own calls: agreement, forward passes and time.

Run     python -m benchmarks.similarities            all backends and sizes, about a quarter of an hour on two cores
        python -m benchmarks.similarities lpips-alex dists --sizes 64
Writes  benchmarks/results/similarities.csv: one row a backend and size; rows of others are kept

Weights are random except those of lpips-squeeze where ../shared/realdata holds them. Times are processor times of the
one thread that works, medians over rounds in which all forms take turns; only their ratios carry over to another
machine. Pairwise: 72 forward passes a task of nine explanations. Broadcast: each query against the explanations of one
side at once, 40 passes. Cold: nothing kept, one block of tasks. Cached: all features kept. Pair: one of all pairs of
pictures, compared in blocks; `pairs_a_task` is n * n / tasks where comparing all pairs of n pictures takes as long as
solving the tasks with all features kept.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch import nn

from benchmarks.harness import RESULTS
from interpretability.margins import unit_rows
from interpretability.similarity.backends.dreamsim import DreamSim
from interpretability.similarity.base import Similarity
from interpretability.similarity.features import FeatureSimilarity
from interpretability.weights import WeightsFile, load_state
from tests.helpers import random_weights

OUT = RESULTS / "similarities.csv"
REAL = Path(__file__).resolve().parent.parent.parent / "shared/realdata"
K, SLOPE = 9, 6.25
FEATURES = ("lpips-squeeze", "lpips-alex", "lpips-vgg", "dists")
DREAMSIM = (
    "dreamsim",
    "dreamsim-dino_vitb16",
    "dreamsim-clip_vitb32",
    "dreamsim-open_clip_vitb32",
    "dreamsim-synclr_vitb16",
    "dreamsim-dinov2_vitb14",
    "dreamsim-dino_vitb16_patch",
    "dreamsim-dinov2_vitb14_patch",
)
Kind = TypeVar("Kind", bound=Similarity)


def pictures(size: int, count: int) -> np.ndarray:
    """Centre squares of photographs where there are some, otherwise smooth random pictures."""
    files = sorted((REAL / "images").glob("*/*"))[:: max(1, 4791 // count)][:count]
    if len(files) < count:
        return random_weights.pictures(size, count)
    from PIL import Image, ImageOps

    return np.stack([np.asarray(ImageOps.fit(Image.open(file).convert("RGB"), (size, size))) for file in files])


def weights(file: WeightsFile) -> Mapping[str, Any]:
    path = REAL / "weights" / file.names[-1]
    return load_state(path) if "squeezenet" in file.names[0] and path.is_file() else random_weights.weights(file)


def opened(kind: type[Kind], name: str, size: int, shown: np.ndarray) -> Kind:
    """A similarity of this class that sees the pictures shown."""
    similarity = random_weights.opened(name, shown, weights=weights, size=size, cache_bytes=2**33)
    assert isinstance(similarity, kind)
    return similarity


def block(n_tasks: int) -> tuple[np.ndarray, int]:
    """Two units whose later tasks show pictures of the earlier ones in other roles, and how many pictures that are."""
    rng = np.random.default_rng(0)
    first = rng.permutation(n_tasks * 2 * (K + 1))
    second = np.concatenate([rng.permutation(first[: len(first) // 2]), len(first) + np.arange(len(first) // 2)])
    tasks = np.stack([first, rng.permutation(second)]).reshape(2, n_tasks, -1).astype(np.int32)
    return tasks, len(np.unique(tasks))


def from_values(values: ArrayLike) -> float:
    delta = np.asarray(values, np.float64).reshape(2, 2, K).mean(axis=2)
    return float(delta[0, 0] - delta[0, 1] - delta[1, 0] + delta[1, 1])


def pairwise(model: nn.Module, seen: torch.Tensor, task: np.ndarray) -> float:
    """Margin of a task, one call a pair."""
    return from_values(
        [-float(model(seen[[task[2 * K + q]]], seen[[task[e]]])) for q in range(2) for e in range(2 * K)]
    )


def broadcast(model: nn.Module, seen: torch.Tensor, task: np.ndarray) -> float:
    sides = task[:K], task[K : 2 * K]
    return from_values(
        [-model(seen[[task[2 * K + q]]], seen[side]).reshape(-1).numpy() for q in range(2) for side in sides]
    )


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def doubled(model: nn.Module) -> nn.Module:
    """A copy of a package's model in double precision."""
    wide: Any = copy.deepcopy(model).double()  # with attributes of piq
    for module in wide.modules():
        if hasattr(module, "kernel"):  # piq keeps the pooling kernel of its first call
            module.kernel = None
    if hasattr(wide, "weights"):
        wide.weights = [weight.double() for weight in wide.weights]
    return wide


def feature_row(name: str, size: int) -> dict[str, object]:
    slow = size == 224 and name in ("lpips-vgg", "dists")  # half a minute a task and call by call
    tasks, distinct = block(2)
    shown = pictures(size, distinct)
    backend = opened(FeatureSimilarity, name, size, shown)
    seen = backend.tensors(np.arange(distinct, dtype=np.int32))
    margins = backend.margins(tasks, K)
    forwards, flat, fast = backend.forwards, tasks.reshape(-1, tasks.shape[2]), margins.reshape(-1)
    checked = flat[:1] if slow else flat
    reference = [pairwise(backend.model, seen, task) for task in checked]
    precise, wide = doubled(backend.model), seen.double()
    exact = [pairwise(precise, wide, task) for task in checked]
    times: dict[str, list[float]] = {"pairwise": [], "broadcast": [], "cold": [], "cached": [], "pair": []}
    for _ in range(1 if slow else 3):
        times["pairwise"].append(seconds(lambda: pairwise(backend.model, seen, flat[0])))
        if name != "dists":  # piq wants as many pictures on both sides
            times["broadcast"].append(seconds(lambda: broadcast(backend.model, seen, flat[0])))
        vars(backend)["_table"] = None  # a new one begins
        # fresh memory pages are no part of the comparison, so its own table is filled before the clock starts
        backend._table_for(tasks.shape[2]).rows.zero_()  # pyright: ignore[reportPrivateUsage]
        times["cold"].append(seconds(lambda: backend.margins(tasks, K)) / len(flat))
        times["cached"].append(seconds(lambda: backend.margins(tasks, K)) / len(flat))
        held = vars(backend)["_table"].rows[: len(seen)]
        times["pair"].append(seconds(lambda: backend.compare_rows(held, held, size)) / len(held) ** 2)  # noqa: B023
    ms = {form: 1000 * np.median(found) if found else np.nan for form, found in times.items()}
    return {
        "weights": "real" if "squeeze" in name and (REAL / "weights").is_dir() else "random",
        "n_tasks": len(flat),
        "distinct": distinct,
        "forwards": forwards,
        "forwards_pairwise": 8 * K * len(flat),
        "max_diff_float32": np.abs(fast[: len(checked)] - reference).max(),
        "max_diff_float64": np.abs(fast[: len(checked)] - exact).max(),
        "margin_sd": float(np.std(fast)),
        **{f"ms_{form}": value for form, value in ms.items()},
        "times_cold": ms["pairwise"] / ms["cold"],
        "times_cached": ms["pairwise"] / ms["cached"],
        "broadcast_cold": ms["broadcast"] / ms["cold"],
        "broadcast_cached": ms["broadcast"] / ms["cached"],
        "pairs_a_task": 2 * ms["cached"] / ms["pair"],
    }


def dreamsim_row(name: str, size: int) -> dict[str, object]:
    """Differences are those of MIS at slope 6.25 over twenty tasks of the same twenty pictures."""
    n = 2 * (K + 1)
    shown = pictures(size, n)
    backend = opened(DreamSim, name, size, shown)
    rng = np.random.default_rng(0)
    tasks = np.stack([rng.permutation(n) for _ in range(20)])[None].astype(np.int32)
    images = np.arange(n, dtype=np.int32)
    embed_time = seconds(lambda: backend.embed(images))
    rows = unit_rows(backend.embed(images))
    seen = backend.tensors(images)
    pairs = np.array([(a, b) for a in range(n) for b in range(a)])
    single = np.eye(n)
    for start in range(0, len(pairs), 38):
        a, b = pairs[start : start + 38].T
        single[a, b] = single[b, a] = 1 - backend.model(seen[a], seen[b]).numpy()
    call_time = seconds(lambda: backend.model(seen[pairs[:4, 0]], seen[pairs[:4, 1]])) / 4
    backend.model.double()
    for extractor in backend.model.extractor_list:
        if isinstance(getattr(extractor, "proj", None), torch.Tensor):  # no parameter, so it stays behind
            extractor.proj = extractor.proj.double()
    embedded = backend.embed_images(seen.double())
    double = torch.nn.functional.cosine_similarity(embedded[:, None], embedded[None], dim=-1).numpy()

    def mis(margins: ArrayLike) -> float:
        return float(expit(SLOPE * np.asarray(margins, np.float64)).mean())

    def slow(matrix: np.ndarray) -> float:
        return mis([from_values(matrix[np.ix_(task[-2:], task[:-2])]) for task in tasks[0]])

    found = {kind: mis(backend.margins(tasks, K, rows.astype(kind))) for kind in ("float32", "float16")}
    cached = seconds(lambda: backend.margins(tasks, K, rows)) / 20
    cold, pairwise_task = embed_time, 4 * K * call_time
    return {
        "weights": "random",
        "n_tasks": 20,
        "distinct": n,
        "forwards": n,
        "forwards_pairwise": 8 * K * 20,
        "max_diff_float32": abs(found["float32"] - slow(single)),
        "max_diff_float64": abs(found["float32"] - slow(double)),
        "max_diff_float16": abs(found["float16"] - slow(single)),
        "ms_pairwise": 1000 * pairwise_task,
        "ms_cold": 1000 * cold,
        "ms_cached": 1000 * cached,
        "times_cold": pairwise_task / cold,
        "times_cached": pairwise_task / cached,
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help=f"all of {', '.join(FEATURES + DREAMSIM)}")
    parser.add_argument("--sizes", nargs="*", type=int, default=(64, 224), help="pixels; DreamSim has 224 alone")
    args = parser.parse_args()
    if unknown := set(args.backends) - {*FEATURES, *DREAMSIM}:
        parser.error(f"unknown backend {', '.join(sorted(unknown))}")
    wanted = [(name, size) for size in (64, 224) for name in FEATURES] + [(name, 224) for name in DREAMSIM]
    for name, size in wanted:
        if size not in args.sizes or (args.backends and name not in args.backends):
            continue
        row = feature_row(name, size) if name in FEATURES else dreamsim_row(name, size)
        table = pd.DataFrame([{"backend": name, "size": size, **row}])
        if OUT.is_file():
            before = pd.read_csv(OUT)
            table = pd.concat([before[(before["backend"] != name) | (before["size"] != size)], table])
        OUT.parent.mkdir(exist_ok=True)
        table.sort_values(["backend", "size"]).to_csv(OUT, index=False, float_format="%.4g", lineterminator="\n")
        print(table.iloc[[-1]].to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
