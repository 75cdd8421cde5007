"""The template of the page: what it can call, and its one script with the digest by which the browser knows it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from study.errors import StudyError
from study.files.tables import write_bytes
from study.report.page.cells import count, interval, number, percent, short, words

PAGE = "report.html.j2"
# parts of the one style and the one script, in the order in which they stand there
STYLES = ("base", "figures", "first", "units", "unit", "questions")
SCRIPTS = (
    *(
        "page",
        "facts",
        "charts",
        "task",
        "first",
        "texts",
        "kinds",
        "find",
        "rows",
        "cards",
        "list",
        "bars",
        "picture",
        "unit",
    ),
    *("questions", "main"),
)
MOST_BYTES = 20_000_000  # what opens on a phone and goes through a mail server


def make_environment(folder: Path) -> jinja2.Environment:
    """Jinja with autoescape for every template and an error for every unknown name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": count, "percent": percent, "short": short, "words": words}
    environment.filters |= {"d1": number(1), "d2": number(2), "d3": number(3)}
    # jinja2 types its globals by those that it brings
    environment.globals["interval"] = interval  # pyright: ignore[reportArgumentType]
    return environment


def write_page(path: Path, folder: Path, environment: jinja2.Environment, content: Mapping[str, object]) -> int:
    """Fill the template and write the page; returns its size in bytes."""
    style = "".join(_part(folder / "style" / f"{name}.css") for name in STYLES)
    script = "".join(_part(folder / "script" / f"{name}.js") for name in SCRIPTS)
    # the policy of the page names this digest: no other script runs in it, wherever it may come from
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {"style": Markup(style), "script": Markup(script), "script_digest": f"sha256-{digest}"}
    _part(folder / PAGE)
    page = environment.get_template(PAGE).render({**content, **parts}).encode()
    if len(page) > MOST_BYTES:
        raise StudyError(
            f"{path} would have {len(page) / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} are allowed. Lower report.n_pictures, "
            "report.thumbnail or report.n_units in params.yaml, then run `dvc repro`."
        )
    write_bytes(path, page)
    return len(page)


def _part(path: Path) -> str:
    if not path.is_file():
        raise StudyError(f"{path}: no such file. It is part of the repository; restore it with git.")
    return path.read_text(encoding="utf-8")
