"""Judgement of features in superposition: what a sound score must say of the six layers of `control:superposed`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.analysis.controls import CHANCE, CONTROL_COLUMNS, SEEN, TOLERANCE
from interpretability.analysis.networks import mis_means
from interpretability.schema import NATURAL, ONE_SIDED
from interpretability.synthetic.superposition import LAYERS

MIXTURE, ROTATION, READOUT, TRAINED, INFERENCE, FEATURES = LAYERS
_NO_ORDER = "none: mixtures win by their negative side; judged one-sided"


def superposed_summary(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """What the layers scored and whether that is in the order that is known: CONTROL_COLUMNS and condition.

    `units`: layer, condition, backend, mis. One row a layer, backend and condition. Only one-sided tasks have an order, and only
    under a similarity that sees the features, that is scores them above chance by more than SEEN standard errors:

    superposed_rotation   equals superposed_mixture within TOLERANCE standard errors: both are sums of many features
    superposed_trained    above superposed_mixture by more than that: an autoencoder finds some of the features
    superposed_inference  equals superposed_features within TOLERANCE standard errors: all of them are found
    superposed_features   above superposed_trained by more than that

    Standard errors are those of means over units, taken as independent between layers. The other two expect nothing.
    """
    kept = units[units["layer"].isin(LAYERS)]
    by = ["backend", "condition", "layer"]
    table = mis_means(kept, by, confidence).rename(columns={"layer": "control"})
    table = table.astype({"backend": object, "condition": object, "control": object})
    rank = {name: place for place, name in enumerate(LAYERS)}
    rows = [
        part.sort_values("control", key=lambda names: names.map(rank), kind="stable").assign(**_verdicts(part))
        for _, part in table.groupby(["backend", "condition"], sort=False)
    ]
    empty = pd.DataFrame(columns=[*CONTROL_COLUMNS, "condition"])
    judged = pd.concat(rows, ignore_index=True).reindex(columns=empty.columns) if rows else empty
    judged["factor"] = judged["factor"].astype(object).fillna("")
    return judged.astype({"passed": "Int64", "n_z": "Int64"})


def _verdicts(rows: pd.DataFrame) -> dict[str, list[object]]:
    """passed, expectation and missed of the layers of one similarity and condition, sorted as LAYERS."""
    rows = rows.set_index("control")
    names = [name for name in LAYERS if name in rows.index]
    if rows["condition"].iloc[0] != ONE_SIDED:
        known = {name: (None, _NO_ORDER if rows["condition"].iloc[0] == NATURAL else "") for name in names}
    elif FEATURES not in names or not _seen(rows.loc[FEATURES]):
        known = {name: (None, "none: the backend does not see the features") for name in names}
    else:
        known = {name: _verdict(rows, name) for name in names}
    passed = [None if known[name][0] is None else int(bool(known[name][0])) for name in names]
    return {
        "passed": list(pd.array(passed, dtype="Int64")),
        "expectation": [known[name][1] for name in names],
        "missed": ["mean" if value == 0 else "" for value in passed],
    }


def _seen(features: pd.Series) -> bool:
    return bool(features["mis_mean"] - CHANCE > SEEN * features["mis_se"])


def _verdict(rows: pd.DataFrame, name: str) -> tuple[bool | None, str]:
    """Whether a layer stands where it should beside another, and how that reads."""
    other, equal = {
        ROTATION: (MIXTURE, True),
        TRAINED: (MIXTURE, False),
        INFERENCE: (FEATURES, True),
        FEATURES: (TRAINED, False),
    }.get(name, ("", False))
    if not other or other not in rows.index:
        return None, f"none: {other} has no score" if other else "none: others are held against it"
    one, base = rows.loc[name], rows.loc[other]
    difference, error = one["mis_mean"] - base["mis_mean"], float(np.hypot(one["mis_se"], base["mis_se"]))
    if equal:
        return abs(difference) <= TOLERANCE * error, (
            f"{base['mis_mean']:.3f}, that of {other}, within {TOLERANCE:g} standard errors"
        )
    return difference > TOLERANCE * error, (
        f"above {base['mis_mean']:.3f}, that of {other}, by more than {TOLERANCE:g} standard errors"
    )
