"""Parameters of the units: which outputs of a network they are."""

from __future__ import annotations

from dataclasses import dataclass

from interpretability.schema import LAYER_TYPES
from study.params.fields import one_of


@dataclass(frozen=True, kw_only=True)
class Units:
    """Which outputs of a network are units, and where they are read."""

    layer_types: tuple[str, ...] = one_of(*LAYER_TYPES)
    drop_first_last: bool
    linear: str = one_of("all", "blocks")
    norm_act: str = one_of("before", "after")
