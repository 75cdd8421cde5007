"""Machine Interpretability Score of units from the margins of their tasks (MIS paper, section 3).

A margin is the task's evidence for the right answer: the positive query's similarity to the positive minus to
the negative explanations, less the same difference of the negative query; larger means easier.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from interpretability import arguments
from interpretability.errors import InputError
from interpretability.schema import MOST_TASKS, SCORE_COLUMNS

# The paper's alpha read as a factor of the margin. It cannot produce the paper's scores: with cosine
# similarities a margin is at most 4, and sigmoid(0.64) = 0.655. Printed beside every fitted slope for that
# reason alone.
LITERAL_SLOPE = 0.16
# Rows per block: double-precision temporaries of millions of units would not fit beside the margins.
_BLOCK = 1 << 16


def probabilities(margins: NDArray[np.floating], slope: float) -> NDArray[np.float64]:
    """Probability of a right answer in each task, sigmoid(slope * margin), equation 4; same shape as margins.

    Stable for any size of slope * margin: it saturates at 0 and 1 without overflow.

    >>> probabilities([-1.0, 0.0, 1.0], 6.25).round(3).tolist()
    [0.002, 0.5, 0.998]
    """
    return expit(slope * np.asarray(margins, dtype=np.float64))


def mean_probabilities(
    margins: NDArray[np.floating], slope: float, used: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """MIS alone (units,) from margins (units, tasks): the mean of `probabilities` over the tasks of `used`, else over all.

    NaN for a unit of which no task is used.

    >>> import numpy as np
    >>> mean_probabilities(np.array([[0.1, 0.3]]), 6.25).round(3).tolist()
    [0.759]
    """
    p = probabilities(margins, slope)
    if used is None:
        return p.mean(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(used, p, 0.0).sum(axis=1) / used.sum(axis=1)


def unit_scores(
    margins: NDArray[np.floating],
    slope: float,
    near: NDArray[np.bool_] | None = None,
    drop: bool = False,
) -> pd.DataFrame:
    """Scores of units, one row each, in the order of `margins`; no number of a unit depends on other units.

    margins      (units, tasks), finite: how clearly each task is solved, larger is easier, as `task_margins` gives them
    slope        of the sigmoid, above 0, in units of 1 / margin: 6.25 for DreamSim, or what `fit_slope` finds
    near         (units, tasks) bool: tasks whose query nearly equals one of their explanations; with `drop` they are left out

    Columns of the table:
    mis          mean probability of a right answer over the tasks, equation 5: 0 to 1, 0.5 is chance, higher is easier
    mis_se       its standard error from the sampling of tasks: sd over tasks (ddof 1) / sqrt(tasks)
    accuracy     share of tasks with a positive margin, a margin of exactly zero counts half
    margin_mean, margin_sd   over tasks (ddof 1)
    n_tasks      tasks that entered; n_near: tasks marked in `near`

    A unit without a remaining task has NaN scores, with a single one NaN for the spreads. Raises InputError for margins that
    are no finite numbers (units, tasks), a slope that is not above 0, and a mask of another shape.

    >>> import numpy as np
    >>> from interpretability import unit_scores
    >>> unit_scores(np.array([[0.1, 0.3], [0.0, 0.0]]), slope=6.25)[["mis", "accuracy"]].round(3).values.tolist()
    [[0.759, 1.0], [0.5, 0.5]]
    """
    margins = arguments.array(margins, "margins", ("units", "tasks"), empty=True)
    slope = arguments.number(slope, "slope", above=0)
    if margins.shape[1] > MOST_TASKS:
        raise arguments.wrong(
            "margins", "has {given} tasks a unit; it must be at most {most}", given=margins.shape[1], most=MOST_TASKS
        )
    if near is not None:
        near = np.asarray(near)
        if near.shape != margins.shape or near.dtype != bool:
            raise InputError(
                "{near} has shape {shape} and values of type {kind}; it must be bool, of the shape of {margins}, {expected}",
                "near",
                "margins",
                shape=near.shape,
                kind=near.dtype,
                expected=margins.shape,
            )
    columns = {name: np.empty(len(margins)) for name in SCORE_COLUMNS}
    for start in range(0, len(margins), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = _block_scores(margins[rows], slope, None if near is None else near[rows], drop, start)
        for name, values in block.items():
            columns[name][rows] = values
    frame = pd.DataFrame(columns)
    return frame.astype({"n_tasks": "int16", "n_near": "int16"})


def _block_scores(
    margins: NDArray[np.floating], slope: float, near: NDArray[np.bool_] | None, drop: bool, first_row: int
) -> dict[str, NDArray[np.float64]]:
    margins = margins.astype(np.float64)
    if not np.isfinite(margins).all():
        row, task = np.argwhere(~np.isfinite(margins))[0]
        raise InputError(
            "{margins} holds {value} at {place}; all values must be finite",
            "margins",
            value=margins[row, task],
            place=[first_row + int(row), int(task)],
        )
    marked = np.zeros(margins.shape, dtype=bool) if near is None else np.asarray(near, dtype=bool)
    used = ~marked if drop else np.ones_like(marked)
    count = used.sum(axis=1)
    p = probabilities(margins, slope)
    mis, mis_sd = _mean_sd(p, used, count)
    margin_mean, margin_sd = _mean_sd(margins, used, count)
    right = (margins > 0) + 0.5 * (margins == 0)
    return {
        "mis": mis,
        "mis_se": mis_sd / np.sqrt(np.maximum(count, 1)),
        "accuracy": _mean_sd(right, used, count)[0],
        "margin_mean": margin_mean,
        "margin_sd": margin_sd,
        "n_tasks": count,
        "n_near": marked.sum(axis=1),
    }


def _mean_sd(
    values: NDArray[np.float64], used: NDArray[np.bool_], count: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (ddof 1) of the used entries of each row; NaN where there are too few."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(used, values, 0.0).sum(axis=1) / count
        deviations = np.where(used, values - mean[:, None], 0.0)
        variance = (deviations**2).sum(axis=1) / (count - 1)
    return mean, np.sqrt(np.where(count > 1, variance, np.nan))


def near_mask(lengths: NDArray[np.integer], tasks: NDArray[np.integer], n_tasks: int) -> NDArray[np.bool_]:
    """Mask (units, n_tasks) of lists of task numbers: their lengths, and all lists end to end."""
    mask = np.zeros((len(lengths), n_tasks), dtype=bool)
    mask[np.repeat(np.arange(len(lengths)), lengths), tasks] = True
    return mask
