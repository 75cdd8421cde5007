"""One of several processes of a training, as `torch.distributed.run` starts it: the file of a task is its only argument.

Run     python -m torch.distributed.run --nproc-per-node N -m study.networks.recipes.rank TASK.json
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from interpretability.errors import InputError
from study.environment import Rank
from study.files.tables import write_json
from study.networks.recipes.task import Task

MODULE = "study.networks.recipes.rank"
PROBLEM = "problem.json"  # beside the file of the task: what the user can put right
_WAIT = timedelta(hours=2)  # for the first process, which measures accuracy while others wait
_LOOK = 1.0  # seconds between two looks at whether the stage still lives


def main() -> None:
    file, rank = Path(sys.argv[1]), Rank.read()
    task, begin, stage = Task.read(file)
    threading.Thread(target=_end_with, args=(stage,), daemon=True).start()
    try:
        _train(task, rank, begin)
    except InputError as error:
        write_json(file.with_name(PROBLEM), {"problem": str(error)})
        raise


def _train(task: Task, rank: Rank, begin: Path | None) -> None:
    import torch

    from study.networks.recipes.fitting import Fitting, Part
    from study.workers.device import start

    device = "cpu" if task.kind == "cpu" else f"cuda:{rank.local}"
    start(device)
    if rank.world > 1:
        torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl", timeout=_WAIT)
    try:
        Fitting(task, Part(device, rank.number, rank.world), begin).run()
    finally:
        if rank.world > 1:
            torch.distributed.destroy_process_group()


def _end_with(stage: int) -> None:
    """End this process once that of the stage is gone: no second writer outlives it."""
    while True:
        try:
            os.kill(stage, 0)
        except ProcessLookupError:
            os._exit(1)
        time.sleep(_LOOK)


if __name__ == "__main__":
    main()
