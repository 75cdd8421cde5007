"""What another precision of a network does to the scores of its units, by the rule that gives tasks their images.

    python -m benchmarks.dealing --images FOLDER --roster FILE.csv [--n 800] [--changes tf32,float16] [--add]

Every network of the roster (role study) runs over the first n pictures of the folder in float32 and with each change of
`benchmarks.effects.CHANGES`, with tasks from both selections. Their MIS compares the pictures by the pooled features of the
roster's network of role similarity, always in float32. A row a network, change and rule:

rank    the paper's: tasks draw the images of a rank group by their place in it (independent keyed permutations)
image   the study's: an image's own keyed number chooses its task (interpretability/tasks/dealing.py)

with the share of each list of images that is kept, and the rank correlation of a unit's values over all pictures (mean over
units and the 1st percentile of units); the share of tasks that hold the very same images; mean and 99th percentile of the
absolute change of a unit's MIS, beside the standard error that its tasks leave it; the correlation of both scores, and the
change of the network's mean. The last rows of a network compare two draws of the same selection: what chance in the draws
alone does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.effects import CHANGES, kept, select
from benchmarks.harness import RESULTS, THREADS, report
from interpretability import mis, statistics
from interpretability.extremes.selection import Ranked
from interpretability.margins import cosine_margins, unit_rows
from interpretability.networks.layers import find_layers
from interpretability.networks.network import Network
from interpretability.networks.precision import is_depthwise
from interpretability.randomness import combine, key64, permutations, unit_keys
from interpretability.similarity.backends.encoder import Encoder
from interpretability.tasks.natural import build
from interpretability.tasks.rules import needed
from stages import images as images_stage
from study.images.manifest import ImageSet, open_images
from study.networks import roster
from study.networks.building import load_network
from study.params.whole import load_params
from study.workers.device import Failure, guarded

SLOPE = 6.25  # the published one


def by_rank(ranked: NDArray[np.int32], keys: NDArray[np.uint64], side: str, n_tasks: int) -> NDArray[np.int32]:
    """Images (units, N, groups) of a side, dealt out by their place in the rank group."""
    groups = ranked.shape[1] // n_tasks
    numbers = np.array([key64("by rank", side, group) for group in range(groups)], dtype=np.uint64)
    drawn = permutations(combine(keys[:, None], numbers), n_tasks)
    return np.take_along_axis(ranked.reshape(-1, groups, n_tasks), drawn, axis=2).transpose(0, 2, 1)


def tasks_of(
    ranked: Ranked, keys: NDArray[np.uint64], rule: str, n_tasks: int, n_explanations: int
) -> NDArray[np.int32]:
    count = needed(n_tasks, n_explanations)
    top, bottom = ranked.top_images[:, :count], ranked.bottom_images[:, :count]
    if rule == "image":
        return build(top, bottom, keys, n_tasks, n_explanations)
    one, other = by_rank(top, keys, "positive", n_tasks), by_rank(bottom, keys, "negative", n_tasks)
    return np.concatenate([one[..., :-1], other[..., :-1], one[..., -1:], other[..., -1:]], axis=-1)


def of_units(ranked: Ranked, which: NDArray[np.bool_]) -> Ranked:
    return Ranked(*(getattr(ranked, field.name)[which] for field in fields(ranked)))


def same_tasks(one: NDArray[np.int32], two: NDArray[np.int32], n_explanations: int) -> float:
    """Share of tasks with the same queries and the same explanations, in any order."""
    k = n_explanations

    def parts(tasks: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.concatenate([np.sort(tasks[..., :k]), np.sort(tasks[..., k : 2 * k]), tasks[..., 2 * k :]], axis=-1)

    return float((parts(one) == parts(two)).all(axis=-1).mean())


def rank_correlations(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the values (pictures, units) of each unit, by their places; ties, which are few, in the order of the pictures."""
    n = len(one)
    apart = np.zeros(one.shape[1])
    for start in range(0, one.shape[1], 1000):
        places = [np.argsort(np.argsort(v[:, start : start + 1000], 0, kind="stable"), 0) for v in (one, two)]
        apart[start : start + 1000] = ((places[0] - places[1]).astype(np.float64) ** 2).sum(axis=0)
    return 1 - 6 * apart / (n * (n**2 - 1))


