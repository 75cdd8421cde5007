"""Scores without labels against the forms one would write first, and what intervals of whole-range scores cover.

    python -m benchmarks.label_free [--units 1024] [--images 4000] [--dim 512] [--rounds 5] [--draws 2000]

`label_free.csv`: monosemanticity by sums over batches beside the double sum over all pairs of images, unit by unit, and beside
one dense product (units, images) x (images, images); whole-range predictions by sums of rows beside the mean over the
similarities to each explanation. `ratio`: median over rounds of the time of the other form over that of ours: above 1 ours is
faster; the double sum is timed on a few units and scaled up. `multiplications`, `other_multiplications` are counted from the
sizes; `largest_difference` is that of the scores.

`range_intervals.csv`: how often the intervals of `range_scores` at 400 images contain the correlation of the population, and how
often +-1.96 standard errors do, by kind of unit. The population's is that of 2,000,000 images; `sd_over_se` is the
spread of the score over its mean standard error. Units with heavy tails over 4,000 images, of which the 400 are a part, have no
interval of Pearson's: `heavy` is their share, `pearson_coverage` is of intervals that are given, `pearson_without_rule` of all if
none were left out, `pearson_rule_on_400` of those which the same rule would leave if it looked at the 400 images alone.

Aim: every ratio above 1, and coverage of 0.93 or more of the kinds of which no more than a tenth have heavy tails; no interval of
more than a tenth of the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.harness import Times, ratios, report, take_turns
from interpretability.explanations.correlation import constant
from interpretability.label_free.monosemanticity import MonosemanticitySums
from interpretability.label_free.predictions import predictions
from interpretability.label_free.range_scores import heavy_rows, range_scores
from interpretability.margins import unit_rows
from interpretability.randomness import generator

SEED = 0
LOOPED = 4  # units of the double sum
BATCH = 256
EXPLAINED, PROBES = 180, 400
ALL_IMAGES, POPULATION = 4000, 2_000_000
TAILS = {"lognormal": 1.0, "lognormal 0.75": 0.75}  # by kind: the spread of the logarithm
FREEDOM = {"t 5": 5, "t 3": 3}
KINDS = (
    *("normal", "none", "skewed", "ties", "t 5", "sparse 20 %", "sparse 5 %", "sparse 2 %"),
    *("lognormal", "lognormal 0.75", "t 3"),
)


def streamed(values: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = MonosemanticitySums()
    for start in range(0, len(values), BATCH):
        sums.update(values[start : start + BATCH], rows[start : start + BATCH])
    return sums.table()["ms"].to_numpy()


def looped(values: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The double sum, all pairs of a unit at a time, for the first units."""
    exact = rows.astype(np.float64)
    found = []
    for own in values.T[:LOOPED].astype(np.float64):
        weights = own - own.min()
        pairs = np.outer(weights, weights)
        np.fill_diagonal(pairs, 0)
        found.append((pairs * (exact @ exact.T)).sum() / pairs.sum())
    return np.array(found)


