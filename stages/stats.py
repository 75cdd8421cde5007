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

from stages import tabulate
from stages.errors import StudyError
from stages.pipeline import networks, provenance
from stages.pipeline.log import logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.scored import Margins, Scored
from stages.pipeline.tables import fresh_folder, read_json, read_parquet, write_csv, write_json
from stages.science import agreement, calibration, ceiling, differences, summaries

log = logger("stats")
FOLDERS = (
    *("images", "roster", "activations", "tasks", "scores", "human"),
    *("calibration", "mis", "ceiling", "sensitivity"),
)
FAILURES = ["model", "stage", "reason"]
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
        backend = tabulate.read_backend(name, scored, margins, facts)
        of_trials = tabulate.trials_tables(name, margins, responses, facts)
        for table, rows in (backend.tables | of_trials).items():
            parts[table].append(rows)
        overview = overview or summaries.overview(list(backend.easy.values()))
        rated.append(backend.rated)
        totals[name] = backend.totals
        log.info("%s: %d units", name, backend.totals["n_units"].sum())
    del backend  # the scores of all its units
    tables["backend_agreement"] = tabulate.pairs_table(scored, backends, facts)

    rated = pd.concat(rated, ignore_index=True)
    if missing := agreement.unscored(rated, people):
        log.warning("%s", missing)
    annotated = agreement.annotated(rated, people, backends)
    once = annotated[annotated["backend"] == backends[0]]
    for table, rows in tabulate.people_tables(once, people, responses, facts).items():
        parts[table].append(rows)
    tables |= {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    tables["models"] = tabulate.in_order(tables["models"], facts.roster["name"])
    tables["training"] = summaries.training_summary(tables["models"])
    splits = read_parquet(args.calibration / "splits.parquet")
    tables["calibration_splits"] = calibration.split_summary(splits, params.stats.confidence)
    tables["agreement"] = agreement.agreement_table(annotated, *bootstrap)
    tables["agreement_differences"] = differences.agreement_differences(annotated, *bootstrap)
    maps = read_parquet(args.sensitivity / "maps.parquet")
    tables |= tabulate.point_tables(annotated, people, maps, tables, facts, backends[0])
    tables["residuals"] = differences.residuals(annotated, N_RESIDUALS)
    tables["backends"] = tabulate.backends_table(args.scores, totals, tables, facts)
    tables["correlations"] = tabulate.correlations_table(tables, once, facts)
    ceilings = read_parquet(args.ceiling / "ceiling.parquet")
    tables["noise_ceiling"] = ceiling.ceiling_and_shares(ceilings, ceiling.share_table(annotated, *bootstrap))

    folder = fresh_folder(args.tables)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    n_images = read_json(args.images / "summary.json")["n"]
    write_json(args.metrics, summaries.headline(tables, backends, overview, n_images))
    folders = {"images": args.images, "models": args.roster, "activations": args.activations, "tasks": args.tasks}
    write_json(args.provenance, provenance.describe(**folders, params=asdict(params)))


def read_facts(
    args: argparse.Namespace, params: Params, constant: pd.DataFrame, people: pd.DataFrame
) -> tabulate.Facts:
    roster = networks.read_roster(args.roster / "roster.csv")
    for name in ("step", "top1", "last", "n_params", "input_size"):
        roster[name] = pd.to_numeric(roster[name], errors="coerce")
    whole = dict.fromkeys(["step", "last", "n_params", "input_size"], "Int64")
    roster = roster.astype({**whole, "series": "str"})
    return tabulate.Facts(
        roster=roster,
        nets=summaries.networks_of(roster),
        labels=text_table(args.activations / "control_labels.csv").astype({"unit": int}),
        # the relative rule of the table is a remark; these are the units that were left out
        constant=constant[constant["absolute"] == "1"],
        tail_share=read_json(args.tasks / "summary.json")["tail_share"],
        slopes=read_json(args.calibration / "slope.json"),
        layer_types=tuple(params.units.layer_types),
        people=people,
        bootstrap=(params.seed, params.stats.n_bootstrap, params.stats.confidence),
        drop_near=params.mis.drop_near_duplicates,
        n_extreme=params.stats.n_extreme,
    )


def text_table(path: Path) -> pd.DataFrame:
    """A side table as it was written: every cell text, so that a layer called 0.10 keeps its name."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def side_tables(args: argparse.Namespace) -> tabulate.Tables:
    """Tables that other stages left beside their results."""
    failed = [text_table(folder / "failures.csv")[FAILURES] for folder in (args.roster, args.activations)]
    return {
        "constant_units": text_table(args.tasks / "constant_units.csv"),
        "failures": pd.concat(failed, ignore_index=True),
        "rejected_images": text_table(args.images / "rejected.csv"),
        "exclusions": text_table(args.human / "exclusions.csv"),
        "checks": text_table(args.human / "checks.csv"),
        "activation_histograms": read_parquet(args.sensitivity / "histograms.parquet"),
        "sensitivity": read_parquet(args.sensitivity / "settings.parquet"),
    }


if __name__ == "__main__":
    run(main)
