"""Which layers of a network repeat which, as the stage `activations` found."""

from __future__ import annotations

from pathlib import Path

from interpretability.analysis.cluster_tests import Clusters
from study.files.tables import read_csv

_COLUMNS = ["model", "layer", "cluster"]


def read_clusters(path: Path) -> Clusters:
    """The layer that begins the cluster of each network's layer."""
    table = read_csv(path, _COLUMNS, text=_COLUMNS)
    return {(model, layer): cluster for model, layer, cluster in table[_COLUMNS].to_numpy()}
