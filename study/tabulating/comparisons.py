"""Tests between networks and between layer types, of scores by the machine or by people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pandas as pd

from interpretability.analysis import families, group_tests
from interpretability.schema import NATURAL, SYNTHETIC
from study.tabulating.facts import Facts, Tables

CONDITIONS = (NATURAL, SYNTHETIC)  # those in which groups are compared
Samples = Callable[[str], group_tests.Samples]


def compare_groups(samples: Samples, means: pd.DataFrame, value: str, name: str, facts: Facts) -> Tables:
    """All tests between networks and layer types in each of CONDITIONS; `samples` gives the scores of the networks."""
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for condition in CONDITIONS:
        called = name if condition == NATURAL else f"{name}_{condition}", condition
        tables = group_tests.compare(samples(condition), means, value, *called)
        resampled = families.family_bootstrap(means, value, facts.families, *called, *facts.bootstrap)
        for table, rows in {**tables, "family_bootstrap": resampled}.items():
            parts[table].append(rows)
    return {table: pd.concat(rows, ignore_index=True) for table, rows in parts.items()}
