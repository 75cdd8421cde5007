"""Do the intervals of the study cover what they are meant to cover? Thousands of studies whose truth is known.

    python -m benchmarks.coverage                      # about 40 minutes of processor time, one core
    python -m benchmarks.coverage --studies 200        # a first look

Every study is drawn by `drawn_studies`, every interval computed by the functions that the pipeline calls (`covered`), with
a nominal 95 % and 200 bootstrap samples (the pipeline takes more). An interval covers if the truth of the same setting
lies in it. Which tables and figures show it stands beside it (`shown_intervals`). Kinds of studies:

these   always the same networks; units, tasks, people and answers are new. For what is said about the networks at hand
others  new networks too. For what is said about other networks like these. Spearman's correlation is tried on six networks
        where the setting has fewer: with five it has no interval
parts   what needs no study with people: layers, families, planted units (`covered_parts`)

The truth of a quantity is the same statistic in one very large study with the same numbers of tasks and answers a unit:
of the same networks (these), of very many networks (others). For slopes that is the minimiser of the loss there: lapses
and imperfect agreement move it away from the slope of the observers; their bias, sd and width are those of log slopes,
over fits inside the bounds. Means of bins (of MIS, of fitted probabilities) and of chosen units are meant for all units in
the same range, those "of these people" for all units had the people of the study answered them: truths of each study. `meant`
is no in the rows of a truth that the interval is not meant for, which show by how much it misses:

logit t, BCa, other people   they take the people for given; "two-way" is meant for others
two-way, these people        too wide for them
nested, true means           sampling noise in the means of a study always lowers their correlation; nested, as many units, is
                             meant for the typical correlation of such studies of these networks
V4, true shares              what V4 misses where tasks are unequal; V4: its own value in a large study
mean MIS, other layers       an interval over units takes them for independent; units of a layer are alike

Meant rows lie between .93 and .985 but for those that their table marks (`shown_intervals.MARKED`): the bootstrap of IMI's
analysis, and the ranges over simulations of the ceilings V1, V2, V3 and V5.

"""

from __future__ import annotations

import argparse
import dataclasses
from itertools import product
from time import perf_counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks import covered, covered_parts
from benchmarks.harness import report
from benchmarks.shown_intervals import NOT_MEANT, tables_of
from interpretability import statistics
from interpretability.design import drawn_studies
from interpretability.mis import probabilities
from interpretability.people import agreement, calibration
from interpretability.randomness import generator

SETTINGS = {
    "imi": drawn_studies.Design(),
    "small": drawn_studies.Design(n_models=5, n_units=40, n_responses=10, n_answered=5),
}
KINDS = ("these", "others", "parts")
LARGE = 300_000  # units of the very large study
COLUMNS = [
    *("setting", "networks", "quantity", "meant", "tables", "truth", "bias", "sd", "width"),
    *("coverage", "coverage_se", "above", "n_intervals"),
]
# quantities meant for what such studies give on average, and the scale of that average
TYPICAL = {
    "pearson, model, nested, as many units": (np.arctanh, np.tanh),
    "layers in a bin of depth": (np.asarray, np.asarray),
    "layers in a bin of width": (np.asarray, np.asarray),
    "rank correlation within layers": (np.asarray, np.asarray),
}


