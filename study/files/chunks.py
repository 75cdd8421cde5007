"""Tables of numbers that jobs compute some rows at a time, and what names the rows of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def rows_key(rows: NDArray[np.int32]) -> dict[str, Any]:
    """Ingredients that say which images; a run of neighbours by its ends."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    if stop - start == len(rows):
        return {"start": start, "stop": stop}
    return {"rows": hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest()}


def join(chunks: Sequence[Path], path: Path, n: int) -> None:
    """Write chunk files one after the other into one table of n rows, never holding more than one."""
    first = np.load(chunks[0], mmap_mode="r")
    header = {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": (n, first.shape[1])}
    # plain writes: a full disk kills a process that writes through a memory map
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            file.write(np.ascontiguousarray(np.load(chunk)).data)
