"""Directions that a row of a roster names: their files, and what tells them from all others."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import fits
from interpretability.errors import InputError
from interpretability.files import sha256_file
from study.errors import StudyError, message_of
from study.networks.direction_cells import Directions, taken_apart
from study.networks.files import user_file
from study.networks.roster import RosterRow

if TYPE_CHECKING:
    from interpretability.directions.codes import Code


def parse_directions(text: str) -> tuple[Directions, Path | None]:
    """A cell of the column `directions`, and its file if it names one. Raises StudyError for another form and a missing file."""
    cell = taken_apart(text)
    return cell, user_file(cell.file) if cell.file else None


def directions_digest(row: RosterRow) -> str:
    """What the directions of a row hang on, but for images and network; empty where it has none."""
    if not row["directions"]:
        return ""
    from interpretability.directions import built_in, encoding

    cell, path = parse_directions(row["directions"])
    version = f"versions {encoding.VERSION} {built_in.VERSION}"
    if path is None:
        return f"{row['directions']} {version}"
    return f"{cell.called(cell.layer)} {cell.kind} {sha256_file(path)} {version}"


def load_code(path: Path, layer: str, width: int, *, tokens: bool) -> Code:
    """The code of a file for a layer of this width; `tokens`: whether its positions are tokens."""
    from interpretability.directions.files import read_code

    try:
        code = read_code(path)
    except InputError as error:
        raise StudyError(message_of(error)) from None
    if code.encoder.shape[1] != width:
        raise StudyError(
            f"{path.name} holds a code over a width of {code.encoder.shape[1]}; layer {layer} is {width} wide"
            + (f". The code was made for a layer called {code.layer}" if code.layer else "")
        )
    if code.tokens != "all" and not tokens:
        raise StudyError(
            f"{path.name} holds a code of {code.tokens} tokens, but the positions of layer {layer} are no row of tokens; name a "
            "layer of a transformer, or a code of all positions"
        )
    return code


def load_directions(path: Path, layer: str, width: int) -> NDArray[np.float32]:
    """Matrix (width, directions) whose columns are units; numbers only, no pickled objects."""
    try:
        matrix = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(f"{path.name} is no array of plain numbers ({error}); save it with numpy.save") from None
    if not isinstance(matrix, np.ndarray):
        raise StudyError(f"{path.name} is an archive of several arrays; save one matrix with numpy.save")
    if (
        matrix.ndim != 2
        or matrix.shape[0] != width
        or not matrix.shape[1]
        or not np.issubdtype(matrix.dtype, np.floating)
    ):
        turned = " Its transpose would fit" if matrix.ndim == 2 and matrix.shape[1] == width else ""
        raise StudyError(
            f"{path.name} holds {matrix.dtype} of shape {matrix.shape}; layer {layer} needs floating-point numbers of shape "
            f"({width}, number of directions).{turned}"
        )
    right = np.isfinite(matrix) & fits(matrix, np.float32)
    if not right.all():
        row, column = np.argwhere(~right)[0]
        large = "" if not np.isfinite(matrix[row, column]) else ", more than float32 holds"
        raise StudyError(
            f"{path.name} holds {matrix[row, column]} at row {row}, column {column}{large}; all numbers must be finite"
        )
    return matrix.astype(np.float32)
