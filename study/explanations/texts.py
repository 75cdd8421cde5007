"""All texts of a study: those of files, those of known order for planted units, and those made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interpretability.explanations import formulas
from interpretability.explanations.formulas import Formula
from interpretability.schema import UNIT
from interpretability.synthetic import predicates
from study.errors import StudyError
from study.explanations.columns import Planted
from study.explanations.concepts import Presence, meant

TEXT_COLUMNS = [*UNIT, "method", "kind", "text", "formula", "source", "file", "row"]
KNOWN_SOURCE, MADE_SOURCE = "known", "made here"
KNOWN_LAYER = "mixture_0.5"  # planted units that are half a level of a factor and otherwise noise
MADE_ROW = 0  # of a text that stands in no file
_KINDS = {"unit": np.int64, "row": np.int64}


@dataclass(frozen=True)
class Texts:
    """Texts (TEXT_COLUMNS, ordered by unit and method, each once) and what each says."""

    table: pd.DataFrame
    formulas: list[Formula]

    @classmethod
    def of(cls, tables: Sequence[pd.DataFrame], folder: str) -> Texts:
        """Raises StudyError where a file brings a text of a method that the study itself uses for the unit."""
        empty = pd.DataFrame(columns=TEXT_COLUMNS)
        table = pd.concat([empty, *tables], ignore_index=True)[TEXT_COLUMNS].astype(
            {name: _KINDS.get(name, "str") for name in TEXT_COLUMNS}
        )
        table = table.sort_values([*UNIT, "method", "row"], kind="stable", ignore_index=True)
        second = table.duplicated([*UNIT, "method"])
        if second.any():
            row = table[second].iloc[0]
            raise StudyError(
                f"{folder}/{row['file']}: row {row['row']}: method is {row['method']!r}, by which this study calls its "
                "own text of "
                f"unit {row['model']}/{row['layer']}/{row['unit']}; call the method otherwise, or take it out of "
                "explanations.make"
            )
        parsed = [formulas.parse(*row) for row in table[["kind", "text", "formula"]].itertuples(index=False)]
        return cls(table, parsed)

    def concepts(self) -> list[str]:
        """Every concept that a text speaks of, sorted."""
        return sorted({concept for formula in self.formulas for concept in formulas.concepts(formula)})

    def refuse_unknown(self, presence: Presence, source: str, folder: str) -> None:
        """Refuse a text with a concept of which nothing says where it is."""
        for row, formula in zip(self.table.itertuples(index=False), self.formulas, strict=True):
            for concept in formulas.concepts(formula):
                if problem := presence.problem(concept):
                    raise StudyError(
                        f"{folder}/{row.file}: row {row.row}: {'formula' if row.formula else 'text'} names the concept "
                        f"{concept!r}, "
                        f"and explanations.presence is {source}: {problem}{meant(concept, presence.vocabulary)}. Other "
                        "words can be judged where explanations.presence is guide or file"
                    )


def known_texts(planted: Planted | None, n_units: int, seed: int) -> pd.DataFrame:
    """Texts of known order for the first planted mixtures of a level of a factor (TEXT_COLUMNS)."""
    rows = []
    labels = () if planted is None else planted.layers[KNOWN_LAYER].labels
    chosen = [unit for unit, label in enumerate(labels) if _is_level(label)][:n_units]
    if planted is not None and len(chosen) < n_units:
        raise StudyError(
            f"explanations.n_known is {n_units}, but layer {KNOWN_LAYER} of {planted.name} has {len(chosen)} units of a level; "
            "allowed are 0 to that"
        )
    for unit in chosen:
        assert planted is not None
        for method, text in predicates.known_texts(labels[unit], unit, seed=seed).items():
            rows.append(
                (planted.name, KNOWN_LAYER, unit, method, formulas.SIMPLE, text, "", KNOWN_SOURCE, "", MADE_ROW)
            )
    return pd.DataFrame(rows, columns=TEXT_COLUMNS)


def _is_level(label: str) -> bool:
    name, _, level = label.partition(":")
    return any(factor.name == name and level in factor.levels for factor in predicates.categorical())