def large_study(design: drawn_studies.Design, kind: str, networks: NDArray[np.float64]) -> drawn_studies.Study:
    """Very many units of the given networks, or very many networks with as many units as the design says."""
    draw = generator(0, "large", kind)
    if kind == "these":
        return drawn_studies.draw_study(dataclasses.replace(design, n_units=LARGE // design.n_models), draw, networks)
    return drawn_studies.draw_study(dataclasses.replace(design, n_models=LARGE // design.n_units), draw)


def studies(
    design: drawn_studies.Design, setting: str, kind: str, n_studies: int
) -> tuple[list[covered.Found], dict[str, float]]:
    """What every study gives, and the truths that are the same for all of them."""
    if kind == "parts":
        progress = _Progress(setting, kind, n_studies)
        return [progress.step(covered_parts.intervals(design, n)) for n in range(n_studies)], covered_parts.truths(
            design
        )
    networks = drawn_studies.draw_networks(design, generator(0, "networks", setting))
    large = large_study(design, kind, networks)
    slope = covered.slope_of(large)
    truth = covered.truths(large, slope) if kind == "these" else over_networks(large, slope)
    known = covered.reference(large, slope, networks[0, covered.FIRST])
    del large
    progress, found = _Progress(setting, kind, n_studies), []
    # below MIN_RANKED networks Spearman has no interval: with fewer in the design it is tried on as many
    ranked = dataclasses.replace(design, n_models=max(design.n_models, agreement.MIN_RANKED))
    for number in range(n_studies):
        drawn_as, means = (design, networks) if kind == "these" else (ranked, None)
        study = drawn_studies.draw_study(drawn_as, generator(number, "study", setting, kind), means)
        if kind == "these":
            of_study = covered.intervals(study, known, number)
        else:
            of_study = intervals_over_networks(study, slope, number, design.n_models)
        found.append(progress.step(of_study))
    return found, truth


def intervals_over_networks(study: drawn_studies.Study, slope: float, seed: int, n_networks: int) -> covered.Found:
    """What is said about other networks, which does not come from resamples: Pearson of the first n_networks, and Spearman."""
    units = drawn_studies.units_frame(study, slope)
    draw = generator(seed, "agreement", "model")
    first = units["model"].isin(drawn_studies.names(study.design)[:n_networks])
    rows = {"pearson": units[first], "spearman": units}
    found: covered.Found = {}
    for measure, of in rows.items():
        row = agreement.model_agreement(of, 2, covered.CONFIDENCE, draw)
        found[f"{measure}, model"] = row[measure], row[f"{measure}_low"], row[f"{measure}_high"]
    return found


def over_networks(study: drawn_studies.Study, slope: float) -> dict[str, float]:
    """Correlations over the means of very many networks."""
    means = [
        each.mean(axis=1)
        for each in (probabilities(study.margins, slope).mean(axis=2), drawn_studies.human_arrays(study)[0])
    ]
    functions = {"pearson": statistics.pearson, "spearman": statistics.spearman}
    return {f"{name}, model": float(function(*means)) for name, function in functions.items()}


def coverage(setting: str, kind: str, n_studies: int) -> pd.DataFrame:
    """COLUMNS, one row a quantity."""
    found, truth = studies(SETTINGS[setting], setting, kind, n_studies)
    columns = covered.quantities(found)
    for quantity, transform in TYPICAL.items():
        if quantity in columns:
            points = transform[0](columns[quantity][0])
            truth[quantity] = float(transform[1](points[np.isfinite(points)].mean()))
    rows = [
        {
            "setting": setting,
            "networks": kind,
            "quantity": quantity,
            "meant": "no" if quantity in NOT_MEANT else "yes",
            "tables": " ".join(tables_of(quantity)),
            **summary(quantity, values, truth),
        }
        for quantity, values in columns.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


class _Progress:
    """Says now and then how far a setting is."""

    def __init__(self, setting: str, kind: str, n: int) -> None:
        self.words, self.n, self.done, self.begin = f"{setting}, {kind}", n, 0, perf_counter()

    def step(self, found: covered.Found) -> covered.Found:
        self.done += 1
        if self.done % 100 == 0:
            rate = (perf_counter() - self.begin) / self.done
            print(f"{self.words}: {self.done} of {self.n} studies, {rate:.2f} s each", flush=True)
        return found


def summary(quantity: str, values: NDArray[np.float64], truth: dict[str, float]) -> dict[str, float]:
    """Truth, bias, sd, median width, coverage with its standard error, share of intervals that lie above the truth."""
    point, low, high, *own = values
    target = own[0] if own else np.full(len(point), truth[quantity])
    kept = np.isfinite(low) & np.isfinite(high) & np.isfinite(target)
    n, covered = int(kept.sum()), ((low <= target) & (target <= high))[kept]
    share = covered.mean() if n else np.nan
    row = {"truth": target.mean(), "coverage": share, "n_intervals": n}
    row |= {"coverage_se": np.sqrt(share * (1 - share) / n) if n else np.nan}
    row |= {"above": (low > target)[kept].mean() if n else np.nan}
    usable = np.isfinite(point)
    if quantity.startswith("slope"):
        usable &= (point > 1.01 * calibration.SLOPE_BOUNDS[0]) & (point < 0.99 * calibration.SLOPE_BOUNDS[1])
        point, low, high, target = (np.log(part) for part in (point, low, high, target))
    error = (point - target)[usable]
    row |= {"bias": error.mean() if len(error) else np.nan, "sd": error.std() if len(error) else np.nan}
    return row | {"width": np.median((high - low)[kept]) if n else np.nan}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="studies of each setting")
    args = parser.parse_args(argv)
    tables: list[pd.DataFrame] = []
    for setting, kind in product(SETTINGS, KINDS):
        tables.append(coverage(setting, kind, args.studies))
        report("coverage", "Coverage", pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    main()
