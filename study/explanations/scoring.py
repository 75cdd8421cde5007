"""Automatic scores of texts, on images that none was made from, and the controls beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations import formulas
from interpretability.explanations.correlation import top_weights
from interpretability.explanations.formulas import Clustered, Formula, Linear
from interpretability.explanations.paired import Paired, dealt, paired_scores
from interpretability.randomness import U64, key64
from interpretability.schema import UNIT
from study.explanations.matrices import Matrix

_ROWS = 64  # texts scored at once: with 50,000 images their rows take 25 MB
CONSTANT_UNIT, CONSTANT_TEXT, NO_PRESENCE = "constant unit", "concept alike in all images", "no presence"
SCORE_COLUMNS = [
    *(*UNIT, "method", "kind", "text", "n_images", "rho", "rho_se", "control_rho", "control_se", "recall"),
    *("presence_source", "simulated", "reason"),
]


class Scorer:
    """Scores of texts over chosen images.

    values     (units, n) over the probing images
    presence   rows of concepts, by `concepts`
    images     which of the probing images count (n,)
    """

    def __init__(
        self, values: NDArray[np.float32], presence: Matrix, concepts: Sequence[str], images: NDArray[np.bool_]
    ) -> None:
        self._values, self._presence = values, presence
        self._row = {concept: row for row, concept in enumerate(concepts)}
        self._places = np.flatnonzero(images)

    def predicted(self, formula: Formula) -> NDArray[np.float64]:
        """Activations (images that count,) that a formula predicts."""
        named: Mapping[str, NDArray[np.float32]] = {
            text: self._presence[self._row[text]][self._places] for text in formulas.concepts(formula)
        }
        return formulas.predict(formula, named)

    def activations(self, units: NDArray[np.integer]) -> NDArray[np.float32]:
        return self._values[units][:, self._places]

    def scores(self, texts: Sequence[Formula], units: NDArray[np.integer]) -> Paired:
        """Score of each text with the unit beside it."""
        rho, se = np.empty(len(texts)), np.empty(len(texts))
        for start in range(0, len(texts), _ROWS):
            rows = slice(start, start + _ROWS)
            found = paired_scores(
                self.activations(units[rows]), np.stack([self.predicted(formula) for formula in texts[rows]])
            )
            rho[rows], se[rows] = found.rho, found.se
        return Paired(rho, se)

    def recalls(self, texts: Sequence[Formula], units: NDArray[np.integer], k: int) -> NDArray[np.float64]:
        """Share of the k most exciting images of the unit beside each text that show what it says; NaN where a text speaks of
        amounts and not of what images show.
        """
        found, k = np.full(len(texts), np.nan), min(k, len(self._places))
        for unit in np.unique(units):
            weights = top_weights(self.activations(np.array([unit])), k)[0]
            top = np.flatnonzero(weights)
            for place in np.flatnonzero(units == unit).tolist():
                if not isinstance(texts[place], Linear | Clustered):
                    found[place] = weights[top] @ self._top(texts[place], top)
        return found

    def _top(self, formula: Formula, top: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = {text: self._presence[self._row[text]][self._places[top]] for text in formulas.concepts(formula)}
        return formulas.predict(formula, rows)


def control_rows(texts: pd.DataFrame, seed: int) -> NDArray[np.int64]:
    """For each text another one of its method: of its layer, or where this has no other text of its network; -1 for none."""
    words = texts["text"].to_numpy(dtype=object)
    same = pd.factorize(words)[0]
    keys = np.array(
        [
            key64("explanations", "control", seed, *map(str, row))
            for row in texts[[*UNIT, "method"]].itertuples(index=False)
        ],
        dtype=U64,
    )
    found = np.full(len(texts), -1, dtype=np.int64)
    for group in (["model", "layer", "method"], ["model", "method"]):
        number = texts.groupby(group, sort=False).ngroup().to_numpy()
        found = np.where(found >= 0, found, dealt(number, same, keys))
    return found


def automatic_scores(
    scorer: Scorer | None,
    texts: pd.DataFrame,
    said: Sequence[Formula],
    units: NDArray[np.int64],
    reasons: NDArray[np.object_],
    n_images: int,
    n_top: int,
    seed: int,
) -> pd.DataFrame:
    """Scores of all texts: rho, rho_se, control_rho, control_se, recall, n_images and reason, in the order of the texts.

    scorer: None where nothing says where concepts are; units: row of the unit of each text; reasons (units,): why a unit has no
    scores, empty where it has.
    """
    table = pd.DataFrame(
        {name: np.full(len(texts), np.nan) for name in ("rho", "rho_se", "control_rho", "control_se", "recall")},
        index=texts.index,
    )
    table["n_images"], table["reason"] = n_images, NO_PRESENCE if scorer is None else ""
    if scorer is None or texts.empty:
        return table
    table["reason"] = reasons[units]
    live = np.flatnonzero(reasons[units] == "")
    own = scorer.scores([said[row] for row in live.tolist()], units[live])
    table.loc[live, ["rho", "rho_se"]] = np.stack([own.rho, own.se], axis=1)
    table.loc[live, "recall"] = scorer.recalls([said[row] for row in live.tolist()], units[live], n_top)
    table.loc[live[np.isnan(own.rho)].tolist(), "reason"] = CONSTANT_TEXT
    others = control_rows(texts, seed)
    with_other = live[others[live] >= 0]
    control = scorer.scores([said[row] for row in others[with_other].tolist()], units[with_other])
    table.loc[with_other, ["control_rho", "control_se"]] = np.stack([control.rho, control.se], axis=1)
    return table
