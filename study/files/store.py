"""The work store: finished jobs, found again by a fingerprint of everything that determines them.

DVC decides whether a stage runs; the store decides what of it is computed again. It lies outside every DVC out
(`data/store`, or MIS_STORE), so neither an interruption nor `dvc exp run` empties it. A file counts as present only
if its bytes have the size and digest that its sidecar names; anything else is made anew.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpretability.files import atomic_path, sha256_file
from study.environment import Environment, is_portable
from study.files.tables import write_json
from study.log import logger

log = logger("store")

Ingredients = Mapping[str, Any]
_ALIKE = {"counts"}  # of units: the same with all kernels


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
        return cls(Environment.read().store.resolve())

    def path(self, phase: str, ingredients: Ingredients, suffix: str) -> Path:
        name = fingerprint(_whole(phase, ingredients))
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
        stored = self.find(phase, ingredients, suffix)
        if stored is not None:
            return stored
        with self.locked(phase, [ingredients], suffix):
            return self.find(phase, ingredients, suffix) or self.write(phase, ingredients, suffix, make)

    def write(self, phase: str, ingredients: Ingredients, suffix: str, make: Callable[[Path], None]) -> Path:
        """Write the file anew, read-only, because an out may share its bytes; to be called with its lock held."""
        path = self.path(phase, ingredients, suffix)
        _clear(path)
        with atomic_path(path, mode=0o444) as part:
            make(part)
            note = {"ingredients": _whole(phase, ingredients), "size": part.stat().st_size, "sha256": sha256_file(part)}
        write_json(path.with_name(path.name + ".json"), note)
        return path

    def remove(self, phase: str, ingredients: Ingredients, suffix: str) -> None:
        """Forget a file that nothing needs any more."""
        path = self.path(phase, ingredients, suffix)
        _clear(path)
        for file in (path.with_name(path.name + ".json"), path):
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, phase: str, wanted: Iterable[Ingredients], suffix: str) -> Generator[None]:
        """Hold the locks of several files. They are taken in the order of their paths, so that two processes that want some
        of the same never wait for each other in a circle.
        """
        with contextlib.ExitStack() as stack:
            for path in sorted({self.path(phase, ingredients, suffix) for ingredients in wanted}):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(path.with_name(path.name + ".lock"), "w"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    log.info("another process computes %s/%s; waiting for it", phase, path.name[:12])
                    fcntl.flock(file, fcntl.LOCK_EX)  # given back by the system even if this process is killed
            yield


def _whole(phase: str, ingredients: Ingredients) -> Ingredients:
    """Ingredients with the kernels of this process, so that a store never gives a portable study what this processor alone
    computes, or the other way. Files of native kernels are found by the ingredients alone."""
    return {**ingredients, "processor": "portable"} if is_portable() and phase not in _ALIKE else ingredients


def _clear(path: Path) -> None:
    """Remove what killed processes left of a file; nobody else writes it while its lock is held."""
    for left_over in path.parent.glob(
        f"*.{path.name}.*.part"
    ):  # files written inside of writing it begin with two dots
        left_over.unlink(missing_ok=True)


def link_out(stored: Path, target: Path) -> None:
    """Put a stored file into an out without a second copy of its bytes; on another disk it is copied.

    Both names belong to one read-only file. Whoever changes an out replaces it, as DVC and every stage here do, and the
    store keeps its own.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(stored, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with atomic_path(target) as part:
            shutil.copyfile(stored, part)


# another disk; a file system without links, or with too many of them on this file; not allowed by this one
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES)