def dense(values: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """One product with the similarities of all images, kept whole."""
    weights = (values - values.min(axis=0)).astype(np.float64)
    exact = rows.astype(np.float64)
    cosines = exact @ exact.T
    np.fill_diagonal(cosines, 0)
    numerator = np.einsum("iu,iu->u", weights, cosines @ weights)
    return numerator / (weights.sum(axis=0) ** 2 - (weights**2).sum(axis=0))


def explained(
    rows: NDArray[np.float32], probes: NDArray[np.int64], top: NDArray[np.int64], bottom: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Predictions by a product for each unit: similarities of all probes to all its explanations."""
    asked, found = rows[probes].astype(np.float64), np.empty((len(top), len(probes)))
    for unit in range(len(top)):
        sides = []
        for side in (top[unit], bottom[unit]):
            similar = asked @ rows[side].T.astype(np.float64)
            similar[probes[:, None] == side] = np.nan
            sides.append(np.nanmean(similar, axis=1))
        found[unit] = sides[0] - sides[1]
    return found


def measure(args: argparse.Namespace) -> list[dict[str, object]]:
    draw = generator(SEED, "label free", args.units, args.images, args.dim)
    rows = unit_rows(draw.standard_normal((args.images, args.dim)) + 0.5)
    values = (draw.gamma(0.5, 2.0, (args.images, args.units)) + 3).astype(np.float32)
    few = min(args.images // 4, EXPLAINED)
    order = np.argsort(values, axis=0, kind="stable").T
    given = rows, draw.permutation(args.images)[: min(PROBES, args.images)], order[:, -few:], order[:, :few]
    n, units, dim, asked = args.images, args.units, args.dim, len(given[1])
    batched = units * n * dim
    forms: dict[str, tuple[Callable[[], NDArray[np.float64]], Callable[[], NDArray[np.float64]], float, int, int]] = {
        "monosemanticity, double sum": (
            lambda: streamed(values, rows),
            lambda: looped(values, rows),
            units / LOOPED,
            batched,
            units * n * n * (dim + 2),
        ),
        "monosemanticity, dense": (
            lambda: streamed(values, rows),
            lambda: dense(values, rows),
            1,
            batched,
            n * n * (dim + units),
        ),
        "whole range, a product a unit": (
            lambda: predictions(*given),
            lambda: explained(*given),
            1,
            units * asked * dim,
            2 * units * few * asked * dim,
        ),
    }
    table = []
    for name, (ours, other, scale, own_work, other_work) in forms.items():
        rounds = [take_turns({"ours": ours, "other": other}, turn) for turn in range(args.rounds)]
        taken: list[Times] = [each["ours"] for each in rounds]
        others: list[Times] = [each["other"] * scale for each in rounds]
        first, second = ours(), other()
        off = np.abs(first[: len(second)] - second).max()
        if not off < 1e-5:
            raise AssertionError(f"{name}: scores differ by {off:.3g}")
        row = {"form": name, "units": units, "images": n, "dim": dim, "rounds": args.rounds}
        row |= {"ours_s": float(np.median(taken, axis=0)[0]), "other_s": float(np.median(others, axis=0)[0])}
        row |= ratios(others, taken)
        table.append(
            row | {"multiplications": own_work, "other_multiplications": other_work, "largest_difference": off}
        )
    return table


def pairs(kind: str, n: int, draw: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions and values of n images of one kind of unit."""
    x, noise = draw.standard_normal((2, n))
    if kind == "none":
        return x, noise
    if kind == "skewed":
        return x, np.exp(x / 2) + noise / 2
    if kind in TAILS:
        return x, np.exp(TAILS[kind] * x) + TAILS[kind] ** 2 * noise
    if kind in FREEDOM:
        return x, x + draw.standard_t(FREEDOM[kind], n)
    if kind == "ties":
        return np.round(x), np.maximum(np.round(x + noise), 0)
    y = 0.6 * x + 0.8 * noise
    if kind.startswith("sparse"):
        share = float(kind.split()[1]) / 100
        return x, np.maximum(y - stats.norm.isf(share), 0)
    return x, y


def coverage(kind: str, draws: int, n: int = PROBES) -> dict[str, object]:
    """What the intervals of one kind of unit cover."""
    truth = _scores(*pairs(kind, POPULATION, generator(SEED, "range truth", kind)))
    draw = generator(SEED, "range intervals", kind, n)
    predicted, values = np.empty((2, draws, n))
    heavy = np.zeros(draws, dtype=bool)
    for place in range(draws):
        x, y = pairs(kind, ALL_IMAGES, draw)
        predicted[place], values[place] = x[:n], y[:n]
        heavy[place] = heavy_rows(y[None])[0]
    silent = constant(values)
    predicted, values, heavy = predicted[~silent], values[~silent], heavy[~silent]
    found = range_scores(predicted, values, heavy=np.zeros(len(values), dtype=bool))
    row: dict[str, object] = {"kind": kind, "n": n, "draws": draws, "constant": int(silent.sum())}
    covered = (found.low <= truth[0]) & (truth[0] <= found.high)
    row |= {
        "heavy": heavy.mean(),
        "pearson_without_rule": covered.mean(),
        "pearson_rule_on_400": _mean(covered[~heavy_rows(values)]),
    }
    for name, middle, se, low, high, true, told in (
        ("pearson", found.rho, found.se, found.low, found.high, truth[0], ~heavy),
        ("spearman", found.spearman, found.spearman_se, found.spearman_low, found.spearman_high, truth[1], ...),
    ):
        row |= {
            f"{name}_truth": true,
            f"{name}_coverage": _mean(((low <= true) & (true <= high))[told]),
            f"{name}_plain": (np.abs(middle - true) <= 1.96 * se).mean(),
            f"{name}_width": (high - low).mean(),
            f"{name}_sd_over_se": middle.std() / se.mean(),
        }
    return row


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _scores(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    return float(np.corrcoef(x, y)[0, 1]), float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("units", 1024), ("images", 4000), ("dim", 512), ("rounds", 5), ("draws", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    report("label_free", f"{args.units} units, {args.images} images, simulated data", measure(args))
    table = pd.DataFrame([coverage(kind, args.draws) for kind in KINDS])
    report("range_intervals", f"{args.draws} simulated samples of {PROBES} images a kind", table)


if __name__ == "__main__":
    main()
