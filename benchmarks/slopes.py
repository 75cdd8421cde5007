"""How often does the study call the slope of a similarity identified? Simulated studies of similarities good and bad.

    python -m benchmarks.slopes                      # 2,000 studies: about 10 minutes of processor time, one core
    python -m benchmarks.slopes --studies 50         # a first look

Every study has the form of IMI (`drawn_studies`, its defaults: 9 networks of 84 units, 30 answers a unit). Of its units 5 to
40 are drawn as a calibration split, and on them the slope of each simulated similarity is fitted, its interval and its gain
over one half computed, and the rule of `identification` asked, by the functions that the stage calls. All similarities of
a study meet the same answers; they differ in their margins, normal like those that people see:

null        the same distribution around 0 for all units: they know nothing
hash        units differ, around 0: what chance units look like under any similarity
pixel       a mean above 0, units that differ more than people's do, no correlation with what people see
level       the mean of a good one, units that differ as much, no correlation: such a slope has a meaning, that of the level,
            so it may well be identified; the correlation with people is the second mark, which then excludes it
weak        a small mean and a small correlation
moderate    both larger
good        what people see, correlated .9 over units and over tasks

Expect identified in at most 1 % of studies of null and hash, 2 % of pixel, whatever the number of units, and of good in
at least 80 % with 10 units and 95 % with 20. Columns: similarity, units, studies, identified (share) and its standard error,
ratio (median of high / low), and the share of studies in which each of the three conditions holds.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from benchmarks.harness import report
from interpretability.design import drawn_studies
from interpretability.people import calibration, identification
from interpretability.randomness import generator

SPLITS = (5, 10, 20, 24, 40)
N_BOOTSTRAP = 200
OBJECTIVE = "squared_error"
DESIGN = drawn_studies.Design()


@dataclass(frozen=True)
class Margins:
    """Margins of a similarity: their mean, SD of units and of tasks within a unit, correlation with what people see."""

    level: float
    unit_spread: float
    task_spread: float
    agreement: float


SIMILARITIES = {
    "null": Margins(0.0, 0.0, 0.15, 0.0),
    "hash": Margins(0.0, 0.15, 0.15, 0.0),
    "pixel": Margins(0.1, 0.25, 0.26, 0.0),
    "level": Margins(DESIGN.level, 0.16, 0.15, 0.0),
    "weak": Margins(0.1, 0.16, 0.15, 0.28),
    "moderate": Margins(0.2, 0.16, 0.15, 0.37),
    "good": Margins(DESIGN.level, 0.16, 0.15, 0.9),
}


def one_study(number: int) -> list[dict[str, object]]:
    """What is found in one study: a row for each similarity and size of the split."""
    draw = generator(number, "slopes")
    study = drawn_studies.draw_study(DESIGN, draw)
    his = drawn_studies.human_arrays(study)[0].ravel()
    order = draw.permutation(len(his))
    seen = study.seen.reshape(len(his), -1)[order]
    rows: list[dict[str, object]] = []
    for name, kind in SIMILARITIES.items():
        margins = margins_of(kind, seen[: max(SPLITS)], generator(number, "slopes", name))
        for n in SPLITS:
            of_split = margins[:n], his[order[:n]], OBJECTIVE
            fit = calibration.fit_slope(*of_split)
            resamples = generator(number, "slopes", "interval", n)
            ends = calibration.slope_interval(*of_split, resamples, N_BOOTSTRAP, identification.CONFIDENCE)
            found = identification.identify(fit, ends, identification.gains_over_half(*of_split))
            rows.append(
                {
                    "similarity": name,
                    "n_units": n,
                    "identified": found.identified,
                    "ratio": found.ratio,
                    "inside": not fit.at_bound,
                    "narrow": found.ratio < identification.WIDEST_RATIO,
                    "beats_half": found.gain_t > stats.t.ppf((1 + identification.CONFIDENCE) / 2, n - 1),
                }
            )
    return rows


def margins_of(kind: Margins, seen: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
    """Margins (units, tasks) of a similarity of this kind, correlated with those that people see."""
    unit = seen.mean(axis=1, keepdims=True)
    spread = np.hypot(DESIGN.unit_spread, DESIGN.model_spread)
    known = (unit - DESIGN.level) / spread, (seen - unit) / DESIGN.task_spread
    rest = np.sqrt(1 - kind.agreement**2)
    own = draw.standard_normal(unit.shape), draw.standard_normal(seen.shape)
    of_units, of_tasks = (kind.agreement * z + rest * e for z, e in zip(known, own, strict=True))
    return kind.level + kind.unit_spread * of_units + kind.task_spread * of_tasks


def rows_of(n_studies: int) -> pd.DataFrame:
    """`one_study` of so many studies."""
    return pd.DataFrame([row for number in range(n_studies) for row in one_study(number)])


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares over studies, a row for each similarity and number of units."""
    groups = rows.groupby(["similarity", "n_units"], sort=False)
    shares = groups[["identified", "inside", "narrow", "beats_half"]].mean()
    n_studies = groups.size()
    table = pd.DataFrame({"n_studies": n_studies, "identified": shares["identified"]})
    table["identified_se"] = np.sqrt(shares["identified"] * (1 - shares["identified"]) / n_studies)
    table["ratio"] = groups["ratio"].median()
    return table.join(shares[["inside", "narrow", "beats_half"]]).reset_index()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies")
    args = parser.parse_args(argv)
    report("slopes", "Identified slopes, simulated studies", summary(rows_of(args.studies)))


if __name__ == "__main__":
    main()
