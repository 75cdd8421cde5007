"""Rows of a roster resolved: networks constructed, trained where they are to be, checked and digested."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interpretability.files import atomic_path, sha256_file
from study.files.store import WorkStore
from study.images.manifest import ImageSet, open_images
from study.log import logger
from study.networks import building, roster
from study.networks.building import load_network
from study.networks.failures import Failed
from study.networks.roster import NetworkJob, RosterRow
from study.params.models import Models
from study.workers.device import Failure
from study.workers.jobs import log_failure, run_all

if TYPE_CHECKING:
    from torch import Tensor

    from interpretability.networks.network import Network

log = logger("models")
TRAINED_PREPROCESSING = {"interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


@dataclass(frozen=True, kw_only=True)
class DrawnScenes:
    """What is learnt from, of `images.generated`.

    size            side of a scene in pixels
    n_categories    that the networks learn to tell apart
    """

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
    processor: str
    models: Models
    images: TrainingImages


@dataclass(frozen=True)
class ResolveJob(NetworkJob):
    """Resolved rows of one roster row: one, or one a training step. Checkpoints of a training go to `out`."""

    params: NetworkParams
    images: Path
    code: Path
    out: Path

    def run(self) -> list[RosterRow]:
        row = self.row
        if roster.is_planted(row):
            return [{**row, "last": 1, "n_params": 0, "input_size": ""}]
        if row["weights"] == "trained":
            return _Training(self).rows()
        network = load_network(row, self.out, self.code, self.params.seed)
        if row["directions"]:
            building.parse_directions(row["directions"])
        return [_described(row, network, row["sha256"] or network.digest, last=1)]


def resolve_all(
    rows: list[RosterRow], params: NetworkParams, images: Path, code: Path, out: Path
) -> tuple[list[RosterRow], list[Failed]]:
    """Resolved rows of a roster in its order, and its networks that failed."""
    jobs = [ResolveJob(row, params, images, code, out) for row in rows]
    results = run_all(jobs, "networks", log, each=partial(log_failure, log))
    resolved = [row for result in results if not isinstance(result, Failure) for row in result]
    failures: list[Failed] = [
        {"model": job.name, "stage": "models", "reason": result.reason_without(job.name)}
        for job, result in zip(jobs, results, strict=True)
        if isinstance(result, Failure)
    ]
    return resolved, failures


def _described(row: RosterRow, network: Network, digest: str, last: int) -> RosterRow:
    return {
        **row,
        "sha256": digest,
        "preprocessing": network.preprocessing.dumps(),
        "last": last,
        "n_params": sum(value.numel() for value in network.model.parameters()),
        "input_size": network.preprocessing.crop,
        "family": family(row),
    }


def family(row: RosterRow) -> str:
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


class _Training:
    """A network trained on generated scenes: on categories if it is studied, on single factors if it is a similarity."""

    def __init__(self, job: ResolveJob) -> None:
        from interpretability.synthetic.draws import draw_factors
        from interpretability.synthetic.training import encoder_targets

        params = job.params
        self._job, self._params, self._settings = job, params, params.models.training
        self._similarity = job.row["role"] == "similarity"
        heads = encoder_targets(draw_factors(1, seed=params.seed, stream="heads", n_categories=2))[1]
        self._heads = heads if self._similarity else (params.images.generated.n_categories,)
        kwargs = {**json.loads(job.row["kwargs"] or "{}"), "num_classes": int(sum(self._heads))}
        self._row: RosterRow = {**job.row, "kwargs": json.dumps(kwargs, sort_keys=True)}
        self._images: ImageSet = open_images(job.images)

    def rows(self) -> list[RosterRow]:
        """The resolved rows, one a checkpoint that the study uses; the checkpoints are written."""
        from safetensors.torch import load_file

        content = load_file(WorkStore.open().fetch("trained", self._ingredients(), ".safetensors", self._train))
        epochs = self._settings.epochs
        return [self._checkpoint(step, content) for step in range(0 if self._row["series"] else epochs, epochs + 1)]

    def _ingredients(self) -> dict[str, Any]:
        import torch

        from interpretability.synthetic import training
        from interpretability.synthetic.factors import VERSION

        settings, generated = self._settings, self._params.images.generated
        return {
            "row": {name: self._row[name] for name in ("name", "constructor", "kwargs")},
            "images": self._images.digest,
            "size": generated.size,
            "seed": self._params.seed,
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "n_validation": settings.n_validation,
            "n_categories": generated.n_categories,
            "n_encoder": settings.n_encoder if self._similarity else 0,
            "torch": torch.__version__,
            "versions": [VERSION, training.VERSION],
        }

    def _scenes(self, stream: str, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and targets of new scenes."""
        from interpretability.synthetic import scenes
        from interpretability.synthetic.draws import draw_factors
        from interpretability.synthetic.training import encoder_targets

        generated = self._params.images.generated
        factors = draw_factors(n, seed=self._params.seed, stream=stream, n_categories=generated.n_categories)
        targets = encoder_targets(factors)[0] if self._similarity else factors[["category"]].to_numpy()
        return scenes.render(factors, generated.size), targets.astype(np.int64)

    def _train(self, path: Path) -> None:
        """Write the state and the accuracy of every step."""
        import torch
        from safetensors.torch import save_file

        from interpretability.networks.network import initialised
        from interpretability.synthetic import training

        row, seed, settings = self._row, self._params.seed, self._settings
        if self._similarity:
            pixels, targets = self._scenes("encoder", settings.n_encoder)
        else:
            pixels, factors = np.load(self._job.images / "pixels.npy"), self._images.factors
            assert factors is not None
            targets = factors[["category"]].to_numpy().astype(np.int64)
        model = building.build_network(
            row, self._job.code, None, lambda construct: initialised(construct, seed, row["name"])
        )
        steps = training.train(
            model,
            pixels,
            targets,
            self._heads,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=seed,
            name=row["name"],
        )
        fresh, fresh_targets = self._scenes("validation", settings.n_validation)
        content = {}
        for step, state in steps:
            content |= {f"{step}/{name}": value.contiguous() for name, value in state.items()}
            right = training.accuracy(model, fresh, fresh_targets, self._heads)
            content[f"{step}/accuracy"] = torch.tensor(100 * right)
        save_file(content, path)

    def _checkpoint(self, step: int, content: Mapping[str, Tensor]) -> RosterRow:
        """The resolved row of a training step, whose checkpoint is written."""
        from safetensors.torch import save_file

        row, size, out = self._row, self._params.images.generated.size, self._job.out
        last = step == self._settings.epochs
        name = row["name"] if last else f"{row['name']}-step{step}"
        path = out / "weights" / f"{name}.safetensors"
        state = {key.split("/", 1)[1]: value for key, value in content.items() if key.startswith(f"{step}/")}
        top1 = float(state.pop("accuracy").mean())
        with atomic_path(path) as part:
            save_file(state, part)
        described: RosterRow = {
            **row,
            "name": name,
            "preprocessing": json.dumps({**TRAINED_PREPROCESSING, "crop": size, "resize": size}),
            "step": step if row["series"] else "",
            "top1": top1,
        }
        network = load_network({**described, "sha256": ""}, out, self._job.code, self._params.seed)
        return _described(described, network, sha256_file(path), int(last))
