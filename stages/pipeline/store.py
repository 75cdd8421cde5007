"""The work store: finished jobs, found again by a fingerprint of everything that determines them.

DVC decides whether a stage runs; the store decides what of it is computed again. It lies outside every DVC out
(`data/store`, or MIS_STORE), so neither an interruption nor `dvc exp run` empties it. A file counts as present only
if its bytes have the size and digest that its sidecar names; anything else is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.pipeline.tables import atomic_path, sha256_file, write_json

Ingredients = Mapping[str, Any]


def fingerprint(ingredients: Ingredients) -> str:
    """Hex digest of the ingredients. An unknown ingredient (None) is refused: it would serve a stale result."""
    unknown = [name for name, value in ingredients.items() if value is None]
    if unknown:
        raise ValueError(f"ingredient {', '.join(unknown)} is unknown, so the result cannot be stored")
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class WorkStore:
    """Files under `folder`/PHASE/first two digits/fingerprint.SUFFIX, each beside a JSON sidecar."""

    folder: Path

    @classmethod
    def open(cls) -> WorkStore:
        """The store named by MIS_STORE, else data/store."""
        return cls(Path(os.environ.get("MIS_STORE") or "data/store").resolve())

    def path(self, phase: str, ingredients: Ingredients, suffix: str) -> Path:
        name = fingerprint(ingredients)
        return self.folder / phase / name[:2] / f"{name}{suffix}"

    def find(self, phase: str, ingredients: Ingredients, suffix: str) -> Path | None:
        """The stored file, if it is there and whole."""
        path = self.path(phase, ingredients, suffix)
        sidecar = path.with_name(path.name + ".json")
        try:
            note = json.loads(sidecar.read_text())
            whole = path.stat().st_size == note["size"] and sha256_file(path) == note["sha256"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # a damaged sidecar: not JSON, or JSON of another form
        return path if whole else None

    def fetch(self, phase: str, ingredients: Ingredients, suffix: str, make: Callable[[Path], None]) -> Path:
        """The stored file; if it is not there, `make(path)` writes it first.

        Two processes that want the same file wait for each other, so the work is done once. The file appears whole
        or not at all.
        """
        found = self.find(phase, ingredients, suffix)
        if found is not None:
            return found
        path = self.path(phase, ingredients, suffix)
        with self._locked(path):
            found = self.find(phase, ingredients, suffix)
            if found is not None:
                return found
            for left_over in path.parent.glob(f".{path.name}.*.part"):
                left_over.unlink()  # of a killed process: nobody else writes while the lock is held
            with atomic_path(path) as part:
                make(part)
                note = {"ingredients": ingredients, "size": part.stat().st_size, "sha256": sha256_file(part)}
            write_json(path.with_name(path.name + ".json"), note)
        return path

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_name(path.name + ".lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # given back by the system even if this process is killed
            yield


def place(stored: Path, target: Path) -> None:
    """Put a stored file into an out: copied, because DVC and the store must not share a file that either may rewrite."""
    import shutil

    with atomic_path(target) as part:
        shutil.copyfile(stored, part)
