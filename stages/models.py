"""Resolve the roster: construct every network, train those that are to be trained, check and digest their weights.

Reads   the roster named by models.roster, weight files, data/images (pictures to train on)
Writes  data/models: roster.csv (one row a network and step), weights/NAME.safetensors (trained), failures.csv
Run     dvc repro models
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.errors import StudyError
from stages.loading import load_network
from stages.pipeline import networks
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.pictures import open_images
from stages.pipeline.store import WorkStore
from stages.pipeline.tables import atomic_path, fresh_folder, sha256_file, write_csv
from stages.pipeline.workers import Failure, run_jobs

log = logger("models")
Job = tuple[dict[str, Any], Params, Path, Path, Path]
TRAINED_PREPROCESSING = {"interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--roster", type=Path, required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    roster = networks.read_roster(args.roster)
    if (roster["weights"] == "trained").any() and params.images.source != "generated":
        raise StudyError(f"{args.roster}: weights `trained` needs images.source generated; name a file, hub or none")
    out = fresh_folder(args.out)
    (out / "weights").mkdir()
    jobs: list[Job] = [(row, params, args.images, args.code, out) for row in roster.to_dict("records")]
    progress = Progress(log, len(jobs), "networks")
    resolved: dict[int, list[dict[str, Any]]] = {}
    failures = []
    for place, result in run_jobs(_resolve, jobs, list(roster["name"])):
        if isinstance(result, Failure):
            reason = result.reason.removeprefix(f"{roster['name'][place]}: ")
            log.warning("%s failed: %s", roster["name"][place], reason)
            failures.append({"model": roster["name"][place], "stage": "models", "reason": reason})
        else:
            resolved[place] = result
        progress.step(note=roster["name"][place])
    rows = [row for place in sorted(resolved) for row in resolved[place]]
    write_csv(out / "roster.csv", pd.DataFrame(rows, columns=networks.RESOLVED))
    write_csv(
        out / "failures.csv",
        pd.DataFrame(failures, columns=["model", "stage", "reason"]).sort_values("model"),
    )
    if len(failures) > params.models.max_failed * len(roster):
        listed = "".join(f"\n  {row['model']}: {row['reason']}" for row in failures)
        raise StudyError(
            f"{len(failures)} of {len(roster)} networks of {args.roster} failed; models.max_failed allows a share of "
            f"{params.models.max_failed:g}:{listed}\nPut that right, remove their rows, or raise the limit"
        )
    log.info("%d networks and training steps ready, %d failed", len(rows), len(failures))


def _resolve(job: Job) -> list[dict[str, Any]]:
    """Resolved rows of one roster row: one, or one a training step."""
    row, params, images, code, out = job
    if networks.is_planted(row):
        return [{**row, "last": 1, "n_params": 0, "input_size": ""}]
    if row["weights"] == "trained":
        return _train(row, params, images, code, out)
    network = load_network(row, out, code, params.seed)
    if row["directions"]:
        networks.parse_directions(row["directions"])
    return [_described(row, network, row["sha256"] or network.digest, last=1)]


def _described(row: dict[str, Any], network: Any, digest: str, last: int) -> dict[str, Any]:
    return {
        **row, "sha256": digest, "preprocessing": network.preprocessing.dumps(), "last": last,
        "n_params": sum(value.numel() for value in network.model.parameters()),
        "input_size": network.preprocessing.crop, "family": networks.family(row),
    }  # fmt: skip


def _train(row: dict[str, Any], params: Params, images: Path, code: Path, out: Path) -> list[dict[str, Any]]:
    """Train one network on generated scenes: categories for the studied ones, single factors for a similarity."""
    from safetensors.torch import load_file, save_file

    from stages.science import scenes, training

    given, size, seed = params.models.training, params.images.generated.size, params.seed
    similarity = row["role"] == "similarity"
    heads = scenes.encoder_targets(scenes.draw_factors(1, seed=seed, stream="heads", n_categories=2))[1]
    heads = heads if similarity else (params.images.generated.n_categories,)
    kwargs = {**json.loads(row["kwargs"] or "{}"), "num_classes": int(sum(heads))}
    row = {**row, "kwargs": json.dumps(kwargs, sort_keys=True)}
    study = open_images(images)

    def scene_set(stream: str, n: int) -> tuple[np.ndarray, np.ndarray]:
        factors = scenes.draw_factors(n, seed=seed, stream=stream, n_categories=params.images.generated.n_categories)
        targets = scenes.encoder_targets(factors)[0] if similarity else factors[["category"]].to_numpy()
        return scenes.render(factors, size), targets.astype(np.int64)

    def make(path: Path) -> None:
        import torch

        if similarity:
            pixels, targets = scene_set("encoder", given.n_encoder)
        else:
            pixels = np.load(images / "pixels.npy")
            targets = study.factors[["category"]].to_numpy().astype(np.int64)  # type: ignore[index]
        model = networks.build(row, code, None, lambda build: training.initialised(build, seed, row["name"]))
        steps = training.train(
            model, pixels, targets, heads, epochs=given.epochs, batch_size=given.batch_size,
            learning_rate=given.learning_rate, seed=seed, name=row["name"],
        )  # fmt: skip
        fresh, fresh_targets = scene_set("validation", given.n_validation)
        content = {}
        for step, state in steps:
            content |= {f"{step}/{name}": value.contiguous() for name, value in state.items()}
            right = training.accuracy(model, fresh, fresh_targets, heads)
            content[f"{step}/accuracy"] = torch.tensor(100 * right)
        save_file(content, path)

    import torch

    ingredients = {
        "row": {name: row[name] for name in ("name", "constructor", "kwargs")}, "images": study.digest, "size": size,
        "seed": seed, "epochs": given.epochs, "batch_size": given.batch_size, "learning_rate": given.learning_rate,
        "n_validation": given.n_validation, "n_categories": params.images.generated.n_categories,
        "n_encoder": given.n_encoder if similarity else 0, "torch": torch.__version__,
        "versions": [scenes.VERSION, training.VERSION],
    }  # fmt: skip
    content = load_file(WorkStore.open().fetch("trained", ingredients, ".safetensors", make))
    rows = []
    for step in range(0 if row["series"] else given.epochs, given.epochs + 1):
        last = step == given.epochs
        name = row["name"] if last else f"{row['name']}-step{step}"
        path = out / "weights" / f"{name}.safetensors"
        state = {key.split("/", 1)[1]: value for key, value in content.items() if key.startswith(f"{step}/")}
        top1 = float(state.pop("accuracy").mean())
        with atomic_path(path) as part:
            save_file(state, part)
        preprocessing = json.dumps({**TRAINED_PREPROCESSING, "crop": size, "resize": size})
        described = {
            **row,
            "name": name,
            "preprocessing": preprocessing,
            "step": step if row["series"] else "",
            "top1": top1,
        }
        network = load_network({**described, "sha256": ""}, out, code, seed)
        rows.append(_described(described, network, sha256_file(path), int(last)))
    return rows


if __name__ == "__main__":
    run(main)
