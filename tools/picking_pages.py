"""Write pages on which people pick one thing about a unit: a cell of a new picture, or one of some texts.

This is a tool, not a stage; its files are described in docs/psychophysics.md. `python -m experiment` asks them in the browser.

Reads   params.yaml, data/{tasks,activations,models,images,explanations}
Writes  the folder of --out
Run     python -m tools.picking_pages --kind localize --models resnet --out places
        python -m tools.picking_pages --kind name --models resnet --method METHOD --out names
"""

from __future__ import annotations

from pathlib import Path

from study.command import parser, run
from study.people.picking import add_arguments, options_of
from study.people.questions import LOCALIZE


def main(argv: list[str] | None = None) -> None:
    line = parser(__doc__)
    line.prog = "python -m tools.picking_pages"
    line.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder")
    add_arguments(line)
    options = options_of(line.parse_args(argv))
    if problem := options.problem():
        line.error(problem)
    if options.kind == LOCALIZE:
        from study.label_free.asking_places import export_places

        export_places(options)
    else:
        from study.explanations.asking_names import export_names

        export_names(options)


if __name__ == "__main__":
    run(main)
