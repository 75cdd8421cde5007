"""The complete study under several seeds: which of its numbers would stand if it were run again?

    python -m benchmarks.seeds                      # seeds 0 to 4 of params.yaml: the time of five `dvc repro` from nothing
    python -m benchmarks.seeds --seeds 3 4          # only these; rows of the same study under other seeds stay

Each seed is computed in a temporary copy of the repository with a store of its own, from the pictures to the tables: other
pictures, training, tasks and simulated people, so a value holds the chance of all of them. What it gives goes into
results/seeds.csv after every seed, and the report shows the table where it is of the same study (`study`: digest of all
parameters but seed and report, and of the roster).

A row is a seed, similarity and network of the ranking:
mis_mean, accuracy   mean over the units of the network
answers, his_mean    whose answers (simulated, in the study of this repository); mean HIS of its annotated units, natural tasks
slope, slope_low, slope_high   of the similarity, with its interval
ceiling              the leading noise ceiling
differs, his_differs the networks from which the tests between networks mark this one as different, in MIS and in HIS (JSON)

Expect pairs that the tests mark to keep their sign, others to change places, and levels to move in the second digit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from benchmarks.harness import RESULTS, report
from interpretability.schema import NATURAL
from study.files.tables import read_csv, read_json
from study.report.page.seeds import TEXT
from tests.helpers.copied_study import Study

COLUMNS = [
    *("study", "seed", "backend", "model", "mis_mean", "accuracy", "answers", "his_mean"),
    *("slope", "slope_low", "slope_high", "ceiling", "differs", "his_differs"),
]
SEEDS = (0, 1, 2, 3, 4)


def rows_of(results: Path) -> pd.DataFrame:
    """COLUMNS of the study whose folder `results` holds its tables, metrics and provenance."""
    provenance, metrics = (read_json(results / f"{name}.json") for name in ("provenance", "metrics"))

    def table(name: str) -> pd.DataFrame:
        names = ("model", "backend", "first", "second", "stars", "condition")
        return read_csv(results / "tables" / f"{name}.csv", text=names)

    models, his, params = table("models"), table("his_models"), provenance["params"]
    models = models[(models["role"] == "study") & (models["last"] == 1)]
    slopes = table("calibration").set_index("backend")
    human = his[his["condition"] == NATURAL].set_index("model")["his_mean"]
    marked = _marked(table("network_tests"))
    rows: list[dict[str, Any]] = [
        {
            "study": provenance["digests"]["study"],
            "seed": params["seed"],
            "backend": row["backend"],
            "model": row["model"],
            "mis_mean": row["mis_mean"],
            "accuracy": row["accuracy_mean"],
            "answers": params["human"]["source"],
            "his_mean": human.get(row["model"]),
            "slope": slopes["slope"][row["backend"]],
            "slope_low": slopes["low"][row["backend"]],
            "slope_high": slopes["high"][row["backend"]],
            "ceiling": metrics.get("ceiling"),
            "differs": json.dumps(marked.get((row["backend"], row["model"]), [])),
            "his_differs": json.dumps(marked.get(("human", row["model"]), [])),
        }
        for row in models.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _marked(pairs: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """By backend and network: the networks from which the test marks it as different, in their order."""
    marked: dict[tuple[str, str], list[str]] = {}
    for row in pairs[pairs["stars"].str.contains("*", regex=False)].to_dict("records"):
        for one, other in ((row["first"], row["second"]), (row["second"], row["first"])):
            marked.setdefault((row["backend"], one), []).append(other)
    return {key: sorted(others) for key, others in marked.items()}


def joined(before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The new rows with those of the same study under other seeds; rows of other studies go."""
    kept = before[(before["study"] == rows["study"].iloc[0]) & ~before["seed"].isin(set(rows["seed"]))]
    parts = [part for part in (kept, rows) if len(part)]
    return pd.concat(parts, ignore_index=True).sort_values("seed", kind="stable", ignore_index=True)[COLUMNS]


def run_seed(seed: int, folder: Path, workers: int, *, tiny: bool) -> pd.DataFrame:
    """Rows of the study of params.yaml, or of a tiny one, under a seed, computed in a new folder from nothing."""
    study = Study(folder, tiny=tiny, seed=seed)
    done = study.repro("stats", workers=workers)
    if done.returncode:
        raise RuntimeError(f"seed {seed}: dvc repro failed\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return rows_of(folder / "results")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="seeds to compute (0 to 4)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of each stage (all cores)")
    parser.add_argument("--folder", type=Path, help="where the temporary folders go, some gigabytes each")
    parser.add_argument("--tiny", action="store_true", help="a tiny study instead, to try this script")
    args = parser.parse_args(argv)
    for seed in args.seeds:
        began = perf_counter()
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            rows = run_seed(seed, Path(name) / "study", args.workers, tiny=args.tiny)
        path = RESULTS / "seeds.csv"
        before = read_csv(path, COLUMNS, TEXT) if path.is_file() else pd.DataFrame(columns=COLUMNS)
        print(f"seed {seed}: {(perf_counter() - began) / 60:.1f} minutes", flush=True)
        report("seeds", "The study under several seeds", joined(before, rows))


if __name__ == "__main__":
    main()
