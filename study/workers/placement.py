"""Where workers run: devices, their number, and the kind of device that gives the bits."""

from __future__ import annotations

import os

from study.errors import StudyError
from study.workers.device import beside


def executor() -> str:
    """Where jobs run, from MIS_EXECUTOR: `local`, on processes of this machine, or `ray`, on a cluster."""
    name = os.environ.get("MIS_EXECUTOR") or "local"
    if name not in ("local", "ray"):
        raise StudyError(f"MIS_EXECUTOR is {name!r}, allowed: local, ray")
    return name


def wanted() -> tuple[str, int | None]:
    """Kind of device from MIS_DEVICE (auto, cpu, cuda), and number of workers from MIS_WORKERS (None: not set)."""
    kind = os.environ.get("MIS_DEVICE") or "auto"
    if kind not in ("auto", "cpu", "cuda"):
        raise StudyError(f"MIS_DEVICE is {kind!r}, allowed: auto, cpu, cuda")
    count = os.environ.get("MIS_WORKERS", "")
    if count and not (count.isdecimal() and int(count) > 0):
        raise StudyError(f"MIS_WORKERS is {count!r}, it must be a whole number of at least 1")
    return kind, int(count) if count else None


def local_devices(*, on_cpu: bool = False) -> list[str]:
    kind, count = wanted()
    if on_cpu:
        kind = "cpu"
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
