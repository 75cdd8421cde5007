"""What every table of the study needs to know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from interpretability import schema
from interpretability.analysis import families, group_tests, networks

CONDITIONS = ("natural", "synthetic")  # those in which groups are compared


Tables = dict[str, pd.DataFrame]
Samples = Callable[[str], group_tests.Samples]


@dataclass(frozen=True)
class Facts:
    """What the tables of every backend need besides its units.

    layer_types: those of units.layer_types; people: units with HIS; bootstrap: seed, number of resamples, confidence;
    drop_near: tasks with a near copy are left out; n_extreme: units among the easiest and the hardest of a network.
    """

    roster: pd.DataFrame
    nets: networks.Networks
    labels: pd.DataFrame
    constant: pd.DataFrame
    tail_share: float
    slopes: dict[str, dict[str, object]]
    layer_types: tuple[str, ...]
    people: pd.DataFrame
    bootstrap: tuple[int, int, float]
    drop_near: bool
    n_extreme: int

    @property
    def confidence(self) -> float:
        return self.bootstrap[2]

    @property
    def annotated(self) -> frozenset[str]:
        return frozenset(self.people["model"].astype(str))

    def listed(self, model: str, units: pd.DataFrame) -> pd.DataFrame:
        """Units of the listed layer types, of a studied or permuted network; all of a control.

        Taps are layers of few networks: with them, networks would be compared over other kinds of layers. They enter
        agreement and its ceiling alone.
        """
        if model not in {*self.nets.study, *self.nets.permuted}:
            return units
        kept = units["layer_type"].isin(self.layer_types)
        return units if kept.all() else units[kept]

    @property
    def families(self) -> dict[str, str]:
        return dict(zip(self.roster["name"], self.roster["family"], strict=True))


RANKINGS = ("ranking", "extreme_units")


def easy_units(units: pd.DataFrame) -> pd.DataFrame:
    """Units with natural explanations and queries of the usual difficulty; all units of a network that has none."""
    easy = units["condition"] == schema.NATURAL
    return units[easy] if easy.any() and not easy.all() else units


def compared(samples: Samples, means: pd.DataFrame, value: str, name: str, facts: Facts) -> Tables:
    """All tests between networks and layer types in each of CONDITIONS; `samples` gives the scores of the networks."""
    found: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for condition in CONDITIONS:
        called = _test_name(name, condition), condition
        tables = group_tests.compare(samples(condition), means, value, *called)
        resampled = families.family_bootstrap(means, value, facts.families, *called, *facts.bootstrap)
        for table, rows in {**tables, "family_bootstrap": resampled}.items():
            found[table].append(rows)
    return {table: pd.concat(rows, ignore_index=True) for table, rows in found.items()}


def _test_name(name: str, condition: str) -> str:
    """What the column backend of a test says: the similarity, or human; units of the first condition go without suffix."""
    return name if condition == CONDITIONS[0] else f"{name}_{condition}"
