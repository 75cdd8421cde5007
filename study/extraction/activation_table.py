"""Extremes and moments of units whose values over the study's images stand in a table; no network is run.

The units of a table are one layer. They are numbered 0, 1, ... in ascending order of the numbers that the file gives them, so
that the order of its rows changes nothing; the number of the file is the unit's label in control_labels.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from study.errors import StudyError
from study.extraction.controls import network_facts, save_extremes
from study.extraction.job import Extraction, LabelRow, LayerFacts, NetworkFacts, State, extremes_and_moments
from study.extraction.table_blocks import open_blocks
from study.extraction.windows import tensors_of_columns
from study.files.tables import read_csv, rows_shown
from study.images.manifest import ImageSet, open_images, rows_in_batches
from study.networks.activation_tables import TableSource, source_of
from study.networks.roster import RosterRow

_SHOWN = 80  # characters of a name that a message shows


def table_facts(extraction: Extraction) -> NetworkFacts:
    """Facts of the units of a table, whose extremes are written to the out."""
    from interpretability.randomness import unit_keys

    name, params = extraction.name, extraction.params
    images = open_images(extraction.images, params.images.root)
    source = source_of(extraction.row)
    columns = columns_of_images(source, [images.path(row) for row in range(len(images))])
    blocks = open_blocks(source.file, len(images))
    numbers = np.sort(blocks.numbers)
    keys = unit_keys(params.seed, name, source.layer, np.arange(len(numbers)))
    whole: State = {}
    for given, values in blocks.read():
        units = np.searchsorted(numbers, given)
        part = _selected(values, columns, keys[units], params.activations.n_extremes, params.activations.batch_size)
        part |= tensors_of_columns(extraction.windows, values[:, columns], keys[units], params.tasks.n_tasks)
        for key, column in part.items():
            if key not in whole:
                whole[key] = np.zeros((len(numbers), *column.shape[1:]), column.dtype)
            whole[key][units] = column
    layer: LayerFacts = {
        "layer": source.layer,
        "layer_type": "Other",
        "layer_index": 0,
        "depth": 0.0,
        "width": len(numbers),
        "cluster": source.layer,
    }
    labels: list[LabelRow] = [
        {"model": name, "layer": source.layer, "unit": unit, "label": str(number)}
        for unit, number in enumerate(numbers.tolist())
    ]
    save_extremes(extraction, whole)
    return {**network_facts(extraction, [layer]), "labels": labels}


def table_values(row: RosterRow, images: ImageSet, rows: NDArray[np.integer]) -> NDArray[np.float32]:
    """Values (rows, units) of the units of a table over some rows of the manifest."""
    source = source_of(row)
    columns = columns_of_images(source, [images.path(each) for each in range(len(images))])[rows]
    blocks = open_blocks(source.file, len(images))
    numbers = np.sort(blocks.numbers)
    found = np.empty((len(rows), len(numbers)), dtype=np.float32)
    for given, values in blocks.read():
        found[:, np.searchsorted(numbers, given)] = values[:, columns].T
    return found


def _selected(
    values: NDArray[np.float32], columns: NDArray[np.int64], keys: NDArray[np.uint64], k: int, batch_size: int
) -> State:
    """Extremes and moments of a block of units from their values (units, columns), by the selection of all units."""
    from interpretability.extremes.moments import Moments
    from interpretability.extremes.selection import Extremes

    extremes, moments = Extremes(keys, k), Moments(len(keys))
    for rows in rows_in_batches(len(columns), batch_size):
        batch = np.ascontiguousarray(values[:, columns[rows]].T)
        extremes.update(batch, rows)
        moments.update(batch)
    top, bottom = extremes.keys()
    state = {"top": top, "bottom": bottom, "bins": moments.bins, "nonpositive": moments.nonpositive}
    return extremes_and_moments(state, keys, k, len(columns))


def columns_of_images(source: TableSource, paths: Sequence[str]) -> NDArray[np.int64]:
    """The column of the table, from 0, that each image of the manifest has.

    By the file of images, if one is named; else the columns are the images in the order of their file names, without folders.
    """
    names = [PurePosixPath(path).name for path in paths]
    if source.images is None:
        return _in_order_of_names(source.file, names, paths)
    return _as_named(source.images, names, paths)


def _in_order_of_names(file: Path, names: Sequence[str], paths: Sequence[str]) -> NDArray[np.int64]:
    order = sorted(range(len(names)), key=names.__getitem__)
    for first, second in pairwise(order):
        if names[first] == names[second]:
            raise StudyError(
                f"{file}: its columns are the images in the order of their file names, but {paths[first]} and {paths[second]} "
                'have one name; say which picture each column is of in a file, and name that in kwargs: {"images": "FILE"}'
            )
    columns = np.empty(len(names), dtype=np.int64)
    columns[order] = np.arange(len(names))
    return columns


def _as_named(file: Path, names: Sequence[str], paths: Sequence[str]) -> NDArray[np.int64]:
    """By a table of one column, `image`: the path in the manifest or, where that is unique, the file name of each column's."""
    cells = read_csv(file, ["image"], text=["image"])["image"]
    if len(cells) != len(paths):
        raise StudyError(
            f"{file} names {len(cells):,} images, the study has {len(paths):,}; each must stand there once"
        )
    rows_of_name: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows_of_name.setdefault(name, []).append(row)
    rows_of_path = {path: row for row, path in enumerate(paths)}
    columns = np.full(len(paths), -1, dtype=np.int64)
    for column, (shown, cell) in enumerate(zip(rows_shown(cells).tolist(), cells, strict=True)):
        found = [rows_of_path[cell]] if cell in rows_of_path else rows_of_name.get(cell, [])
        where = f"{file}: row {shown}: image is {cell[:_SHOWN]!r}"
        if len(found) != 1:
            problem = "several images of the study have this name; write the path" if found else "no image of the study"
            raise StudyError(f"{where}, {problem} as in data/images/manifest.parquet")
        if columns[found[0]] >= 0:
            raise StudyError(
                f"{where}, which column {columns[found[0]] + 1} is already; each image must stand there once"
            )
        columns[found[0]] = column
    return columns
