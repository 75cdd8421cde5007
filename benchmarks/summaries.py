"""Tables of 70 million scored units: time and memory of what the stage `stats` does with one similarity.

    python -m benchmarks.summaries [--units 70000000] [--networks 835] [--folder FOLDER]

Made-up scores of as many units and networks as the MIS paper has are written as the stage `mis` writes them (about 3 GB in
a temporary folder, removed afterwards). A process of its own then makes the tables of a similarity: networks, layers,
layer types, tests over all pairs of networks and of layer types, family bootstrap, percentiles over all units, and the
agreement of two similarities unit by unit. Answers of people and margins of single tasks stay out: nothing there grows
with the number of units but the time of reading them.

Expected on 2 shared cores: tables 208 s of processor time (643 s passed on a machine with eight jobs at once) and at most
2.0 GiB; pairs 168 s and 2.7 GiB, each measured from a fresh process, 0.2 GiB of it before anything is read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import memory, report, timed
from interpretability.analysis import headline
from interpretability.analysis.networks import networks_of
from interpretability.randomness import generator
from interpretability.schema import FACTS, KEY
from study.files.unit_tables import Margins, Scored
from study.tabulating import scored_units
from study.tabulating.facts import Bootstrap, Facts, Fit

BACKEND = "dreamsim"
TYPES = ("BatchNorm", "Conv", "GroupNorm", "LayerNorm", "Linear")
LAYERS = 50
ROW_GROUP = 1 << 16  # as the stage mis writes them
N_FAMILIES = 70


def names(networks: int) -> list[str]:
    return [f"network{number:04d}" for number in range(networks)]


def write_units(path: Path, units: int, networks: int) -> None:
    """Scores of `units` units, spread evenly over the networks; a network lacks two of the five layer types."""
    writer = None
    for number, name in enumerate(names(networks)):
        draw = generator(0, "benchmark", name)
        n = units * (number + 1) // networks - units * number // networks
        layer = np.sort(draw.integers(LAYERS, size=n))
        margin = draw.normal(0.3 + 0.02 * draw.standard_normal(), 0.1, n)
        spread = draw.uniform(0.1, 0.2, n)
        kinds = np.delete(np.arange(len(TYPES)), draw.choice(len(TYPES), 2, replace=False))
        text = {
            "model": (np.zeros(n, np.int32), [name]),
            "layer": (layer.astype(np.int32), [f"blocks.{place}.layer" for place in range(LAYERS)]),
            "condition": (np.zeros(n, np.int32), ["natural"]),
            "layer_type": (kinds[layer % 3].astype(np.int32), list(TYPES)),
            "backend": (np.zeros(n, np.int32), [BACKEND]),
        }
        columns: dict[str, object] = {
            column: pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words)).cast(pa.string())
            for column, (codes, words) in text.items()
        }
        columns |= {
            "unit": np.arange(n),
            "layer_index": layer.astype(np.int32),
            "depth": layer / LAYERS,
            "width": np.full(n, n // LAYERS, np.int32),
            "mis": 1 / (1 + np.exp(-6.25 * margin)),
            "mis_se": spread / 3,
            "accuracy": np.round(20 / (1 + np.exp(-9 * margin))) / 20,
            "margin_mean": margin,
            "margin_sd": spread,
            "n_tasks": np.full(n, 20, np.int16),
            "in_split": np.zeros(n, bool),
        }
        order = [
            *KEY,
            *FACTS,
            "backend",
            "mis",
            "mis_se",
            "accuracy",
            "margin_mean",
            "margin_sd",
            "n_tasks",
            "in_split",
        ]
        table = pa.table({column: columns[column] for column in order})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=ROW_GROUP)
    assert writer is not None
    writer.close()


class NoMargins(Margins):
    """Margins of a study without any."""

    def __init__(self) -> None:
        pass

    def rows(self, models: object, columns: Sequence[str]) -> pa.Table:
        kinds = {"unit": pa.int64(), "margins": pa.list_(pa.float32()), "near": pa.list_(pa.int16())}
        fields = [(name, kinds.get(name, pa.string())) for name in dict.fromkeys([*KEY, *columns])]
        return pa.schema(fields).empty_table()


def facts(networks: int) -> Facts:
    roster = pd.DataFrame({"name": names(networks)}).assign(
        constructor="resnet18",
        kwargs="",
        role="study",
        series="",
        step=np.nan,
        last=1,
        top1=75.0,
        n_params=10**7,
        input_size=224,
        family=[f"family{number % N_FAMILIES}" for number in range(networks)],
    )
    blank = pd.DataFrame(columns=["model", "layer", "unit", "label"])
    nobody = pd.DataFrame(columns=[*KEY, "n_responses", "his", "his_se", "source"])
    fit = Fit(slope=6.25, low=None, high=None, status="published", identified=False)
    return Facts(
        roster=roster,
        nets=networks_of(roster),
        labels=blank,
        constant=blank,
        clusters={},
        tail_share=0.0002,
        natural_start=0.00018,
        slopes={BACKEND: fit},
        slopes_allowed={},
        layer_types=TYPES,
        people=nobody,
        bootstrap=Bootstrap(seed=0, n=2000, confidence=0.95),
        drop_near=False,
        n_extreme=42,
    )


def measure(path: Path, networks: int) -> None:
    """Print time and highest memory after each part, and what came out, as JSON lines."""
    given, scored, found = facts(networks), Scored(path), {}

    def tables() -> None:
        found["backend"] = scored_units.read_backend(BACKEND, scored, NoMargins(), given)
        found["overview"] = headline.overview(list(found["backend"].easy.values()))

    def pairs() -> None:
        found["pairs"] = scored_units.pairs_table(scored, [BACKEND, BACKEND], given)

    start = memory("VmHWM")
    passed, used = timed(tables)
    backend, overview = found.pop("backend"), found["overview"]
    rows = {"n_units": overview["n_units"], "n_networks": overview["n_models"], "memory_at_start": start}
    made = {name: len(table) for name, table in backend.tables.items() if len(table)}
    del backend
    print(
        json.dumps(
            {
                "part": "tables",
                **rows,
                "seconds": passed,
                "cpu_seconds": used,
                "peak": memory("VmHWM"),
                "rows_of_tables": sum(made.values()),
            }
        ),
        flush=True,
    )
    passed, used = timed(pairs)
    spearman = found["pairs"]["spearman"].iloc[0]
    print(
        json.dumps(
            {
                "part": "pairs",
                **rows,
                "seconds": passed,
                "cpu_seconds": used,
                "peak": memory("VmHWM"),
                "rows_of_tables": 1,
                "spearman_with_itself": spearman,
            }
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=70_000_000)
    parser.add_argument("--networks", type=int, default=835)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args.networks)
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "units.parquet"
        write_units(path, args.units, args.networks)
        command = [
            sys.executable,
            "-m",
            "benchmarks.summaries",
            "--networks",
            str(args.networks),
            "--measure",
            str(path),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        size = path.stat().st_size
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row in rows:
        row |= {"file_gib": size / 2**30, "peak_gib": row.pop("peak") / 2**30}
        row["start_gib"] = row.pop("memory_at_start") / 2**30
    report("summaries", f"Tables of {args.units:,} units of {args.networks} networks", rows)


if __name__ == "__main__":
    main()
