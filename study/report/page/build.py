"""The units to browse on the page, and their images."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from study.files.tables import read_json, read_parquet
from study.images.manifest import open_images
from study.params.mis import Mis
from study.params.parts import ImageRoot
from study.params.report import Report
from study.report.figures import base
from study.report.page import inputs, listed_units, unit_texts
from study.report.page.gallery import Gallery, make_gallery
from study.report.page.latents import Latents
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

    def ends(self, model: str, layer: str, unit: int, n: int) -> listed_units.Ends:
        """The n most extreme images of both sides of a unit, the most extreme first."""
        from safetensors import safe_open

        row = int(self._offset.loc[(model, layer)]) + unit
        with safe_open(self._folder / f"{model}.safetensors", "numpy") as lists:
            top, bottom = (lists.get_slice(f"{side}_images")[row, :n] for side in ("top", "bottom"))
        return top, bottom


def browsable_units(params: ReportParams, study: base.Study, args: argparse.Namespace) -> Gallery:
    """The units to browse, and images of some unless the parameters leave them out."""
    wanted = params.report
    listed = listed_units.list_units(study, args.mis, args.scores, wanted.n_units)
    texts = unit_texts.texts_of_listed(listed, TextFiles.read(args.explanations, args.crowd))
    said = unit_texts.with_pictures(texts, wanted.n_exemplars)
    chosen = (
        dict.fromkeys([*listed_units.choose(study, listed, wanted.n_exemplars), *said]) if wanted.show_images else {}
    )
    ends_of = _Extremes(args.activations).ends
    shown = listed_units.load_tasks(listed, [*chosen], args.tasks, ends_of, wanted.n_full_tasks, wanted.n_pictures)
    images = {int(image) for row in shown.tasks for image in shown.images(row)}
    pictured = [row for row in dict.fromkeys([*said, *shown.tasks]) if row in shown.tasks and row in texts.texts]
    rated = unit_texts.rated_pictures(texts, pictured, images, wanted.n_pictures)
    slope = read_json(args.calibration / "slope.json")[study.lead]
    return make_gallery(
        study,
        listed,
        shown,
        unit_texts.ShownTexts(texts, [*said, *pictured], rated, study.shown_by["presence"], study.rating_people),
        make_sheets(
            [*images, *unit_texts.images_of(rated)],
            wanted.thumbnail,
            open_images(args.images, params.images.root).thumbnail,
        ),
        manifest=read_parquet(args.images / "manifest.parquet", ["path", "label"]),
        answers=inputs.read_answers(args.human / "responses.parquet"),
        slope=float(slope["slope"]),
        slope_status=str(slope["status"]),
        drop_near=params.mis.drop_near_duplicates,
        n_each=wanted.n_exemplars,
        latents=Latents.of_folders(args.activations, args.tasks),
    )
