"""A study of 70 million units of 835 networks through the stages behind the scores: time and memory of each.

    python -m benchmarks.summaries_stages [--units 70000000] [--networks 835] [--folder FOLDER] [--parts mis stats compare report]

The study is made up (`benchmarks/made_study.py`): margins, answers of people and pictures are simulated. Each part runs in a
process of its own, as DVC would call it: the stage `mis` on margins of one similarity, the stage `stats` with all tables,
`tools.compare` of this version and one with another slope, and the stage `report` with its gallery. What comes out is held
against a slow computation for three networks, which stops the benchmark where it differs. Takes about 12 GB of disk; the folder
is removed at the end. Needs the data of the embedded study (`dvc repro` or `dvc pull`), whose side tables it borrows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks import made_study
from benchmarks.harness import in_process, memory, report, timed
from benchmarks.made_study import BACKEND, SLOPE, Network
from study.errors import StudyError
from study.files.tables import read_json
from study.params.reading import load
from study.report.page import inputs, listed_units, seeds
from study.report.page.build import ReportParams

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("mis", "stats", "compare", "report")
OTHER_SLOPE = 5.0
SAMPLED = 3  # networks that are computed anew
MOST_BYTES, ROWS = 15_000_000, 7  # of the page; networks that its first screen draws
_SIDES = (
    *("human", "calibration", "tuning", "mis", "ceiling", "sensitivity", "explanations", "crowd", "label_free"),
    *("visualisations", "explanation_kinds", "scores", "images"),
)


def command_of(part: str, root: Path) -> list[str]:
    """The command line of a part for the study in `root`."""
    data, results = root / "data", root / "results"
    sides = {name: data / name for name in _SIDES}
    tables = {name: results / f"{name}.json" for name in ("metrics", "provenance")} | {"tables": results / "tables"}
    notes = {name: data / "notes" / name for name in ("activations", "tasks")}
    params = {"params": root / "params.yaml"}
    options: Mapping[str, Path] = {
        "mis": {**params, **{name: data / name for name in ("scores", "calibration")}, "out": data / "mis"},
        "stats": {
            **params,
            **sides,
            **notes,
            **tables,
            "roster": data / "models",
            "simulation": data / "crowd_simulation",
        },
        "compare": {
            "repository": root,
            "template": ROOT / "reports/compare.html.j2",
            "style": ROOT / "reports/template/style",
            "out": root / "compare.html",
        },
        "report": {
            **{
                name: path
                for name, path in (params | sides | tables).items()
                if name not in ("ceiling", "sensitivity", "label_free")
            },
            **{name: data / name for name in notes},
            **{name: ROOT / "reports" / name for name in ("template", "captions")},
            "plots": results / "plots",
            "figures": root / "figures",
            "seeds": ROOT / "benchmarks/results/seeds.csv",
            "out": root / "report.html",
        },
    }[part]
    words = ["HEAD~1", "HEAD"] if part == "compare" else []
    return [*words, *(str(word) for name, path in options.items() for word in (f"--{name}", path))]


def measure(part: str, root: Path) -> dict[str, float]:
    """Run a part here; seconds, processor seconds, and the highest memory in bytes."""
    import importlib

    module = importlib.import_module("tools.compare" if part == "compare" else f"stages.{part}")
    passed, used = timed(lambda: module.main(command_of(part, root)))
    return {"seconds": passed, "cpu_seconds": used, "peak_bytes": memory("VmHWM")}


# --------------------------------------------------------------------------- what parts need beside the study
def keep_version(root: Path) -> None:
    """Commit the study's results as a version, its unit scores in the cache of DVC."""
    if not (root / ".git").is_dir():
        _run(root, "git", "init", "-q")
        _run(root, sys.executable, "-m", "dvc", "init", "-q")
    units = root / "data/mis/units.parquet"
    with open(units, "rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    os.link(units, _in_cache(root, digest))
    listing = json.dumps([{"md5": digest, "relpath": units.name}])
    folder = hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    _in_cache(root, folder).write_text(listing, encoding="utf-8")
    lock = {"schema": "2.0", "stages": {"mis": {"cmd": "", "outs": [{"path": "data/mis", "md5": folder}]}}}
    (root / "dvc.lock").write_text(json.dumps(lock), encoding="utf-8")
    _run(
        root,
        "git",
        "add",
        "-f",
        "params.yaml",
        "dvc.lock",
        "results/tables",
        "results/metrics.json",
        "results/provenance.json",
    )
    name = ("-c", "user.name=made", "-c", "user.email=made@example.org")
    _run(root, "git", *name, "commit", "-qm", f"Scores {digest[:8]}")


def _in_cache(root: Path, digest: str) -> Path:
    path = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _run(root: Path, *words: str) -> None:
    subprocess.run(words, cwd=root, check=True)


def before_compare(root: Path, units: int, networks: int) -> None:
    """Two versions: one with the slope of the other parts, then one with another slope and the same tables."""
    keep_version(root)
    _scored_at(root, OTHER_SLOPE)
    keep_version(root)
    _scored_at(root, SLOPE)


def _scored_at(root: Path, slope: float) -> None:
    fit = read_json(root / "data/calibration/slope.json")[BACKEND]
    made_study.write_slope(root / "data", slope, fit)
    in_process("benchmarks.summaries_stages", "--part", "mis", "--root", root)


def before_report(root: Path, units: int, networks: int) -> None:
    """Pictures, and tasks of the units that the page lists; of the networks that it shows with pictures, of all units."""
    data = root / "data"
    for stage in ("activations", "tasks"):
        shutil.copytree(data / "notes" / stage, data / stage, dirs_exist_ok=True)
    made_study.write_pictures(data)
    study, listed = listing(root)
    shown = set(inputs.gallery_models(study))
    wanted = dict(iter(listed.units.groupby("model")))
    for network in made_study.every_network(units, networks):
        own = wanted.get(network.name)
        rows = np.arange(network.n if network.name in shown else 0)
        if own is not None and not len(rows):
            rows = np.sort(network.ends[own["layer_index"].to_numpy(np.int64)] + own["unit"].to_numpy(np.int64))
        made_study.write_tasks(data, network, rows)


def listing(root: Path) -> tuple[inputs.Study, listed_units.Listed]:
    """The study as the report reads it, and the units that its page lists."""
    data = root / "data"
    recorded = read_json(root / "results/provenance.json")["params"]
    study = inputs.load_study(
        recorded,
        root / "results/tables",
        data / "mis",
        data / "human",
        data / "calibration",
        data / "tasks",
        data / "explanations",
        data / "crowd",
        seeds.read_seeds(ROOT / "benchmarks/results/seeds.csv", ""),
    )
    most = load(root / "params.yaml", ReportParams).report.n_units
    return study, listed_units.list_units(study, data / "mis", data / "scores", most)


# --------------------------------------------------------------------------- checks on a sample
def sample(units: int, networks: int) -> list[Network]:
    """The first, the middle and the last network."""
    every = list(made_study.every_network(units, networks))
    return [every[at] for at in np.unique(np.linspace(0, len(every) - 1, SAMPLED).round().astype(int))]


def scores_of(root: Path, network: Network, slope: float) -> np.ndarray:
    """MIS of the units of a network, the plain way in float64."""
    rows = pq.read_table(root / f"data/scores/{BACKEND}.parquet", filters=[("model", "==", network.name)])
    margins = np.array(rows["margins"].to_pylist(), np.float64)
    return (1 / (1 + np.exp(-slope * margins))).mean(axis=1)


def check_mis(root: Path, chosen: Sequence[Network]) -> None:
    for network in chosen:
        filters = [("model", "==", network.name), ("backend", "==", BACKEND)]
        found = pq.read_table(root / "data/mis/units.parquet", columns=["mis"], filters=filters)["mis"].to_numpy()
        np.testing.assert_allclose(found, scores_of(root, network, SLOPE), rtol=1e-6, atol=0)


def check_stats(root: Path, chosen: Sequence[Network]) -> None:
    models = pd.read_csv(root / "results/tables/models.csv").set_index("model")
    for network in chosen:
        mis = scores_of(root, network, SLOPE)
        expected = [len(mis), mis.mean(), *np.quantile(mis, [0.05, 0.5, 0.95])]
        found = models.loc[network.name, ["n_units", "mis_mean", "p5", "p50", "p95"]].to_numpy(np.float64)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def check_compare(root: Path, chosen: Sequence[Network]) -> None:
    from tools import compare
    from tools.versions import reading, revisions

    first, other = (reading.load(version) for version in revisions.resolve(["HEAD~1", "HEAD"], root))
    if first.units is None or other.units is None or "Change of MIS" not in (root / "compare.html").read_text():
        raise StudyError(
            f"{root / 'compare.html'} does not say how units moved; see that DVC's cache has both versions"
        )
    few = {network.name for network in chosen}
    for version in (first, other):
        version.tables["models"][:] = [row for row in version.tables["models"] if row["model"] in few]
    table = compare.changes(first, other)
    assert table is not None
    for network in chosen:
        row = table.set_index("model").loc[network.name]
        change = (scores_of(root, network, OTHER_SLOPE) - scores_of(root, network, SLOPE)).mean()
        np.testing.assert_allclose(row["difference"], change, rtol=1e-6)


def check_report(root: Path, chosen: Sequence[Network]) -> None:
    page = root / "report.html"
    text = page.read_text(encoding="utf-8")
    if page.stat().st_size > MOST_BYTES:
        raise StudyError(f"{page} has {page.stat().st_size:,} bytes, allowed are {MOST_BYTES:,}; lower report.n_units")
    study, listed = listing(root)
    spread = text.count('<div class="band" data-net=')
    if len(study.models()) > ROWS and spread != ROWS:
        raise StudyError(f"the first screen of {page} draws {spread} networks, not {ROWS}")
    for network in chosen:
        own = listed.units[listed.units["model"] == network.name]
        rows = network.ends[own["layer_index"].to_numpy(np.int64)] + own["unit"].to_numpy(np.int64)
        np.testing.assert_allclose(own["mis"], scores_of(root, network, SLOPE)[rows], rtol=1e-6)


BEFORE: Mapping[str, Callable[[Path, int, int], None]] = {"compare": before_compare, "report": before_report}
CHECKS = {"mis": check_mis, "stats": check_stats, "compare": check_compare, "report": check_report}
READ = {
    "mis": ("scores", "calibration"),
    "stats": ("scores", "mis"),
    "compare": ("mis", "mis"),  # two versions of one size
    "report": ("scores", "mis", "tasks", "activations", "images"),
}


def input_bytes(part: str, root: Path) -> int:
    """Room that the inputs of a part take on the disk: files with holes count as what they hold."""
    files = (path for name in READ[part] for path in (root / "data" / name).rglob("*") if path.is_file())
    return sum(512 * path.stat().st_blocks for path in files)


def run_parts(root: Path, parts: Sequence[str], units: int, networks: int) -> list[dict[str, object]]:
    """Write the study, run the parts in the order of PARTS, check them; a row each."""
    made_study.write_study(root, ROOT / "data", units, networks, ROOT / "studies/imagenet.yaml")
    n_units = int(made_study.sizes(units, networks).sum())
    chosen, rows = sample(units, networks), []
    for part in PARTS[: 1 + max(PARTS.index(part) for part in parts)]:
        if part not in parts and part == "compare":
            continue
        BEFORE.get(part, lambda *_: None)(root, units, networks)
        found = in_process("benchmarks.summaries_stages", "--part", part, "--root", root)
        CHECKS[part](root, chosen)
        row = {
            "part": part,
            "n_units": n_units,
            "n_networks": networks,
            **found,
            "input_bytes": input_bytes(part, root),
        }
        rows.append(row | {"page_bytes": (root / f"{part}.html").stat().st_size if part in BEFORE else None})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=70_000_000)
    parser.add_argument("--networks", type=int, default=835)
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes; about 12 GB by default")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="with what they need before them")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.part, args.root)))
        return
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = run_parts(Path(folder) / "study", args.parts, args.units, args.networks)
    report("summaries_stages", f"Made-up study of {args.units:,} units of {args.networks} networks", rows)


if __name__ == "__main__":
    main()
