"""Rows of a roster resolved: networks constructed, trained where they are to be, checked and digested."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interpretability.files import atomic_path, sha256_file
from study.files.store import WorkStore
from study.images.manifest import open_images
from study.log import Progress, logger
from study.networks import building, roster
from study.networks.building import load_network
from study.networks.failures import Failed
from study.params.models import Models
from study.workers.device import Failure
from study.workers.jobs import run_jobs


@dataclass(frozen=True, kw_only=True)
class DrawnScenes:
    """What is learnt from, of `images.generated`."""

    size: int
    n_categories: int


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The images to train on, of `images`."""

    source: str
    generated: DrawnScenes


@dataclass(frozen=True, kw_only=True)
class NetworkParams:
    """What the networks depend on."""

    seed: int
    models: Models
    images: TrainingImages


Job = tuple[dict[str, Any], NetworkParams, Path, Path, Path]
log = logger("models")

TRAINED_PREPROCESSING = {"interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


def resolve(job: Job) -> list[dict[str, Any]]:
    """Resolved rows of one roster row: one, or one a training step."""
    row, params, images, code, out = job
    if roster.is_planted(row):
        return [{**row, "last": 1, "n_params": 0, "input_size": ""}]
    if row["weights"] == "trained":
        return _train(row, params, images, code, out)
    network = load_network(row, out, code, params.seed)
    if row["directions"]:
        building.parse_directions(row["directions"])
    return [_described(row, network, row["sha256"] or network.digest, last=1)]


def resolve_all(
    roster: pd.DataFrame, params: NetworkParams, images: Path, code: Path, out: Path
) -> tuple[list[dict[str, Any]], list[Failed]]:
    """Resolved rows of a roster in its order, and its networks that failed."""
    rows: list[Any] = roster.to_dict("records")
    jobs: list[Job] = [(row, params, images, code, out) for row in rows]
    names, progress = list(roster["name"]), Progress(log, len(jobs), "networks")
    resolved: dict[int, list[dict[str, Any]]] = {}
    failures: list[Failed] = []
    for number, result in run_jobs(resolve, jobs, names):
        if isinstance(result, Failure):
            reason = result.reason.removeprefix(f"{names[number]}: ")
            log.warning("%s failed: %s", names[number], reason)
            failures.append({"model": names[number], "stage": "models", "reason": reason})
        else:
            resolved[number] = result
        progress.step(note=names[number])
    return [row for number in sorted(resolved) for row in resolved[number]], failures


def _described(row: dict[str, Any], network: Any, digest: str, last: int) -> dict[str, Any]:
    return {
        **row, "sha256": digest, "preprocessing": network.preprocessing.dumps(), "last": last,
        "n_params": sum(value.numel() for value in network.model.parameters()),
        "input_size": network.preprocessing.crop, "family": family(row),
    }  # fmt: skip


def family(row: Mapping[str, Any]) -> str:
    """Networks of one family are no independent draws: the roster's word, else the module of timm or torchvision that
    builds the network (resnet, vision_transformer), else its constructor."""
    import timm
    import torchvision

    text = str(row["constructor"])
    if row["family"] or roster.is_planted(row):
        return str(row["family"])
    if ":" in text:
        return text
    if timm.is_model(text.split(".")[0]):
        builder = timm.models.model_entrypoint(text.split(".")[0])
    elif text in torchvision.models.list_models():
        builder = torchvision.models.get_model_builder(text)
    else:
        return text
    return str(builder.__module__).rpartition(".")[2]


def _train(row: dict[str, Any], params: NetworkParams, images: Path, code: Path, out: Path) -> list[dict[str, Any]]:
    """Train one network on generated scenes: categories for the studied ones, single factors for a similarity."""
    from safetensors.torch import load_file, save_file

    from interpretability.networks.network import initialised
    from interpretability.synthetic import scenes, training
    from interpretability.synthetic.draws import draw_factors
    from interpretability.synthetic.factors import VERSION

    given, size, seed = params.models.training, params.images.generated.size, params.seed
    similarity = row["role"] == "similarity"
    heads = training.encoder_targets(draw_factors(1, seed=seed, stream="heads", n_categories=2))[1]
    heads = heads if similarity else (params.images.generated.n_categories,)
    kwargs = {**json.loads(row["kwargs"] or "{}"), "num_classes": int(sum(heads))}
    row = {**row, "kwargs": json.dumps(kwargs, sort_keys=True)}
    study = open_images(images)

    def scene_set(stream: str, n: int) -> tuple[np.ndarray, np.ndarray]:
        factors = draw_factors(n, seed=seed, stream=stream, n_categories=params.images.generated.n_categories)
        targets = training.encoder_targets(factors)[0] if similarity else factors[["category"]].to_numpy()
        return scenes.render(factors, size), targets.astype(np.int64)

    def make(path: Path) -> None:
        import torch

        if similarity:
            pixels, targets = scene_set("encoder", given.n_encoder)
        else:
            pixels = np.load(images / "pixels.npy")
            targets = study.factors[["category"]].to_numpy().astype(np.int64)  # type: ignore[index]
        model = building.build(row, code, None, lambda build: initialised(build, seed, row["name"]))
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
        "versions": [VERSION, training.VERSION],
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
