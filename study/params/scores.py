"""Parameters of the similarities."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import filled, number, one_of


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The network behind the backend `encoder`.

    model   its name in the roster; empty: the first network there whose role is similarity
    layer   module path whose pooled output is compared; empty: the pooled features
    """

    model: str
    layer: str


@dataclass(frozen=True, kw_only=True)
class DreamSim:
    """The picture that DreamSim sees."""

    view: str = one_of("crop", "squash")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Similarities that solve the tasks."""

    backends: tuple[str, ...] = filled()
    near_duplicate: float = number(-1, 1)
    aggregation: str = one_of("mean", "max", "median", "softmax")
    softmax_temperature: float = number(above=0)
    precision: str = one_of("float32", "float16")
    feature_size: int = number(32, 256)
    feature_models: tuple[str, ...]
    dreamsim: DreamSim
    encoder: Encoder
