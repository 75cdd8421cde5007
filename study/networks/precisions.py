"""The precision of networks in a study: what it is called in words, and what becomes of a network that it does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from study.files.tables import read_json

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")

FALLBACK = "tf32"  # of a network of which float16, which holds nothing above 65504, does not hold every value
_LISTED = 20  # networks in a sentence
_WORDS = {
    "tf32": "TF32 (inputs of products rounded to 10 bits, depthwise convolutions in float32)",
    "float16": "float16 (depthwise convolutions in float32)",
    "bfloat16": "bfloat16",
}
BFLOAT16 = (
    "activations.precision is bfloat16: the MIS of a single unit moves by about as much as with another seed, and only means "
    "over networks are safe; float16 and tf32 move it by a fraction of its standard error (docs/scale.md)"
)


class Overflow(Exception):
    """Values of a network are not finite in float16, and may be in FALLBACK."""


def refuse_overflow(values: Tensor, precision: str) -> None:
    """Raise Overflow for values that are not finite in float16; those of other precisions pass."""
    if precision == "float16" and not bool(values.isfinite().all()):
        raise Overflow


def or_fallback(precision: str, run: Callable[[str], Result], tell: Callable[[], object]) -> Result:
    """What `run` gives in a precision, or, where it raises Overflow, in FALLBACK, after a call of `tell`."""
    try:
        return run(precision)
    except Overflow:
        tell()
    return run(FALLBACK)  # outside of the handler, which would keep alive what the first run had on its device


def noted_precision(asked: str, name: str, activations: Path) -> str:
    """The precision of a network in the stages after `activations`: FALLBACK where that stage found values that float16 does not
    hold, even if the images of a later stage would not show it, else the one that is asked for.
    """
    if asked != "float16":  # others are kept, and each device says for itself what it knows
        return asked
    return FALLBACK if name in read_json(activations / "run.json").get("ran_in", {}) else asked


def unless_asked(asked: str, precision: str) -> dict[str, str]:
    """What ingredients say of a precision that is not the one asked for, which they hold anyway."""
    return {} if precision == asked else {"ran_in": precision}


def counted(names: Sequence[str], n: int, what: str) -> str:
    """How many of n networks did what, and which, if it were not all."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = "" if len(names) == n else f": {', '.join(sorted(names)[:_LISTED])}{more}"
    return f"{len(names)} of {n} network{'' if n == 1 else 's'} {what}{listed}"


def ran_in_words(asked: str, ran_in: Mapping[str, str], n: int) -> str:
    """Which of n networks ran in another precision than was asked for, and why."""
    why = "float16 held not all of their values" if asked == "float16" else f"their device knows no {asked}"
    return "; ".join(
        counted([name for name, own in ran_in.items() if own == other], n, f"ran in {other}, because {why}")
        for other in sorted(set(ran_in.values()))
    )


def precision_words(asked: str, ran_in: Mapping[str, str], n: int) -> str:
    """What the report says of the precision of n networks; nothing where all ran in float32 as they should."""
    if asked not in _WORDS:
        return ""
    in_float32 = "means and order in float32"
    if ran_in and len(ran_in) == n:
        return f"No network ran in {asked}, as was asked for: {ran_in_words(asked, ran_in, n)}; {in_float32}."
    other = f"; {ran_in_words(asked, ran_in, n)}" if ran_in else ""
    return f"Networks ran in {_WORDS[asked]}, with {in_float32}{other}."
