"""Parameters of the extraction: which outputs are units, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from interpretability.schema import LAYER_TYPES
from study.params.fields import number, one_of


@dataclass(frozen=True)
class Units:
    """Which outputs of a network are units, and where they are read."""

    layer_types: tuple[str, ...] = one_of(*LAYER_TYPES)
    drop_first_last: bool = field()
    linear: str = one_of("all", "blocks")
    norm_act: str = one_of("before", "after")


@dataclass(frozen=True)
class Activations:
    """What is kept of a unit's values."""

    n_extremes: int = number(2)
    batch_size: int = number(1, 4096)
    precision: str = one_of("float32", "float16", "bfloat16")
    pack: int = number(0, 1024)
    max_failed: float = number(0, 1)
    keep: tuple[str, ...] = field()
    keep_file: str = field()
