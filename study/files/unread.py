"""Files in a folder of inputs that no reader takes: told, so that a table under another name is not left out unsaid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from study.log import logger

log = logger("files")

_OF_DVC = ".dvc"  # what `dvc add` puts beside a table


def tell_unread(folder: Path, read: Collection[Path], kinds: Sequence[str]) -> None:
    """Warn of every file of a folder that is not among `read`, which takes files whose names end in one of `kinds`.

    Subfolders, descriptions (README.md), files of git and DVC, and hidden files are no tables that somebody forgot.
    """
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path in read or not path.is_file() or path.name == "README.md" or path.name.startswith("."):
            continue
        if path.suffix != _OF_DVC:
            log.warning("%s is not read: it is no file named %s", path, ", ".join(f"*{kind}" for kind in kinds))
