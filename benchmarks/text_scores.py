"""Scores of a hundred thousand pairs of units and texts against the bare matrix product, and what their intervals cover.

    python -m benchmarks.text_scores [--units 316] [--texts 317] [--images 50000] [--rounds 7] [--pairs 10000]

`text_scores.csv`: `correlations` looks at every value for its mean and its spread, refuses what is not finite or constant, and
takes the product; beside it stand the product alone, A @ B.T of the same numbers, in double and in single precision, and a loop
of numpy.corrcoef over a few pairs, scaled up. `times_double`, `times_single`, `times_loop`: median over rounds of the time of
ours over that of the form, so that below 1 ours is faster. All have one thread. Ours reckons in double precision whatever it is
given: the score of a pair is right to 1e-14 and depends, to the last bit, on the pair alone. Counted beside the times:
multiplications of both, values that ours reads, and bytes that it holds at once besides its inputs and results.

`text_intervals.csv`: how often the intervals of `paired_scores` contain the true correlation, and how often +-1.96 standard
errors do, over pairs with prevalences of 0.005 to 0.2 and 2,000 to 10,000 images, by the shape of the activations and by the
number of images that show the text. Presences are 0 and 1; where the text is shown, activations have another mean and spread.

Aim: times_double below 1.5; coverage between 0.93 and 0.97 in every row of text_intervals.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.harness import Times, ratios, report, take_turns
from interpretability.explanations import correlation
from interpretability.randomness import generator

SEED = 0
LOOPED = 100  # pairs of the loop
TAILS = ("normal", "laplace", "t5", "rectified", "lognormal")
POSITIVES = (5, 20, 60, 200, 2000)


def inputs(units: int, texts: int, images: int, kind: type) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Activations and presences as a network and a guide would give them: skewed, with means that are not 0."""
    draw = generator(SEED, "text scores", units, texts, images)
    activations = draw.gamma(0.5, 2.0, (units, images)) + draw.uniform(0, 3, (units, 1))
    presence = draw.random((texts, images)) < draw.uniform(0.001, 0.1, (texts, 1))
    return activations.astype(kind), presence.astype(kind)


def looped(activations: NDArray[np.floating], presence: NDArray[np.floating], pairs: int) -> NDArray[np.float64]:
    """The first pairs, one call of numpy.corrcoef each."""
    units, texts = np.unravel_index(np.arange(pairs), (len(activations), len(presence)))
    return np.array([np.corrcoef(activations[u], presence[t])[0, 1] for u, t in zip(units, texts, strict=True)])


