"""Where encoded images lie: in a folder, in tar shards, or behind a reader of data sets.

A source lists its members once, for the manifest, and reads one member at a time afterwards, in any order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interpretability.images import SUFFIXES
from study.environment import Environment
from study.errors import StudyError
from study.images.members import Member, read_file
from study.images.readers import read_number, reader_members
from study.images.tars import read_range, tar_members
from study.log import logger

log = logger("images")

PUT_PICTURES = f"Put pictures ({', '.join(SUFFIXES)}) there, or name another folder in MIS_IMAGES or images.root"
_PACKED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_source(kind: str, root: str, reader: str = "", split: str = "") -> Source:
    """The source of a study; `root` is images.root, before which goes MIS_IMAGES. Raises StudyError if nothing is there."""
    named = Environment.read().images
    location = named or root
    if not location:
        if kind == "timm":
            return Source(kind, None, reader, split)
        raise StudyError(
            f"images.source is {kind}, but neither the variable MIS_IMAGES nor images.root in params.yaml names one. "
            "For example: MIS_IMAGES=/path/to/pictures dvc repro"
        )
    path = Path(os.path.expanduser(location))
    setting = "the variable MIS_IMAGES" if named else "images.root in params.yaml"
    if not path.exists():
        what = "the image folder " if kind == "folder" else ""
        broken = ": it is a link to a place that is not there" if path.is_symlink() else ""
        other = "" if named else ", or name the place in this run alone: MIS_IMAGES=/path/to/pictures dvc repro"
        if kind == "folder" and not named and not path.is_absolute() and not broken:
            other = f", or put it here: ln -s /path/to/pictures {location}{other}"
        raise StudyError(f"{what}{location} does not exist{broken}; correct {setting}{other}")
    if kind == "folder" and not path.is_dir():
        instead = (
            "is an archive: set images.source to tar, which reads it as it is"
            if path.suffix.lower() == ".tar"
            else f"is a file, but images.source is folder: name the folder that holds the pictures, as {path.parent}"
        )
        raise StudyError(f"{location} {instead} (it is named by {setting})")
    if kind == "tar" and path.is_file() and path.suffix.lower() in SUFFIXES:
        raise StudyError(
            f"{location} is a picture, but images.source is tar: name a tar file, or the folder of tar files, in {setting}"
        )
    return Source(kind, path, reader, split)


@dataclass(frozen=True)
class Source:
    """Kind and place of a source. `reader` and `split` are images.reader and images.split, for kind timm."""

    kind: str
    root: Path | None
    reader: str = ""
    split: str = ""

    def members(self) -> list[Member]:
        """All members in the order of the sha256 of their paths, each path once."""
        first: dict[str, Member] = {}
        doubled = []
        for member in self._listed():
            if member.path in first:
                where = f" (also in {first[member.path].shard})" if member.shard else ""
                doubled.append(Member(member.path, reason=f"the same path occurs twice{where}"))
            else:
                first[member.path] = member
        return sorted(
            [*first.values(), *doubled], key=lambda member: hashlib.sha256(os.fsencode(member.path)).hexdigest()
        )

    def _listed(self) -> Iterator[Member]:
        if self.kind == "timm":
            yield from reader_members(self.reader, self.split, self.root)
            return
        root = self._place()
        if self.kind == "folder":
            for name in list_folder(root):
                yield Member(name, Path(name).parent.name)
            return
        paths = shards(root)
        packed = [name for name in list_folder(root) if name.lower().endswith(_PACKED)] if root.is_dir() else []
        beside = (
            f"{len(packed)} compressed archives, the first is {min(packed)}: unpack their compression" if packed else ""
        )
        if not paths:
            raise StudyError(f"images.source is tar, but there is no .tar file in {root}{beside and f' ({beside})'}")
        if packed:
            log.warning("%s holds %s; they are left out", root, beside)
        yield from tar_members((shard_name(path, root), path) for path in paths)

    def read(self, member: Member) -> bytes:
        """Content of a member. Raises OSError where it is gone or cannot be read."""
        if self.kind == "timm":
            return read_number(self.reader, self.split, self.root, member.place)
        root = self._place()
        if self.kind == "tar":
            return read_range(root if root.is_file() else root / member.shard, member.shard, member.place, member.size)
        return read_file(root / member.path)

    def _place(self) -> Path:
        assert self.root is not None
        return self.root


def list_folder(root: Path) -> list[str]:
    """Relative paths (with /) of all files at any depth, ordered by the sha256 of the path; hidden ones are left out.

    Links to folders are followed, except back to a folder that holds them.
    """
    names = []
    for folder, subfolders, files in os.walk(root, followlinks=True):
        above = {os.path.realpath(parent) for parent in (folder, *Path(folder).parents)}
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and os.path.realpath(os.path.join(folder, name)) not in above
        ]
        inside = Path(folder).relative_to(root)
        names += [(inside / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).hexdigest())


def shards(root: Path) -> list[Path]:
    """The tar files at a place: the file itself, or all below a folder but hidden ones."""
    if root.is_file():
        return [root]
    return sorted(
        path
        for path in root.rglob("*.tar")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def shard_name(path: Path, root: Path) -> str:
    """Name of a tar file in the manifest: its path below the root, or its own name."""
    return path.name if root.is_file() else path.relative_to(root).as_posix()
