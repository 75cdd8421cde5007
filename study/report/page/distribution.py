"""How the scores of all units spread, network by network: what the first screen draws and the marks of single units need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from interpretability.schema import NATURAL
from study.files.unit_tables import Scored
from study.report.figures.base import Study
from study.report.page.cells import interval, number
from study.report.page.packing import whole

GUESSING = 0.5  # what answers without looking score
WIDTH = 0.0125  # of a bin
LOWEST = 0.4  # where the axis begins, unless a unit lies below
STEP = 0.1  # between the lines of the axis
FILLED = 90  # percent of a row's height
MOST_COLOURS = 8  # networks with a colour of their own
MOST_ROWS = 7  # of more networks than that, so many are drawn
FIRST, LAST, OTHERS = "var(--n0)", "var(--n3)", "var(--c6)"


@dataclass(frozen=True)
class Network:
    """Scores of the units of one network: mean with its interval and percentiles of models.csv, and a count for each bin."""

    name: str
    n: int
    mean: float
    low: float
    high: float
    p5: float
    p95: float
    colour: str
    counts: tuple[int, ...]

    def words(self) -> str:
        """The numbers that a drawing of this network shows."""
        known = interval(self.low, self.high)
        between = "" if known == "–" else f", interval {known}"
        return (
            f"{self.name}: mean {number(3)(self.mean)}{between}, 5th to 95th percentile {interval(self.p5, self.p95)}"
        )


@dataclass(frozen=True)
class Spread:
    """MIS of every scored unit with natural tasks under the leading similarity.

    networks: as ranked, the most understandable first; start: where the first bin of WIDTH begins, the last ends at 1;
    mis, accuracy: 25th and 75th percentile over the units of all networks together, NaN without units.
    """

    networks: tuple[Network, ...]
    start: float
    mis: tuple[float, float]
    accuracy: tuple[float, float]

    def as_content(self) -> dict[str, object]:
        """What the script reads: `nets` as ranked, scores in whole millionths, counts `h`; `bins` as [start, width]."""
        nets = [
            {"name": net.name, "n": net.n, "colour": net.colour, "h": list(net.counts)}
            | dict(zip(("mean", "low", "high", "p5", "p95"), whole(_numbers(net)), strict=True))
            for net in self.networks
        ]
        return {"nets": nets, "bins": [self.start, WIDTH]}

    def shown(self) -> tuple[int, ...]:
        """Which networks are drawn: all, or of too many both ends and, evenly along the ranking, some between."""
        n = len(self.networks)
        if n <= MOST_COLOURS:
            return tuple(range(n))
        return tuple(np.linspace(0, n - 1, MOST_ROWS).round().astype(int).tolist())

    def place(self, score: float) -> float:
        """Where a score lies on the axis, in percent of its length."""
        return round(100 * (score - self.start) / (1 - self.start), 2)

    def axis(self) -> list[tuple[str, float, bool]]:
        """Lines of the axis behind its start: number in words, place in percent, whether guessing scores that much."""
        first = math.floor(round(self.start / STEP, 6)) + 1
        values = [round(step * STEP, 6) for step in range(first, round(1 / STEP) + 1)]
        return [(number(1)(value), self.place(value), value == GUESSING) for value in values]

    def height(self, index: int, score: float) -> float:
        """How high the outline of a network is where a unit lies, in percent of its row."""
        net = self.networks[index]
        at = math.floor((score - self.start) / WIDTH)
        return round(self._high(net, net.counts[min(max(at, 0), len(net.counts) - 1)]), 2)

    def _high(self, net: Network, n: int) -> float:
        """Height of n units of a network in percent: the tallest bin of all that are drawn fills FILLED."""
        top = max(max(self.networks[i].counts) / self.networks[i].n for i in self.shown())
        return FILLED * n / net.n / top

    def path(self, index: int) -> str:
        """The outline of a network's scores in a box of 100 x 100, as an SVG path."""
        net = self.networks[index]
        step = 100 / len(net.counts)
        points = [(step * (i + 0.5), 100 - self._high(net, n)) for i, n in enumerate(net.counts)]
        return "M0 100" + "".join(f"L{_short(x)} {_short(y)}" for x, y in points) + "L100 100Z"

    def words(self) -> str:
        """Everything the drawing shows, in words."""
        return "; ".join(self.networks[i].words() for i in self.shown())


def read_spread(study: Study, path: Path) -> Spread:
    """Count the units of every network under study, a network at a time; `path` is data/mis/units.parquet."""
    scored = Scored(path)
    models = study.models()
    columns = ["mis", "accuracy", "condition"]
    units = [_natural(scored.units(study.lead, str(name), columns)) for name in models["model"]]
    kept = [(row, rows) for row, rows in zip(models.to_dict("records"), units, strict=True) if len(rows)]
    lowest = min((float(rows["mis"].min()) for _, rows in kept), default=LOWEST)
    start = min(LOWEST, round(math.floor(lowest / STEP) * STEP, 6))
    colours = colours_of(len(kept))
    networks = [_network(row, rows, start, colour) for (row, rows), colour in zip(kept, colours, strict=True)]
    every = [np.concatenate([rows[name].to_numpy(np.float64) for _, rows in kept] or [[]]) for name in columns[:2]]
    return Spread(tuple(networks), start, _middle(every[0]), _middle(every[1]))


def colours_of(n: int) -> list[str]:
    """Colour of each of n ranked networks, as CSS: of their own while there are enough, else for the two ends alone."""
    if n <= MOST_COLOURS:
        return [f"var(--n{i})" for i in range(n)]
    return [FIRST, *[OTHERS] * (n - 2), LAST]


def _natural(units: pd.DataFrame) -> pd.DataFrame:
    return units[(units["condition"] == NATURAL).to_numpy(bool)]


def _network(row: dict[Any, Any], units: pd.DataFrame, start: float, colour: str) -> Network:
    n_bins = round((1 - start) / WIDTH)
    counts = np.histogram(units["mis"].to_numpy(np.float64), n_bins, (start, 1.0))[0]
    numbers = [float(row[name]) for name in ("mis_mean", "mis_low", "mis_high", "p5", "p95")]
    return Network(str(row["model"]), len(units), *numbers, colour, tuple(counts.tolist()))


def _numbers(net: Network) -> NDArray[np.float64]:
    return np.array([net.mean, net.low, net.high, net.p5, net.p95], dtype=np.float64)


def _middle(values: ArrayLike) -> tuple[float, float]:
    """25th and 75th percentile; NaN without values."""
    found = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(found, [0.25, 0.75]) if len(found) else (math.nan, math.nan)
    return float(low), float(high)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
