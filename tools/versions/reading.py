"""Results of one version of the study, read from its files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from study.errors import StudyError
from tools.versions.revisions import WORKSPACE, Version

TABLES = ("models", "layer_types", "agreement", "noise_ceiling", "controls")
# where the code of the stages lies; in versions before the library was set apart all of it is below stages/
CODE = ("interpretability/", "study/", "stages/")
MISSING = "–"
SCORES, UNITS = "data/mis", "units.parquet"  # where a version has the scores of its units

Row = Mapping[str, str]
Name = tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """What git keeps of one version. Cells of tables are the text of the file; `lock` has a digest a path."""

    version: Version
    metrics: Mapping[str, Any]
    tables: Mapping[str, list[Row]]
    provenance: Mapping[str, Any]
    params: Mapping[str, str]  # that computed the results
    stale: list[str]  # parameters that its params.yaml has otherwise
    outs: Mapping[str, str]
    code: Mapping[str, str]
    units: Path | None  # scores of its units, if they are at hand

    @property
    def lead(self) -> str:
        """The similarity that leads: the first of scores.backends."""
        return self.params.get("scores.backends", "").split(", ")[0]


def load(version: Version) -> Results:
    """Results of a version. Raises StudyError where it has none, or what it has cannot be read."""
    metrics, provenance = (_json(version, f"results/{name}.json") for name in ("metrics", "provenance"))
    params = flat(provenance.get("params", {}))
    written = flat(_yaml(version, "params.yaml"))
    lock = _yaml(version, "dvc.lock").get("stages", {}).values()
    outs = _digests(out for stage in lock for out in stage.get("outs", []))
    return Results(
        version=version,
        metrics=metrics,
        tables={name: _rows(version, f"results/tables/{name}.csv") for name in TABLES},
        provenance=provenance,
        params=params,
        stale=[key for key in union([params, written]) if params.get(key) != written.get(key)],
        outs=outs,
        units=version.data(outs.get(SCORES, ""), UNITS),
        code=_digests(dep for stage in lock for dep in stage.get("deps", []) if dep["path"].startswith(CODE)),
    )


def _digests(entries: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {str(entry["path"]): str(entry.get("md5", "")) for entry in entries}


def _text(version: Version, path: str) -> str:
    text = version.read(path)
    if text is None:
        way = "run `dvc repro`" if version.kind == WORKSPACE else "it may be older than the first results, or no study"
        raise StudyError(f"{version.name} ({version.kind}) has no {path}; {way}")
    return text


def _json(version: Version, path: str) -> dict[str, Any]:
    try:
        return json.loads(_text(version, path))
    except json.JSONDecodeError as error:
        raise StudyError(f"{path} of {version.name} is no JSON: {error}") from None


def _yaml(version: Version, path: str) -> dict[str, Any]:
    try:
        return YAML(typ="safe").load(_text(version, path)) or {}
    except YAMLError as error:
        raise StudyError(f"{path} of {version.name} is no YAML: {error}") from None


def _rows(version: Version, path: str) -> list[Row]:
    """Rows of a table; none where the version has no such table, as those of an older code."""
    return list(csv.DictReader(io.StringIO(version.read(path) or ""), strict=True, restval=""))


def flat(content: object, name: str = "") -> dict[str, str]:
    """Values of nested mappings as text, under names with dots; the items of a list joined by commas."""
    if isinstance(content, Mapping):
        return {
            key: value
            for part, inner in content.items()
            for key, value in flat(inner, f"{name}.{part}" if name else str(part)).items()
        }
    shown = ", ".join(_plain(item) for item in content) if isinstance(content, list) else _plain(content)
    return {name: shown}


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def number(value: object) -> float | None:
    """A number, or None for what is none."""
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def union(parts: Sequence[Mapping[Any, Any]]) -> list[Any]:
    """Names in any of the parts, in the order in which they first come."""
    return list(dict.fromkeys(name for part in parts for name in part))
