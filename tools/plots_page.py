"""Let `dvc plots show` and `dvc plots diff` write pages that work offline: put the drawing library into their template.

DVC's own template loads Vega from the web. Here the library comes out of the installed package vl-convert-python and goes,
with .dvc/plots/page.html around it, into a file that git ignores (.dvc/tmp/plots.html); .dvc/config.local names that file.
Without it .dvc/plots/page.html alone is the template, and its pages say what to run. This is a tool, not a stage.

Run     python -m tools.plots_page      (part of `make repro` and `make plots`)
"""

from __future__ import annotations

import subprocess
import sys

from study.command import arguments, run
from study.errors import StudyError
from study.files.tables import write_text
from study.log import logger

log = logger("plots_page")


LIBRARY = "<!-- drawing library -->"  # in page.html
DIVS = "{plot_divs}"  # where DVC puts the plots
# The name under which page.html calls the library's function. A classic script: a module would run after the plots.
SNIPPET = "window.drawPlot = vegaEmbed;"


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults={"dvc": (".dvc", "folder of DVC's settings")})
    page = args.dvc / "plots" / "page.html"
    if not page.is_file():
        raise StudyError(
            f"{page}: no such file. Run this in the folder of the repository; git checkout {page} restores it"
        )
    write_text(args.dvc / "tmp" / "plots.html", with_library(page.read_text(encoding="utf-8"), library()))
    command = [sys.executable, "-m", "dvc", "config", "--quiet", "--local", "plots.html_template", "tmp/plots.html"]
    subprocess.run(command, cwd=args.dvc.parent, check=True)
    log.info("dvc plots show and dvc plots diff now write dvc_plots/index.html, which works offline")


def library() -> str:
    """The scripts of Vega, Vega-Lite and Vega-Embed in one, from the installed package."""
    try:
        import vl_convert
    except ModuleNotFoundError:
        raise StudyError(
            "the package vl-convert-python is not installed in this environment; it brings the drawing library. "
            "Run `make plots`, or pip install vl-convert-python"
        ) from None
    return vl_convert.javascript_bundle(SNIPPET)


def with_library(page: str, script: str) -> str:
    """The page with the script in the place for it; raises StudyError if either cannot hold the other."""
    for sign in (LIBRARY, DIVS):
        if page.count(sign) != 1:
            raise StudyError(f".dvc/plots/page.html has {page.count(sign)} places {sign}; it must have one")
    for sign in ("</script", "<!--", DIVS, "{scripts}", "{refresh_tag}"):
        if sign in script:
            raise StudyError(
                f"the drawing library of this vl-convert-python holds {sign}, which no page can carry inline"
            )
    # the braces keep its thousands of names out of the page
    return page.replace(LIBRARY, f"<script>\n(() => {{\n{script}\n}})();\n</script>")


if __name__ == "__main__":
    run(main)
