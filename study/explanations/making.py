"""Texts made here from concepts: by the images that no score sees, for the units that parameters name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.explanations import formulas
from interpretability.explanations.formulas import Concept, Formula, Linear
from interpretability.explanations.making.best import best_texts
from interpretability.explanations.making.dissect import dissect_texts
from interpretability.explanations.making.invert import invert_texts
from interpretability.explanations.making.linear import judging_images, linear_texts
from interpretability.explanations.making.made import Made
from interpretability.schema import UNIT
from study.errors import StudyError
from study.explanations.images import FEWEST
from study.explanations.inputs import Inputs, Units
from study.explanations.judging import Judges
from study.explanations.texts import MADE_ROW, MADE_SOURCE, TEXT_COLUMNS
from study.log import logger

log = logger("explanations")

OF_GUIDE = "le_guide"
ONE = "_1"  # ends the name of a method whose texts are cut to one concept, as people are asked about it

Values = NDArray[np.floating]
Maker = Callable[[Values, Values], list[Made]]


def made_texts(inputs: Inputs, units: Units, judged: Judges) -> pd.DataFrame:
    """Texts (TEXT_COLUMNS) of the methods that explanations.make names, for the units that explanations.units names.

    Methods whose texts may have several concepts bring a second text of one concept, under the name of the method and `_1`.
    Units that are alike in all images of a part that a method looks at get none; the log counts them.
    """
    settings, empty = inputs.params.explanations, pd.DataFrame(columns=TEXT_COLUMNS)
    seen = ~inputs.probing.holdout
    rows = np.flatnonzero(units.wanted & ~units.dead)
    if not (settings.make and len(rows)) or judged.presence is None:
        return empty
    if seen.sum() < FEWEST:
        raise StudyError(
            f"explanations.holdout is {settings.holdout:g}, so texts would be made from {seen.sum()} of {len(seen)} "
            f"images; at least {FEWEST} are needed. Lower it, or set explanations.make to []"
        )
    if not judged.vocabulary:
        raise StudyError(
            "explanations.make makes texts from concepts, but there are none; name a list in explanations.concepts"
        )
    rows = rows[_varying(units.values[rows][:, seen], inputs.params.seed)]
    if left := int((units.wanted & ~units.dead).sum()) - len(rows):
        log.warning("%d units are alike in some part of the images from which texts are made, and get none", left)
    if not len(rows):
        return empty
    values, models = units.values[rows][:, seen], units.table["model"].to_numpy(dtype=object)[rows]
    presence = _matrix(judged.presence.row, judged.vocabulary, seen)
    tables = []
    for name, make, of_guide in _makers(inputs, judged.vocabulary, models):
        if of_guide and judged.guide is None:
            raise StudyError(f"explanations.make names {OF_GUIDE}, but explanations.guide.source is none; take it out")
        shown = _matrix(judged.guide.row, judged.vocabulary, seen) if of_guide and judged.guide else presence
        tables.append(_table(name, make(values, shown), units.table.iloc[rows]))
    return pd.concat([empty, *tables], ignore_index=True)


def _makers(inputs: Inputs, names: Sequence[str], models: NDArray[np.object_]) -> list[tuple[str, Maker, bool]]:
    """Name of each method, how it makes texts, and whether of the probabilities of the guide."""
    settings, seed = inputs.params.explanations, inputs.params.seed

    def linear(most: int | None) -> Maker:
        length = {} if most is None else {"most": most}
        return lambda values, shown: linear_texts(values, shown, names, seed=seed, **length)

    def invert(length: int) -> Maker:
        return lambda values, shown: invert_texts(values, shown, names, length=length)

    known: dict[str, list[tuple[str, Maker, bool]]] = {
        "best": [("best", lambda values, shown: best_texts(values, shown, names), False)],
        "clip_dissect": [("clip_dissect", lambda values, shown: _dissected(values, shown, names, models), False)],
        "invert": [(f"invert{ONE}", invert(1), False), ("invert", invert(settings.length), False)],
        "le_label": [(f"le_label{ONE}", linear(1), False), ("le_label", linear(None), False)],
        OF_GUIDE: [(f"{OF_GUIDE}{ONE}", linear(1), True), (OF_GUIDE, linear(None), True)],
    }
    return [each for name in settings.make for each in known[name]]


def _dissected(values: Values, shown: Values, names: Sequence[str], models: NDArray[np.object_]) -> list[Made]:
    """Texts by what the top images of a unit have in common and those of the other units of its network have not. A unit without
    others is judged by what its own have in common.
    """
    found: dict[int, Made] = {}
    for model in dict.fromkeys(models):
        rows = np.flatnonzero(models == model)
        made = dissect_texts(values[rows], shown, names, weight=1.0 if len(rows) > 1 else 0.0)
        found |= dict(zip(rows.tolist(), made, strict=True))
    return [found[row] for row in range(len(values))]


def _varying(values: Values, seed: int) -> NDArray[np.bool_]:
    """Units that vary among the images to which methods fit texts, and among those by which they choose."""
    judging = judging_images(values.shape[1], seed)
    return np.all([np.std(values[:, part], axis=1, dtype=np.float64) > 0 for part in (judging, ~judging)], axis=0)


def _matrix(row: Callable[[str], NDArray[np.float32]], concepts: Sequence[str], seen: NDArray[np.bool_]) -> Values:
    return np.stack([row(concept)[seen] for concept in concepts])


def _table(method: str, made: Sequence[Made], units: pd.DataFrame) -> pd.DataFrame:
    said = [_said(each.formula) for each in made]
    return units[UNIT].assign(
        method=method,
        kind=[kind for kind, _, _ in said],
        text=[text for _, text, _ in said],
        formula=[formula for _, _, formula in said],
        source=MADE_SOURCE,
        file="",
        row=MADE_ROW,
    )[TEXT_COLUMNS]


def _said(formula: Formula) -> tuple[str, str, str]:
    """Kind, words and JSON of a formula. One concept with a weight above 0 predicts what the concept does, and is simple."""
    if isinstance(formula, Linear) and len(formula.terms) == 1 and formula.terms[0][0] > 0:
        formula = Concept(formula.terms[0][1])
    if isinstance(formula, Concept):
        return formulas.SIMPLE, formula.text, ""
    kind = formulas.LINEAR if isinstance(formula, Linear) else formulas.COMPOSITIONAL
    return kind, formulas.describe(formula), formulas.to_json(formula)
