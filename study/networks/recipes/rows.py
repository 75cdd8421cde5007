"""Networks of a roster that are trained by a recipe: launched, found again, and resolved with all their checkpoints."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from interpretability.files import sha256_file
from study.errors import StudyError
from study.files.store import WorkStore, link_out
from study.files.tables import read_json
from study.images.manifest import check_unchanged, open_images
from study.log import logger
from study.networks import own_code, trial
from study.networks.building import load_network
from study.networks.described import described
from study.networks.recipes import rank
from study.networks.recipes.a3 import Recipe
from study.networks.recipes.fitting import TOP1, Fitting, Part
from study.networks.recipes.pictures import Labelled
from study.networks.recipes.task import STEPS, Task, kept_steps
from study.networks.roster import RosterRow
from study.networks.settings import NetworkParams
from study.networks.similarity import step_name
from study.networks.training import seen_code
from study.workers.placement import device_kind, local_devices
from study.workers.ranks import run_ranks

log = logger("models")


class FromImages:
    """A studied network that learns the labels of the study's own images by `models.training.recipe`."""

    def __init__(self, row: RosterRow, params: NetworkParams, images: Path, code: Path, out: Path) -> None:
        """Raises StudyError where row, labels or batch do not fit the recipe."""
        self._params, self._code, self._out = params, code, out
        keys, root = params.models.training.a3, params.images.root
        recipe, found = Recipe.of(keys), open_images(images, root)
        if row["preprocessing"]:
            raise StudyError(
                f"{row['name']}: preprocessing is {row['preprocessing']!r}, but the recipe says what it is trained on and shown: "
                "leave it empty, and set models.training.a3.train_size and test_size"
            )
        check_unchanged(found)
        labelled = Labelled.of(found, params.seed, recipe.held_out, recipe.batch_size)
        steps_per_epoch = len(labelled.learnt) // recipe.batch_size
        self._kept = kept_steps(
            steps_per_epoch, recipe.epochs, keys.first_epoch, keys.every, series=bool(row["series"])
        )
        kwargs = {**json.loads(row["kwargs"] or "{}"), "num_classes": len(labelled.classes)}
        self._row: RosterRow = {
            **row,
            "kwargs": json.dumps(kwargs, sort_keys=True),
            "preprocessing": json.dumps(recipe.preprocessing()),
        }
        if own_code.module_of(self._row):
            self._row["code"] = seen_code(self._row, code, params.seed, recipe.train_size)
        labels = hashlib.sha256("\n".join(found.manifest["label"].astype(str)).encode()).hexdigest()
        devices = [name for name in local_devices() if name.startswith("cuda")] or ["cpu"]
        refuse_shares(recipe.batch_size, len(devices))
        self._task = Task(
            row=self._row,
            recipe=recipe,
            steps=tuple(self._kept),
            seed=params.seed,
            pictures=f"{found.digest} {labels}",
            kind=device_kind(devices[0]),
            processes=len(devices),
            images=str(images),
            root=root,
            code=str(code),
        )
        log.info(
            "%s: %d classes, %s images to learn from, %s held out, %s steps, %d checkpoints, on %d x %s",
            *(row["name"], len(labelled.classes), f"{len(labelled.learnt):,}", f"{len(labelled.held_out):,}"),
            *(f"{self._task.steps[-1]:,}", len(self._kept), self._task.processes, self._task.kind),
        )

    def rows(self) -> list[RosterRow]:
        """The resolved rows, one a checkpoint; the checkpoints are in `out`."""
        found = trained(self._task)
        return [self._checkpoint(step, epochs, found[step]) for step, epochs in self._kept.items()]

    def _checkpoint(self, step: int, epochs: float, stored: Path) -> RosterRow:
        from safetensors import safe_open

        row, out = self._row, self._out
        last = step == self._task.steps[-1]
        name = row["name"] if last else step_name(row["name"], epochs)
        path = out / "weights" / f"{name}.safetensors"
        link_out(stored, path)
        with safe_open(stored, "np") as content:
            top1 = content.metadata()[TOP1]
        resolved: RosterRow = {
            **row,
            "name": name,
            "step": epochs if row["series"] else "",
            "top1": float(top1) if top1 else "",
        }
        network = load_network({**resolved, "sha256": ""}, out, self._code, self._params.seed)
        if last:  # the others differ in their numbers alone
            trial.try_out(resolved, network, self._params.units, self._params.seed)
        return described(resolved, network, sha256_file(path), int(last))


def trained(task: Task) -> dict[int, Path]:
    """Files of all checkpoints of a task by step; what is not in the work store is trained first, from the newest state in it."""
    store = WorkStore.open()
    with store.locked(STEPS, [task.ingredients], ".safetensors"):
        found = task.found(store)
        if len(found) < len(task.steps):
            _train(task, task.newest_state(store))
            found = task.found(store)
            task.forget_states(store)
    lost = [step for step in task.steps if step not in found]
    if lost:
        raise RuntimeError(f"{task.name}: its training ended without the checkpoint of step {lost[0]}")
    return found


def _train(task: Task, begin: Path | None) -> None:
    """On a CPU with one process here; else in processes of their own, one a device, which share each batch."""
    if begin is not None:
        log.info("%s: goes on from where its training was interrupted", task.name)
    if task.kind == "cpu" and task.processes == 1:
        Fitting(task, Part(), begin).run()
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "task.json"
        task.write(file, begin)
        status = run_ranks(rank.MODULE, file, task.processes)
        problem = file.with_name(rank.PROBLEM)
        if problem.is_file():
            raise StudyError(read_json(problem)["problem"])
    if status:
        raise RuntimeError(
            f"a process of its training ended with status {status} (the log above says why); what it trained is kept, so run the "
            "same command again to go on"
        )


def refuse_shares(batch_size: int, processes: int) -> None:
    """Raise StudyError where processes cannot share a batch evenly, each an even number of images."""
    if batch_size % (2 * processes):
        shared = f"{processes} GPUs share it, and " if processes > 1 else ""
        raise StudyError(
            f"models.training.a3.batch_size is {batch_size}, but {shared}Mixup takes images in pairs: it must be a multiple of "
            f"{2 * processes}{'; change it, or use fewer GPUs (MIS_WORKERS)' if processes > 1 else ''}"
        )
