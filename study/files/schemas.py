"""Columns of the tables of human answers, and what they hold."""

from __future__ import annotations

import pyarrow as pa

UNIT = [("model", pa.string()), ("layer", pa.string()), ("unit", pa.int64()), ("condition", pa.string())]
RESPONSES = pa.schema(
    [
        *(*UNIT, ("task", pa.int32()), ("participant", pa.string()), ("correct", pa.bool_())),
        # 1 (low) to 3 (high), null where it was not asked
        *(("confidence", pa.int8()), ("source", pa.string())),
        # whether the answer is to that very task of this study, and not to one of that number elsewhere
        ("own_tasks", pa.bool_()),
    ]
)
UNITS = pa.schema(
    [*UNIT, ("n_responses", pa.int64()), ("his", pa.float64()), ("his_se", pa.float64()), ("source", pa.string())]
)
TRUTH = pa.schema([*UNIT, ("p_true", pa.float64())])
# pairs of units that people judged, and published scores of both units by the number of the pair
PAIRS = pa.schema(
    [
        *(("model", pa.string()), ("layer", pa.string()), ("k_x", pa.int64()), ("k_y", pa.int64())),
        ("first_chosen", pa.bool_()),
    ]
)
PAIR_SCORES = pa.schema([("pair", pa.int64()), ("score", pa.string()), ("x", pa.float64()), ("y", pa.float64())])
