"""What the export of a study with people asks: which units, which of their tasks, how they are shown, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.analysis.cluster_tests import Clusters, cluster_of
from interpretability.design import intervention, practice
from interpretability.randomness import generator
from interpretability.schema import MADE, NATURAL
from interpretability.synthetic import observers
from study.errors import StudyError
from study.networks.roster import read_roster
from study.params.units import Units
from study.people.practising import Drawn, draw_practice
from study.people.studied import Built, Scores, among, keys_of

MOST_MODELS = 10  # networks that are asked about unless they are named
_MOST_NAMED = 20  # networks that a message names


@dataclass(frozen=True)
class Design:
    """The choices of an export.

    asked           numbers of the tasks of a unit that people see
    n_explanations  shown a side, the most exciting ones
    n_practice, n_catch   of an experiment
    """

    asked: NDArray[np.int64]
    n_explanations: int
    n_units: int
    n_random: int
    held_out: bool
    n_responses: int
    n_trials: int
    n_practice: int
    n_catch: int
    seed: int


@dataclass(frozen=True)
class Groups:
    """The units of one network that people are asked about: `chosen` with group and rank, and what to expect of the groups."""

    chosen: pd.DataFrame
    expected: pd.DataFrame


@dataclass(frozen=True)
class Asked:
    """One experiment: units with tasks of its condition and those without, what to expect of the groups, tasks as shown, who
    sees which (person, unit, task), practice and catch trials."""

    condition: str
    units: pd.DataFrame
    without: pd.DataFrame
    expected: pd.DataFrame
    shown: intervention.Presentation
    sessions: pd.DataFrame
    practice: Drawn
    catch: Drawn


def chosen_models(wanted: Sequence[str], roster: Path) -> list[str]:
    """Networks to ask about: those named, else all studied ones (of a training its last checkpoint) if they are few."""
    table = read_roster(roster)
    known = table[(table["role"] == "study") & (table["last"] == 1)]["name"].tolist()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        more = ", ..." if len(known) > _MOST_NAMED else ""
        raise StudyError(
            f"--models names {', '.join(unknown)}; studied networks are {', '.join(known[:_MOST_NAMED])}{more}"
        )
    if not wanted and len(known) > MOST_MODELS:
        raise StudyError(
            f"the study has {len(known)} networks, too many to ask about all; name some, as --models {known[0]},{known[1]}"
        )
    return list(dict.fromkeys(wanted)) or known


def check_conditions(wanted: Sequence[str], built: Sequence[Built]) -> None:
    """Refuse kinds of task that a network lacks, naming what there is."""
    for network in built:
        there = list(map(str, network.table["condition"].unique()))
        missing = [name for name in wanted if name not in there]
        if missing:
            raise StudyError(
                f"--conditions names {', '.join(missing)}; {network.model} has tasks of {', '.join(there)}. Ask about those, or "
                "about other networks (--models); tasks.conditions, activations.keep and visualisations.units of params.yaml "
                "make more"
            )


def check_scored(wanted: Sequence[str], model: str, scores: Scores, backend: str) -> None:
    """Refuse kinds of task that the similarity that chooses scores for no unit, as known factors do none with made images."""
    there = set(scores.table["condition"])
    if missing := [name for name in wanted if name not in there]:
        raise StudyError(
            f"--conditions names {', '.join(missing)}, of which {backend} scores no task of {model}, so nothing says which are "
            "easy; name another similarity (--backend)"
        )


@dataclass(frozen=True)
class Candidates:
    """Units to choose among: rows of `Scores.table`, its index kept; and how many others were left out as their repeats."""

    table: pd.DataFrame
    n_repeats: int


def candidates(scores: Scores, units: Units, annotated: pd.DataFrame, clusters: Clusters, seed: int) -> Candidates:
    """Units of a network that nobody answered, by their natural tasks, each once.

    A unit whose number and cluster of layers are those of an answered one counts as answered: it has the same pictures. Among
    units that repeat one another so, one is drawn (`intervention.without_repeats`).
    """
    table = scores.table
    listed = table["layer_type"].isin(units.layer_types)
    if not listed.any():  # a table of activations, which says nothing of the kind of its layer
        listed = ~listed
    kept = (table["condition"] == NATURAL) & listed
    table = table[kept & ~among(table, annotated)].dropna(subset=["mis", "even", "odd"])
    cluster = pd.Series(cluster_of(table, clusters), index=table.index, dtype=object)
    pairs = pd.MultiIndex.from_arrays([cluster, table["unit"]])
    own = annotated[annotated["model"].isin(table["model"])]
    fresh = ~pairs.isin(pd.MultiIndex.from_arrays([cluster_of(own, clusters), own["unit"]]))
    once = intervention.without_repeats(table[fresh], cluster[fresh].tolist(), keys_of(table[fresh], seed))
    return Candidates(table[fresh][once], len(table) - int(once.sum()))


def with_made(table: pd.DataFrame, built: Built, conditions: Sequence[str]) -> pd.DataFrame:
    """The candidates that have tasks of every one of the conditions that show made images; all of them where none does.

    Images are made for few units. The same units are asked in every condition, so they are chosen among these.
    """
    kept = [built.places(table, condition) >= 0 for condition in conditions if condition in MADE]
    return table[np.logical_and.reduce(kept)] if kept else table


def groups_of(model: str, table: pd.DataFrame, design: Design, *, made: bool = False) -> Groups:
    """The groups of one network, chosen among the candidates `table` by natural tasks; `made`: all of them have made images."""
    needed = 2 * design.n_units + design.n_random
    if len(table) < needed:
        raise StudyError(
            f"{model} has {len(table)} units that nobody answered{' and that have made images' if made else ''}; groups of "
            f"{design.n_units}, {design.n_random} and {design.n_units} need {needed}. Ask about fewer: --units, --random"
        )
    if design.n_trials > needed:
        raise StudyError(
            f"--trials is {design.n_trials}; allowed are 1 to {needed}, the units of a network: nobody sees a unit twice"
        )
    sizes = design.n_units, design.n_random, design.seed
    chosen = intervention.choose(table, *sizes, "even" if design.held_out else "mis")
    return Groups(chosen, intervention.expected(table, *sizes, held_out=design.held_out))


def ask(groups: Groups, scores: Scores, rest: pd.DataFrame, built: Built, condition: str, design: Design) -> Asked:
    """One experiment about the units of `groups` that have tasks of `condition`; `rest`: candidates of no group, for practice."""
    places = built.places(groups.chosen, condition)
    units = groups.chosen[places >= 0].assign(condition=condition).reset_index(drop=True)
    if design.n_trials > len(units):
        raise StudyError(
            f"--trials is {design.n_trials}, but only {len(units)} of the {len(places)} chosen units of {built.model} have "
            f"{condition} tasks, and nobody sees a unit twice. Lower --trials, or have activations.keep of params.yaml keep more "
            "units"
        )
    of_units = practice.fewer(built.tasks[places[places >= 0]][:, design.asked], design.n_explanations)
    expected = groups.expected
    if condition != NATURAL:
        elsewhere = scores.table[(scores.table["condition"] == condition) & among(scores.table, units)]
        expected = intervention.expected_elsewhere(groups.chosen, elsewhere, held_out=design.held_out)
    # the seed of natural tasks names no condition: it was the only one for long, and its sessions shall stay as they were
    of_condition = () if condition == NATURAL else (condition,)
    draw = generator(design.seed, "psychophysics", "sessions", built.model, *of_condition)
    sessions = observers.assign(len(units), design.n_responses, design.n_trials, len(design.asked), draw)
    return Asked(
        condition,
        units,
        groups.chosen[places < 0].reset_index(drop=True),
        expected,
        intervention.present(of_units, keys_of(units, design.seed), design.asked),
        sessions,
        *draw_practice(scores, rest, built, condition, design.n_practice, design.n_catch, design.seed),
    )
