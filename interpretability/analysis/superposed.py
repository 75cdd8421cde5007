"""Judgement of features in superposition: what a sound score must say of the six layers of `control:superposed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from interpretability.analysis.controls import CHANCE, CONTROL_COLUMNS, SEEN, TOLERANCE
from interpretability.analysis.networks import mis_means
from interpretability.schema import NATURAL, ONE_SIDED
from interpretability.synthetic.superposition import LAYERS

MIXTURE, ROTATION, READOUT, TRAINED, INFERENCE, FEATURES = LAYERS
# what a layer is held against, and whether it should equal that or lie above it
_BESIDE = {
    ROTATION: (MIXTURE, True),
    TRAINED: (MIXTURE, False),
    INFERENCE: (FEATURES, True),
    FEATURES: (MIXTURE, False),
}
_NO_ORDER = "none: mixtures win by their negative side; judged one-sided"


def superposed_summary(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """What the layers scored and whether that is in the order that is known: CONTROL_COLUMNS and condition.

    `units`: layer, condition, backend, mis. One row a layer, backend and condition. Only one-sided tasks have an order, and only
    under a similarity that sees the features, that is scores them above chance by more than SEEN standard errors:

    superposed_rotation   equals superposed_mixture within TOLERANCE standard errors: both are sums of many features
    superposed_trained    above superposed_mixture by more than that: an autoencoder finds some of the features
    superposed_inference  equals superposed_features within TOLERANCE standard errors: all of them are found
    superposed_features   above superposed_mixture by more than that. How far above superposed_trained is not held against it:
                          latents that are too sparse, the worst of a trained code, have no tasks and no part in its mean

    Standard errors are those of means over units, taken as independent between layers. The other two expect nothing.
    """
    kept = units[units["layer"].isin(LAYERS)]
    table = mis_means(kept, ["backend", "condition", "layer"], confidence)
    table = table.astype({"backend": object, "condition": object}).rename(columns={"layer": "control"})
    place = table["control"].astype(object).map({name: number for number, name in enumerate(LAYERS)})
    parts = [
        _judged(part, str(condition))
        for (_, condition), part in table.iloc[np.argsort(place, kind="stable")].groupby(
            ["backend", "condition"], sort=False
        )
    ]
    columns = [*CONTROL_COLUMNS, "condition"]
    if not parts:
        return pd.DataFrame(columns=columns)
    judged = pd.concat(parts, ignore_index=True).assign(factor="").reindex(columns=columns)
    return judged.astype({"control": object, "passed": "Int64", "n_z": "Int64"})


def _judged(rows: pd.DataFrame, condition: str) -> pd.DataFrame:
    """The rows of one similarity and condition with passed, expectation and missed."""
    known = {
        str(name): _Level(float(mean), float(error))
        for name, mean, error in zip(rows["control"], rows["mis_mean"], rows["mis_se"], strict=True)
    }
    verdicts = [_verdict(str(name), known, condition) for name in rows["control"]]
    return rows.assign(
        passed=pd.array([passed for passed, _ in verdicts], dtype="Int64"),
        expectation=[text for _, text in verdicts],
        missed=["mean" if passed == 0 else "" for passed, _ in verdicts],
    )


class _Level(NamedTuple):
    """Mean score of a layer, and its standard error."""

    mean: float
    error: float


def _verdict(name: str, known: Mapping[str, _Level], condition: str) -> tuple[int | None, str]:
    """1 or 0, whether a layer stands where it should beside another, or None; and what is expected."""
    if condition != ONE_SIDED:
        return None, _NO_ORDER if condition == NATURAL else ""
    features = known.get(FEATURES)
    if features is None or features.mean - CHANCE <= SEEN * features.error:
        return None, "none: the backend does not see the features"
    if name not in _BESIDE:
        return None, "none: others are held against it"
    other, equal = _BESIDE[name]
    if other not in known:
        return None, f"none: {other} has no score"
    one, base = known[name], known[other]
    reach = TOLERANCE * float(np.hypot(one.error, base.error))
    if equal:
        text = f"{base.mean:.3f}, that of {other}, within {TOLERANCE:g} standard errors"
        return int(abs(one.mean - base.mean) <= reach), text
    text = f"above {base.mean:.3f}, that of {other}, by more than {TOLERANCE:g} standard errors"
    return int(one.mean - base.mean > reach), text
