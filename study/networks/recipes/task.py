"""One training by a recipe: what determines it, and what of it is kept in the work store."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from study.files.store import WorkStore
from study.networks.recipes import a3
from study.networks.recipes.a3 import Recipe
from study.networks.roster import RosterRow

STEPS, STATES = "trained_steps", "training_states"  # phases of the work store
_SLOTS = (0, 1)  # states are written in turn, so that a kill while one is written leaves the other


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every process of a training is told, and what the results are found by again.

    row         of the roster, its kwargs with the number of classes
    steps       at which weights are kept, ascending; 0 is before the first, the last one ends the training
    pictures    digest of images and labels
    kind        of device: cpu, or the model of a GPU
    processes   that share each batch, one a device
    images, root, code    folders of the stage `images`, of the pictures, and of code of one's own
    """

    row: RosterRow
    recipe: Recipe
    steps: tuple[int, ...]
    seed: int
    pictures: str
    kind: str
    processes: int
    images: str
    root: str
    code: str

    @property
    def name(self) -> str:
        return str(self.row["name"])

    @property
    def ingredients(self) -> dict[str, Any]:
        """All that the weights hang on. Which steps are kept is not among them: a longer list goes on from what is there."""
        import PIL
        import timm
        import torch
        import torchvision

        code = self.row.get("code")
        packages = {"torch": torch, "torchvision": torchvision, "timm": timm, "pillow": PIL}
        return {
            "row": {name: self.row[name] for name in ("name", "constructor", "kwargs")},
            **({"code": code} if code else {}),
            "recipe": asdict(self.recipe),
            "seed": self.seed,
            "pictures": self.pictures,
            "kind": self.kind,
            "processes": self.processes,
            "versions": {"recipe": a3.VERSION, **{name: package.__version__ for name, package in packages.items()}},
        }

    def of_step(self, step: int) -> dict[str, Any]:
        """What the checkpoint of a step is found by."""
        return {**self.ingredients, "step": step}

    def found(self, store: WorkStore) -> dict[int, Path]:
        """Files of the checkpoints that are there and whole, by step."""
        there = {step: store.find(STEPS, self.of_step(step), ".safetensors") for step in self.steps}
        return {step: path for step, path in there.items() if path is not None}

    def _of_slot(self, slot: int) -> dict[str, Any]:
        return {**self.ingredients, "slot": slot}

    def newest_state(self, store: WorkStore) -> Path | None:
        """The latest state that a training can go on from without leaving out a checkpoint that is not there; None: from the
        start."""
        missing = set(self.steps) - self.found(store).keys()
        states = [store.find(STATES, self._of_slot(slot), ".pt") for slot in _SLOTS]
        steps = {read_state(path)["step"]: path for path in states if path is not None}
        usable = [step for step in steps if not missing or step < min(missing)]
        return steps[max(usable)] if usable else None

    def write_state(self, store: WorkStore, state: Mapping[str, Any], slot: int) -> None:
        """Keep what a training goes on from."""
        import torch

        store.write(STATES, self._of_slot(slot % len(_SLOTS)), ".pt", lambda path: torch.save(dict(state), path))

    def forget_states(self, store: WorkStore) -> None:
        for slot in _SLOTS:
            store.remove(STATES, self._of_slot(slot), ".pt")

    def write(self, path: Path, begin: Path | None) -> None:
        """For other processes: this, the state that all of them begin from, and the id of this process, with which they end."""
        # not as other JSON files are written, which are for people: their numbers have six digits
        path.write_text(json.dumps({**asdict(self), "begin": str(begin) if begin else "", "stage": os.getpid()}))

    @classmethod
    def read(cls, path: Path) -> tuple[Task, Path | None, int]:
        """What `write` wrote."""
        content = json.loads(path.read_text())
        begin, stage, told = (content.pop(name) for name in ("begin", "stage", "recipe"))
        recipe: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
        }
        row, steps = cast(RosterRow, content.pop("row")), tuple(content.pop("steps"))
        task = cls(row=row, steps=steps, recipe=Recipe(**recipe), **content)
        return task, Path(begin) if begin else None, stage


def read_state(path: Path) -> dict[str, Any]:
    """A state that `write_state` wrote, on the CPU; nothing in it is run."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def kept_steps(steps_per_epoch: int, epochs: int, first_epoch: int, every: int, *, series: bool) -> dict[int, float]:
    """Steps at which weights are kept, with the epochs that have passed by then.

    The last one, and for a `series` 0 (untrained), the ends of epochs `every`, 2 `every`, ..., of the first too, and within the
    first epoch steps 1, r, r^2, ... with r = `first_epoch`. Parts of an epoch are rounded to six digits: they are in names.
    """
    total = epochs * steps_per_epoch
    if not series:
        return {total: epochs}
    kept = {0, total, steps_per_epoch, *range(every * steps_per_epoch, total, every * steps_per_epoch)}
    step = 1
    while first_epoch > 1 and step < steps_per_epoch:
        kept.add(step)
        step *= first_epoch
    return {step: float(f"{step / steps_per_epoch:.6g}") for step in sorted(kept)}
