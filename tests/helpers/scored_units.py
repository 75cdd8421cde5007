"""Tables of scored units, as the stage mis writes them."""

import numpy as np
import pandas as pd


def scored(model, mis, backend="b", layer="l", mis_se=0.05, n_tasks=20, **more):
    """A row a unit of one layer of a network, with these scores; `more` are further columns, or other values."""
    n = len(mis)
    columns = {
        "model": model,
        "layer": layer,
        "unit": np.arange(n),
        "condition": "natural",
        "layer_type": "Conv",
        "layer_index": 1,
        "depth": 0.5,
        "width": 8,
        "backend": backend,
        "mis": np.asarray(mis, float),
        "mis_se": mis_se,
        "accuracy": np.asarray(mis, float),
        "margin_mean": 0.1,
        "margin_sd": 0.2,
        "n_tasks": n_tasks,
    }
    return pd.DataFrame(columns | more)
