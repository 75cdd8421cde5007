"""Rows of a roster whose units have their values over the study's images in a table: constructor `table:FILE`.

Such a row has no network. Its kwargs may name the layer that its units are of (`{"layer": "blocks.22"}`, else `units`), and a
file that says whose picture each column is (`{"images": "images.csv"}`). Files lie in data/external/activations, whose
README.md describes them, or are named by their whole path.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpretability.files import sha256_file
from study.errors import StudyError
from study.networks.roster import TABLE, RosterRow

FOLDER = Path("data/external/activations")
DEFAULT_LAYER = "units"
_KEYS = ("layer", "images")
_LAYER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class TableSource:
    """The table of a row: its file, the layer of its units, and the file that names the images of its columns, if any."""

    file: Path
    layer: str
    images: Path | None

    @property
    def digest(self) -> str:
        """The sha256 of the table; with a file of images that of both digests, so that either one changes it."""
        own = sha256_file(self.file)
        return own if self.images is None else hashlib.sha256(f"{own} {sha256_file(self.images)}".encode()).hexdigest()


def source_of(row: RosterRow) -> TableSource:
    """The table of a row. Raises StudyError for a file that is not there, and for kwargs that are not understood."""
    wanted = _kwargs(row)
    images = wanted.get("images")
    return TableSource(
        table_file(_file_name(row)),
        wanted.get("layer", DEFAULT_LAYER),
        None if images is None else table_file(images),
    )


def named_files(row: RosterRow) -> list[str]:
    """Files of a row as the roster calls them: the table, and the images of its columns if they are named."""
    images = json.loads(row["kwargs"] or "{}").get("images")
    return [_file_name(row), *([images] if isinstance(images, str) else [])]


def table_file(name: str) -> Path:
    """A file of data/external/activations, or of a whole path."""
    path = FOLDER / name
    if name and path.is_file():
        return path
    raise StudyError(
        f"file {name!r} of activations does not exist (looked in {FOLDER}); put it there, or correct its name in the roster"
    )


def _file_name(row: RosterRow) -> str:
    return row["constructor"].removeprefix(TABLE)


def _kwargs(row: RosterRow) -> dict[str, str]:
    given: dict[str, Any] = json.loads(row["kwargs"] or "{}")
    for key, value in given.items():
        if key not in _KEYS or not isinstance(value, str) or not value:
            raise StudyError(
                f"{row['name']}: kwargs has {key}: {value!r}; a table of activations takes texts of the keys {', '.join(_KEYS)}"
            )
    if "layer" in given and not _LAYER.fullmatch(given["layer"]):
        raise StudyError(
            f"{row['name']}: kwargs names the layer {given['layer'][:100]!r}; allowed are up to 100 letters, digits, . _ + -"
        )
    return given
