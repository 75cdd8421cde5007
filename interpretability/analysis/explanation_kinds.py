"""Which kind of explanation serves each unit best, and what choosing it gains, without the luck of the choice.

The kind with the highest score is too good to be true: of five kinds that serve alike the best looks .025 better than it is
(with 20 tasks that spread by .15). So a kind is chosen on one half of a unit's tasks and scored on the other. Tasks with made
images share these images, so the luck of one set of them is in both halves: the choice is made with one seed set, the score is
that with another. All directions are averaged: either half and, where there are several sets, every two of them.

What is estimated is the gain of choosing from half of the tasks and one set of made images. It is no estimate of how much
better a unit's best kind is, which it falls short of: where kinds are alike, choosing costs what the base is ahead.

Departure: neither paper compares kinds unit by unit; this is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.statistics import mean_interval

CHOSEN = "chosen"  # stands for a kind in the row of what was chosen
COLUMNS = [
    *("kind", "n_units", "n_images", "mean", "base_mean", "difference", "low", "high"),
    *("share", "naive", "between_sd", "n_sets"),
]


@dataclass(frozen=True)
class Choice:
    """What choosing among kinds of explanation gives, in D directions of choosing and reporting.

    kinds   (units, D) number of the kind that was chosen
    scores  (units, D) its score where it was not chosen
    gains   (units, D) the same less the base's score there
    naive   (units,) the highest score of all tasks and sets, less the base's: too good
    Units without a score of the base have NaN, and -1 as kind.
    """

    kinds: NDArray[np.int64]
    scores: NDArray[np.float64]
    gains: NDArray[np.float64]
    naive: NDArray[np.float64]

    @property
    def gain(self) -> NDArray[np.float64]:
        """Gain (units,) of choosing, the mean over the directions."""
        return self.gains.mean(axis=1)


def choose(scores: NDArray[np.floating]) -> Choice:
    """Choose for each unit among kinds of explanation by `scores` (units, kinds, sets, 2), the base first; higher is better.

    Entry [u, k, s, h] is the score of unit u under kind k from half h of its tasks, with the made images of seed set s: the
    same for every s where a kind shows none. NaN where a unit lacks the kind. Of kinds that score alike the first is chosen.
    The two halves share no image; with a single set what is reported of made images is too good (see above).
    """
    values = arguments.array(scores, "scores", ("units", "kinds", "sets", "halves"), empty=True).astype(np.float64)
    if values.shape[3] != 2:
        raise arguments.wrong("scores", "has {n} halves; there must be 2", n=values.shape[3])
    # a kind counts where it has a score in every set and half, so that whatever is chosen can be reported
    there = np.asarray(np.isfinite(values).all(axis=(2, 3)))
    there &= there[:, :1]
    values = np.where(there[..., None, None], values, -np.inf)
    units, n_sets = np.arange(len(values)), values.shape[2]
    pairs = [(first, second) for first, second in product(range(n_sets), repeat=2) if first != second or n_sets == 1]
    kinds, reported, base = [], [], []
    for (chosen_with, told_with), half in product(pairs, (0, 1)):
        best = values[:, :, chosen_with, half].argmax(axis=1)
        kinds.append(best)
        reported.append(values[units, best, told_with, 1 - half])
        base.append(values[:, 0, told_with, 1 - half])
    has_base = there[:, 0]
    found = np.where(has_base[:, None], np.stack(kinds, axis=1), -1)
    told = np.where(has_base[:, None], np.stack(reported, axis=1), np.nan)
    of_base = np.where(has_base[:, None], np.stack(base, axis=1), 0.0)
    whole = np.where(has_base[:, None], values.mean(axis=(2, 3)), 0.0)
    return Choice(found, told, told - of_base, np.where(has_base, whole.max(axis=1) - whole[:, 0], np.nan))


def kinds_table(
    scores: NDArray[np.floating],
    kinds: Sequence[str],
    n_images: Sequence[int],
    is_made: Sequence[bool],
    confidence: float,
) -> pd.DataFrame:
    """Kinds of explanation over some units, and what choosing among them gives: COLUMNS, a row a kind, then CHOSEN.

    scores     as for `choose`; kinds: their names, the base first; n_images: explanations a side; is_made: whether they show
               made images

    mean        score over the n_units that have the kind, of all tasks and sets; base_mean: of the base on the same units
    difference  mean of kind less base, unit by unit; low, high: its t interval over units. In the row CHOSEN the gain of choosing
    share       of the n_units for which the kind is chosen, over all directions; where units lack kinds, shares need not add
                up to 1
    naive       gain of the highest score, which is too good; in the row CHOSEN alone
    between_sd  root of the mean square, over units, of the standard deviation between sets; of kinds with made images
    n_sets      seed sets behind the row: with one, made images have the luck of their seed in both halves

    A kind that no unit has keeps its row, with n_units 0. The interval takes units for independent; units of a layer are alike.
    """
    values = np.asarray(scores, dtype=np.float64)
    choice = choose(values)
    whole, base = values.mean(axis=(2, 3)), np.isfinite(values[:, 0]).all(axis=(1, 2))
    n_sets = values.shape[2]
    rows = []
    for number, (kind, count, made) in enumerate(zip(kinds, n_images, is_made, strict=True)):
        has = base & np.isfinite(whole[:, number])
        shares = (choice.kinds[has] == number).mean() if has.any() else np.nan
        spread = between_sets(values[has, number]) if made and n_sets > 1 and has.any() else np.nan
        difference = _mean(whole[has, number] - whole[has, 0], confidence) if number else (np.nan,) * 3
        means = (whole[has, number].mean(), whole[has, 0].mean()) if has.any() else (np.nan, np.nan)
        rows.append(
            (kind, has.sum(), count, *means, *difference, shares, np.nan, spread, n_sets if made and has.any() else 0)
        )
    gain = choice.gain[base]
    told = choice.scores[base].mean(axis=1)
    means = (told.mean(), whole[base, 0].mean()) if base.any() else (np.nan, np.nan)
    naive = choice.naive[base].mean() if base.any() else np.nan
    any_made = any(row[1] and made for row, made in zip(rows, is_made, strict=True))
    rows.append(
        (CHOSEN, base.sum(), 0, *means, *_mean(gain, confidence), np.nan, naive, np.nan, n_sets if any_made else 0)
    )
    return pd.DataFrame(rows, columns=COLUMNS)


def between_sets(scores: NDArray[np.float64]) -> float:
    """Spread between seed sets of the scores (units, sets, halves): root of the mean square over units (ddof 1)."""
    return float(np.sqrt(scores.mean(axis=2).var(axis=1, ddof=1).mean()))


def _mean(values: NDArray[np.float64], confidence: float) -> tuple[float, float, float]:
    """Mean over units, and its interval."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    sd = values.std(ddof=1) if len(values) > 1 else np.nan
    low, high = mean_interval(values.mean(), sd, len(values), confidence)
    return float(values.mean()), float(low), float(high)
