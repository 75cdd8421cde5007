"""Every table and number of the study. This stage alone writes results/tables, metrics.json and provenance.json.

Reads   data/mis, data/human, data/calibration, data/ceiling, data/sensitivity, and the side tables of the stages before
Writes  results/tables/*.csv, results/metrics.json, results/provenance.json
Run     dvc repro stats

Rankings, agreement and tests concern networks with role study at the last step of their series.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from stages.errors import StudyError
from stages.pipeline import networks, provenance
from stages.pipeline.log import logger, run
from stages.pipeline.params import load_params
from stages.pipeline.tables import FACTS, KEY, fresh_folder, read_json, read_parquet, write_csv, write_json
from stages.science import agreement, calibration, ceiling, comparisons, score, summaries

log = logger("stats")
FOLDERS = (
    *("images", "roster", "activations", "tasks", "scores", "human"),
    *("calibration", "mis", "ceiling", "sensitivity"),
)
UNIT_COLUMNS = [*KEY, *FACTS, "mis", "mis_se", "accuracy", "margin_mean", "margin_sd", "n_tasks", "in_split", "backend"]
SLOPE_COLUMNS = ["backend", "slope", "temperature", "low", "high", "status", "n_units", "loss", "at_bound"]
FAILURES = ["model", "stage", "reason"]
# conditions in which networks are compared by human answers, and what the column backend then says
HUMAN = {"natural": "human", "synthetic": "human_synthetic"}

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Facts:
    """What the tables of every backend need besides its units."""

    roster: pd.DataFrame
    nets: summaries.Networks
    labels: pd.DataFrame
    constant: pd.DataFrame
    tail_share: float
    slopes: dict[str, dict[str, object]]
    confidence: float


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("params", *FOLDERS, "tables", "metrics", "provenance"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    backends = params.scores.backends
    tables = side_tables(args)
    facts = read_facts(args, tables["constant_units"], params.stats.confidence)
    people = read_parquet(args.human / "units.parquet")

    parts: dict[str, list[pd.DataFrame]] = defaultdict(list)
    lead, rated, scored = None, [], {}
    for backend in backends:
        units = backend_units(args.mis / "units.parquet", backend)
        ranked = units[units["model"].isin(facts.nets.ranked)]
        lead = ranked if lead is None else lead
        literal = literal_scores(args.scores / f"{backend}.parquet", facts.nets.ranked)
        cost = read_json(args.scores / f"{backend}.cost.json")
        scored[backend] = ranked[[*KEY, "mis"]]
        for name, table in backend_tables(backend, units, ranked, lead, literal, cost, facts).items():
            parts[name].append(table)
        rated.append(units[units["model"].isin(people["model"].unique())])
        log.info("%s: %d units", backend, len(units))
    rated = pd.concat(rated, ignore_index=True)
    if missing := agreement.unscored(rated, people):
        log.warning("%s", missing)
    annotated = agreement.annotated(rated, people, backends)
    once = annotated[annotated["backend"] == backends[0]]
    for condition, of_people in HUMAN.items():
        for name, table in comparisons.compare_units(once, "his", of_people, condition).items():
            parts[name].append(table)
    tables |= {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
    tables["backend_agreement"] = summaries.backend_agreement(scored)
    tables["models"] = in_order(tables["models"], facts.roster["name"])
    tables["training"] = summaries.training_summary(tables["models"])
    bootstrap = params.seed, params.stats.n_bootstrap, params.stats.confidence
    splits = read_parquet(args.calibration / "splits.parquet")
    tables["calibration_splits"] = calibration.split_summary(splits, params.stats.confidence)
    tables["agreement"] = agreement.agreement_table(annotated, *bootstrap)
    answers = read_parquet(args.human / "responses.parquet")
    tables["his_models"] = summaries.his_summary(people, *bootstrap, answers)
    ceilings = read_parquet(args.ceiling / "ceiling.parquet")
    tables["noise_ceiling"] = ceiling.ceiling_and_shares(ceilings, ceiling.share_table(annotated, *bootstrap))

    folder = fresh_folder(args.tables)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    n_images = read_json(args.images / "summary.json")["n"]
    write_json(args.metrics, summaries.headline(tables, backends, lead, n_images))
    folders = {"images": args.images, "models": args.roster, "activations": args.activations, "tasks": args.tasks}
    write_json(args.provenance, provenance.describe(**folders, params=asdict(params)))


def read_facts(args: argparse.Namespace, constant: pd.DataFrame, confidence: float) -> Facts:
    roster = networks.read_roster(args.roster / "roster.csv")
    for name in ("step", "top1", "last", "n_params", "input_size"):
        roster[name] = pd.to_numeric(roster[name], errors="coerce")
    whole = dict.fromkeys(["step", "last", "n_params", "input_size"], "Int64")
    roster = roster.astype({**whole, "series": "str"})
    return Facts(
        roster=roster,
        nets=summaries.networks_of(roster),
        labels=text_table(args.activations / "control_labels.csv").astype({"unit": int}),
        # the relative rule of the table is a remark; these are the units that were left out
        constant=constant[constant["absolute"] == "1"],
        tail_share=read_json(args.tasks / "summary.json")["tail_share"],
        slopes=read_json(args.calibration / "slope.json"),
        confidence=confidence,
    )


def backend_tables(
    backend: str,
    units: pd.DataFrame,
    ranked: pd.DataFrame,
    lead: pd.DataFrame,
    literal: dict[str, float],
    cost: dict[str, int],
    facts: Facts,
) -> Tables:
    """Tables of one backend; `ranked` are its units of networks that enter rankings, `lead` those of the first one."""
    nets, confidence, constant = facts.nets, facts.confidence, facts.constant
    controls = summaries.label_controls(units, nets.planted, nets.permuted, nets.untrained, facts.labels)
    n_constant = int((constant["model"].isin(nets.planted) & (constant["layer"] == "constant")).sum())
    slope = {"backend": backend, **facts.slopes[backend], "mis_mean": ranked["mis"].mean(), **literal}
    return {
        "models": summaries.model_summary(units, facts.roster, constant["model"], facts.tail_share, confidence),
        "training_gain": summaries.training_gain(units, nets, backend, confidence),
        "layers": summaries.layer_summary(units[units["model"].isin(nets.study)], confidence),
        "layer_types": summaries.layer_type_summary(ranked, confidence),
        "controls": summaries.controls_summary(controls, n_constant, confidence),
        "backends": summaries.backend_summary(ranked, lead, facts.slopes[backend], cost),
        "calibration": pd.DataFrame([slope], columns=[*SLOPE_COLUMNS, "mis_mean", *literal]),
        **comparisons.compare_units(ranked, "mis", backend),
    }


def in_order(table: pd.DataFrame, models: pd.Series) -> pd.DataFrame:
    """Rows in the order of the roster, backends as they were."""
    place = {name: place for place, name in enumerate(models)}
    return table.sort_values("model", key=lambda names: names.map(place), kind="stable", ignore_index=True)


def text_table(path: Path) -> pd.DataFrame:
    """A side table as it was written: every cell text, so that a layer called 0.10 keeps its name."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def side_tables(args: argparse.Namespace) -> Tables:
    """Tables that other stages left beside their results."""
    failed = [text_table(folder / "failures.csv")[FAILURES] for folder in (args.roster, args.activations)]
    return {
        "constant_units": text_table(args.tasks / "constant_units.csv"),
        "failures": pd.concat(failed, ignore_index=True),
        "rejected_images": text_table(args.images / "rejected.csv"),
        "exclusions": text_table(args.human / "exclusions.csv"),
        "sensitivity": read_parquet(args.sensitivity / "settings.parquet"),
    }


def backend_units(path: Path, backend: str) -> pd.DataFrame:
    """Scored units of one backend; repeated text as categories, which saves most of the memory."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    text = ["model", "layer", "condition", "layer_type"]
    table = pq.read_table(path, columns=UNIT_COLUMNS, filters=ds.field("backend") == backend, read_dictionary=text)
    units = table.to_pandas()
    return units[units["mis"].notna()].reset_index(drop=True)


def literal_scores(path: Path, models: list[str]) -> dict[str, float]:
    """Mean and maximum of MIS with the paper's alpha read as a factor, over the units of some networks."""
    count, total, largest = 0, 0.0, float("nan")
    wanted = ds.field("model").isin(pa.array(models, pa.string()))
    batches = ds.dataset(path).to_batches(columns=["margins"], filter=wanted)
    for batch in (batch for batch in batches if len(batch)):
        margins = batch["margins"].flatten().to_numpy().reshape(len(batch), -1)
        mis = score.unit_scores(margins, score.LITERAL_SLOPE)["mis"]
        count, total, largest = count + len(mis), total + mis.sum(), np.fmax(largest, mis.max())
    return {"literal_mis_mean": total / count if count else float("nan"), "literal_mis_max": largest}


if __name__ == "__main__":
    run(main)
