"""Variables of the environment that a study reads, each checked, and read anew at each call.

They say where things lie and how many processes work: no result depends on them, so none is a parameter of the study.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study.errors import StudyError

# packages that compute and write the bytes of a study: the same versions on every machine of a cluster
COMPUTING = (
    "dreamsim",
    "lpips",
    "numba",
    "numpy",
    "pandas",
    "pillow",
    "piq",
    "pyarrow",
    "safetensors",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)
STORE, WEIGHTS = Path("data/store"), Path("data/external/weights")  # where nothing else is named
# sums are added in one order on every machine; parallel work comes from worker processes alone
_THREADS: tuple[str, ...] = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(_THREADS, "1")


@dataclass(frozen=True)
class Environment:
    """Settings of this machine, from variables called MIS_ and the name of the field but for the last two.

    store               folder of the work store
    images              folder, file or data set of the images, in place of images.root; empty: not set
    weights             folder in which files of weights are looked for and kept
    device, executor    kind of device (auto, cpu, cuda) of workers, and where they are (local, ray)
    workers             number of workers; None: as many as there are devices
    decoders            threads that decode images for one worker; None: by device
    networks_per_pass   networks that share each decoded image; None: by device
    memory_gb           for the selections of all workers; None: a share of what is free
    feature_cache_gb    for features kept by all workers of a machine; None: by device
    ray_address         of the cluster, for executor ray; empty: not set
    visible_gpus        numbers of the GPUs that this process sees; empty: all
    """

    store: Path
    images: str
    weights: Path
    device: str
    workers: int | None
    executor: str
    decoders: int | None
    networks_per_pass: int | None
    memory_gb: float | None
    feature_cache_gb: float | None
    ray_address: str
    visible_gpus: tuple[str, ...]

    @classmethod
    def read(cls) -> Environment:
        """The variables as they are now. Raises StudyError for a value that is not allowed."""
        gigabytes = "it must be a number of gigabytes"
        return cls(
            store=Path(_text("MIS_STORE") or STORE),
            images=_text("MIS_IMAGES"),
            weights=Path(_text("MIS_WEIGHTS") or WEIGHTS),
            device=_one_of("MIS_DEVICE", "auto", "cpu", "cuda"),
            workers=_whole("MIS_WORKERS", 1, "it must be a whole number of at least 1"),
            executor=_one_of("MIS_EXECUTOR", "local", "ray"),
            decoders=_whole("MIS_DECODERS", 0, "it must be a whole number; 0 decodes without threads of its own"),
            networks_per_pass=_whole("MIS_NETWORKS_PER_PASS", 1, "it must be a whole number of at least 1"),
            memory_gb=_number("MIS_MEMORY_GB", f"{gigabytes} above 0", zero=False),
            feature_cache_gb=_number("MIS_FEATURE_CACHE_GB", f"{gigabytes} of at least 0", zero=True),
            ray_address=_text("RAY_ADDRESS"),
            visible_gpus=tuple(filter(None, _text("CUDA_VISIBLE_DEVICES").split(","))),
        )


def _text(name: str) -> str:
    return os.environ.get(name, "")


def _one_of(name: str, *allowed: str) -> str:
    """One of the allowed words; the first where nothing is set."""
    value = _text(name) or allowed[0]
    if value not in allowed:
        raise StudyError(f"{name} is {value!r}, allowed: {', '.join(allowed)}")
    return value


def _whole(name: str, least: int, rule: str) -> int | None:
    value = _text(name)
    if value and not (value.isdecimal() and int(value) >= least):
        raise StudyError(f"{name} is {value!r}, {rule}")
    return int(value) if value else None


def _number(name: str, rule: str, *, zero: bool) -> float | None:
    value = _text(name)
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not (0 <= number < float("inf")) or (number == 0 and not zero):
        raise StudyError(f"{name} is {value!r}, {rule}")
    return number


def one_thread() -> None:
    """Give every numeric library one thread. To be called before any of them loads."""
    for name, count in ONE_THREAD.items():
        os.environ[name] = count
    # idle threads sleep, and no library fetches anything behind the back of a running study
    set_unless_given({"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_DISABLE_TELEMETRY": "1"})


def set_unless_given(variables: Mapping[str, str]) -> None:
    """Set variables that are not set, for libraries that read them when they start."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def variables_of_worker(device: str) -> dict[str, str]:
    """What a worker process on another machine gets: the settings of this one but for those that share out the work."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("MIS_") and name != "MIS_WORKERS"}
    threads = {name: os.environ[name] for name in (*ONE_THREAD, "OMP_WAIT_POLICY") if name in os.environ}
    return kept | threads | {"MIS_EXECUTOR": "local", "MIS_DEVICE": device}
