"""Scores with synthetic explanations beside natural ones, unit by unit, and what they owe to the noise that images start from.

    python -m benchmarks.made_scores [--study .] [--model resnet] [--layers 20] [--units 2] [--sets 2] [--backend encoder pixel]

`made_scores.csv`: images are made for units drawn by key in layers drawn by key, with the study's own `visualisations.*` but for
units and seed sets, and tasks are solved as the stage `explanation_kinds` does; scores have the slope of natural answers. A row a
similarity and kind: units, mean score, mean difference to natural with its 95 % interval over units, share of units with a higher
score than with natural explanations, Pearson and Spearman of the two, share of tasks answered right, and `between_sd`: root mean
square over units of the standard deviation between seed sets.

Aim, encoder of the embedded study, 40 units of resnet: synthetic between .70 and .80 and below natural in mean, Spearman .4 or
more, between_sd .03 or less; IMI finds synthetic explanations less useful in every network, too.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from benchmarks.harness import report
from interpretability import statistics
from interpretability.mis import unit_scores
from interpretability.randomness import generator
from interpretability.schema import NATURAL, UNIT
from stages import explanation_kinds, visualisations
from study.files.tables import read_json, read_parquet

FOLDERS = ("images", "models", "activations", "tasks")
CONFIDENCE = 0.95


def drawn_units(study: Path, model: str, n_layers: int, n_units: int) -> list[str]:
    """Units of a network that have natural tasks, so many of each of so many layers, as entries of visualisations.units."""
    table = read_parquet(study / "data/tasks" / f"{model}.parquet", [*UNIT, "condition"])
    units = table[table["condition"] == NATURAL].groupby("layer", sort=False)["unit"].agg(list)
    draw = generator(0, "units with made images", model)
    layers = sorted(draw.choice(len(units), min(n_layers, len(units)), replace=False))
    return [
        f"{model}/{units.index[layer]}/{unit}"
        for layer in layers
        for unit in sorted(draw.choice(units.iloc[layer], min(n_units, len(units.iloc[layer])), replace=False))
    ]


def solved(study: Path, units: list[str], n_sets: int, backends: list[str], folder: Path) -> pd.DataFrame:
    """Margins of the units under every kind, of the two stages run on a finished study with other parameters."""
    yaml = YAML(typ="safe")
    params = yaml.load(study / "params.yaml")
    params["visualisations"] |= {"units": units, "n_sets": n_sets}
    params["explanation_kinds"] |= {"units": [], "fewer": []}
    params["scores"]["backends"] = backends
    params["tasks"]["conditions"] = [NATURAL]
    params["activations"] |= {"keep": [], "windows": []}
    yaml.dump(params, folder / "params.yaml")
    shared = ["--params", str(folder / "params.yaml"), "--code", str(study / "data/external/code")]
    places = {name: ["--" + name, str(study / "data" / name)] for name in FOLDERS}
    made, kinds = folder / "visualisations", folder / "explanation_kinds"
    visualisations.main([*shared, *places["images"], *places["models"], *places["activations"], "--out", str(made)])
    explanation_kinds.main(
        [
            *(*shared, *places["images"], *places["models"], *places["tasks"]),
            *("--visualisations", str(made), "--out", str(kinds)),
        ]
    )
    return read_parquet(kinds / "margins.parquet")


def scored(margins: pd.DataFrame, slopes: dict[str, float]) -> pd.DataFrame:
    """mis and accuracy of each row of the margins, with the slope of its similarity."""
    parts = []
    for backend, rows in margins.groupby("backend", sort=False):
        scores = unit_scores(np.stack(rows["margins"].tolist()), slopes[str(backend)])[["mis", "accuracy"]]
        parts.append(pd.concat([rows[[*UNIT, "backend", "kind", "seed_set"]].reset_index(drop=True), scores], axis=1))
    return pd.concat(parts, ignore_index=True)


def summary(scores: pd.DataFrame) -> list[dict[str, object]]:
    """A row a similarity and kind."""
    rows = []
    for (backend, kind), of_kind in scores.groupby(["backend", "kind"], sort=False):
        sets = of_kind.pivot_table(index=UNIT, columns="seed_set", values="mis")
        natural = scores[(scores["backend"] == backend) & (scores["kind"] == NATURAL)].set_index(UNIT)["mis"]
        of_set = sets.iloc[:, 0]
        beside, change = natural.loc[sets.index], of_set - natural.loc[sets.index]
        low, high = statistics.mean_interval(
            np.array([change.mean()]), np.array([change.std()]), np.array([len(change)]), CONFIDENCE
        )
        other = kind != NATURAL
        rows.append(
            {
                "similarity": backend,
                "kind": kind,
                "n_units": len(sets),
                "n_sets": sets.shape[1],
                "mis": of_set.mean(),
                "accuracy": of_kind["accuracy"].mean(),
                "difference": change.mean() if other else None,
                "low": float(low[0]) if other else None,
                "high": float(high[0]) if other else None,
                "higher": float((change > 0).mean()) if other else None,
                "pearson": float(statistics.pearson(of_set.to_numpy(), beside.to_numpy())) if other else None,
                "spearman": float(statistics.spearman(of_set.to_numpy(), beside.to_numpy())) if other else None,
                "below_half": float((of_set < 0.5).mean()),
                "between_sd": float(np.sqrt(sets.var(axis=1, ddof=1).mean())) if sets.shape[1] > 1 else None,
            }
        )
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path(), help="folder of a finished study")
    parser.add_argument("--model", default="resnet")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--units", type=int, default=2, help="of each layer")
    parser.add_argument("--sets", type=int, default=2)
    parser.add_argument("--backend", nargs="+", default=["encoder", "pixel"])
    args = parser.parse_args(argv)
    slopes = {
        name: float(entry["slope"]) for name, entry in read_json(args.study / "data/calibration/slope.json").items()
    }
    units = drawn_units(args.study, args.model, args.layers, args.units)
    with tempfile.TemporaryDirectory() as name:
        margins = solved(args.study, units, args.sets, args.backend, Path(name))
    title = f"{len(units)} units of {args.model}, {args.sets} seed sets, generated scenes and made images"
    report("made_scores", title, summary(scored(margins, slopes)))


if __name__ == "__main__":
    main()
