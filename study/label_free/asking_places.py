"""Pages that show what a unit likes and ask in which cell of a new picture it is most active."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.errors import StudyError
from study.files.tables import read_parquet
from study.images.manifest import ImageSet, open_images
from study.label_free.parameters import LabelFreeParams
from study.label_free.sources import Source
from study.log import logger
from study.networks.roster import RosterRow, read_roster, rows_of
from study.params.reading import load
from study.params.whole import load_params
from study.people import questions
from study.people.asking import chosen_models
from study.people.picking import Page, PickOptions, drawn, n_explanations, write_picks
from study.people.studied import read_built

log = logger("picking pages")

_FIRST = 4  # images by which it is found out which layers have places


def export_places(options: PickOptions) -> None:
    """Write the folder of localize pages that `options` describe; docs/psychophysics.md has its files.

    A unit's explanations are those of its first natural task, its new pictures the positive queries of its tasks. Same study,
    same options: same bytes. Raises StudyError naming the option, what it is and what is allowed.
    """
    if problem := options.problem():
        raise StudyError(problem)
    questions.vacant(options.out)
    params, own = load_params(options.params), load(options.params, LabelFreeParams)
    roster = options.data / "models/roster.csv"
    rows = {row["name"]: row for row in rows_of(read_roster(roster))}
    images = open_images(options.data / "images", params.images.root)
    pages = [
        page
        for model in chosen_models(options.models, roster)
        for page in _pages(options, own, rows[model], images, params.seed)
    ]
    write_picks(options, params, pages, {"queries": options.queries})


def _pages(
    options: PickOptions, params: LabelFreeParams, row: RosterRow, images: ImageSet, seed: int
) -> Iterator[Page]:
    """Pages about units of one network whose maps have places and vary on every picture that is asked about."""
    from interpretability.label_free.localizability import PeakCapture

    model, data = row["name"], options.data
    layers = read_parquet(data / "activations/layers.parquet")
    layers = layers[layers["model"] == model].astype({"layer": str})
    built, k = read_built(data / "tasks", model), n_explanations(options)
    n_tasks, full = built.tasks.shape[1], built.tasks.shape[2] // 2 - 1
    if options.queries > n_tasks:
        raise StudyError(f"--queries is {options.queries}; allowed are 2 to {n_tasks}, the tasks of a unit")
    source = Source.noted(row, params, data / "activations", data / "models", data / "external/code")
    first = np.arange(min(_FIRST, len(images)), dtype=np.int32)
    places = source.held(lambda source: next(source.captured(images, first, PeakCapture))[2].places)
    sides = {layer: places[layer].side for layer in layers["layer"]}
    able = layers[[bool(sides[layer]) for layer in layers["layer"]]]
    if able.empty:
        why = ", ".join(sorted({place.reason for place in places.values()}))
        raise StudyError(f"{model} has no layer whose units have places ({why}); ask about another network (--models)")
    units = pd.DataFrame(
        [
            (layer, unit, offset + unit)
            for layer, width, offset in able[["layer", "width", "offset"]].itertuples(index=False)
            for unit in range(width)
        ],
        columns=["layer", "unit", "column"],
    )
    chosen = drawn(built, units, options.units, seed)
    tasks = np.stack([built.tasks[at] for at in chosen["row"]])
    queries = tasks[:, : options.queries, -2]
    peaks = source.held(partial(_peaks, images=images, queries=queries, columns=chosen["column"].to_numpy()))
    for place, unit in enumerate(chosen.itertuples()):
        if (peaks[place] < 0).any():
            log.warning("%s/%s/%d has a constant map on a picture and is left out", model, unit.layer, unit.unit)
            continue
        shown = tuple(map(int, tasks[place, 0, :full][:k]))
        for task, query in enumerate(map(int, queries[place])):
            yield Page(
                (model, str(unit.layer), int(unit.unit)),  # pyright: ignore[reportArgumentType]
                task,
                (*shown, query),
                sides[str(unit.layer)],
                (),
                int(peaks[place, task]),
            )


def _peaks(
    source: Source, images: ImageSet, queries: NDArray[np.int32], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cells (units, queries) in which units peak, -1 where a map is constant."""
    from interpretability.label_free.localizability import PeakCapture

    needed, rows = np.unique(queries, return_inverse=True)
    rows = rows.reshape(queries.shape)
    peaks = np.empty(queries.shape, dtype=np.int64)
    for shown, _, capture in source.captured(images, needed, PeakCapture):
        cells, first = capture.cells.cpu().numpy(), int(shown[0])
        unit, task = np.nonzero((rows >= first) & (rows < first + len(shown)))
        peaks[unit, task] = cells[rows[unit, task] - first, columns[unit]]
    return peaks
