"""Versions of the study side by side on one HTML page that works offline: experiments, git revisions, the workspace.

Reads   results/, params.yaml and dvc.lock of every version, from git: no data needs to be pulled
Writes  reports/compare.html, or the file of --out
Run     python -m stages.compare k5 few            HEAD first? name it: HEAD k5 few; one name alone is set against HEAD
        python -m stages.compare                   HEAD and all its experiments
        python -m stages.compare HEAD~1 workspace  what the last changes did

The first version is the one that differences refer to. This is a tool, not a stage.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jinja2

from stages.pipeline import comparison, revisions
from stages.pipeline.log import logger, run
from stages.pipeline.tables import write_text

log = logger("compare")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="experiment, git revision or `workspace`")
    parser.add_argument("--repository", type=Path, default=Path(), help="folder of the study (%(default)s)")
    parser.add_argument("--template", type=Path, default=Path("reports/compare.html.j2"))
    parser.add_argument("--out", type=Path, default=Path("reports/compare.html"), help="page to write (%(default)s)")
    args = parser.parse_args(argv)
    versions = revisions.resolve(args.versions, args.repository)
    content = comparison.compare([comparison.load(version) for version in versions])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(args.template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    write_text(args.out, environment.get_template(args.template.name).render(content))
    log.info("%s: %s", args.out, ", ".join(version.name for version in versions))


if __name__ == "__main__":
    run(main)
