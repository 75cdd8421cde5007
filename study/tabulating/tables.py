"""All tables of a study, from the outs of the stages before `stats`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interpretability.analysis import headline, networks, similarities, training_series
from interpretability.people import agreement, agreement_differences, calibration_splits, ceiling_shares
from interpretability.people.annotated import unscored, with_people
from interpretability.people.noise import noise_within_tasks
from interpretability.schema import KEY
from study.files.tables import read_json, read_parquet
from study.files.unit_tables import Margins, Scored
from study.log import logger
from study.params.whole import Params
from study.tabulating import scored_units
from study.tabulating.bases import bases_table
from study.tabulating.facts import Facts, Tables
from study.tabulating.inputs import read_facts, side_tables
from study.tabulating.judged_pairs import judged_pairs_table
from study.tabulating.kinds import kinds_tables
from study.tabulating.label_free import label_free_tables
from study.tabulating.likeness import likeness_tables
from study.tabulating.made_slopes import made_slopes_table
from study.tabulating.people import People, people_tables, point_tables, trials_tables
from study.tabulating.sparse_codes import sparse_codes_table
from study.tabulating.texts import text_numbers, texts_tables
from study.tabulating.tuning import tuning_tables

log = logger("stats")

# tables with levels of MIS under several similarities: their rows say where the slope of theirs comes from
LEVEL_TABLES = (
    *("models", "layer_types", "training", "training_gain", "sensitivity", "controls"),
    *("explanation_kinds", "explanation_kinds_units"),
)
N_RESIDUALS = 20  # units that a similarity misses most, on either side: as in figures 20 and 21 of the MIS paper


@dataclass
class Solved:
    """What all similarities say of the units: parts of tables, scores of annotated units, and totals of networks."""

    parts: dict[str, list[pd.DataFrame]]
    rated: pd.DataFrame
    totals: dict[str, pd.DataFrame]
    overview: dict[str, Any]


def study_tables(args: argparse.Namespace, params: Params) -> tuple[Tables, dict[str, Any]]:
    """Every table by its name, and the headline numbers. `args` names the folders of the stages before."""
    backends = params.scores.backends
    tables = side_tables(args)
    people = People(*(read_parquet(args.human / f"{name}.parquet") for name in ("units", "responses")))
    splits = read_parquet(args.calibration / "splits.parquet")
    facts = read_facts(args, params, tables["constant_units"], people.counted().units, splits)
    scored = Scored(args.mis / "units.parquet")
    solved = _solved(args, backends, scored, people.responses, facts)
    tables["input_sizes"] = networks.input_sizes(facts.roster, facts.nets)
    tables["sparse_codes"] = sparse_codes_table(args)
    tables["backend_agreement"] = scored_units.pairs_table(scored, backends, facts)

    if missing := unscored(solved.rated, people.units):
        log.warning("%s", missing)
    annotated, every = (
        with_people(solved.rated, units, backends, anywhere=anywhere)
        for units, anywhere in ((people.counted().units, False), (people.units, True))
    )
    if apart := sorted(set(people.counted().among(every)["condition"]) - set(annotated["condition"])):
        log.warning("answers to %s tasks enter no agreement: not every similarity scores such tasks", ", ".join(apart))
    once = annotated[annotated["backend"] == backends[0]]
    for table, rows in people_tables(_once(every, backends), people, facts).items():
        solved.parts[table].append(rows)
    tables |= {name: pd.concat(parts, ignore_index=True) for name, parts in solved.parts.items()}
    tables["models"] = scored_units.in_order(tables["models"], facts.roster["name"])
    tables["training"] = training_series.training_summary(tables["models"])
    tables["calibration_splits"] = calibration_splits.split_summary(splits, params.stats.confidence)
    tables["agreement"] = agreement.agreement_table(annotated, *facts.bootstrap)
    tables["calibration"] = similarities.with_second_mark(tables["calibration"], tables["agreement"])
    tables["agreement_differences"] = agreement_differences.agreement_differences(annotated, *facts.bootstrap)
    others = read_parquet(args.label_free / "units.parquet")
    tables["judged_pairs"] = judged_pairs_table(args.human, scored, others, facts.labels, backends, facts.confidence)
    maps = read_parquet(args.sensitivity / "maps.parquet")
    tables |= point_tables(annotated, every, people, maps, tables, facts, backends[0])
    tables["residuals"] = agreement_differences.residuals(annotated, N_RESIDUALS)
    tables["backends"] = scored_units.backends_table(args.scores, solved.totals, tables, facts)
    tables["correlations"] = scored_units.correlations_table(tables, once, facts)
    ceilings = read_parquet(args.ceiling / "ceiling.parquet")
    noise = noise_within_tasks(people.responses)
    shares = ceiling_shares.share_table(annotated.merge(noise, on=KEY, how="left"), *facts.bootstrap)
    tables["units_or_directions"] = bases_table(scored, backends, facts.nets.directions, args.activations, facts)
    tables["noise_ceiling"] = ceiling_shares.ceiling_and_shares(ceilings, shares)
    tables |= label_free_tables(others, scored, facts)
    tables |= likeness_tables(args.likeness, params.stats.likeness, tables, facts)
    tables |= kinds_tables(args.explanation_kinds, backends, facts)
    tables["made_slopes"] = made_slopes_table(args.calibration, backends)
    tables |= tuning_tables(args.tuning)
    tables |= texts_tables(args.explanations, args.crowd, args.simulation, facts)
    for name in LEVEL_TABLES:
        status = {backend: fit["status"] for backend, fit in facts.slopes.items()}
        tables[name] = tables[name].assign(slope_status=tables[name]["backend"].map(status).astype("str"))
    n_images = read_json(args.images / "summary.json")["n"]
    texts = text_numbers(tables["explanation_methods"], facts.nets.study)
    return tables, headline.headline(tables, backends, solved.overview, n_images, texts)


def _once(every: pd.DataFrame, backends: tuple[str, ...]) -> pd.DataFrame:
    """Units of each condition under one similarity: the first that scores such tasks."""
    place = every["backend"].map({name: number for number, name in enumerate(backends)})
    return every[place == place.groupby(every["condition"], observed=True).transform("min")]


def _solved(
    args: argparse.Namespace, backends: tuple[str, ...], scored: Scored, responses: pd.DataFrame, facts: Facts
) -> Solved:
    """One similarity after the other; the scores of all its units are in memory with those of no other."""
    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    overview, rated, totals = {}, [], {}
    for name in backends:
        margins = Margins(args.scores / f"{name}.parquet")
        backend = scored_units.read_backend(name, scored, margins, facts)
        of_trials = trials_tables(name, margins, responses, facts)
        for table, rows in (backend.tables | of_trials).items():
            parts[table].append(rows)
        overview = overview or headline.overview(list(backend.easy.values()))
        rated.append(backend.rated)
        totals[name] = backend.totals
        log.info("%s: %d units", name, backend.totals["n_units"].sum())
    return Solved(parts, pd.concat(rated, ignore_index=True), totals, overview)
