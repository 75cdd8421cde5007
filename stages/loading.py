"""Opening a network of the roster: files by the pipeline, keyed initial weights and preprocessing by the science."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.pipeline import networks


def load_network(row: Mapping[str, Any], models: Path, code: Path, seed: int) -> Any:
    """The network of a resolved roster row as a `preprocessing.Network`; `models` is the out of the models stage."""
    from stages.science.preprocessing import Network, Preprocessing
    from stages.science.training import initialised

    # the initial weights of an untrained row come from its own name and the seed
    model = networks.build(
        row, code, models / "weights", lambda construct: initialised(construct, seed, str(row["name"]))
    )
    preprocessing = Preprocessing.parse(
        row["preprocessing"] or networks.resolve_preprocessing(row, model), str(row["name"])
    )
    return Network(str(row["name"]), model, preprocessing, networks.state_digest(model))
