"""Stage report: the study on one self-contained HTML page, its figures as SVG and PDF, the series behind them as CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from stages.pipeline import figures, timing
from stages.pipeline.log import logger, run
from stages.pipeline.page import facts as facts_of
from stages.pipeline.page import inputs, sections, template, units, views
from stages.pipeline.page.gallery import Gallery, make_gallery
from stages.pipeline.page.thumbnails import make_sheets
from stages.pipeline.params import Params, load_params
from stages.pipeline.pictures import open_images
from stages.pipeline.tables import fresh_folder, read_json, read_parquet, write_csv
from stages.science import tasks

log = logger("report")
FOLDERS = (
    *("tables", "mis", "scores", "tasks", "images", "calibration", "human", "template", "captions", "plots", "figures"),
)
FILES = ("params", "metrics", "provenance", "out")


def main(arguments: Sequence[str] | None = None) -> None:
    if "--timing" in (sys.argv[1:] if arguments is None else arguments):
        print(timing.table())
        return
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="With --timing alone: how long each stage took last time."
    )
    for name in (*FILES, *FOLDERS):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(arguments)

    params = load_params(args.params)
    study = inputs.load_study(params, args.tables, args.mis, args.human, args.calibration)
    metrics, provenance = read_json(args.metrics), read_json(args.provenance)
    summaries = read_json(args.images / "summary.json"), read_json(args.tasks / "summary.json")
    facts = facts_of.make_facts(study, params, metrics, provenance, *summaries)
    environment = template.make_environment(args.template)
    plots, folder = fresh_folder(args.plots), fresh_folder(args.figures)
    drawn = views.make_figures(study, args.captions, plots, folder, environment, facts)
    has_data = {name for name, view in drawn.items() if not view.absent}
    checklist = figures.checklist(study, has_data)
    write_csv(plots / "figures.csv", checklist)
    tables = sections.make_tables(study)
    gallery = _gallery(params, study, args)
    content = {
        **facts,
        "sections": sections.make_sections(drawn, tables),
        "tables": tables,
        "gallery": gallery,
        "papers": checklist.to_dict("records"),
        "exemplar_caption": views.read_caption(args.captions / "exemplars.md", environment, facts),
    }
    n_bytes = template.write_page(args.out, args.template, environment, content)
    n_drawn = sum(not view.absent for view in drawn.values())
    log.info("%s: %.1f MB, %d of %d figures", args.out, n_bytes / 1e6, n_drawn, len(figures.FIGURES))
    log.info(
        "%d of %d units listed, %d with pictures (%d pictures)",
        *(gallery.n_listed, gallery.total, gallery.n_pictured, len(gallery.sheets.images)),
    )


def _ends_of(built: np.ndarray, model: str, layer: str, unit: int, *, seed: int) -> units.Ends:
    """The most extreme images of both sides of a unit, in their order, from its tasks (N, 2K + 2)."""
    keys = tasks.unit_keys(seed, model, layer, np.array([unit]))
    positive, negative = (tasks.most_extreme(built[None], keys, side)[0] for side in tasks.SIDES)
    return positive, negative


def _gallery(params: Params, study: inputs.Study, args: argparse.Namespace) -> Gallery:
    """The units to browse, and pictures of some unless the parameters leave pictures out."""
    wanted = params.report
    listed = units.list_units(study, args.mis, args.scores, wanted.n_units)
    chosen = units.choose(study, listed, wanted.n_exemplars) if wanted.show_images else []
    ends_of = partial(_ends_of, seed=params.seed)
    pictures = units.load_pictures(listed, chosen, args.tasks, ends_of, wanted.n_full_tasks, wanted.n_pictures)
    manifest = read_parquet(args.images / "manifest.parquet", ["path", "label"])
    thumbnail = open_images(args.images, params.images.root).thumbnail
    sheets = make_sheets(
        [image for row in pictures.tasks for image in pictures.images(row)], wanted.thumbnail, thumbnail
    )
    slope = read_json(args.calibration / "slope.json")[study.lead]
    answers = inputs.read_answers(args.human / "responses.parquet")
    drop = params.mis.drop_near_duplicates
    return make_gallery(study, listed, pictures, sheets, manifest, slope, answers, drop, wanted.n_exemplars)


if __name__ == "__main__":
    run(main)
