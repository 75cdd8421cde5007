"""Tables of human answers beside the scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.analysis import (
    cluster_tests,
    conditions,
    group_tests,
    machine_beside_human,
    map_correlations,
    profiles,
)
from interpretability.people import single_answers
from interpretability.schema import KEY
from study.files import sources
from study.files.unit_tables import Margins, matrix
from study.tabulating.comparisons import compare_groups
from study.tabulating.facts import Facts, Tables


@dataclass(frozen=True)
class People:
    """Units with HIS, and the answers to them, as the stage `human` wrote them: of every source."""

    units: pd.DataFrame
    responses: pd.DataFrame

    def counted(self) -> People:
        """Those that may enter agreement (`sources.counted`)."""
        return People(sources.counted(self.units), sources.counted(self.responses))

    def by_condition(self) -> People:
        """Those for tables that pool no conditions (`sources.by_condition`)."""
        return People(sources.by_condition(self.units), sources.by_condition(self.responses))

    def among(self, scored: pd.DataFrame) -> pd.DataFrame:
        """Rows of `scored` (key, ...) that are of these units."""
        mine = pd.MultiIndex.from_frame(self.units[KEY])
        return scored[pd.MultiIndex.from_frame(scored[KEY]).isin(mine)].reset_index(drop=True)


def people_tables(every: pd.DataFrame, people: People, facts: Facts) -> Tables:
    """Tables of human scores alone, condition by condition.

    `every`: scored units with their HIS, one row a unit and condition; `people`: all units with HIS.
    """
    shown = people.by_condition()
    annotated = shown.among(every)

    def samples(condition: str) -> dict[str, NDArray[np.float64]]:
        rows = annotated[annotated["condition"] == condition]
        return {str(model): part.to_numpy(np.float64) for model, part in rows.groupby("model", observed=True)["his"]}

    means = group_tests.type_means(annotated, "his")
    clusters = cluster_tests.cluster_means(annotated, "his", facts.clusters)
    scored = shown.responses.merge(
        annotated[KEY].astype({"model": object, "layer": object, "condition": object}), on=KEY
    )
    return compare_groups(samples, means, clusters, "his", "human", facts, scored) | {
        "his_models": machine_beside_human.his_summary(shown.units, *facts.bootstrap, shown.responses),
        "difficulty": conditions.difficulty(shown.units, "his", "human", facts.confidence),
        "natural_synthetic": conditions.natural_synthetic(people.units, "his", "human", facts.confidence),
        "confidence": conditions.confidence_table(shown.responses, facts.confidence),
    }


def point_tables(
    annotated: pd.DataFrame,
    every: pd.DataFrame,
    people: People,
    maps: pd.DataFrame,
    tables: Tables,
    facts: Facts,
    lead: str,
) -> Tables:
    """What figures show of annotated units (a row a unit, condition and backend) and of layers.

    `annotated`: those whose answers count in agreement, of which points and groups of units are; `every`: others too, for means
    of conditions and for pairs of conditions of a unit. `maps`: contrast and sparseness of units; `tables` holds models, layers
    and extreme_units. Groups of easiest and hardest units are those of the leading backend.
    """
    seed, _, confidence = facts.bootstrap
    units = machine_beside_human.unit_points(annotated)
    once = units[units["backend"] == lead]
    shown = people.by_condition()
    means = machine_beside_human.unit_points(shown.among(every))
    ranked = tables["layers"][tables["layers"]["model"].isin(facts.nets.ranked)]
    extreme = tables["extreme_units"][tables["extreme_units"]["backend"] == lead]
    grouped = machine_beside_human.group_units(once, extreme, facts.n_extreme, seed)
    layers, measured = machine_beside_human.his_layers(once), map_correlations.map_units(maps, once)
    return {
        "layer_bins": profiles.layer_bins(ranked, confidence),
        "layer_change": profiles.layer_change(tables["layers"], tables["models"]),
        "unit_points": units,
        "model_points": machine_beside_human.model_points(means, shown.responses, confidence),
        "his_bins": machine_beside_human.his_bins(units, confidence),
        "groups": machine_beside_human.groups(grouped, confidence),
        "group_tests": machine_beside_human.group_tests(grouped),
        "his_layers": layers,
        "his_depth": machine_beside_human.his_depth(layers),
        "his_pairs": machine_beside_human.unit_pairs(people.units, every[every["backend"] == lead]),
        "map_units": measured,
        "map_correlations": map_correlations.map_correlations(measured, lead),
    }


def trials_tables(name: str, margins: Margins, responses: pd.DataFrame, facts: Facts) -> Tables:
    """Answers one by one, of those that count in agreement, against the margins of one backend.

    Only the observers of this study (`own_tasks`) are known to have answered the very tasks that are scored here; for other
    answers the margin is the mean over the unit's tasks, since recorded people saw other images, or the same in other groups.
    """
    responses = sources.counted(responses)
    table = margins.rows(sorted(set(responses["model"])), [*KEY, "margins"])
    asked = responses.merge(table.select(KEY).to_pandas().assign(row=np.arange(len(table))), on=KEY)
    values = matrix(table["margins"])
    row, task = asked["row"].to_numpy(), asked["task"].to_numpy()
    very = (asked["own_tasks"]).to_numpy(bool) & (task >= 0) & (task < values.shape[1])
    of_unit = values.mean(axis=1) if len(values) else np.empty(0)
    trials = pd.DataFrame(
        {
            "margin": np.where(very, values[row, np.where(very, task, 0)], of_unit[row]),
            "correct": asked["correct"].to_numpy(bool),
            "unit_code": pd.factorize(row)[0],
            "participant_code": pd.factorize(asked["participant"])[0],
            "margin_of": np.where(very, "task", "unit"),
        }
    )
    seed, _, confidence = facts.bootstrap
    rows, bins = single_answers.trial_tables(trials, name, seed, confidence)
    return {"trials": rows, "trial_calibration": bins}