def mean_and_p1(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean over units, and their 1st percentile."""
    return {name: float(values.mean()), f"{name}_p1": float(np.quantile(values, 0.01))}


def opened(args: argparse.Namespace, folder: str) -> tuple[ImageSet, range, Callable[[Any], Network]]:
    """The listed pictures, the rows that are compared, and what loads a network of the roster."""
    images = open_images(f"{folder}/images", quick=True)

    def load(row: Any) -> Network:
        network = guarded(partial(load_network, models=Path(folder), code=args.code, seed=0), row)
        if isinstance(network, Failure):
            raise SystemExit(network.reason)
        return network

    return images, range(min(args.n, len(images))), load


def embeddings(args: argparse.Namespace, folder: str) -> NDArray[np.float32]:
    """Unit rows of the roster's network of role similarity."""
    images, some, load = opened(args, folder)
    table = roster.read_roster(args.roster)
    [judge] = roster.rows_of(table[table["role"] == "similarity"])
    similarity = Encoder("encoder", images, network=load(judge))
    size_of_batch = similarity.batch_size
    starts = range(0, len(some), size_of_batch)
    parts = [similarity.embed(np.array(some[start : start + size_of_batch])) for start in starts]
    return unit_rows(np.concatenate(parts))


def rows_of(args: argparse.Namespace, folder: str, embedded: NDArray[np.float32], row: Any) -> list[dict[str, object]]:
    """Rows of the result table of one network."""
    size, rows = (args.tasks, args.explanations), []
    images, some, load = opened(args, folder)
    rules = load_params("studies/custom.yaml").units

    def solved(tasks: NDArray[np.int32]) -> NDArray[np.float64]:
        return mis.probabilities(cosine_margins(embedded, tasks, args.explanations), SLOPE)

    def compare(change: str, rule: str, one: NDArray[np.int32], two: NDArray[np.int32]) -> dict[str, object]:
        chances = solved(one)
        first, second = chances.mean(axis=1), solved(two).mean(axis=1)
        moved = np.abs(first - second)
        return {
            "change": change,
            "rule": rule,
            "tasks_same": same_tasks(one, two, args.explanations),
            "mis_change": moved.mean(),
            "mis_change_p99": np.quantile(moved, 0.99),
            "mis_se": (chances.std(axis=1, ddof=1) / np.sqrt(chances.shape[1])).mean(),
            "mis_correlation": statistics.pearson(first, second),
            "network_mean_change": abs(first.mean() - second.mean()),
        }

    network = load(row)
    batch = network.preprocessing.batch([images.pixels(i) for i in range(3)])
    layers = find_layers(network.model, batch, layer_types=rules.layer_types, norm_act=rules.norm_act)
    usual = select(network, layers, images, some, "float32")
    live = usual.values.std(axis=0) > 1e-8
    facts = {"network": network.name, "n_images": len(some), "n_units": int(live.sum())}
    keys, others = (unit_keys(seed, network.name, "", np.arange(len(live)))[live] for seed in (0, 1))
    mine = of_units(usual.ranked, live)
    mixed = any(is_depthwise(module) for module in network.model.modules())
    for change in filter(None, args.changes.split(",")):
        if change == "float16 everywhere" and not mixed:
            continue  # the same as float16
        found = select(network, layers, images, some, change)
        theirs, share = of_units(found.ranked, live), {}
        for side in ("top", "bottom"):
            lists = (getattr(ranked, f"{side}_images")[:, : needed(*size)] for ranked in (mine, theirs))
            share |= mean_and_p1(f"{side}_kept", kept(*lists))
        share |= mean_and_p1("rank_correlation", rank_correlations(usual.values[:, live], found.values[:, live]))
        for rule in ("rank", "image"):
            both = (tasks_of(ranked, keys, rule, *size) for ranked in (mine, theirs))
            rows.append(facts | share | compare(change, rule, *both))
    same = {}
    for name in ("top_kept", "bottom_kept", "rank_correlation"):
        same |= mean_and_p1(name, np.ones(1))
    for rule in ("rank", "image"):
        both = (tasks_of(mine, some_keys, rule, *size) for some_keys in (keys, others))
        rows.append(facts | same | compare("another draw", rule, *both))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True)
    parser.add_argument("--roster", type=Path, required=True)
    parser.add_argument("--code", type=Path, default=Path("data/external/code"))
    parser.add_argument("--n", type=int, default=800)
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--explanations", type=int, default=3)
    parser.add_argument("--changes", default=",".join(name for name in CHANGES if name != "float32"))
    parser.add_argument("--add", action="store_true", help="keep the rows of other changes that the table has")
    parser.add_argument("--processes", type=int, default=THREADS, help="networks at once")
    args = parser.parse_args()
    os.environ["MIS_IMAGES"] = args.images
    table = roster.read_roster(args.roster)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MIS_STORE", f"{folder}/store")
        images_stage.main(["--params", "studies/custom.yaml", "--out", f"{folder}/images"])
        embedded = embeddings(args, folder)
        studied = roster.rows_of(table[table["role"] == "study"])
        with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
            parts = pool.map(partial(rows_of, args, folder, embedded), studied)
            found = pd.DataFrame([row for part in parts for row in part])
    if args.add:
        rest = pd.read_csv(RESULTS / "dealing.csv")
        if set(rest["n_images"]) != set(found["n_images"]):
            raise SystemExit("the table that rows are added to is of another number of pictures")
        rows = pd.concat([rest, found]).drop_duplicates(["network", "change", "rule"], keep="last")
        found = rows.sort_values(
            "network", key=lambda names: names.map(list(dict.fromkeys(names)).index), kind="stable"
        )
    report("dealing", "What other arithmetic does to scores, by the rule that gives tasks their images", found)


if __name__ == "__main__":
    main()
