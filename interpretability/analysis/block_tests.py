"""Which layer types differ? A paired t test over blocks: families of networks, else networks.

Types of one network share what the network is like, and networks of a family what the family is like, so a family is one
observation of the difference of two types. With networks as blocks where families share effects of types, more than a
third of simulated studies raises a false alarm (benchmarks/results/family_wise_error.csv). Friedman's test and its post-hoc
tests take all types to spread alike and need blocks that have all types; this one needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from interpretability.analysis import pairs

TEST = "paired t of blocks"
COLUMNS = ["first", "second", "test", "n_blocks", "n_networks", "difference", *pairs.MARKS]


def block_means(table: pd.DataFrame, first: str, second: str, families: Mapping[str, str]) -> NDArray[np.float64]:
    """Difference of two types in each block (blocks,), sorted by name; `table` (networks, types) of means, NaN where a
    network lacks a type. A block is the family of a network, or the network that has none; its difference is the mean over those
    of its networks that have both types.
    """
    change = (table[first] - table[second]).dropna()
    names = [families.get(str(model)) or f"network {model}" for model in change.index]
    codes, _ = pd.factorize(np.asarray(names, dtype=object), sort=True)
    return np.bincount(codes, weights=change.to_numpy(np.float64)) / np.bincount(codes) if len(codes) else np.empty(0)


def layer_type_tests(means: pd.DataFrame, value: str, families: Mapping[str, str]) -> pd.DataFrame:
    """All pairs of layer types, sorted by name: COLUMNS.

    `means`: model, layer_type, `value`, one row a network and type, of one condition; `families` names the family of a network.
    n_blocks, n_networks  blocks and networks that have both types
    difference            mean over blocks, first minus second
    statistic, df, p      paired t over blocks
    p_holm, stars         adjusted over the pairs that are tested
    reason                why a pair is not: fewer than four blocks have both types, or all differ by the same
    """
    table = means.pivot(index="model", columns="layer_type", values=value).sort_index(axis=0).sort_index(axis=1)
    kinds, rows = [str(name) for name in table.columns], []
    for i, j in pairs.all_pairs(kinds):
        change = block_means(table, kinds[i], kinds[j], families)
        n, both = len(change), int(table[[kinds[i], kinds[j]]].notna().all(axis=1).sum())
        difference = float(change.mean()) if n else float("nan")
        statistic = df = p = float("nan")
        reason = pairs.TOO_FEW.format(what="blocks") if n < pairs.FEWEST_MEMBERS else ""
        if not reason:
            spread = float(change.std(ddof=1))
            if spread > 0:
                statistic, df = difference / (spread / float(np.sqrt(n))), n - 1
                p = float(2 * stats.t.sf(abs(statistic), df))
            else:
                reason = pairs.ALIKE
        rows.append((kinds[i], kinds[j], TEST, n, both, difference, statistic, df, p, reason))
    unmarked = [name for name in COLUMNS if name not in ("p_holm", "stars")]
    return pairs.marked(pd.DataFrame(rows, columns=unmarked), COLUMNS) if rows else pairs.empty(COLUMNS)
