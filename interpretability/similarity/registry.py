"""Similarities that solve tasks, one file a family. A new one is a file here and its name in `scores.backends`.

The part of a backend's name before the first dash is the file; the file's VARIANTS lists the full names, and its
`create(name, context)` makes the similarity.
"""

from __future__ import annotations

import importlib
import pkgutil

from interpretability.errors import InputError
from interpretability.similarity import backends
from interpretability.similarity.base import Context, Similarity


def families() -> list[str]:
    """Names of the files that hold similarities, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(backends.__path__))


def create(name: str, context: Context, *, check: bool = True) -> Similarity:
    """The similarity of this name, compared with its package unless `check` is off. Raises StudyError, listing all names, if
    there is none.
    """
    family = name.split("-")[0]
    if family in families():
        module = importlib.import_module(f"{backends.__name__}.{family}")
        if name in module.VARIANTS:
            made: Similarity = module.create(name, context)
            if check:
                made.check()
            return made
    known = [name for each in families() for name in importlib.import_module(f"{backends.__name__}.{each}").VARIANTS]
    raise InputError(f"scores.backends names {name!r}, which is no similarity; allowed: {', '.join(known)}")
