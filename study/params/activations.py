"""Parameters of the extraction: what is kept of every unit."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number, one_of


@dataclass(frozen=True, kw_only=True)
class Activations:
    """What is kept of a unit's values."""

    n_extremes: int = number(2)
    batch_size: int = number(1, 4096)
    precision: str = one_of("float32", "tf32", "float16", "bfloat16")
    compile: str = one_of("none", "long")
    pack: int = number(0, 1024)
    max_failed: float = number(0, 1)
    keep: tuple[str, ...]
    keep_file: str
    windows: tuple[str, ...]
