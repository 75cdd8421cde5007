"""Likeness of networks to people beside their interpretability (IMI, figure 4 right).

Decisions of networks and people about the same pictures, as the benchmark model-vs-human records them (Geirhos et al. 2021,
"Partial success in closing the gap between human and machine vision"), become one number a network and measure:

ood_accuracy           share of right decisions, mean over data sets
accuracy_difference    squared difference from a person's share of right decisions
observed_consistency   share of pictures on which a network and a person are both right or both wrong
error_consistency      Cohen's kappa of the same: what is above that which their shares alone would give (Geirhos et al. 2020)
mean_rank              mean of a network's ranks by the three before, among the networks given; 1 is most like people
shape_bias             of decisions for the shape or the texture of pictures in which both conflict, the share for the shape

The three that compare with people are computed in each condition with each person, and averaged over conditions, then
people, then data sets. Left out are conditions that are not out of distribution and those in which people themselves are
right in less than a fifth of the cases, as the benchmark lists them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.errors import InputError
from interpretability.people.agreement import CORRELATIONS, network_correlations

MEASURES = (
    *("ood_accuracy", "accuracy_difference", "observed_consistency", "error_consistency", "mean_rank", "shape_bias"),
)
DECISION_COLUMNS = ["dataset", "condition", "subject", "person", "image", "category", "response"]
CUE_CONFLICT = "cue-conflict"
# data sets whose column condition says nothing
UNCONDITIONED = frozenset(("sketch", "stylized", "edge", "silhouette", CUE_CONFLICT))
LEFT_OUT: dict[str, frozenset[str]] = {
    "colour": frozenset(("cr",)),
    "contrast": frozenset(("c100", "c03", "c01")),
    "high-pass": frozenset(("inf", "0.55", "0.45", "0.4")),
    "low-pass": frozenset(("0", "15", "40")),
    "phase-scrambling": frozenset(("0", "150", "180")),
    "power-equalisation": frozenset(("0",)),
    "false-colour": frozenset(("True",)),
    "rotation": frozenset(("0",)),
    "eidolonI": frozenset(("1-10-10", "64-10-10", "128-10-10")),
    "eidolonII": frozenset(("1-3-10", "32-3-10", "64-3-10", "128-3-10")),
    "eidolonIII": frozenset(("1-0-10", "16-0-10", "32-0-10", "64-0-10", "128-0-10")),
    "uniform-noise": frozenset(("0", "0.6", "0.9")),
}
_POINTS_BY = ["source", "measure", "score", "backend", "condition"]
COLUMNS = [*_POINTS_BY, "n_networks", *CORRELATIONS]
NETWORK_COLUMNS = [*_POINTS_BY, "model", "called", "value", "mean", "low", "high"]
_PAIRED = ["accuracy_difference", "observed_consistency", "error_consistency"]


def consistencies(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Each of `first` (a, pictures) against each of `second` (b, pictures), right or wrong by picture: (a, b) arrays by measure.

    Two that agree on every picture have an error consistency of 1, also where both are always right.
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    n = one.shape[1]
    right, also = one.mean(axis=1)[:, None], other.mean(axis=1)[None, :]
    same = one @ other.T + (1 - one) @ (1 - other).T  # counts, exact
    observed, expected = same / n, right * also + (1 - right) * (1 - also)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.where(same == n, 1.0, (observed - expected) / (1 - expected))
    return {
        "accuracy_difference": (right - also) ** 2,
        "observed_consistency": observed,
        "error_consistency": kappa,
    }


def decision_measures(decisions: pd.DataFrame) -> pd.DataFrame:
    """MEASURES of every network, indexed by subject in sorted order; NaN where a network lacks a data set, or all do.

    decisions: DECISION_COLUMNS, a row a decision; person says that people made it, image is the picture without what names the
    trial, condition is '' in a data set without conditions. Of data sets of the benchmark LEFT_OUT is left out.
    Raises InputError naming data set, condition and subject: where nobody decided, and where a subject decided on other
    pictures than the first person did.
    """
    used = decisions[~_left_out(decisions)]
    used = used.assign(right=(used["response"] == used["category"]).to_numpy(bool))
    networks = sorted(decisions.loc[~decisions["person"], "subject"].unique())
    found = pd.DataFrame(np.nan, index=pd.Index(networks, dtype=object, name="subject"), columns=list(MEASURES))
    shares, paired = [], []
    for dataset, part in used.groupby("dataset", sort=True):
        shares.append(part[~part["person"]].groupby("subject")["right"].mean().reindex(networks))
        paired.append(_against_people(str(dataset), part).reindex(networks))
    if shares:
        # a mean over other data sets than the others' would compare with none: NaN goes on
        found["ood_accuracy"] = np.mean([share.to_numpy(np.float64) for share in shares], axis=0)
        found[_PAIRED] = np.mean([table.to_numpy(np.float64) for table in paired], axis=0)
    whole = found[_PAIRED].notna().all(axis=1)
    signs = {"accuracy_difference": 1, "observed_consistency": -1, "error_consistency": -1}
    ranks = [(sign * found.loc[whole, name]).rank(method="average") for name, sign in signs.items()]
    found.loc[whole, "mean_rank"] = sum(ranks) / len(ranks)
    bias = decisions[(decisions["dataset"] == CUE_CONFLICT) & ~decisions["person"]]
    for subject, part in bias.groupby("subject", sort=True):
        found.loc[subject, "shape_bias"] = shape_bias(part)
    return found


def shape_bias(decisions: pd.DataFrame) -> float:
    """Share of decisions for the shape among those for shape or texture (Geirhos et al. 2019); NaN where there are none.

    decisions: response, category (the shape) and image, called SHAPE3-TEXTURE2.png; pictures without a conflict do not count.
    """
    texture = decisions["image"].str.replace(r"\.[^.]*$", "", regex=True).str.rpartition("-")[2]
    texture = texture.str.replace(r"\d", "", regex=True)
    conflict = texture != decisions["category"]
    shapes = int((conflict & (decisions["response"] == decisions["category"])).sum())
    textures = int((conflict & (decisions["response"] == texture)).sum())
    return shapes / (shapes + textures) if shapes + textures else float("nan")


def _left_out(decisions: pd.DataFrame) -> NDArray[np.bool_]:
    keys = zip(decisions["dataset"], decisions["condition"], strict=True)
    return np.array([condition in LEFT_OUT.get(dataset, ()) for dataset, condition in keys], dtype=bool)


def _against_people(dataset: str, decisions: pd.DataFrame) -> pd.DataFrame:
    """_PAIRED of the networks of one data set, mean over conditions and people (as many in each condition)."""
    parts = []
    for condition, part in decisions.groupby("condition", sort=True):
        where = f"{dataset}, condition {condition}" if condition else dataset
        right = _by_picture(part, where)
        people = sorted(part.loc[part["person"], "subject"].unique())
        networks = sorted(part.loc[~part["person"], "subject"].unique())
        measures = consistencies(right.loc[networks].to_numpy(bool), right.loc[people].to_numpy(bool))
        parts.append(
            pd.DataFrame(
                {name: values.ravel() for name, values in measures.items()},
                index=pd.MultiIndex.from_product([networks, people], names=["subject", "person"]),
            )
        )
    n_conditions = len(parts)
    pairs = pd.concat(parts).groupby(["subject", "person"]).agg(["mean", "size"])
    lacking = pairs.xs("size", axis=1, level=1)[_PAIRED[0]] < n_conditions
    means = pairs.xs("mean", axis=1, level=1).mask(lacking)
    return means.groupby("subject").mean()[_PAIRED]


def _by_picture(decisions: pd.DataFrame, where: str) -> pd.DataFrame:
    """Right or wrong of each subject by picture; a picture that a subject saw twice is two, in the order seen."""
    people = sorted(decisions.loc[decisions["person"], "subject"].unique())
    if not people:
        raise InputError(f"{where} has no decisions of people, with which those of networks could be compared")
    time = decisions.groupby(["subject", "image"]).cumcount()
    keyed = decisions.assign(picture=decisions["image"] + "#" + time.astype(str))
    table = keyed.pivot(index="subject", columns="picture", values="right")
    seen = table.notna()
    other = (seen != seen.loc[people[0]]).any(axis=1)
    if other.any():
        subject = str(other.index[other][0])
        picture = str(seen.columns[(seen.loc[subject] != seen.loc[people[0]]).to_numpy()][0]).rpartition("#")[0]
        raise InputError(
            f"{where}: {subject} and {people[0]} did not see the same pictures; {picture} is the first that only one of the two "
            "saw as often"
        )
    return table


def likeness(points: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Correlations over networks of each measure with each score, from rows of NETWORK_COLUMNS: COLUMNS.

    Intervals are for other networks like these (`network_correlations`). Below FEWEST_CORRELATED networks there is no number
    but theirs, and never a test.
    """
    rows = []
    for key, part in points.groupby(_POINTS_BY, sort=False):
        known = part[part["value"].notna() & part["mean"].notna()]
        value, mean = (known[name].to_numpy(np.float64) for name in ("value", "mean"))
        n = len(known)
        rows.append(
            {**dict(zip(_POINTS_BY, key, strict=True)), "n_networks": n}
            | network_correlations(value, mean, n, confidence)
        )
    return pd.DataFrame(rows, columns=COLUMNS)
