"""Digests of files, looked up where a file has not changed since it was read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from interpretability.files import sha256_file
from study.environment import Environment
from study.files.tables import write_json
from study.log import Progress, in_words, logger

log = logger("inputs")

_MUCH = 2e9  # bytes whose reading takes long enough to be spoken of
_Known = dict[str, list[int | str]]  # path: what the system says of the file, and its digest at that time


@dataclass
class Digests:
    """Digests kept between runs in the work store. A file counts as unchanged by its size, both its times and its number in the
    file system, so that a copy with the old time set back is read again.
    """

    file: Path
    _known: _Known = field(default_factory=dict[str, "list[int | str]"])

    @classmethod
    def open(cls) -> Digests:
        """What the store of this study keeps; nothing where it was damaged."""
        file = Environment.read().store.resolve() / "inputs" / "digests.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            content = {}
        whole = isinstance(content, dict) and all(isinstance(row, list) and len(row) == 5 for row in content.values())
        return cls(file, content if whole else {})

    def of(self, path: Path) -> str:
        """The sha256 of a file's bytes."""
        place, seen = str(path.resolve()), _seen(path)
        known = self._known.get(place)
        if not known or known[:-1] != seen:
            known = [*seen, sha256_file(path)]
        self._known[place] = known
        return str(known[-1])

    def read(self, paths: Iterable[Path]) -> None:
        """Read those of many files that are new or changed, with progress where that takes long."""
        new = [path for path in dict.fromkeys(paths) if self._known.get(str(path.resolve()), [])[:-1] != _seen(path)]
        total = sum(path.stat().st_size for path in new)
        if total > _MUCH:
            log.info("%d files that are new or have changed are read once, %s", len(new), in_words(total))
            progress = Progress(log, total / 1e6, "MB read", every=10)
            for path in new:
                self.of(path)
                progress.step(path.stat().st_size / 1e6)

    def save(self) -> None:
        """Keep them, but for files that are gone: several studies may share a store."""
        write_json(self.file, {place: known for place, known in self._known.items() if os.path.exists(place)})


def _seen(path: Path) -> list[int | str]:
    """What the system says of a file."""
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
