"""Summaries of scored units by network, layer and layer type."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from interpretability.statistics import share_interval

PERCENTILES = (5, 25, 50, 75, 95)
MODEL_COLUMNS = [
    "model",
    "backend",
    "role",
    "series",
    "step",
    "last",
    "n_units",
    "n_constant",
    "mis_mean",
    "mis_low",
    "mis_high",
    "mis_sd",
    *(f"p{level}" for level in PERCENTILES),
    "accuracy_mean",
    "margin_mean",
    "top1",
    "params",
    "input_size",
    "tail_share",
]
LAYER_COLUMNS = [
    "model",
    "backend",
    "layer",
    "layer_type",
    "layer_index",
    "depth",
    "width",
    "n_units",
    "mis_mean",
    "mis_se",
]
LAYER_TYPE_COLUMNS = [
    "model",
    "backend",
    "layer_type",
    "n_units",
    "mis_mean",
    "mis_se",
    "mis_low",
    "mis_high",
]


def mis_means(units: pd.DataFrame, by: list[str], confidence: float) -> pd.DataFrame:
    """n_units, mis_mean, mis_sd, mis_se (sd / sqrt n), mis_low, mis_high of groups of units."""
    groups = units.groupby(by, sort=False, observed=True)["mis"]
    table = groups.agg(n_units="size", mis_mean="mean", mis_sd="std").reset_index()
    table["mis_se"] = table["mis_sd"] / np.sqrt(table["n_units"])
    table["mis_low"], table["mis_high"] = share_interval(
        table["mis_mean"].to_numpy(), table["mis_sd"].to_numpy(), table["n_units"].to_numpy(), confidence
    )
    return table


def model_summary(
    units: pd.DataFrame, roster: pd.DataFrame, constant: pd.Series, tail_share: float, confidence: float
) -> pd.DataFrame:
    """Distribution of the scores in every network and step, with the facts of the roster: MODEL_COLUMNS.

    `units`: model, backend, mis, accuracy, margin_mean; `constant` names the network of every constant unit;
    `tail_share` is the share of images on each side from which tasks are built: levels compare only where it
    is equal. Rows in the order of the roster, networks without scored units are absent.
    """
    by = ["model", "backend"]
    table = mis_means(units, by, confidence)
    groups = units.groupby(by, sort=False, observed=True)
    levels = groups["mis"].quantile(np.array([level / 100 for level in PERCENTILES])).unstack()
    levels.columns = [f"p{level}" for level in PERCENTILES]
    means = groups.agg(accuracy_mean=("accuracy", "mean"), margin_mean=("margin_mean", "mean"))
    table = table.merge(levels.reset_index(), on=by).merge(means.reset_index(), on=by)
    facts = roster.rename(columns={"name": "model", "n_params": "params"})
    facts = facts[["model", "role", "series", "step", "last", "top1", "params", "input_size"]]
    table = table.astype({"model": object, "backend": object}).merge(facts, on="model", how="left")
    table["n_constant"] = table["model"].map(constant.value_counts()).fillna(0).astype(int)
    table["tail_share"] = tail_share
    positions = table["model"].map({name: position for position, name in enumerate(roster["name"])})
    return table.iloc[np.argsort(positions, kind="stable")].reset_index(drop=True)[MODEL_COLUMNS]


def layer_summary(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean MIS of every layer and its standard error over units: LAYER_COLUMNS."""
    by = ["model", "backend", "layer", "layer_type", "layer_index", "depth", "width"]
    return mis_means(units, by, confidence)[LAYER_COLUMNS]


def layer_type_summary(units: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean MIS over all units of every layer type of a network: LAYER_TYPE_COLUMNS."""
    return mis_means(units, ["model", "backend", "layer_type"], confidence)[LAYER_TYPE_COLUMNS]


@dataclass(frozen=True)
class Networks:
    """Names of a roster by what they are for.

    study: studied networks with all their training steps; ranked: those at their last step; planted: control units;
    permuted: chance network -> the one it permutes; untrained: network at step 0 -> its series; last_of: series ->
    its network at the last step; tables: those whose values stand in a table (constructor `table:FILE`), without a
    network; directions: network read in other directions than its units -> the network whose units it stands beside, ''
    where the roster has none. Those with the role directions are in no other list. resized: studied network -> the one that
    it is at another size of input; it is no network of its own in correlations over networks.
    """

    study: list[str]
    ranked: list[str]
    planted: list[str]
    permuted: dict[str, str]
    untrained: dict[str, str]
    last_of: dict[str, str]
    tables: frozenset[str] = frozenset()
    directions: dict[str, str] = field(default_factory=dict[str, str])
    resized: dict[str, str] = field(default_factory=dict[str, str])


def networks_of(roster: pd.DataFrame) -> Networks:
    """Names of a resolved roster by role: name, constructor, kwargs, role, series, step (number or missing), last."""
    study = roster["role"] == "study"
    chance = roster["constructor"] == "control:permuted"
    planted = (roster["role"] == "control") & roster["constructor"].str.startswith("control:") & ~chance
    fresh = roster[study & roster["step"].eq(0).fillna(False) & (roster["series"] != "")]
    finished = roster[study & (roster["last"] == 1) & (roster["series"] != "")]
    return Networks(
        study=list(roster["name"][study]),
        ranked=list(roster["name"][study & (roster["last"] == 1)]),
        planted=list(roster["name"][planted]),
        permuted={row["name"]: json.loads(row["kwargs"])["of"] for row in roster[chance].to_dict("records")},
        untrained=dict(zip(fresh["name"], fresh["series"], strict=True)),
        last_of=dict(zip(finished["series"], finished["name"], strict=True)),
        tables=frozenset(roster["name"][roster["constructor"].str.startswith("table:")]),
        directions=_bases(roster),
        resized=_resized(roster),
    )


def _resized(roster: pd.DataFrame) -> dict[str, str]:
    """Studied networks that are that of another row at another size of input (`of`), and that row."""
    if "of" not in roster.columns:
        return {}
    again = roster[(roster["role"] == "study") & roster["of"].fillna("").ne("")]
    return dict(zip(again["name"], again["of"], strict=True))


SIZE_COLUMNS = ["model", "of", "input_size"]


def input_sizes(roster: pd.DataFrame, nets: Networks) -> pd.DataFrame:
    """Networks read at several sizes of input, a row a size, in the order of the roster: SIZE_COLUMNS; empty where none is."""
    of = {**{name: name for name in nets.resized.values()}, **nets.resized}
    rows = roster[roster["name"].isin(of)]
    return rows.assign(model=rows["name"], of=rows["name"].map(of))[SIZE_COLUMNS].reset_index(drop=True)


_SAME = ["constructor", "kwargs", "weights", "sha256", "preprocessing", "taps"]  # what makes two rows one network


def _bases(roster: pd.DataFrame) -> dict[str, str]:
    """Networks read in other directions, and the network of each: what its row names (`of`), else the first studied one that is
    the same but for directions.
    """
    if "directions" not in roster.columns:
        return {}
    directed = (roster["directions"] != "") & (roster["role"] != "similarity")
    plain = roster[(roster["role"] == "study") & (roster["directions"] == "")].to_dict("records")
    units = {tuple(row[name] for name in _SAME): row["name"] for row in reversed(plain)}
    rows = roster[directed].to_dict("records")
    return {row["name"]: row.get("of") or units.get(tuple(row[name] for name in _SAME), "") for row in rows}
