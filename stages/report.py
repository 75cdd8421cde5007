"""Stage report: the study on one self-contained HTML page, its figures as SVG and the series behind them as CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from stages.pipeline import page, timing
from stages.pipeline.log import logger, run
from stages.pipeline.params import load_params
from stages.pipeline.pictures import open_images
from stages.pipeline.tables import fresh_folder, read_json, read_parquet

log = logger("report")
FOLDERS = ("tables", "mis", "tasks", "images", "calibration", "human", "captions", "plots", "figures")
FILES = ("params", "metrics", "provenance", "template", "out")


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
    study = page.load_study(params, args.tables, args.mis, args.human, args.calibration)
    metrics, provenance = read_json(args.metrics), read_json(args.provenance)
    summaries = read_json(args.images / "summary.json"), read_json(args.tasks / "summary.json")
    facts = page.make_facts(study, params, metrics, provenance, *summaries)
    environment = page.make_environment(args.template.parent)

    plots, folder = fresh_folder(args.plots), fresh_folder(args.figures)
    views = page.make_figures(study, args.captions, plots, folder, environment, facts)
    galleries = []
    if params.report.show_images and params.report.n_exemplars:
        manifest = read_parquet(args.images / "manifest.parquet", ["label"])
        thumbnail = open_images(args.images, params.images.root).thumbnail
        galleries = page.make_galleries(study, args.tasks, manifest, thumbnail, params.report.n_exemplars)
    caption = page.read_caption(args.captions / "exemplars.md", environment, facts)
    tables = page.page_tables(study, params)
    content = {**facts, "figures": views, "tables": tables, "galleries": galleries, "exemplar_caption": caption}
    page.write_page(args.out, args.template, environment, content)
    log.info(
        "%s: %d figures, %d networks with pictures", args.out, sum(not v.absent for v in views.values()), len(galleries)
    )


if __name__ == "__main__":
    run(main)
