"""What the tables of a study are made from, read from the outs of the stages."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from interpretability.analysis import networks
from study.errors import StudyError
from study.files.tables import read_json, read_parquet
from study.networks.clusters import read_clusters
from study.networks.failures import COLUMNS
from study.networks.roster import read_roster
from study.params.whole import Params
from study.tabulating import facts, levels


def read_facts(
    args: argparse.Namespace, params: Params, constant: pd.DataFrame, people: pd.DataFrame, splits: pd.DataFrame
) -> facts.Facts:
    """Facts of a study; `splits`: what other calibration splits would have given."""
    slopes, tasks = read_json(args.calibration / "slope.json"), read_json(args.tasks / "summary.json")
    roster = with_numbers(read_roster(args.roster / "roster.csv"))
    return facts.Facts(
        roster=roster,
        nets=networks.networks_of(roster),
        labels=text_table(args.activations / "control_labels.csv").astype({"unit": int}),
        # the relative rule of the table is a remark; these are the units that were left out
        constant=constant[constant["absolute"] == "1"],
        clusters=read_clusters(args.activations / "clusters.csv"),
        tail_share=tasks["tail_share"],
        natural_start=tasks["n_tasks"] * tasks["n_explanations"] / tasks["n_images"],
        slopes=slopes,
        slopes_allowed=levels.slopes_allowed(slopes, splits, params.stats.confidence),
        layer_types=tuple(params.units.layer_types),
        people=people,
        bootstrap=facts.Bootstrap(params.seed, params.stats.n_bootstrap, params.stats.confidence),
        drop_near=params.mis.drop_near_duplicates,
        n_extreme=params.stats.n_extreme,
    )


def with_numbers(roster: pd.DataFrame) -> pd.DataFrame:
    """A resolved roster with numbers where it has some; a step within the first epoch is a part of it."""
    names = ("step", "top1", "last", "n_params", "input_size")
    numbers = roster.assign(**{name: pd.to_numeric(roster[name], errors="coerce") for name in names})
    whole = dict.fromkeys(["last", "n_params", "input_size"], "Int64")
    return numbers.astype({**whole, "step": "Float64", "series": "str"})


def text_table(path: Path) -> pd.DataFrame:
    """A side table as it was written: every cell text, so that a layer called 0.10 keeps its name."""
    if not path.is_file():
        raise StudyError(f"{path}: no such file. Run `dvc repro` so that the stage before this one writes it.")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def side_tables(args: argparse.Namespace) -> facts.Tables:
    """Tables that other stages left beside their results."""
    failed = [
        text_table(folder / "failures.csv")[COLUMNS]
        for folder in (args.roster, args.activations, args.label_free, args.visualisations)
    ]
    return {
        "constant_units": text_table(args.tasks / "constant_units.csv"),
        "failures": pd.concat(failed, ignore_index=True),
        "left_out_layers": text_table(args.activations / "left_out.csv"),
        "rejected_images": text_table(args.images / "rejected.csv"),
        "exclusions": text_table(args.human / "exclusions.csv"),
        "checks": text_table(args.human / "checks.csv"),
        "activation_histograms": read_parquet(args.sensitivity / "histograms.parquet"),
        "sensitivity": read_parquet(args.sensitivity / "settings.parquet"),
        "made_images": read_parquet(args.visualisations / "units.parquet").astype({"position_bound": "int64"}),
    }
