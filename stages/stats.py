"""Every table and number of the study. This stage alone writes results/tables, metrics.json and provenance.json.

Reads   data/mis, data/human, data/calibration, data/ceiling, data/sensitivity, and the side tables of the stages before
Writes  results/tables/*.csv, results/metrics.json, results/provenance.json
Run     dvc repro stats

Rankings, agreement and tests concern networks with role study at the last step of their series.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from interpretability.analysis import headline, training_series
from interpretability.people import agreement, agreement_differences, calibration_splits, ceiling_shares
from interpretability.people.annotated import unscored, with_people
from study.command import run
from study.files import provenance
from study.files.tables import fresh_folder, read_json, read_parquet, write_csv, write_json
from study.files.unit_tables import Margins, Scored
from study.log import logger
from study.params.whole import load_params
from study.tabulating import scored_units
from study.tabulating.inputs import read_facts, side_tables
from study.tabulating.people import people_tables, point_tables, trials_tables

log = logger("stats")


FOLDERS = (
    *("images", "roster", "activations", "tasks", "scores", "human"),
    *("calibration", "mis", "ceiling", "sensitivity"),
)
N_RESIDUALS = 20  # units that a similarity misses most, on either side: as in figures 20 and 21 of the MIS paper


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("params", *FOLDERS, "tables", "metrics", "provenance"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    backends = params.scores.backends
    tables = side_tables(args)
    people, responses = (read_parquet(args.human / f"{name}.parquet") for name in ("units", "responses"))
    facts = read_facts(args, params, tables["constant_units"], people)
    bootstrap = facts.bootstrap
    scored = Scored(args.mis / "units.parquet")

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
    del backend  # the scores of all its units
    tables["backend_agreement"] = scored_units.pairs_table(scored, backends, facts)

    rated = pd.concat(rated, ignore_index=True)
    if missing := unscored(rated, people):
        log.warning("%s", missing)
    annotated = with_people(rated, people, backends)
    once = annotated[annotated["backend"] == backends[0]]
    for table, rows in people_tables(once, people, responses, facts).items():
        parts[table].append(rows)
    tables |= {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    tables["models"] = scored_units.in_order(tables["models"], facts.roster["name"])
    tables["training"] = training_series.training_summary(tables["models"])
    splits = read_parquet(args.calibration / "splits.parquet")
    tables["calibration_splits"] = calibration_splits.split_summary(splits, params.stats.confidence)
    tables["agreement"] = agreement.agreement_table(annotated, *bootstrap)
    tables["agreement_differences"] = agreement_differences.agreement_differences(annotated, *bootstrap)
    maps = read_parquet(args.sensitivity / "maps.parquet")
    tables |= point_tables(annotated, people, maps, tables, facts, backends[0])
    tables["residuals"] = agreement_differences.residuals(annotated, N_RESIDUALS)
    tables["backends"] = scored_units.backends_table(args.scores, totals, tables, facts)
    tables["correlations"] = scored_units.correlations_table(tables, once, facts)
    ceilings = read_parquet(args.ceiling / "ceiling.parquet")
    tables["noise_ceiling"] = ceiling_shares.ceiling_and_shares(
        ceilings, ceiling_shares.share_table(annotated, *bootstrap)
    )

    folder = fresh_folder(args.tables)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    n_images = read_json(args.images / "summary.json")["n"]
    write_json(args.metrics, headline.headline(tables, backends, overview, n_images))
    folders = {"images": args.images, "models": args.roster, "activations": args.activations, "tasks": args.tasks}
    write_json(args.provenance, provenance.describe(**folders, params=asdict(params)))


if __name__ == "__main__":
    run(main)
