"""What goes along with the scores: facts of networks (figures 4A and 17 of the MIS paper) and of layers (figure 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from interpretability import statistics
from interpretability.randomness import generator

MODEL_FACTS = ("top1", "n_layers", "width_mean", "width_median", "params", "input_size")
# Sizes span orders of magnitude, so their logarithm enters.
LOGARITHMIC = ("width_mean", "width_median", "params", "input_size")
LAYER_FACTS = ("depth", "relative_width")
COLUMNS = [
    *("backend", "level", "layer_type", "x", "n", "n_networks", "pearson", "low", "high", "p", "p_holm", "spearman"),
]


def model_facts(models: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Facts of every network, MODEL_FACTS by model: `models` has top1, params, input_size; `layers` one row a layer."""
    widths = layers.groupby("model", observed=True)["width"]
    shape = widths.agg(n_layers="size", width_mean="mean", width_median="median")
    facts = models.drop_duplicates("model").set_index("model")[["top1", "params", "input_size"]]
    facts = facts.apply(pd.to_numeric, errors="coerce").join(shape).astype(np.float64)
    sizes = facts[list(LOGARITHMIC)]
    facts[list(LOGARITHMIC)] = np.log10(sizes.where(sizes > 0))
    return facts[list(MODEL_FACTS)]


def model_correlations(scores: pd.Series, facts: pd.DataFrame, confidence: float) -> list[dict[str, object]]:
    """Correlations of networks' mean scores (by model) with their facts (`model_facts`).

    low, high: Fisher z with n networks; p: of Pearson, t distribution. Below FEWEST_CORRELATED networks no number but n.
    """
    rows = []
    quantile = float(stats.norm.ppf((1 + confidence) / 2))
    for name in MODEL_FACTS:
        both = pd.DataFrame({"x": facts[name], "y": scores}).astype(np.float64).dropna()
        x, y = both["x"].to_numpy(), both["y"].to_numpy()
        row = _row("model", "", name, len(x), len(x), x, y)
        if np.isfinite(row["pearson"]):
            row["low"], row["high"] = statistics.fisher_interval(row["pearson"], (len(x) - 3) ** -0.5, quantile)
            row["p"] = float(stats.pearsonr(x, y).pvalue)
        rows.append(row)
    return rows


def layer_correlations(
    layers: pd.DataFrame, value: str, seed: int, n_bootstrap: int, confidence: float
) -> list[dict[str, object]]:
    """Correlations of layers' mean scores with relative depth and width inside a network and layer type.

    `layers`: model, layer_type, depth, width and `value`. Scores and facts are taken minus their mean over the layers of
    the same type in the same network; layers without another of their type there are left out. relative_width is the
    width over the largest one of that type in the network. One row over all types and one a type.
    Layers of a network are not independent: low, high and p come from resamples of networks (Fisher z, t quantile,
    networks - 1 degrees of freedom; n resampled networks have (n - 1) / n of the variance of new ones). Below
    FEWEST_CORRELATED networks no number but n and n_networks.
    """
    groups = layers.groupby(["model", "layer_type"], observed=True)
    table = layers.assign(relative_width=layers["width"] / groups["width"].transform("max"))
    table = table[groups[value].transform("size") > 1].copy()
    for name in (value, *LAYER_FACTS):
        centred = table[name] - table.groupby(["model", "layer_type"], observed=True)[name].transform("mean")
        table[name] = centred.where(centred.abs() > 1e-12, 0.0)
    rows = []
    for layer_type in ("", *sorted(table["layer_type"].unique())):
        kept = table if layer_type == "" else table[table["layer_type"] == layer_type]
        codes, names = pd.factorize(kept["model"], sort=True)
        for name in LAYER_FACTS:
            x, y = kept[name].to_numpy(np.float64), kept[value].to_numpy(np.float64)
            row = _row("layer", layer_type, name, len(x), len(names), x, y)
            if np.isfinite(row["pearson"]):
                draw = generator(seed, "layer correlations", layer_type, name)
                weights = draw.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_bootstrap)
                # values are centred inside networks, so sums of squares and products of networks add up
                xy, xx, yy = ((weights * np.bincount(codes, a * b)).sum(axis=1) for a, b in ((x, y), (x, x), (y, y)))
                with np.errstate(invalid="ignore", divide="ignore"):
                    z = statistics.fisher_z(xy / np.sqrt(xx * yy))
                spread = float(z[np.isfinite(z)].std(ddof=1)) * np.sqrt(len(names) / (len(names) - 1))
                quantile = float(stats.t.ppf((1 + confidence) / 2, len(names) - 1))
                row["low"], row["high"] = statistics.fisher_interval(row["pearson"], spread, quantile)
                size = abs(float(statistics.fisher_z(row["pearson"])))
                row["p"] = float(2 * stats.t.sf(size / spread, len(names) - 1)) if spread > 0 else np.nan
            rows.append(row)
    return rows


def correlation_table(rows: list[dict[str, object]], backend: str) -> pd.DataFrame:
    """Rows of one backend as COLUMNS; p_holm is adjusted over all its p values."""
    table = pd.DataFrame(rows, columns=COLUMNS).assign(backend=backend)
    tested = table["p"].notna()
    if tested.any():
        table.loc[tested, "p_holm"] = multipletests(table.loc[tested, "p"].astype(float), method="holm")[1]
    return table.astype(dict.fromkeys(("pearson", "low", "high", "p", "p_holm", "spearman"), np.float64))


def _row(level: str, layer_type: str, x: str, n: int, n_networks: int, a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS, float("nan"))
    row |= {"level": level, "layer_type": layer_type, "x": x, "n": n, "n_networks": n_networks}
    if n_networks < statistics.FEWEST_CORRELATED:
        return row
    return row | {"pearson": float(statistics.pearson(a, b)), "spearman": float(statistics.spearman(a, b))}
