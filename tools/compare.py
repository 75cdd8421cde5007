"""Versions of the study side by side on one HTML page that works offline: experiments, git revisions, the workspace.

Reads   results/, params.yaml and dvc.lock of every version, from git: no data needs to be pulled; and data/mis, where DVC's
        cache has it, for how the same units moved
Writes  reports/compare.html, or the file of --out
Run     python -m tools.compare k5 few            HEAD first? name it: HEAD k5 few; one name alone is set against HEAD
        python -m tools.compare                   HEAD and all its experiments
        python -m tools.compare HEAD~1 workspace  what the last changes did

The first version is the one that differences refer to. This is a tool, not a stage.
"""

from __future__ import annotations

from pathlib import Path

import jinja2
import pandas as pd
import pyarrow.parquet as pq
from markupsafe import Markup

from interpretability import schema
from interpretability.analysis import conditions
from study.command import arguments, run
from study.errors import StudyError
from study.files.tables import write_text
from study.files.unit_tables import UNIT_COLUMNS, Scored
from study.log import logger
from tools.versions import comparison, reading, revisions

log = logger("compare")

STYLES = ("base", "questions")  # parts of the report's style: colours and type, and tables
DEFAULTS = {
    "repository": (".", "folder of the study"),
    "template": "reports/compare.html.j2",
    "style": ("reports/template/style", "folder of the report's style, which the page shares"),
    "out": ("reports/compare.html", "page to write"),
}


def main(argv: list[str] | None = None) -> None:
    words = {"versions": {"nargs": "*", "metavar": "VERSION", "help": "experiment, git revision or `workspace`"}}
    args = arguments(__doc__, argv, defaults=DEFAULTS, words=words)
    versions = revisions.resolve(args.versions, args.repository)
    first, *others = results = [reading.load(version) for version in versions]
    content = comparison.compare(results, [changes(first, other) for other in others])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(args.template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = Markup("".join(_part(args.style / f"{name}.css") for name in STYLES))
    write_text(args.out, environment.get_template(args.template.name).render(content, style=style))
    log.info("%s: %s", args.out, ", ".join(version.name for version in versions))


def _part(path: Path) -> str:
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file. The page shares it with the report; restore it with git, or name its folder"
        )
    return path.read_text(encoding="utf-8")


def changes(first: reading.Results, other: reading.Results) -> pd.DataFrame | None:
    """How the scores of the same units differ, by similarity and studied network; natural tasks alone. None where the unit
    scores of either version are not at hand, or are of an older form.
    """
    paths = [version.units for version in (first, other)]
    if not all(path is not None and _whole(path) for path in paths) or "stats.confidence" not in first.params:
        return None
    sides, columns = [Scored(path) for path in paths if path], [*schema.KEY, "mis"]
    confidence, tables = float(first.params["stats.confidence"]), []
    for backend, model in comparison.shared(first, other):
        units = (side.units(backend, model, columns) for side in sides)
        natural = (part[part["condition"] == schema.NATURAL] for part in units)
        both = pd.concat([part.assign(condition=when) for part, when in zip(natural, ("before", "after"), strict=True)])
        tables.append(conditions.paired(both, "mis", backend, [("after", "before")], confidence))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=conditions.PAIR_COLUMNS)


def _whole(path: Path) -> bool:
    """Whether a table of unit scores has rows and the columns of this code; an older one may not."""
    file = pq.ParquetFile(path)
    return file.metadata.num_rows > 0 and set(UNIT_COLUMNS) <= set(file.schema_arrow.names)


if __name__ == "__main__":
    run(main)
