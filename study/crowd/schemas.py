"""Columns of the tables of ratings and scores, and what they hold."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _FLOAT, _INT, _SMALL = pa.string(), pa.float64(), pa.int64(), pa.int32()

RATINGS = pa.schema(
    [
        *(("rater", _TEXT), ("text", _TEXT), ("image", _SMALL), ("rating", pa.int8())),
        # NaN and -1 where they are not known
        *(("seconds", _FLOAT), ("page", _INT)),
        ("source", _TEXT),  # people, or simulated
    ]
)
LABELS = pa.schema(
    [
        *(("text", _TEXT), ("image", _SMALL), ("n", _INT), ("yes", _INT)),
        *((name, _FLOAT) for name in ("average", "majority", "bragg_uniform", "bragg_guide")),
    ]
)
POSTERIORS = pa.schema([("pair", _SMALL), ("image", _SMALL), ("n", _INT), ("yes", _INT), ("posterior", _FLOAT)])
SECOND_SCORES = pa.schema(
    [
        *(("model", _TEXT), ("layer", _TEXT), ("unit", _INT), ("method", _TEXT), ("text", _TEXT), ("pair", _SMALL)),
        *((name, _FLOAT) for name in ("rho", "rho_second")),
        *(("reason", _TEXT), ("simulated", pa.bool_())),
    ]
)
DRAWS = pa.schema([("draw", _SMALL), ("pair", _SMALL), ("rho", _FLOAT)])
SCORES = pa.schema(
    [
        *(("model", _TEXT), ("layer", _TEXT), ("unit", _INT), ("method", _TEXT), ("text", _TEXT), ("pair", _SMALL)),
        *(("estimator", _TEXT), ("raters", _TEXT)),
        *((name, _FLOAT) for name in ("rho", "se", "low", "high")),
        *(("status", _TEXT), ("reason", _TEXT)),
        *((name, _INT) for name in ("n_draws", "n_images", "n_ratings", "n_positive")),
        *((name, _FLOAT) for name in ("ess", "max_weight", "rhat", "rho_guide_only", "rho_true")),
        ("simulated", pa.bool_()),
    ]
)
