"""Tests between networks and between layer types, of scores by the machine or by people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pandas as pd

from interpretability.analysis import answer_tests, block_tests, cluster_tests, families, group_tests
from interpretability.analysis.pairs import beside_papers
from interpretability.schema import NATURAL, SYNTHETIC
from study.tabulating.facts import Facts, Tables

# Conditions in which groups are compared: by people's answers as in IMI (figures 3 and 11), by similarities in natural tasks
# alone, for images are made for a few units by name, which stand for no network.
OF_ANSWERS, OF_SIMILARITIES = (NATURAL, SYNTHETIC), (NATURAL,)
Samples = Callable[[str], group_tests.Samples]


def compare_groups(
    samples: Samples,
    means: pd.DataFrame,
    clusters: pd.DataFrame,
    value: str,
    name: str,
    facts: Facts,
    responses: pd.DataFrame | None = None,
) -> Tables:
    """All tests between networks and layer types in each of OF_ANSWERS, without answers of OF_SIMILARITIES.

    `samples` gives the scores of the networks, `means` those of layer types, `clusters` those of clusters of layers. Networks
    are compared by the answers `responses` where there are any, otherwise by the means of their clusters.
    """
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for condition in OF_SIMILARITIES if responses is None else OF_ANSWERS:
        called = name if condition == NATURAL else f"{name}_{condition}", condition
        papers = group_tests.compare(samples(condition), means, value, *called)
        of_clusters = clusters[clusters["condition"] == condition]
        levels = cluster_tests.levels(of_clusters)
        networks = cluster_tests.with_lags(_network_tests(of_clusters, responses, condition, facts), levels)
        types = block_tests.layer_type_tests(means[means["condition"] == condition], value, facts.families)
        ours = {
            "network_tests": beside_papers(networks, papers["conover_models"]),
            "layer_type_tests": beside_papers(types, papers["conover_layer_types"]),
            "network_clusters": levels.assign(condition=condition)[["condition", *cluster_tests.LEVEL_COLUMNS]],
        }
        for table, rows in ours.items():
            rows.insert(0, "backend", called[0])
            parts[table].append(rows)
        parts["kruskal"].append(papers["kruskal"])
        parts["family_bootstrap"].append(
            families.family_bootstrap(means, value, facts.families, *called, *facts.bootstrap)
        )
    return {table: pd.concat(rows, ignore_index=True) for table, rows in parts.items()}


def _network_tests(
    clusters: pd.DataFrame, responses: pd.DataFrame | None, condition: str, facts: Facts
) -> pd.DataFrame:
    if responses is None:
        return cluster_tests.network_tests(clusters)
    answers = answer_tests.answers_of(responses[responses["condition"] == condition], facts.clusters)
    return answer_tests.network_tests(answers)
