"""Constructors of a roster that no library has, found before any work."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path

from study.errors import StudyError
from study.files.store import WorkStore
from study.files.tables import write_json
from study.networks.constructors import Constructor
from study.networks.roster import RosterRow

_LIBRARIES = ("timm", "torchvision")


def unlisted(rows: Sequence[RosterRow], code: Path) -> dict[str, str]:
    """What is wrong with constructors that neither timm nor torchvision has, by the name of the network.

    Those of the form module:function, and of rows without a network of their own, are not looked at.
    code: folder of the user's own code
    """
    rows = [row for row in rows if ":" not in row["constructor"]]
    known, problems = set(_names()) if rows else set(), {}
    for row in rows:
        if row["constructor"] not in known:
            try:
                Constructor.of(row, code)  # they build some that they do not list
            except StudyError as error:
                problems[row["name"]] = str(error).removeprefix(f"{row['name']}: ")
    return problems


def _names() -> list[str]:
    """All names that the libraries list, kept in the store: they take seconds to load."""

    def ask(path: Path) -> None:
        import timm
        import torchvision

        write_json(path, {"names": [*timm.list_models(), *timm.list_pretrained(), *torchvision.models.list_models()]})

    key = {"packages": {name: importlib.metadata.version(name) for name in _LIBRARIES}}
    return json.loads(WorkStore.open().fetch("constructors", key, ".json", ask).read_text(encoding="utf-8"))["names"]
