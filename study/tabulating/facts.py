"""What every table of the study needs besides the scores of units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import pandas as pd

from interpretability.analysis import cluster_tests, networks
from interpretability.people.slope_status import NOT_IDENTIFIED
from interpretability.schema import NATURAL

Tables = dict[str, pd.DataFrame]


class Bootstrap(NamedTuple):
    """How intervals are made by resampling, in the order in which functions take it."""

    seed: int
    n: int
    confidence: float


class Fit(TypedDict):
    """The slope of a similarity in data/calibration/slope.json, and how sure it is."""

    slope: float
    low: float | None
    high: float | None
    status: str
    identified: bool


@dataclass(frozen=True)
class Facts:
    """What the tables of every backend need besides its units.

    clusters: the layer that begins the cluster of a network's layer; slopes_allowed: of similarities whose slope is
    identified, the slopes that answers allow (`levels.slopes_allowed`); layer_types: those of units.layer_types; people: units
    with HIS; drop_near: tasks with a near copy are left out; n_extreme: units among the easiest and the hardest of a network;
    natural_start: share of the images that explain on a side, behind which queries of natural tasks begin.
    """

    roster: pd.DataFrame
    nets: networks.Networks
    labels: pd.DataFrame
    constant: pd.DataFrame
    clusters: cluster_tests.Clusters
    tail_share: float
    natural_start: float
    slopes: dict[str, Fit]
    slopes_allowed: dict[str, tuple[float, ...]]
    layer_types: tuple[str, ...]
    people: pd.DataFrame
    bootstrap: Bootstrap
    drop_near: bool
    n_extreme: int

    @property
    def confidence(self) -> float:
        return self.bootstrap.confidence

    @property
    def annotated(self) -> frozenset[str]:
        return frozenset(self.people["model"].astype(str))

    def listed(self, model: str, units: pd.DataFrame) -> pd.DataFrame:
        """Units of the listed layer types, of a studied or permuted network; all of a control.

        Taps are layers of few networks: with them, networks would be compared over other kinds of layers. They enter
        agreement and its ceiling alone. A table of activations says nothing of the kind of its layer, and is listed whole, as is
        its permuted control.
        """
        if (
            model not in {*self.nets.study, *self.nets.permuted}
            or self.nets.permuted.get(model, model) in self.nets.tables
        ):
            return units
        kept = units["layer_type"].isin(self.layer_types)
        return units if kept.all() else units[kept]

    def has_levels(self, backend: str) -> bool:
        """Whether levels of MIS under this similarity compare with those of others.

        Not where answers did not tell its slope. Without answers all levels are a convention, and stand as they are.
        """
        return self.slopes[backend]["status"] != NOT_IDENTIFIED

    @property
    def families(self) -> dict[str, str]:
        return dict(zip(self.roster["name"], self.roster["family"], strict=True))


def easy_units(units: pd.DataFrame) -> pd.DataFrame:
    """Units with natural explanations and queries of the usual difficulty; all units of a network that has none."""
    easy = units["condition"] == NATURAL
    return units[easy] if easy.any() and not easy.all() else units
