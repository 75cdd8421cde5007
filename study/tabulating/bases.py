"""Units or directions? Networks read in other directions beside the units of the same layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from interpretability.analysis import bases
from interpretability.schema import NATURAL, ONE_SIDED
from study.files.unit_tables import Scored
from study.tabulating.facts import Facts
from study.tabulating.inputs import text_table

CONDITIONS = (NATURAL, ONE_SIDED)
_COLUMNS = ["layer", "layer_index", "depth", "condition", "mis"]


def bases_table(
    scored: Scored, backends: Sequence[str], directions: Mapping[str, str], activations: Path, facts: Facts
) -> pd.DataFrame:
    """units_or_directions.csv: `bases.COLUMNS`, by similarity, network of `directions` (name -> its base, '' if none), condition.

    Layers of every type take part: a layer is compared with itself alone. Conditions are those under which both have scores.
    """
    kinds = _kinds(activations) if any(directions.values()) else {}
    parts = [bases.empty()]
    for backend in backends:
        for model, base in directions.items():
            if base:
                rows, units = (_scores(scored, backend, name) for name in (model, base))
                shared = rows[rows["condition"].isin(set(units["condition"]))]
                compared = bases.compare_bases(
                    shared,
                    units,
                    model=model,
                    base=base,
                    backend=backend,
                    kinds=kinds.get(model, {}),
                    clusters=facts.clusters,
                    confidence=facts.confidence,
                )
                parts.append(compared)
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else bases.empty()


def _scores(scored: Scored, backend: str, model: str) -> pd.DataFrame:
    units = scored.units(backend, model, _COLUMNS)
    return units[units["condition"].isin(CONDITIONS)].astype({"layer": "str", "condition": "str"})


def _kinds(activations: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Kind and pooling of the directions of each network and layer, as the stage activations read them."""
    table = text_table(activations / "directions.csv")
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for model, layer, kind, pooling in table[["model", "layer", "kind", "pooling"]].itertuples(index=False, name=None):
        found.setdefault(model, {})[layer] = kind, pooling
    return found
