"""How well each of some texts says what each unit does: the call for a table of all pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import arguments
from interpretability.explanations.correlation import constant, paired_scores, top_weights
from interpretability.explanations.sampling import probabilities

COLUMNS = ["unit", "text", "rho", "se", "low", "high", "recall", "prevalence"]
# Values of presence beside a unit's own that are looked at at once.
_BLOCK = 1 << 24


def score_texts(
    activations: NDArray[np.floating],
    presence: NDArray[np.floating],
    texts: Sequence[str],
    *,
    top: int = 20,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Correlation of each unit with each text, over all images, and beside it the recall of top images.

    activations  (D, U): values of D images and U units, finite
    presence     (D, T): probability that an image shows what a text says, 0 to 1; 0 and 1 where it is known
    texts        names of the T columns of presence
    top          images of highest activation that the recall looks at, at most D

    Returns a row a unit and text, in order: unit, text, rho (-1 to 1, higher is a better text), se, low, high (of rho, for the
    images as a sample of a population), recall (share of the top images that show the text: it says nothing of other images that
    do, so that broad texts win by it), prevalence (mean presence). rho is NaN for constant units, and texts that all images show
    alike. Made for tables to look at; `explanations.correlation.correlations` is one matrix product for many thousand pairs.
    Raises InputError for other shapes, values that are not finite and presences outside of [0, 1].

    >>> import numpy as np
    >>> from interpretability import score_texts
    >>> values = np.array([[0.0], [1], [2], [3], [4], [8]])
    >>> shown = np.array([[0, 1], [0, 1], [0, 0], [1, 1], [0, 0], [1, 1]])
    >>> score_texts(values, shown, ["dog", "outdoors"], top=1)[["text", "rho", "recall"]].round(2).values.tolist()
    [['dog', 0.68, 1.0], ['outdoors', 0.0, 1.0]]
    """
    values = arguments.array(activations, "activations", ("images", "units"))
    shown = probabilities(arguments.array(presence, "presence", ("images", "texts")), "presence").T
    arguments.same_images(len(values), shown.shape[1], ("activations", "presence"))
    confidence = arguments.number(confidence, "confidence", above=0, below=1)
    names = [arguments.text(name, "texts") for name in texts]
    if len(names) != len(shown):
        raise arguments.wrong("texts", "holds {given} names for {wanted} texts", given=len(names), wanted=len(shown))
    arguments.finite(values, "activations")
    arguments.count(top, "top", 1, len(values))
    shown = np.ascontiguousarray(shown)
    tables = [_of_unit(unit, values[:, unit], shown, names, top, confidence) for unit in range(values.shape[1])]
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def _of_unit(
    unit: int, values: NDArray[np.floating], shown: NDArray[np.float64], names: list[str], top: int, confidence: float
) -> pd.DataFrame:
    table = pd.DataFrame({"unit": unit, "text": names, "recall": shown @ top_weights(values[None], top)[0]})
    table["prevalence"] = shown.mean(axis=1)
    found = {name: np.full(len(names), np.nan) for name in ("rho", "se", "low", "high")}
    if not constant(values):
        rows = max(1, _BLOCK // len(values))
        for start in range(0, len(names), rows):
            part = shown[start : start + rows]
            scores = paired_scores(np.broadcast_to(values, part.shape), part, confidence)
            for name, column in found.items():
                column[start : start + rows] = getattr(scores, name)
    return table.assign(**found)
