"""Variables of the environment: those that a study reads, each checked and read anew at each call, and those that it sets.

What it reads says where things lie and how many processes work: no result depends on that, so none is a parameter of the study.

What it sets makes numeric libraries compute alike. `one_thread` fixes the order of their sums on one machine. `portable`
fixes their kernels too, so that every x86-64 processor with AVX2 and FMA gives the same bytes: without it they choose by the
instructions, the maker and the caches of the processor. All seven switches are needed, each for what is named beside it;
sums, means, quantiles, random draws, `einsum`, `expit`, sorting with kind="stable" and reading and scaling pictures need none.
Statistics are written in those forms where they can be. What of them rests on a switch:

- numpy's float64 exp, log, power, arctanh and the like (calibration, Fisher's z): NPY_DISABLE_CPU_FEATURES
- linear algebra and optimisers of `interpretability.people.single_answers`, `scipy`'s special functions that call BLAS:
  OPENBLAS_CORETYPE
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from study.errors import StudyError
from study.log import logger

log = logger("environment")

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
# Kernels of every x86-64 processor with AVX2 and FMA; names of features are those of the locked numpy.
SWITCHES = {
    "ATEN_CPU_CAPABILITY": "avx2",  # softmax, attention and all that torch computes by itself
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions of torch; goes before DNNL_MAX_CPU_ISA
    "MKL_CBWR": "COMPATIBLE",  # products of torch; with AVX2 Intel's and AMD's processors would still differ
    "OPENBLAS_CORETYPE": "Haswell",  # products and linear algebra of numpy and scipy
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # exp, log, power of numpy, and its order of ties
    "NUMBA_CPU_NAME": "haswell",  # sums of our compiled kernels
    "NUMBA_CPU_FEATURES": "",  # set and empty: with the name alone numba still takes the features of this processor
}
_NOT_BESIDE = {"NPY_ENABLE_CPU_FEATURES": ""}  # numpy refuses to start with both; empty counts as not set
_NEEDED = {"avx2", "fma"}  # instructions that these kernels use
_CHOOSING = ("numpy", "torch", "numba")  # packages that choose their kernels when they load


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
    cuda_graphs         whether batches are recorded and replayed on a GPU
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
    cuda_graphs: bool
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
            cuda_graphs=_one_of("MIS_CUDA_GRAPHS", "on", "off") == "on",
            ray_address=_text("RAY_ADDRESS"),
            visible_gpus=tuple(filter(None, _text("CUDA_VISIBLE_DEVICES").split(","))),
        )


@dataclass(frozen=True)
class Rank:
    """What torch's launcher tells each process of a training: its number, that on its machine, and how many there are."""

    number: int
    local: int
    world: int

    @classmethod
    def read(cls) -> Rank:
        return cls(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))


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


def portable() -> bool:
    """Make numpy, torch, numba and their libraries compute alike on every x86-64 processor with AVX2 and FMA.

    Sets SWITCHES, whatever they were, in this process and those that it starts; to be called before any of these packages
    loads, and StudyError is raised if one has been loaded under other switches. Then the library gives the bits of a
    portable study. True if the kernels are now those; on another processor nothing is set, and a warning says so.
    """
    if not _able():
        log.warning(
            "this processor (%s) has no AVX2 and FMA of x86-64, so numbers will differ from those of processors that have: "
            "by the last bits where nothing is trained; networks are trained to other weights, which between two vector "
            "widths moved the mean MIS of the embedded study by .016",
            platform.machine() or "unknown",
        )
        return False
    if not is_portable():
        if loaded := [name for name in _CHOOSING if name in sys.modules]:
            raise StudyError(
                f"{' and '.join(loaded)} chose the kernels of this processor when loaded, which is too late for portable ones. "
                "Call study.environment.portable() first in the process, before these packages are imported"
            )
        os.environ.update(SWITCHES | _NOT_BESIDE)
    return True


def is_portable() -> bool:
    """Whether `portable` has been called here, or in a process above: results are those of every such processor."""
    # features that are disabled besides change no byte
    return (
        _able()
        and all(
            name in os.environ and set(SWITCHES[name].split()) <= set(os.environ[name].split()) for name in SWITCHES
        )
        and not os.environ["NUMBA_CPU_FEATURES"]
    )


def require_portable() -> None:
    """Raise StudyError where a portable study would get the results of this processor alone, though it need not."""
    if _able() and not is_portable():
        raise StudyError(
            "processor is portable, but this process computes with the kernels of its own processor. Run stages as `python -m "
            "stages.NAME`, or call study.environment.portable() first in the process, before numpy or torch is imported"
        )


@cache
def _able() -> bool:
    """Whether this processor has the instructions of portable kernels."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return set(flags) >= _NEEDED


def set_unless_given(variables: Mapping[str, str]) -> None:
    """Set variables that are not set, for libraries that read them when they start."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def variables_of_worker(device: str) -> dict[str, str]:
    """What a worker process on another machine gets: the settings of this one but for those that share out the work."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("MIS_") and name != "MIS_WORKERS"}
    fixed = (*ONE_THREAD, "OMP_WAIT_POLICY", *SWITCHES, *_NOT_BESIDE)
    kept |= {name: os.environ[name] for name in fixed if name in os.environ}
    return kept | {"MIS_EXECUTOR": "local", "MIS_DEVICE": device}


def variables_of_ranks() -> dict[str, str]:
    """What the processes of a training get: all of this one, and what makes products on a GPU repeatable."""
    return {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
