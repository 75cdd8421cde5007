"""The same study under several seeds: what of its numbers stands, and what another training or other tasks would change.

The table is computed by benchmarks/seeds.py, a row a seed, similarity and network, and is shown where it is of this study.
Its columns `differs` hold lists of names in JSON: a name may hold any other separator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from study.report.figures.base import Study
from study.report.page.cells import Table, number

TEXT = ("study", "backend", "model", "answers", "differs", "his_differs")
_SAME = 1e-5  # two runs of one seed that differ by more are of different code or processors


def read_seeds(path: Path, digest: str) -> pd.DataFrame:
    """Rows of the study with this digest; none where the table is of another one."""
    rows = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values={"his_mean": [""]})
    numbers = [name for name in rows.columns if name not in TEXT]
    rows[numbers] = rows[numbers].apply(pd.to_numeric, errors="coerce")
    return rows[rows["study"] == digest].reset_index(drop=True)


def _wide(study: Study, value: str) -> pd.DataFrame:
    """A value of the leading similarity, networks (in the order of the ranking) by seeds; only several seeds say anything."""
    rows = study.tables["seeds"]
    rows = rows[rows["backend"] == study.lead]
    table = rows.pivot(index="model", columns="seed", values=value)
    names = [name for name in study.models()["model"] if name in table.index]
    return table.loc[names] if table.shape[1] > 1 else table.iloc[:0]


def seeds_table(study: Study) -> Table | None:
    """Networks by seeds, with the standard deviation over seeds."""
    mis, his = _wide(study, "mis_mean"), _wide(study, "his_mean")
    if mis.empty:
        return None
    every = {**_called("mean MIS", mis), "mean MIS, mean over networks": mis.mean()}
    if his.notna().all(axis=None):
        every |= _called(f"mean HIS ({study.people})", his)
    if (ceilings := _wide(study, "ceiling")).notna().all(axis=None):
        every[f"noise ceiling{' of simulated answers' if study.simulated else ''}"] = ceilings.iloc[0]
    slopes = [_wide(study, name).iloc[0] for name in ("slope", "slope_low", "slope_high")]
    shown = [_row(words, values, 3) for words, values in every.items()]
    shown.append(_row(f"slope of {study.lead}", slopes[0], 2))
    for words, ends in (("lower end", slopes[1]), ("upper end", slopes[2])):
        shown.append(_row(f"{words} of its interval", ends, 2))
    head = ("of", *(f"seed {seed}" for seed in mis.columns), "sd over seeds")
    numeric = (False, *(True for _ in head[1:]))
    return Table(f"The study under {mis.shape[1]} seeds, similarity {study.lead}", head, numeric, tuple(shown))


def _called(what: str, values: pd.DataFrame) -> dict[str, pd.Series]:
    return {f"{what} of {name}": row for name, row in values.iterrows()}


def _row(words: str, values: pd.Series, digits: int) -> tuple[str, ...]:
    spread = float(np.std(values.to_numpy(float), ddof=1))
    return (words, *map(number(digits), values.to_numpy(float).tolist()), number(digits)(spread))


def seeds_words(study: Study) -> list[str]:
    """What the table says, in sentences: which differences stand, and how far levels move; none without the table."""
    mis, his = _wide(study, "mis_mean"), _wide(study, "his_mean")
    if mis.empty:
        return []
    said = [_of_pairs(study, "MIS", mis, "differs")]
    if his.notna().all(axis=None):
        said.append(_of_pairs(study, "HIS", his, "his_differs"))
    span, mean = np.ptp(mis.to_numpy(), axis=1), mis.mean()
    said.append(
        f"Levels do not stand: the mean MIS of a network moves by {span.min():.3f} to {span.max():.3f} between seeds, the "
        f"mean over networks from {mean.min():.3f} to {mean.max():.3f}, and beyond that with the slope."
    )
    now = study.models().set_index("model")["mis_mean"]
    own = mis.get(study.seed)
    if own is not None and (own - now.reindex(own.index)).abs().max() > _SAME:
        said.append(
            f"The column of seed {study.seed} differs from this study: the table is of other code or another processor."
        )
    return said


def _of_pairs(study: Study, score: str, levels: pd.DataFrame, column: str) -> str:
    """Which pairs of networks are marked as different under any seed, and whether they keep their sign under all."""
    marks = _wide(study, column).map(lambda names: set(json.loads(names)))
    stand: list[str] = []
    change: list[str] = []
    unmarked: list[str] = []
    n = levels.shape[1]
    for first, second in combinations(levels.index, 2):
        signs = np.sign((levels.loc[first] - levels.loc[second]).to_numpy())
        n_marked = sum(second in names for names in marks.loc[first])
        kept = bool((signs == signs[0]).all() and signs[0] != 0)
        pair = f"{first} \N{EN DASH} {second}"
        if n_marked:
            (stand if kept else change).append(f"{pair} (marked under {n_marked})")
        elif not kept:
            unmarked.append(pair)
    return (
        f"{score}: pairs that the test marks as different under at least one seed, and whose difference has the same sign "
        f"under all {n}: {_listed(stand)}. Marked, but with another sign under some: {_listed(change)}. Never marked, and "
        f"with another sign under some: {_listed(unmarked)}."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
