"""The loop of a training by a recipe: in one process, or in several that share each batch."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from interpretability.networks.network import state_digest
from interpretability.networks.preprocessing import Preprocessing
from interpretability.randomness import key64
from study.environment import Environment
from study.errors import StudyError
from study.files.store import WorkStore
from study.images.manifest import open_images
from study.log import Progress, logger
from study.networks import building
from study.networks.recipes.pictures import Altered, Batches, Labelled, Shown, drawing
from study.networks.recipes.task import STEPS, Task, read_state
from study.networks.training import untrained

log = logger("training")

_STATE_SECONDS = 300.0  # of training lost at most where it is interrupted
_LOOK = 20  # steps after which a loss is looked at: a GPU is waited for
_EVALUATED = 250  # images at once
TOP1 = "top1"  # entry of a checkpoint's header: accuracy in percent, empty where no image is held out


@dataclass(frozen=True)
class Part:
    """Which of the processes of a training this is, and on which device."""

    device: str = "cpu"
    rank: int = 0
    world: int = 1

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


class Fitting:
    """The training of one network in this process; checkpoints and states go into the work store.

    On a GPU products are in half precision with scaled gradients, as A3 was trained; kernels that torch has in a
    deterministic form are taken in it. So what a state leads to is the same bytes on one kind of device and number of
    processes, wherever it was cut.
    """

    def __init__(self, task: Task, part: Part, begin: Path | None, *, state_seconds: float = _STATE_SECONDS) -> None:
        self._task, self._part, self._recipe = task, part, task.recipe
        self._begin, self._state_seconds = begin, state_seconds
        self._store = WorkStore.open()
        images = open_images(task.images, task.root, quick=True)
        self._labelled = Labelled.of(images, task.seed, task.recipe.held_out, task.recipe.batch_size)
        self._classes = len(self._labelled.classes)

    def run(self) -> None:
        """Train to the last step. Raises StudyError for a loss that is not finite, and outputs that are no classes."""
        with _repeatable(self._part):
            self._run()

    def _run(self) -> None:
        task, part, recipe = self._task, self._part, self._recipe
        model = untrained(task.row, Path(task.code), task.seed)
        model.to(part.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimiser = recipe.optimiser(model)
        scheduler, loss_of, mixing = recipe.scheduler(optimiser), recipe.loss(), recipe.mixing(self._classes)
        scaler = torch.amp.GradScaler(part.device.split(":")[0], enabled=part.on_gpu)
        state = {"model": model, "optimiser": optimiser, "scaler": scaler}
        step = self._load(state)
        batches = self._batches(step)
        whole = self._shared(model)
        last, saved = task.steps[-1], time.monotonic()
        slot = self._slot
        if step == 0 and 0 in task.steps:
            self._keep(model, 0)
        progress = Progress(log, last, f"{task.name}: steps", found=step, every=10.0)
        for pictures, targets in self._loader(
            Altered(self._labelled, recipe.augmenting(), task.seed, task.name), batches
        ):
            scheduler.step(step // batches.steps_per_epoch)
            model.train()
            with drawing(key64("step of a recipe", task.seed, task.name, step, part.rank)):
                if part.on_gpu:
                    torch.cuda.manual_seed(key64("GPU", task.seed, task.name, step, part.rank) >> 1)
                seen, wanted = mixing(self._normalised(pictures), targets.to(part.device, non_blocking=True))
                with torch.autocast(part.device.split(":")[0], dtype=torch.float16, enabled=part.on_gpu):
                    loss = loss_of(self._logits(whole, seen), wanted)
                optimiser.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimiser)
                scaler.update()
            step += 1
            keep = step in task.steps
            if keep or step % _LOOK == 0:
                self._refuse_infinite(loss, step, batches.steps_per_epoch)
            if keep:
                self._keep(model, step)
            if part.rank == 0 and step < last and time.monotonic() - saved >= self._state_seconds:
                content = {name: value.state_dict() for name, value in state.items()}
                task.write_state(self._store, {**content, "step": step, "slot": slot}, slot)
                slot, saved = 1 - slot, time.monotonic()
            if part.rank == 0:
                progress.step(note=f"epoch {1 + (step - 1) // batches.steps_per_epoch} of {recipe.epochs}")
        self._refuse_apart(model)

    def _load(self, state: dict[str, Any]) -> int:
        """The step to begin with; what the state of an interrupted training says goes into the parts of this one."""
        self._slot = 0
        if self._begin is None:
            return 0
        found = read_state(self._begin)
        for name, value in state.items():
            value.load_state_dict(found[name])
        self._slot = 1 - int(found["slot"])  # the other one is the state that this run began from
        return int(found["step"])

    def _batches(self, first: int) -> Batches:
        task, part = self._task, (self._part.rank, self._part.world)
        rows, size = self._labelled.learnt, self._recipe.batch_size
        return Batches(rows, size, self._recipe.epochs, (task.seed, task.name), first, part)

    def _shared(self, model: nn.Module) -> nn.Module:
        """The network with gradients averaged over processes; statistics of norms are those of the first one."""
        if self._part.world == 1:
            return model
        devices = [torch.device(self._part.device)] if self._part.on_gpu else None
        # else torch sorts gradients anew after the first step of a process, which a resumed training has elsewhere, and three
        # processes or more add them up in another order; where it looks for unused parameters it keeps the order that it has
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def _loader(self, pictures: Any, batches: Batches | None) -> DataLoader[Any]:
        """Batches decoded by processes beside this one, which fork from it: no draw and no order hangs on them."""
        sampling: dict[str, Any] = {"batch_sampler": batches} if batches else {"batch_size": _EVALUATED}
        workers = self._decoders
        if workers:
            sampling |= {"multiprocessing_context": "fork", "prefetch_factor": 4}
        return DataLoader(pictures, num_workers=workers, pin_memory=self._part.on_gpu, **sampling)

    @cached_property
    def _decoders(self) -> int:
        """Processes that decode for this one: MIS_DECODERS, else on a GPU all cores, shared out."""
        given = Environment.read().decoders
        if given is not None:
            return given
        return max(1, len(os.sched_getaffinity(0)) // self._part.world) if self._part.on_gpu else 0

    @cached_property
    def _view(self) -> Preprocessing:
        return Preprocessing.parse(self._task.recipe.preprocessing(), self._task.name)

    def _normalised(self, pictures: Tensor) -> Tensor:
        sent = pictures.to(self._part.device, non_blocking=True)
        return self._view.normalised(sent).contiguous(memory_format=torch.channels_last)

    def _logits(self, model: nn.Module, seen: Tensor) -> Tensor:
        try:
            logits = model(seen)
        except Exception as error:
            raise building.forward_failure(error, self._task.name, tuple(seen.shape)) from error
        if not isinstance(logits, Tensor) or logits.shape != (len(seen), self._classes):
            what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise StudyError(
                f"{self._task.name}: in training its outputs are {what} for a batch of {len(seen)} images; the recipe needs "
                f"one number for each of the {self._classes} classes: {(len(seen), self._classes)}. Take a constructor whose "
                "network has these outputs"
            )
        return logits

    def _keep(self, model: nn.Module, step: int) -> None:
        """Write the checkpoint of a step with its accuracy, in the first process; others wait for it at their next step."""
        from safetensors.torch import save_file

        if self._part.rank:
            return
        task = self._task
        state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        # one entry: the order of several in the header would be left to chance
        header = {TOP1: self._accuracy(model)}
        self._store.write(STEPS, task.of_step(step), ".safetensors", lambda path: save_file(state, path, header))

    def _accuracy(self, model: nn.Module) -> str:
        """Top-1 in percent on the images held out, as the study will show them; empty where there are none."""
        held_out = self._labelled.held_out
        if not len(held_out):
            return ""
        model.eval()
        right = 0
        with torch.inference_mode():
            for pictures, targets in self._loader(Shown(self._labelled, held_out, self._view), None):
                with torch.autocast("cuda", dtype=torch.float16, enabled=self._part.on_gpu):
                    guesses = self._logits(model, self._normalised(pictures)).argmax(1).cpu()
                right += int((guesses == targets).sum())
        return repr(100 * right / len(held_out))

    def _refuse_infinite(self, loss: Tensor, step: int, steps_per_epoch: int) -> None:
        value = float(loss.detach())
        if not np.isfinite(value):
            raise StudyError(
                f"{self._task.name}: the loss is {value} at step {step}, in epoch {1 + (step - 1) // steps_per_epoch}, with a "
                f"peak learning rate of {self._recipe.rate:g}; lower models.training.a3.learning_rate"
            )

    def _refuse_apart(self, model: nn.Module) -> None:
        """Raise where processes, which must have the same weights, do not."""
        if self._part.world == 1:
            return
        own = state_digest(dict(model.named_parameters()))
        digests: list[str] = [""] * self._part.world
        torch.distributed.all_gather_object(digests, own)
        if len(set(digests)) > 1:
            raise RuntimeError(
                f"{self._task.name}: the {self._part.world} processes of its training ended with other weights"
            )


@contextmanager
def _repeatable(part: Part) -> Generator[None]:
    """Deterministic kernels where torch has them, on a CPU one thread; afterwards as before."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warning, settings = torch.is_deterministic_algorithms_warn_only_enabled(), torch.utils.deterministic
    fill = settings.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    if not part.on_gpu:
        torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=part.on_gpu)
    settings.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warning)
        settings.fill_uninitialized_memory = fill  # pyright: ignore[reportAttributeAccessIssue]
