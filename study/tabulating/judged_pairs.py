"""Agreement of scores with people who judged which of two units is the clearer one: ours, and those published with the pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from interpretability.people.judged_pairs import judged_pairs
from interpretability.schema import KEY, NATURAL
from study.errors import StudyError
from study.files.tables import read_parquet
from study.files.unit_tables import Scored
from study.log import logger

log = logger("stats")

COLUMNS = [
    *("score", "source", "backend", "n_pairs", "n_left_out", "n_units", "n_ties", "share", "low", "high"),
    *("share_half_ties", "mean_over_bins", "n_bins"),
]
# scores of a unit beside MIS, in the order of the table
BESIDE_MIS = ("rho", "spearman", "ms", "ms_z", "index", "peak_energy", "participation", "firing")
OURS, PUBLISHED = "ours", "published"
_SIDES = ["x", "y"]
_NAMED = 5  # units that a message names

Values = Mapping[tuple[str, str], pd.Series]  # score of each unit number, by the name of the score and its similarity


def judged_pairs_table(
    human: Path, scored: Scored, others: pd.DataFrame, labels: pd.DataFrame, backends: Sequence[str], confidence: float
) -> pd.DataFrame:
    """COLUMNS, a row a score and similarity, ours first; empty where no pairs were judged. `n_left_out`: pairs without a score of
    both units; published scores have no similarity.

    human: folder with the pairs; others: scores of units beside MIS (UNIT, backend, some of BESIDE_MIS); labels: of control units
    and tables (UNIT, label)
    """
    pairs, published = (read_parquet(human / f"{name}.parquet") for name in ("pairs", "pair_scores"))
    if pairs.empty:
        return pd.DataFrame(columns=COLUMNS)
    values = _values(scored, others, pairs["model"].iloc[0], backends)
    sides = _units_of(pairs, labels, values)
    rows = [
        {"score": score, "source": OURS, "backend": backend, **_row(pairs, of_both, confidence)}
        for score, backend, of_both in _ours(sides, values)
    ]
    for score in published["score"].unique():
        part = published[published["score"] == score]
        given = part.set_index("pair")[_SIDES].reindex(pairs.index).to_numpy()
        rows.append({"score": score, "source": PUBLISHED, "backend": "", **_row(pairs, given, confidence)})
    return pd.DataFrame(rows)[COLUMNS]


def _row(pairs: pd.DataFrame, scores: np.ndarray, confidence: float) -> dict[str, float]:
    chosen = pairs["first_chosen"].to_numpy(bool)
    found = asdict(judged_pairs(pairs[["k_x", "k_y"]].to_numpy(), scores, chosen, confidence=confidence))
    return {**found, "n_left_out": len(pairs) - found["n_pairs"]}


def _ours(sides: pd.DataFrame, values: Values) -> Iterator[tuple[str, str, np.ndarray]]:
    for (score, backend), of_units in values.items():
        yield score, backend, np.stack([of_units.reindex(sides[side]).to_numpy(np.float64) for side in _SIDES], axis=1)


def _values(scored: Scored, others: pd.DataFrame, model: str, backends: Sequence[str]) -> Values:
    """Every score that the units of the network have, each a series by (layer, unit)."""
    found: dict[tuple[str, str], pd.Series] = {}
    for backend in backends:
        units = scored.units(backend, model, [*KEY, "mis"]).astype(dict.fromkeys(("layer", "condition"), "str"))
        for condition, part in units.groupby("condition", sort=True):
            name = "mis" if condition == NATURAL else f"mis_{condition}"
            found[name, backend] = part.set_index(["layer", "unit"])["mis"]
    others = others[others["model"] == model]
    names = [name for name in BESIDE_MIS if name in others.columns]
    for backend, part in others.groupby("backend", sort=False):
        keyed = part.astype({"layer": "str"}).set_index(["layer", "unit"])
        found |= {(name, str(backend)): keyed[name] for name in names if keyed[name].notna().any()}
    scores = list(dict.fromkeys(score for score, _ in found))
    return {key: found[key] for score in scores for key in found if key[0] == score}


def _units_of(pairs: pd.DataFrame, labels: pd.DataFrame, values: Values) -> pd.DataFrame:
    """The unit of either side of each pair as (layer, unit); those of a table are called by their labels, others by number."""
    model, layer = pairs["model"].iloc[0], pairs["layer"].iloc[0]
    own = labels[labels["model"] == model]
    known = sorted({*own["layer"], *(name for of_units in values.values() for name in of_units.index.unique(0))})
    layer = layer or (known[0] if len(known) == 1 else "")
    if layer not in known:
        problem = "has no units with scores" if not known else f"has the layers {', '.join(known)}"
        raise StudyError(
            f"human.pairs.model is {'/'.join(filter(None, (model, pairs['layer'].iloc[0])))!r}, but {model} {problem}; name the "
            "layer whose units were judged, as NETWORK/LAYER"
        )
    own = own[own["layer"] == layer]
    number = dict(zip(own["label"], own["unit"], strict=True))
    sides = pd.DataFrame(index=pairs.index)
    scored = {unit for of_units in values.values() for name, unit in of_units.index if name == layer}
    for side, column in zip(_SIDES, ("k_x", "k_y"), strict=True):
        units = [number.get(str(k), -1) if number else k for k in pairs[column]]
        sides[side] = list(zip([layer] * len(units), units, strict=True))
    absent = sorted(
        {
            k
            for side, column in zip(_SIDES, ("k_x", "k_y"), strict=True)
            for (_, unit), k in zip(sides[side], pairs[column], strict=True)
            if unit not in scored
        }
    )
    if absent:
        shown = ", ".join(map(str, absent[:_NAMED])) + (", ..." if len(absent) > _NAMED else "")
        log.warning(
            "%d units of judged pairs have no score in %s/%s, and their pairs are left out: %s",
            *(len(absent), model, layer, shown),
        )
    return sides
