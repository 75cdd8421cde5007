"""Write the rating pages of a study as a folder of questions: a text and pictures each, of which people pick those that show it.

This is a tool, not a stage; its files are described in docs/psychophysics.md. `python -m experiment` asks them in the browser.

Reads   params.yaml, data/{explanations,images}
Writes  the folder of --out
Run     python -m tools.rating_pages --out rating-pages
"""

from __future__ import annotations

from pathlib import Path

from study.command import parser, run
from study.people.rating_pages import add_arguments, export_ratings, options_of


def main(argv: list[str] | None = None) -> None:
    line = parser(__doc__)
    line.prog = "python -m tools.rating_pages"
    line.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder")
    add_arguments(line)
    options = options_of(line.parse_args(argv))
    if problem := options.problem():
        line.error(problem)
    export_ratings(options)


if __name__ == "__main__":
    run(main)
