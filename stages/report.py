"""Stage report: the study on one self-contained HTML page, its figures as SVG and PDF, the series behind them as CSV.

Reads   results/tables and the two files beside them, data/{mis,scores,activations,tasks,images,calibration,human},
        data/{explanations,crowd,visualisations,explanation_kinds}, reports/template and captions, benchmarks/results/seeds.csv
Writes  reports/report.html, reports/figures, results/plots; prints what differs from the committed metrics
Run     dvc repro report
        python -m stages.report --timing       how long each stage took last time; reads and writes nothing else
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from study.command import arguments, run
from study.files.tables import fresh_folder, read_json, write_csv
from study.log import logger
from study.params.reading import load
from study.report import changes, timings
from study.report.figures import registry
from study.report.figures.items import GALLERY, MADE_GALLERY
from study.report.page import first, inputs, sections, seeds, template, views
from study.report.page.alike import TWIN
from study.report.page.build import ReportParams, browsable_units
from study.report.page.facts import make_facts

log = logger("report")

_READ = ("tables", "mis", "scores", "activations", "tasks", "images", "calibration", "human", "explanations", "crowd")
_MADE = ("visualisations", "explanation_kinds")
FOLDERS = (*_READ, *_MADE, "template", "captions", "plots", "figures")
FILES = ("params", "metrics", "provenance", "seeds", "out")


def main(argv: list[str] | None = None) -> None:
    if "--timing" in (sys.argv[1:] if argv is None else argv):
        print(timings.table())
        return
    args = arguments(__doc__, argv, folders=(*FILES, *FOLDERS))
    params = load(args.params, ReportParams)
    metrics, provenance = read_json(args.metrics), read_json(args.provenance)
    other_seeds = seeds.read_seeds(args.seeds, provenance["digests"]["study"])
    folders = (args.tables, args.mis, args.human, args.calibration, args.tasks, args.explanations, args.crowd)
    study = inputs.load_study(provenance["params"], *folders, other_seeds)
    summaries = read_json(args.images / "summary.json"), read_json(args.tasks / "summary.json")
    facts = make_facts(study, metrics, provenance, *summaries)
    environment = template.make_environment(args.template)
    plots, folder = fresh_folder(args.plots), fresh_folder(args.figures)
    with ThreadPoolExecutor(1) as beside:  # other processes draw, and this one would wait for them
        browsable = beside.submit(browsable_units, params, study, args)
        drawn = views.make_figures(study, args.captions, plots, folder, environment, facts)
    gallery, tables = browsable.result(), sections.make_tables(study)
    has_data = {name for name, view in drawn.items() if not view.absent}
    galleries = {GALLERY: gallery.n_with_images, MADE_GALLERY: gallery.n_made}
    shown, lacking = sections.make_sections(study, drawn, tables)
    checklist = registry.of_papers(study, has_data | {name for name, n in galleries.items() if n})
    write_csv(plots / "figures.csv", checklist)
    content = {
        **facts,
        "first": first.make_first(study, facts, gallery.spread),
        "sections": shown,
        "lacking": lacking,
        "tables": tables,
        "gallery": gallery,
        "twin": TWIN,
        "twin_share": gallery.twin_share,
        "papers": checklist.to_dict("records"),
        "exemplar_caption": views.read_caption(args.captions / "exemplars.md", environment, facts),
    }
    n_bytes = template.write_page(args.out, args.template, environment, content)
    log.info("%s: %.1f MB, %d of %d figures", args.out, n_bytes / 1e6, len(has_data), len(registry.FIGURES))
    log.info(
        "%d of %d units listed, %d with pictures (%d pictures)",
        *(gallery.n_listed, gallery.total, gallery.n_with_images, len(gallery.sheets.images)),
    )
    changes.tell(args.metrics, args.provenance, args.tables / "calibration.csv")


if __name__ == "__main__":
    run(main)
