"""Digests of files, looked up where a file has not changed since it was read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from interpretability.files import sha256_file
from study.environment import Environment
from study.files.tables import write_json

_Known = dict[str, list[int | str]]  # path: what the system says of the file, and its digest at that time


@dataclass
class Digests:
    """Digests kept between runs in the work store. A file counts as unchanged by its size, both its times and its number in the
    file system, so that a copy with the old time set back is read again.
    """

    file: Path
    _known: _Known = field(default_factory=dict[str, "list[int | str]"])
    _asked: _Known = field(default_factory=dict[str, "list[int | str]"])

    @classmethod
    def open(cls) -> Digests:
        """What the store of this study keeps; nothing where it was damaged."""
        file = Environment.read().store.resolve() / "inputs" / "digests.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            content = {}
        return cls(file, content if isinstance(content, dict) else {})

    def of(self, path: Path) -> str:
        """The sha256 of a file's bytes."""
        place, facts = str(path.resolve()), path.stat()
        seen = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
        known = self._known.get(place)
        if not known or known[:-1] != seen:
            known = [*seen, sha256_file(path)]
        self._known[place] = self._asked[place] = known
        return str(known[-1])

    def save(self) -> None:
        """Keep what was asked for; files that no study names any more are forgotten."""
        write_json(self.file, self._asked)
