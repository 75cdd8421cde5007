"""How often intervals of agreement with judged pairs cover, where units are in several pairs.

    python -m benchmarks.judged_pairs [--studies 2000]

`judged_pairs.csv`: units have a true value and a score that misses it by an error of their own; people choose the unit of the
larger value, with noise of each choice. A row a number of units and pairs and an error: the true share that agrees, how often the
interval of 95 % of `interpretability.judged_pairs` covers it and how wide it is; the same of an interval as if pairs were
independent, and of one by drawing units with replacement (a pair as often as both its units; of fewer studies).

Aim: at least .92 of each row.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import norm

from benchmarks.harness import report
from interpretability import judged_pairs
from interpretability.randomness import generator
from interpretability.statistics import percentile_interval

SIZES = ((2000, 1000), (300, 1000), (100, 1000), (40, 300), (20, 100))  # units, pairs
ERRORS = (0.5, 3.0)  # of a score, in standard deviations of the true values
NOISE = 0.7  # of a choice
CONFIDENCE = 0.95
N_BOOTSTRAP = 300
FEWER = 10  # studies for one whose units are drawn with replacement
N_TRUTH = 1_000_000


@dataclass(frozen=True)
class Drawn:
    """One study: units (pairs, 2) as numbers, their scores, and whether people chose the first of each pair."""

    units: NDArray[np.int64]
    scores: NDArray[np.float64]
    first_chosen: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        return (self.scores[:, 0] > self.scores[:, 1]) == self.first_chosen


def drawn(draw: np.random.Generator, n_units: int, n_pairs: int, error: float) -> Drawn:
    """A study of `n_pairs` pairs of `n_units` units."""
    truth = draw.normal(size=n_units)
    scores = truth + error * draw.normal(size=n_units)
    first = draw.integers(n_units, size=n_pairs)
    second = (first + draw.integers(1, n_units, size=n_pairs)) % n_units
    chosen = truth[first] - truth[second] + NOISE * draw.normal(size=n_pairs) > 0
    units = np.stack([first, second], axis=1)
    return Drawn(units, scores[units], chosen)


def true_share(draw: np.random.Generator, error: float) -> float:
    """Share of choices that a score with this error agrees with, over all pairs that there could be."""
    difference = np.sqrt(2) * draw.normal(size=N_TRUTH)
    scored = difference + error * np.sqrt(2) * draw.normal(size=N_TRUTH)
    return float(np.where(scored > 0, ndtr(difference / NOISE), ndtr(-difference / NOISE)).mean())


def _independent(study: Drawn) -> tuple[float, float]:
    share, n = study.right.mean(), len(study.right)
    reach = norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(share * (1 - share) / n)
    return float(share - reach), float(share + reach)


def _with_replacement(draw: np.random.Generator, study: Drawn, n_units: int) -> tuple[float, float]:
    times = draw.multinomial(n_units, np.full(n_units, 1 / n_units), size=N_BOOTSTRAP)
    weights = times[:, study.units[:, 0]] * times[:, study.units[:, 1]]
    with np.errstate(invalid="ignore"):
        return percentile_interval(weights @ study.right / weights.sum(axis=1), CONFIDENCE)


def row(n_units: int, n_pairs: int, error: float, n_studies: int, seed: int = 0) -> dict[str, float]:
    """Coverage and mean width of the three intervals."""
    draw = generator(seed, "judged pairs", n_units, n_pairs, int(10 * error))
    share = true_share(draw, error)
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "independent": [], "with_replacement": []}
    for study_number in range(n_studies):
        study = drawn(draw, n_units, n_pairs, error)
        ours = judged_pairs(study.units, study.scores, study.first_chosen, confidence=CONFIDENCE)
        found["ours"].append((ours.low, ours.high))
        found["independent"].append(_independent(study))
        if study_number % FEWER == 0:
            found["with_replacement"].append(_with_replacement(draw, study, n_units))
    result = {"n_units": n_units, "n_pairs": n_pairs, "error": error, "share": share}
    for name, intervals in found.items():
        low, high = np.array(intervals).T
        result |= {
            f"covered_{name}": float(((low <= share) & (share <= high)).mean()),
            f"width_{name}": float((high - low).mean()),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    args = parser.parse_args()
    rows = [row(*size, error, args.studies) for size in SIZES for error in ERRORS]
    report("judged_pairs", f"{args.studies} simulated studies of judged pairs a row", rows)


if __name__ == "__main__":
    main()
