"""Matrices that may be larger than memory: written and read some rows at a time, in the form of safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interpretability.files import atomic_path

Blocks = Iterable[NDArray[np.float32]]


def write_matrices(path: Path, matrices: Mapping[str, tuple[tuple[int, int], Blocks]]) -> None:
    """Write float32 matrices of known shapes whose rows come in blocks; read by any reader of safetensors."""
    header: dict[str, object] = {}
    offset = 0
    for name, (shape, _) in sorted(matrices.items()):
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)  # numbers of a file that is mapped into memory begin at a multiple of eight
    with atomic_path(path) as part, open(part, "wb") as file:
        file.write(len(said).to_bytes(8, "little") + said)
        for name, (shape, blocks) in sorted(matrices.items()):
            rows = 0
            for block in blocks:
                if block.ndim != 2 or block.shape[1] != shape[1]:
                    raise ValueError(f"a block of {name} has shape {block.shape}; it must have {shape[1]} columns")
                file.write(np.ascontiguousarray(block, dtype="<f4").data)
                rows += len(block)
            if rows != shape[0]:
                raise ValueError(f"{name} has {rows} rows; it must have {shape[0]}")


class Matrix:
    """A matrix in a file, mapped into memory. Rows are read where they are asked for."""

    def __init__(self, path: Path, name: str) -> None:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entry = json.loads(file.read(length))[name]
        self.shape: tuple[int, int] = (entry["shape"][0], entry["shape"][1])
        start = 8 + length + entry["data_offsets"][0]
        empty = 0 in self.shape
        self._rows = (
            np.empty(self.shape, np.float32)
            if empty
            else np.memmap(path, dtype="<f4", mode="r", offset=start, shape=self.shape)
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | NDArray[np.integer]) -> NDArray[np.float32]:
        return np.asarray(self._rows[rows])

    def blocks(self, size: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """First row and rows of each block of `size` rows."""
        for start in range(0, len(self), size):
            yield start, self[start : start + size]
