"""Units named one by one: entries model/layer/unit of a parameter, with `*`, and files that list units a line each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from study.errors import StudyError
from study.files.casts import MOST
from study.files.tables import write_text
from study.files.texts import utf8
from study.log import logger
from study.networks.imi_naming import match_layers

log = logger("activations")

Unit = tuple[str, str, int]  # network, layer, number
_WILD = "*?["
_LINE = re.compile(r"(?P<model>[^/]+)/(?P<layer>.+)/(?P<unit>[0-9]{1,18})")


@dataclass(frozen=True)
class Named:
    """Units of one network that are named by entries (`*` stands for any text) and one by one."""

    entries: tuple[str, ...] = ()
    listed: tuple[Unit, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.entries or self.listed)

    def indices(self, model: str, owners: Sequence[tuple[str, int]]) -> list[int]:
        """Indices in `owners` (layer, unit) of the units of this network that are named, ascending. Those that it does not have
        are left out: whoever reads their columns says which.
        """
        wanted = {(layer, unit) for name, layer, unit in self.listed if name == model}
        return [index for index, owner in enumerate(owners) if owner in wanted or self._matches(model, *owner)]

    def _matches(self, model: str, layer: str, unit: int) -> bool:
        return any(matches(entry, model, layer, unit) for entry in self.entries)


NONE = Named()


def matches(entry: str, model: str, layer: str, unit: int) -> bool:
    """Whether an entry model/layer/unit names a unit."""
    parts = entry.split("/")
    return (
        len(parts) == 3
        and fnmatchcase(model, parts[0])
        and fnmatchcase(layer, parts[1])
        and fnmatchcase(str(unit), parts[2])
    )


def is_wild(name: str) -> bool:
    """Whether a part of an entry may stand for several names."""
    return any(sign in name for sign in _WILD)


def check_networks(keep: Sequence[str], names: Sequence[str], roster: Path, key: str = "activations.keep") -> None:
    """Refuse an entry of a parameter `key` whose network is none of `names`."""
    for entry in keep:
        network = entry.split("/")[0]
        if not any(fnmatchcase(name, network) for name in names):
            raise StudyError(
                f"{key} names network {network!r}, which is not in {roster}; entries are written "
                "model/layer/unit, and * stands for any text in one of the three"
            )


def indices_of(model: str, owners: Sequence[tuple[str, int]], keep: Sequence[str], listed: Iterable[Unit]) -> list[int]:
    """Indices in `owners` (layer, unit) of the units of this network that are named, ascending.

    An entry of `keep` that names this network must name one of its units; an entry whose network has a `*` may name
    none. Units of `listed` may be called as the IMI record calls their layer; those that this network does not have are
    logged, because a list of all annotated units may hold layers that a study leaves out.
    """
    named: set[int] = set()
    for entry in keep:
        parts = entry.split("/")
        if not fnmatchcase(model, parts[0]):
            continue
        hits = [index for index, owner in enumerate(owners) if matches(entry, model, *owner)]
        if not hits and not is_wild(parts[0]):
            raise StudyError(f"activations.keep names {entry}, which is no unit of {model} (written model/layer/unit)")
        named.update(hits)
    wanted = [(layer, unit) for name, layer, unit in listed if name == model]
    paths = match_layers(sorted({layer for layer, _ in wanted}), dict.fromkeys(layer for layer, _ in owners))
    index_of = {owner: index for index, owner in enumerate(owners)}
    known = [index_of.get((paths.get(layer, layer), unit)) for layer, unit in wanted]
    if None in known:
        layer, unit = wanted[known.index(None)]
        log.warning(
            "%s: %d of %d listed units are none of this study, first %s/%d",
            *(model, known.count(None), len(wanted), layer, unit),
        )
    return sorted(named | {index for index in known if index is not None})


def read_list(path: Path) -> list[Unit]:
    """Units of a list: one model/layer/unit a line; blank lines and lines that start with # are skipped.

    What stands between the first and the last / is the layer, so a layer may have a / in its name.
    """
    if not path.is_file():
        raise StudyError(
            f"{path}: no such file; activations.keep_file names it. `python -m stages.human --list-units {path}` writes "
            "the annotated units there"
        )
    units = []
    text = utf8(path, "text").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line.strip())
        if not parts or int(parts["unit"]) > MOST:
            raise StudyError(
                f"{path}: line {number} is {line[:80]!r}, it must read model/layer/unit, with a unit from 0 to {MOST:,}"
            )
        units.append((parts["model"], parts["layer"], int(parts["unit"])))
    return units


def write_list(path: Path, units: Iterable[Unit]) -> int:
    """Write units a line each, sorted, each once; returns how many."""
    rows = sorted(set(units))
    write_text(path, "".join(f"{model}/{layer}/{unit}\n" for model, layer, unit in rows))
    return len(rows)