def measure(kind: type, args: argparse.Namespace) -> dict[str, object]:
    activations, presence = inputs(args.units, args.texts, args.images, kind)
    pairs = args.units * args.texts
    few = min(LOOPED, pairs)
    doubles = [np.ascontiguousarray(values, np.float64) for values in (activations, presence)]
    singles = [np.ascontiguousarray(values, np.float32) for values in (activations, presence)]
    forms: dict[str, Callable[[], object]] = {
        "ours": partial(correlation.correlations, activations, presence),
        "double": lambda: doubles[0] @ doubles[1].T,
        "single": lambda: singles[0] @ singles[1].T,
        "loop": partial(looped, activations, presence, few),
    }
    rounds = [take_turns(forms, turn) for turn in range(args.rounds)]
    taken: dict[str, list[Times]] = {name: [each[name] for each in rounds] for name in forms}
    taken["loop"] = [each * pairs / few for each in taken["loop"]]
    found = correlation.correlations(activations, presence)
    off = np.abs(found.ravel()[:few] - looped(doubles[0], doubles[1], few)).max()
    if not off < 1e-9:
        raise AssertionError(f"scores differ from numpy.corrcoef by {off:.3g}")
    rows = [-(-n // correlation.TILE) * correlation.TILE for n in (args.units, args.texts)]
    compared: dict[str, object] = {}
    for name in ("double", "single", "loop"):
        each = ratios(taken["ours"], taken[name])
        compared |= {f"times_{name}": each["ratio"], f"cpu_times_{name}": each["cpu_ratio"]}
    return {
        "inputs": np.dtype(kind).name,
        "units": args.units,
        "texts": args.texts,
        "pairs": pairs,
        "images": args.images,
        "rounds": args.rounds,
        **{f"{name}_s": float(np.median(each, axis=0)[0]) for name, each in taken.items()},
        **compared,
        "multiplications_product": pairs * args.images,
        "multiplications_ours": (rows[0] * rows[1] + sum(rows)) * args.images,
        "values_read": (args.units + args.texts) * args.images,
        "scratch_bytes": 8 * sum(min(correlation.ROWS, n) for n in rows) * min(correlation.IMAGES, args.images),
        "largest_difference": off,
    }


def noise(tail: str, n: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Values of mean 0 and variance 1."""
    if tail == "normal":
        return draw.standard_normal(n)
    if tail == "laplace":
        return draw.laplace(size=n) / np.sqrt(2)
    if tail == "t5":
        return draw.standard_t(5, n) / np.sqrt(5 / 3)
    if tail == "rectified":  # 84 % exact zeros
        mean = stats.norm.pdf(1) - stats.norm.sf(1)
        square = 2 * stats.norm.sf(1) - stats.norm.pdf(1)
        return (np.maximum(draw.standard_normal(n) - 1, 0) - mean) / np.sqrt(square - mean**2)
    return (np.exp(draw.standard_normal(n)) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)


def simulated(number: int) -> tuple[dict[str, object], NDArray[np.float64], NDArray[np.float64]]:
    """A pair of known correlation: what it is, its activations and its presences."""
    draw = generator(SEED, "text intervals", number)
    tail = TAILS[number % len(TAILS)]
    prevalence = float(np.exp(draw.uniform(np.log(0.005), np.log(0.2))))
    n = int(np.exp(draw.uniform(np.log(2000), np.log(10_000))))
    shift, spread = draw.uniform(0, 3), draw.uniform(0.7, 2)
    shown = draw.random(n) < prevalence
    values = noise(tail, n, draw)
    activations = np.where(shown, shift + spread * values, values)
    within, between = prevalence * (1 - prevalence), 1 - prevalence + prevalence * spread**2
    truth = shift * np.sqrt(within) / np.sqrt(between + within * shift**2)
    return {"tail": tail, "n": n, "positives": int(shown.sum()), "truth": truth}, activations, shown.astype(np.float64)


def covered(number: int) -> dict[str, object]:
    """Whether the two intervals of a simulated pair contain the truth, and how wide they are."""
    facts, activations, presence = simulated(number)
    found = correlation.paired_scores(activations[None], presence[None])
    rho, se, low, high = (float(values[0]) for values in (found.rho, found.se, found.low, found.high))
    truth = float(facts["truth"])  # pyright: ignore[reportArgumentType]
    return facts | {
        "ours": low <= truth <= high,
        "plain": abs(rho - truth) <= 1.96 * se,
        "width": high - low,
        "plain_width": 2 * 1.96 * se,
        "error": rho - truth,
        "se": se,
    }


def coverage(pairs: int) -> pd.DataFrame:
    """Coverage over all pairs, by tail and by the number of positive images."""
    table = pd.DataFrame([covered(number) for number in range(pairs)])
    table = table[table["positives"] >= POSITIVES[0]]
    groups = {"all": table} | {f"tails {tail}": table[table["tail"] == tail] for tail in TAILS}
    for low, high in pairwise(POSITIVES):
        groups[f"{low} to {high - 1} positive images"] = table[table["positives"].between(low, high - 1)]
    rows = [
        {
            "group": name,
            "pairs": len(own),
            "coverage": own["ours"].mean(),
            "coverage_plain": own["plain"].mean(),
            "width": own["width"].mean(),
            "width_plain": own["plain_width"].mean(),
            "bias": own["error"].mean(),
            "se_over_sd": np.sqrt((own["se"] ** 2).mean() / (own["error"] ** 2).mean()),
        }
        for name, own in groups.items()
        if len(own)
    ]
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("units", 316), ("texts", 317), ("images", 50_000), ("rounds", 7), ("pairs", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    rows = [measure(kind, args) for kind in (np.float32, np.float64)]
    report("text_scores", f"{args.units * args.texts} pairs, {args.images} images, one thread, simulated data", rows)
    report("text_intervals", f"{args.pairs} simulated pairs", coverage(args.pairs))


if __name__ == "__main__":
    main()
