"""One file of a source of pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 2**30  # of one encoded picture: a larger one would fill the memory of every worker
TOO_LARGE = "larger than 1 GB, which is more than a picture may have"


@dataclass(frozen=True)
class Member:
    """One file of a source.

    path    its name in the manifest; `label` is the folder that holds it, or what the source says instead
    shard   tar file that holds it, relative to the root; `place` the offset of its content there and `size` its length.
            A data set counts its members: `place` is the number, `size` is -1
    reason  why it is no image, empty if it may be one
    """

    path: str
    label: str = ""
    shard: str = ""
    place: int = 0
    size: int = -1
    reason: str = ""


def read_file(path: Path) -> bytes:
    """Content of a file. Raises OSError where it is gone, or larger than a picture may be."""
    with open(path, "rb", buffering=0) as file:  # what is read at once needs no buffer
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise OSError(TOO_LARGE)
        return file.read()
