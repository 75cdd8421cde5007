"""Networks of a roster that are trained inside the pipeline, on generated scenes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interpretability.files import atomic_path, sha256_file
from study.files.store import WorkStore
from study.images.manifest import ImageSet, open_images
from study.networks import building, own_code, trial
from study.networks.building import load_network
from study.networks.described import described
from study.networks.roster import RosterRow
from study.networks.settings import NetworkParams
from study.networks.similarity import step_name

if TYPE_CHECKING:
    from torch import Tensor, nn

_PREPROCESSING = {"interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}


class Training:
    """A network trained on generated scenes: on categories if it is studied, on single factors if it is a similarity."""

    def __init__(self, row: RosterRow, params: NetworkParams, images: Path, code: Path, out: Path) -> None:
        from interpretability.synthetic.draws import draw_factors
        from interpretability.synthetic.training import encoder_targets

        self._params, self._settings = params, params.models.training
        self._pixels, self._code, self._out = images / "pixels.npy", code, out
        size = params.images.generated.size
        self._similarity = row["role"] == "similarity"
        heads = encoder_targets(draw_factors(1, seed=params.seed, stream="heads", n_categories=2))[1]
        self._heads = heads if self._similarity else (params.images.generated.n_categories,)
        kwargs = {**json.loads(row["kwargs"] or "{}"), "num_classes": int(sum(self._heads))}
        self._row: RosterRow = {
            **row,
            "kwargs": json.dumps(kwargs, sort_keys=True),
            "preprocessing": json.dumps({**_PREPROCESSING, "crop": size, "resize": size}),
        }
        self._images: ImageSet = open_images(images)

    def rows(self) -> list[RosterRow]:
        """The resolved rows, one a checkpoint that the study uses; the checkpoints are written."""
        from safetensors.torch import load_file

        if own_code.module_of(self._row):
            self._row["code"] = seen_code(self._row, self._code, self._params.seed, self._params.images.generated.size)
        content = load_file(WorkStore.open().fetch("trained", self._ingredients(), ".safetensors", self._train))
        epochs = self._settings.epochs
        return [self._checkpoint(step, content) for step in range(0 if self._row["series"] else epochs, epochs + 1)]

    def _ingredients(self) -> dict[str, Any]:
        import torch

        from interpretability.synthetic import training
        from interpretability.synthetic.factors import VERSION

        settings, generated = self._settings, self._params.images.generated
        code = self._row.get("code")
        return {
            "row": {name: self._row[name] for name in ("name", "constructor", "kwargs")},
            **({"code": code} if code else {}),
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

        from interpretability.synthetic import training

        row, settings = self._row, self._settings
        if self._similarity:
            pixels, targets = self._scenes("encoder", settings.n_encoder)
        else:
            pixels, factors = np.load(self._pixels), self._images.factors
            assert factors is not None
            targets = factors[["category"]].to_numpy().astype(np.int64)
        model = untrained(row, self._code, self._params.seed)
        steps = training.train(
            model,
            pixels,
            targets,
            self._heads,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=self._params.seed,
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

        row, out = self._row, self._out
        last = step == self._settings.epochs
        name = row["name"] if last else step_name(row["name"], step)
        path = out / "weights" / f"{name}.safetensors"
        state = {key.split("/", 1)[1]: value for key, value in content.items() if key.startswith(f"{step}/")}
        top1 = float(state.pop("accuracy").mean())
        with atomic_path(path) as part:
            save_file(state, part)
        resolved: RosterRow = {**row, "name": name, "step": step if row["series"] else "", "top1": top1}
        network = load_network({**resolved, "sha256": ""}, out, self._code, self._params.seed)
        if last:  # the others differ in their numbers alone
            trial.try_out(resolved, network, self._params.units, self._params.seed)
        return described(resolved, network, sha256_file(path), int(last))


def untrained(row: RosterRow, code: Path, seed: int) -> nn.Module:
    """A network that is to be trained, with the initial weights that its name and the seed give."""
    from interpretability.networks.network import initialised

    return building.build_network(row, code, None, lambda construct: initialised(construct, seed, row["name"]))


def seen_code(row: RosterRow, code: Path, seed: int, size: int) -> str:
    """The record of the code of a network of someone's own, once a pass on pictures of this side has run."""
    import torch

    model = untrained(row, code, seed)
    try:
        with torch.no_grad():
            model(torch.zeros(2, 3, size, size))
    except Exception as error:
        raise building.forward_failure(error, row["name"], (2, 3, size, size)) from error
    seen = own_code.record(row, code, model)
    own_code.note_outside(row, code, seen)
    return seen
