"""What the stage `crowd` writes, from the questions and whoever answered them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from study.log import logger
from study.params.crowd import Crowd

log = logger("crowd")

ALL, KEPT = "all", "kept"
_TEXT, _FLOAT, _INT = pa.string(), pa.float64(), pa.int64()
_KEY = [("model", _TEXT), ("layer", _TEXT), ("unit", _INT), ("method", _TEXT), ("text", _TEXT), ("pair", pa.int32())]
SCORES = pa.schema(
    [
        *(*_KEY, ("estimator", _TEXT), ("raters", _TEXT)),
        *((name, _FLOAT) for name in ("rho", "se", "low", "high")),
        *((name, _TEXT) for name in ("status", "reason")),
        *((name, _INT) for name in ("n_draws", "n_images", "n_ratings", "n_positive")),
        *((name, _FLOAT) for name in ("ess", "max_weight", "rho_guide_only", "rho_true")),
        ("simulated", pa.bool_()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class CrowdParams:
    """What ratings and scores depend on."""

    seed: int
    processor: str
    crowd: Crowd
