"""How many latents of sparse codes are active often enough for tasks."""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from interpretability.tasks import rules
from study.files.tables import read_json, read_parquet

COLUMNS = [
    *("model", "layer", "n_latents", "n_dead", "n_too_sparse", "n_scored", "needed"),
    *("firing_p10", "firing_median", "firing_p90"),
]


def sparse_codes_table(args: argparse.Namespace) -> pd.DataFrame:
    """A row a layer that is read by a sparse code: COLUMNS, networks and layers as in the folder `args.tasks`."""
    summary = read_json(args.tasks / "summary.json")
    needed = rules.needed(summary["n_tasks"], summary["n_explanations"])
    return summarised(read_parquet(args.tasks / "firing.parquet"), needed)


def summarised(firing: pd.DataFrame, needed: int) -> pd.DataFrame:
    """`sparse_codes_table` of a table with model, layer, share and status, a row a latent.

    needed       images on which a latent must be active to have tasks, N(K + 1)
    n_dead       latents active on no image; n_too_sparse: on fewer than needed; n_scored: on as many or more
    firing_p10, firing_median, firing_p90   share of images on which a latent is active, over those that are not dead
    """
    rows = []
    for (model, layer), latents in firing.groupby(["model", "layer"], sort=False):
        counts = latents["status"].value_counts()
        alive = latents.loc[latents["status"] != "dead", "share"].to_numpy(np.float64)
        levels = np.quantile(alive, (0.1, 0.5, 0.9)) if len(alive) else np.full(3, np.nan)
        numbers = [int(counts.get(status, 0)) for status in ("dead", "too_sparse", "scored")]
        rows.append((model, layer, len(latents), *numbers, needed, *levels))
    return pd.DataFrame(rows, columns=COLUMNS)
