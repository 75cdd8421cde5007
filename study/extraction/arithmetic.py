"""In which precision the workers of a study run networks, and what is said of it before any runs."""

from __future__ import annotations

from dataclasses import dataclass

from study.errors import StudyError
from study.networks.precisions import BFLOAT16
from study.workers.device import Failure, device
from study.workers.jobs import ask_worker, devices


@dataclass(frozen=True)
class UsedJob:
    """The precision in which a worker runs networks that are to run in another."""

    asked: str
    name: str = "precision"
    size: float = 1.0

    def run(self) -> str:
        return _used(self.asked, device())


def used_by_workers(asked: str) -> str:
    """The precision in which networks run on the first worker, and so on all of its kind, if they are to run in `asked`."""
    if asked != "tf32":  # the only one that a device may lack; nothing is imported for the others
        return asked
    first = devices()[0]
    used = ask_worker(UsedJob(asked)) if first == "cuda" else _used(asked, first)  # "cuda" is in a cluster
    if isinstance(used, Failure):
        raise StudyError(f"a worker of the cluster cannot tell whether its GPU knows {asked}: {used.reason}")
    return used


def warning(asked: str, used: str) -> str:
    """What a study is told that asks for a precision and gets `used`; empty where that is all right."""
    if asked == "bfloat16":
        return BFLOAT16
    if used != asked:
        return (
            f"activations.precision is {asked}, which the devices of the workers do not know, so networks run in {used}: set "
            f"{used}, or run where there is a GPU of 2020 or later (docs/scale.md)"
        )
    return ""


def _used(asked: str, name: str) -> str:
    from interpretability.networks import precision

    return precision.used(asked, name)
