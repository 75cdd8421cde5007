"""The units to browse on the page, and their images."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.schema import KEY, MADE, NATURAL
from study.files.tables import read_json, read_parquet
from study.images.made import Pictures
from study.images.manifest import open_images
from study.params.mis import Mis
from study.params.parts import ImageRoot
from study.params.report import Report
from study.report.figures import base
from study.report.page import inputs, listed_units, unit_texts
from study.report.page.alike import find_alike, twin_share
from study.report.page.cards import Tasks, first_rows
from study.report.page.distribution import read_spread
from study.report.page.gallery import Gallery, Pictured, make_gallery
from study.report.page.inputs import gallery_models
from study.report.page.kinds import Kinds, read_kinds
from study.report.page.latents import Latents
from study.report.page.play import Turn, choose_play
from study.report.page.shown_tasks import Ends, ShownTasks, further_tasks, load_tasks, single_ends, single_tasks
from study.report.page.text_files import TextFiles
from study.report.page.thumbnails import make_sheets


@dataclass(frozen=True, kw_only=True)
class ReportParams:
    """What the page depends on beside the tables, and the parameters that these were computed with."""

    processor: str
    images: ImageRoot
    mis: Mis
    report: Report


class _Extremes:
    """The images that excite units most and least, from the lists that the stage activations keeps in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        layers = read_parquet(folder / "layers.parquet", ["model", "layer", "offset"])
        self._offset = layers.set_index(["model", "layer"])["offset"]

    def ends(self, model: str, layer: str, unit: int, n: int) -> Ends:
        """The n most extreme images of both sides of a unit, the most extreme first."""
        from safetensors import safe_open

        row = int(self._offset.loc[(model, layer)]) + unit
        with safe_open(self._folder / f"{model}.safetensors", "numpy") as lists:
            top, bottom = (lists.get_slice(f"{side}_images")[row, :n] for side in ("top", "bottom"))
        return top, bottom

    def every(self, model: str, layers: Sequence[str], units: NDArray[np.int64], n: int) -> Ends:
        """The same of many units of a network: (units, n) images a side."""
        from safetensors import safe_open

        rows = self._offset.loc[model].reindex(list(layers)).to_numpy(np.int64) + units
        with safe_open(self._folder / f"{model}.safetensors", "numpy") as lists:
            sides = [lists.get_slice(f"{side}_images") for side in ("top", "bottom")]
            # row by row: a network may have a million units, of which few are asked for
            top, bottom = (
                np.stack([side[row, :n] for row in rows.tolist()]) if len(rows) else side[:0, :n] for side in sides
            )
        return top, bottom


def browsable_units(params: ReportParams, study: base.Study, args: argparse.Namespace) -> Gallery:
    """The units to browse, and images of some unless the parameters leave them out."""
    wanted = params.report
    listed = listed_units.list_units(study, args.mis, args.scores, wanted.n_units)
    texts = unit_texts.texts_of_listed(listed, TextFiles.read(args.explanations, args.crowd))
    said = unit_texts.with_pictures(texts, wanted.n_exemplars)
    pictures = Pictures.open(open_images(args.images, params.images.root), args.visualisations)
    kinds = read_kinds(study, listed, args.visualisations, args.explanation_kinds)
    kinds = kinds.within(wanted.n_pictures if wanted.show_images else 0)
    of_kinds = {image for row in kinds.of for image in kinds.images(row)}
    alike = find_alike(listed, args.tasks)
    shown, played = _tasks(wanted, study, listed, args, kinds, said, of_kinds)
    images = {*of_kinds, *(int(image) for row in shown.tasks for image in shown.images(row))}
    detailed = [row for row in dict.fromkeys([*said, *shown.tasks]) if row in shown.tasks and row in texts.texts]
    rated = unit_texts.rated_pictures(texts, detailed, images, wanted.n_pictures)
    images |= unit_texts.images_of(rated)
    single = single_tasks(listed, shown.tasks, images, args.tasks)
    asked = set(study.human[KEY].itertuples(index=False, name=None))
    answered = [row for key, row in listed.rows().items() if key in asked]
    further = further_tasks(listed, answered, single, images, args.tasks)
    ends = single_ends(listed, single, images, args.tasks, _Extremes(args.activations).every)
    first = first_rows(listed, Tasks(shown, single, played), alike, played)
    pictured = Pictured(shown, single, further, ends, first, played)
    slope = read_json(args.calibration / "slope.json")[study.lead]
    return make_gallery(
        study,
        listed,
        pictured,
        alike,
        twin_share([name for name in gallery_models(study) if name not in study.directions()], args.tasks),
        read_spread(study, args.mis / "units.parquet"),
        unit_texts.ShownTexts(texts, [*said, *detailed], rated, study.shown_by["presence"], study.rating_people),
        make_sheets(pictured.leading(), images, wanted.thumbnail, pictures.thumbnail),
        manifest=_names(pictures, read_parquet(args.images / "manifest.parquet", ["path", "label"])),
        answers=inputs.read_answers(args.human / "responses.parquet"),
        slope=float(slope["slope"]),
        slope_status=str(slope["status"]),
        drop_near=params.mis.drop_near_duplicates,
        latents=Latents.of_folders(args.activations, args.tasks),
        kinds=kinds,
    )


def _tasks(
    wanted: Report,
    study: base.Study,
    listed: listed_units.Listed,
    args: argparse.Namespace,
    kinds: Kinds,
    said: Sequence[int],
    known: Collection[int],
) -> tuple[ShownTasks, list[Turn]]:
    """Tasks of the units that show many, and which of them the first screen asks: those that fit within the limit on pictures."""
    played = choose_play(study, listed) if wanted.show_images else []
    several, chosen = _conditions_of(listed, kinds), listed_units.choose(study, listed, wanted.n_exemplars)
    rows = dict.fromkeys([*(row for row, _ in played), *several, *chosen, *said]) if wanted.show_images else {}
    ends_of = _Extremes(args.activations).ends
    limits = wanted.n_full_tasks, wanted.n_pictures, known, played
    shown = load_tasks(listed, [*rows], args.tasks, ends_of, *limits)
    return shown, [turn for turn in played if turn[0] in shown.tasks]


def _conditions_of(listed: listed_units.Listed, kinds: Kinds) -> list[int]:
    """Rows of the units that are explained in several ways: of their natural tasks, then of those that made images explain."""
    row_of = listed.rows()
    keys = [(*kinds.keys[row], condition) for condition in (NATURAL, *MADE) for row in kinds.of]
    return [row_of[key] for key in keys if key in row_of]


def _names(pictures: Pictures, manifest: pd.DataFrame) -> pd.DataFrame:
    """Path and label of every image; made ones have no label."""
    if pictures.made is None:
        return manifest
    rows = range(pictures.n_natural, len(pictures))
    return pd.concat(
        [manifest, pd.DataFrame({"path": [pictures.path(row) for row in rows], "label": ""})], ignore_index=True
    )
