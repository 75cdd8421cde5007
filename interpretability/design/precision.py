"""How many units, answers and networks a study needs: interval widths to expect, found by simulating the study.

The studies are those of `drawn_studies`, the intervals those of the pipeline, so a plan and its study agree.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from statsmodels.stats.power import TTestIndPower

from interpretability.design import drawn_studies
from interpretability.errors import InputError
from interpretability.people import agreement, calibration, ceiling, noise, two_way
from interpretability.people.ceiling_columns import leading_variant
from interpretability.randomness import generator
from interpretability.schema import KEY

# What a plan can be asked for: the width of which interval.
QUANTITIES = {
    "slope": "slope of a similarity, fitted on the calibration split",
    "agreement": "Pearson correlation of MIS and HIS over all units",
    "his": "mean HIS of one network, for other units and other people",
    "ceiling": "noise ceiling: V4w, or V4 where answers are too few for a second one to any task",
}
COLUMNS = [
    *("n_models", "n_units", "n_responses", "n_split", "n_people"),
    *("slope_width", "agreement", "agreement_width", "his_width", "ceiling", "ceiling_width"),
]
# A search ends when the expected width is this close to the wanted one, or after so many steps.
_CLOSE = 0.02
_MOST_STEPS = 8
FEWEST_UNITS, MOST_UNITS = 5, 20_000
_SPLIT = 0.05
_FEWEST_SPLIT = 20
_NORMAL_EFFICIENCY = 3 / math.pi


def expected(
    design: drawn_studies.Design, seed: int, n_studies: int, n_bootstrap: int, confidence: float
) -> dict[str, float]:
    """One row of a plan: COLUMNS.

    Medians over simulated studies of the widths of the intervals named in QUANTITIES, of the agreement and of the leading
    noise ceiling.
    n_split is the number of units that calibrate the slope, 5 % but at least 20 (all, where there are fewer); n_people
    the number of participants of all networks. MIS has the slope of the observers, which changes no width notably.
    """
    rows = [_one_study(design, seed, number, n_bootstrap, confidence) for number in range(n_studies)]
    table = pd.DataFrame(rows).median()
    n_people = design.n_models * math.ceil(design.n_units * design.n_responses / min(design.n_trials, design.n_units))
    settings = {name: getattr(design, name) for name in ("n_models", "n_units", "n_responses")}
    return {**settings, "n_split": split_size(design), "n_people": n_people, **table.to_dict()}  # pyright: ignore[reportReturnType]


def split_size(design: drawn_studies.Design) -> int:
    """Units that calibrate the slope."""
    n_units = design.n_models * design.n_units
    return min(n_units, max(_FEWEST_SPLIT, round(_SPLIT * n_units)))


def _one_study(
    design: drawn_studies.Design, seed: int, number: int, n_bootstrap: int, confidence: float
) -> dict[str, float]:
    draw = generator(seed, "plan", number)
    study = drawn_studies.draw_study(design, draw)
    units = drawn_studies.units_frame(study, design.slope)
    split = draw.permutation(len(units))[: split_size(design)]
    margins, his = study.margins.reshape(len(units), -1)[split], units["his"].to_numpy()[split]
    low, high = calibration.slope_interval(margins, his, "squared_error", draw, n_bootstrap, confidence)
    agreed = agreement.unit_agreement(units, False, n_bootstrap, confidence, draw)
    answers = drawn_studies.responses_frame(study)
    people = two_way.means_of_units(answers, confidence)
    units = units.merge(noise.noise_within_tasks(answers), on=KEY, how="left")
    limit = ceiling.ceiling_summary(leading_variant(units), units, n_bootstrap, confidence, draw)
    return {
        "slope_width": high - low,
        "agreement": agreed["pearson"],
        "agreement_width": agreed["pearson_high"] - agreed["pearson_low"],
        "his_width": (people["high"] - people["low"]).median(),
        "ceiling": limit["mean"],
        "ceiling_width": limit["high"] - limit["low"],
    }


def units_for_width(
    design: drawn_studies.Design,
    quantity: str,
    target: float,
    seed: int,
    n_studies: int,
    n_bootstrap: int,
    confidence: float,
    seen: Callable[[dict[str, float]], None] = lambda row: None,
) -> dict[str, float]:
    """The row of `expected` for about the fewest units a network at which this interval is as narrow as `target`.

    Widths fall about with the square root of the number of units; the search follows the line through the last two
    trials in logarithms. `seen` is called with every trial. An InputError where even the most units do not suffice.
    """
    if quantity not in QUANTITIES:
        raise InputError(f"there is no plan for {quantity!r}; allowed are {', '.join(QUANTITIES)}")
    if not target > 0:
        raise InputError(f"the wanted width is {target:g}; it must be above 0")
    tried: dict[int, dict[str, float]] = {}
    n_units = design.n_units
    for _ in range(_MOST_STEPS):
        design = dataclasses.replace(design, n_units=n_units)
        tried[n_units] = expected(design, seed, n_studies, n_bootstrap, confidence)
        seen(tried[n_units])
        if not math.isfinite(tried[n_units][f"{quantity}_width"]):
            raise InputError(
                f"the interval of {quantity} is not defined with {n_units} units of each of {design.n_models} networks "
                f"and {design.n_responses:g} answers each; plan more answers or units"
            )
        n_units = _next_units({n: row[f"{quantity}_width"] for n, row in tried.items()}, target)
        if n_units in tried:
            break
    enough = [n for n, row in tried.items() if row[f"{quantity}_width"] <= target * (1 + _CLOSE)]
    if not enough:
        least = min(row[f"{quantity}_width"] for row in tried.values())
        raise InputError(
            f"the interval of {quantity} stays wider than {target:g}: {least:.3g} with {max(tried)} units of each of "
            f"{design.n_models} networks; ask for a wider one, or plan more answers or networks"
        )
    return tried[min(enough)]


def _next_units(widths: dict[int, float], target: float) -> int:
    """Number of units to try next; one that was tried ends the search."""
    (last, width), power = list(widths.items())[-1], -0.5
    if abs(width / target - 1) <= _CLOSE:
        return last
    if len(widths) > 1:
        before, other = list(widths.items())[-2]
        slope = math.log(width / other) / math.log(last / before)
        power = min(max(slope, -1.0), -0.25)  # noise of the simulation must not send the search astray
    return int(min(max(math.ceil(last * (target / width) ** (1 / power)), FEWEST_UNITS), MOST_UNITS))


def power_units(effect: float = 2 / 3, alpha: float = 0.01, power: float = 0.95) -> int:
    """Units a network for a two-sided Mann-Whitney test of two networks: 86 for the defaults, as in IMI's appendix A.5.

    effect  Cohen's d: IMI expected a difference of .10 and, from a pilot, a standard deviation of .15
    alpha   .05 / 5, already adjusted; power: IMI calls it beta
    The test has the power of a t test with 3 / pi as many units, its efficiency for normal data (noncentral t).
    """
    if effect == 0 or not (0 < alpha < 1 and 0 < power < 1):
        raise InputError(
            f"effect {effect:g}, alpha {alpha:g}, power {power:g}: an effect of 0 or a share outside 0 to 1"
        )
    n = TTestIndPower().solve_power(effect_size=abs(effect), alpha=alpha, power=power, alternative="two-sided")
    return math.ceil(float(np.max(n)) / _NORMAL_EFFICIENCY)
