"""Units that are directions: linear combinations of the units of one layer, from a file of the user."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from interpretability.casts import fits
from study.errors import StudyError
from study.networks.files import user_file
from study.networks.roster import RosterRow
from study.params.units import Units

if TYPE_CHECKING:
    from torch import Tensor, nn

    from interpretability.networks.layers import Layer

_LISTED = 20  # layers in a message


def directed(
    row: RosterRow, model: nn.Module, batch: Tensor, layers: list[Layer], rules: Units
) -> tuple[list[Layer], NDArray[np.float32] | None]:
    """The layer and matrix of a row with `directions`: units are then linear combinations of the layer's units.

    Without, the given layers and None. Raises StudyError for a layer that is not there or a matrix that does not fit it.
    """
    if not row["directions"]:
        return layers, None
    from interpretability.networks.layers import find_layers
    from interpretability.networks.taps import find_taps

    name, path = parse_directions(row["directions"])
    taps = find_taps([path for path, _ in model.named_modules()], row["taps"])
    everything = find_layers(model, batch[:3], taps=taps, **asdict(replace(rules, drop_first_last=False)))
    chosen = [layer for layer in everything if layer.name == name]
    if not chosen:
        known = [layer.name for layer in everything]
        near = difflib.get_close_matches(name, known, 3)
        raise StudyError(
            f"{row['name']}: directions name layer {name!r}, which is none of {_listed(known)}"
            f"{(near and '; did you mean ' + ' or '.join(near) + '?') or ''}. Correct the column directions of its row"
        )
    return chosen, load_directions(path, name, chosen[0].width)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


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


def parse_directions(text: str) -> tuple[str, Path]:
    """Layer and matrix file of a `directions` entry LAYER=FILE.npy."""
    layer, mark, name = text.partition("=")
    if not mark or not layer or not name.endswith(".npy"):
        raise StudyError(f"directions is {text!r}, it must read LAYER=FILE.npy")
    return layer, user_file(name)
