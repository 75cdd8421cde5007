"""Devices of the workers of this machine, and the kind of device that gives the bits."""

from __future__ import annotations

import os

from study.environment import Environment
from study.errors import StudyError
from study.workers.device import beside


def local_devices(*, on_cpu: bool = False) -> list[str]:
    """One device name a worker of this machine: every visible GPU, else `cpu` for every core that this process may use."""
    environment = Environment.read()
    kind, count = "cpu" if on_cpu else environment.device, environment.workers
    if kind == "cuda" or (kind == "auto" and os.path.exists("/dev/nvidiactl")):
        import torch  # costs seconds to import, so only where a GPU may be

        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        if gpus:
            return gpus[:count]
        if kind == "cuda":
            raise StudyError("MIS_DEVICE is cuda, but torch sees no GPU; set MIS_DEVICE=cpu or check the driver")
    return ["cpu"] * (count or len(os.sched_getaffinity(0)))


def device_kind(name: str) -> str:
    """What kind of device this is, whose bits results have: cpu, or the model of a GPU."""
    if name.startswith("cpu"):
        return "cpu"
    import torch

    return torch.cuda.get_device_name(name)


def workers_here() -> int:
    """Workers that share the memory of this machine."""
    return beside() or len(local_devices())
