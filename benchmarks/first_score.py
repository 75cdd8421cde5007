"""From a clone to the first score of a network of one's own: the steps of README.md, counted and timed as a stranger takes them.

    python -m benchmarks.first_score [--images 500] [--similarities pixel,dreamsim-clip_vitb32] [--folder FOLDER]

Each similarity in a fresh clone of the last commit, without data, results of other runs or a work store. The environment is this
one: set-up is not counted. The pictures are drawn, the checkpoint and the weights of a similarity are saved with random weights
where the downloads would have put them; all else is the text of the README. Steps: one for the folder of pictures, one a command.
Set to measure: at most 5 steps and 120 seconds for 500 pictures on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from benchmarks import first_steps
from benchmarks.harness import report
from interpretability.similarity import registry
from tests.helpers import random_weights

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "data/external/weights"
MOST_STEPS, MOST_SECONDS = 5, 120


def save_weights(similarity: str, folder: Path) -> None:
    """Random weights in every file that a similarity would fetch."""
    import torch

    for file in registry.family_of(similarity).weights_files(similarity):
        path, content = folder / file.names[0], random_weights.weights(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text(json.dumps(content))
        elif path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(dict(content), path)
        else:
            torch.save(dict(content), path)


def environment() -> dict[str, str]:
    """That of a stranger: this Python first on the path, no knobs set."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MIS_", "OMP_", "DVC_"))}
    return {**kept, "PATH": path, "OMP_WAIT_POLICY": "PASSIVE"}


def measure(similarity: str, n_images: int, readme: Path, place: Path) -> dict[str, object]:
    """One stranger in a folder of its own."""
    clone, checkpoint = place / "clone", place / "checkpoint.pth"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    first_steps.save_checkpoint(checkpoint)
    first_steps.write_pictures(clone / first_steps.PICTURES, n_images)
    first_steps.use_similarity(clone, similarity)
    save_weights(similarity, clone / WEIGHTS)
    steps, _ = first_steps.without_download(first_steps.commands(readme.read_text(encoding="utf-8")), checkpoint)
    began, used = perf_counter(), _processor()
    done = first_steps.follow(clone, steps, environment())
    seconds, used = perf_counter() - began, _processor() - used
    if done.returncode:
        raise SystemExit(f"the example fails:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    score = pd.read_csv(clone / "results/tables/models.csv").iloc[0]
    runs = [json.loads(line) for line in (clone / "data/store/runs.jsonl").read_text().splitlines()]
    return {
        "similarity": similarity,
        "images": n_images,
        "units": int(score["n_units"]),
        "steps": len(steps) + 1,
        "seconds": seconds,
        "cpu_seconds": used,
        "most_steps": MOST_STEPS,
        "most_seconds": MOST_SECONDS,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[1],
        **_slowest(runs),
    }


def _processor() -> float:
    """Processor time of all processes that were started and have ended: others on the same cores hardly change it."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _slowest(runs: list[dict[str, Any]]) -> dict[str, object]:
    """Seconds within all stages, and the three that took longest."""
    ordered = sorted(runs, key=lambda run: -run["wall_s"])[:3]
    told = ", ".join(f"{run['stage']} {run['wall_s']:.1f}" for run in ordered)
    return {"in_stages": sum(run["wall_s"] for run in runs), "slowest": told}


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--images", type=int, default=500)
    line.add_argument("--similarities", default="pixel,dreamsim-clip_vitb32")
    line.add_argument("--readme", type=Path, default=ROOT / "README.md", help="whose example (%(default)s)")
    line.add_argument("--folder", type=Path)
    args = line.parse_args()
    rows = []
    for similarity in args.similarities.split(","):
        with tempfile.TemporaryDirectory(dir=args.folder) as place:
            rows.append(measure(similarity, args.images, args.readme, Path(place)))
    report("first_score", f"{args.images} drawn pictures, networks with random weights", rows)


if __name__ == "__main__":
    main()
