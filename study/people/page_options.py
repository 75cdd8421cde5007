"""Options that every folder of pages has: where it and its study lie, and how its pictures are written."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from study.people.pictures import QUALITY, SUFFIX, Encoding, picture_problems

Options = TypeVar("Options", bound="PageOptions")


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """Where the study lies and how its pages are written.

    out      new folder
    format   png | jpeg | webp; quality: 1 to 100 of the latter two, None: 85; size: see `pictures.Encoding`
    params, data   the study
    """

    out: Path
    format: str = "jpeg"
    quality: int | None = None
    size: int = 224
    params: Path = Path("params.yaml")
    data: Path = Path("data")

    def problem(self) -> str | None:
        """The first value that no study allows, in the words of a command line."""
        return next(self.problems(), None)

    def problems(self) -> Iterator[str]:
        """Every value that no study allows."""
        if self.size < 0:
            yield f"--size is {self.size}; it must be at least 0"
        yield from picture_problems(self.format, self.quality)

    def encoding(self, seed: int) -> Encoding:
        return Encoding(self.format, self.quality or QUALITY, self.size, seed)

    def pictures(self) -> dict[str, object]:
        """How pictures are written, as study.json says it."""
        lossy = None if self.format == "png" else self.quality or QUALITY
        return {"format": self.format, "quality": lossy, "size": self.size}


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """All options but --out, with their defaults."""
    more, usual = parser.add_argument, PageOptions(out=Path())
    more("--format", choices=sorted(SUFFIX), default=usual.format, help="of the pictures (%(default)s)")
    more("--quality", type=int, help=f"of jpeg and webp, 1 to 100 ({QUALITY})")
    more(
        "--size",
        type=int,
        default=usual.size,
        help="centre squares of at most this side, 0: whole pictures (%(default)s)",
    )
    more("--params", type=Path, default=usual.params)
    more("--data", type=Path, default=usual.data)


def given(kind: type[Options], args: argparse.Namespace, **changes: Any) -> Options:
    """Options of this kind from a parsed command line; `changes` go first (`out`, where it has none)."""
    found = {field.name: getattr(args, field.name) for field in fields(kind) if hasattr(args, field.name)}
    return kind(**(found | changes))
