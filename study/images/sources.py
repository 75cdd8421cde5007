"""Where encoded images lie: in a folder, in tar shards, or behind one of timm's dataset readers.

A source lists its members once, for the manifest, and reads one member at a time afterwards, in any order. Nothing is
ever unpacked: a member of a tar file is a range of bytes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from study.environment import Environment
from study.errors import StudyError


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
    path = Path(location).expanduser()
    setting = "the variable MIS_IMAGES" if named else "images.root in params.yaml"
    if kind == "folder" and not path.is_dir():
        raise StudyError(f"the image folder {location} does not exist or is no folder; correct {setting}")
    if kind != "folder" and not path.exists():
        raise StudyError(f"{location} does not exist; correct {setting}")
    return Source(kind, path, reader, split)


KINDS = ("folder", "tar", "timm")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_TIMM_LOCK = threading.Lock()
# timm readers that read any member at any time; the others only stream
READERS = ("hfds/NAME", "folder", "tar")


@dataclass(frozen=True)
class Member:
    """One file of a source.

    path    its name in the manifest; `label` is the folder that holds it, or what the source says instead
    shard   tar file that holds it, relative to the root; `place` the offset of its content there and `size` its length.
            A reader of timm counts its members: `place` is the number, `size` is -1
    reason  why it is no image, empty if it may be one
    """

    path: str
    label: str = ""
    shard: str = ""
    place: int = 0
    size: int = -1
    reason: str = ""


@dataclass(frozen=True)
class Source:
    """Kind and place of a source. `reader` and `split` are those of timm's `create_reader`."""

    kind: str
    root: Path | None
    reader: str = ""
    split: str = ""

    def members(self) -> list[Member]:
        """All members in the order of the sha256 of their paths, each path once."""
        listed = {"folder": _folder_members, "tar": _tar_members, "timm": _timm_members}[self.kind](self)
        first: dict[str, Member] = {}
        doubled = []
        for member in listed:
            if member.path in first:
                where = f" (also in {first[member.path].shard})" if member.shard else ""
                doubled.append(Member(member.path, reason=f"the same path occurs twice{where}"))
            else:
                first[member.path] = member
        return sorted(
            [*first.values(), *doubled], key=lambda member: hashlib.sha256(os.fsencode(member.path)).hexdigest()
        )

    def read(self, member: Member) -> bytes:
        """Content of a member. Raises OSError where it is gone."""
        if self.kind == "folder":
            assert self.root is not None
            return (self.root / member.path).read_bytes()
        if self.kind == "tar":
            content = os.pread(_descriptor(_shard_path(self, member.shard)), member.size, member.place)
            if len(content) != member.size:
                raise OSError(f"{member.shard} ends at byte {member.place + len(content)}")
            return content
        with _TIMM_LOCK:  # its readers share open files, and so a place in them, between threads
            file = _timm_reader(self)[member.place][0]
            with file:
                return bytes(file.read())


def _folder_members(source: Source) -> Iterator[Member]:
    assert source.root is not None
    for name in list_folder(source.root):
        yield Member(name, Path(name).parent.name)


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
    """The tar files at a place: the file itself, or all below a folder."""
    if root.is_file():
        return [root]
    return sorted(path for path in root.rglob("*.tar") if path.is_file())


def _shard_path(source: Source, shard: str) -> Path:
    assert source.root is not None
    return source.root if source.root.is_file() else source.root / shard


def _tar_members(source: Source) -> Iterator[Member]:
    """Images in all shards; of a sample in several files with one name (WebDataset) the image, labelled by NAME.cls."""
    assert source.root is not None
    paths = shards(source.root)
    if not paths:
        raise StudyError(f"images.source is tar, but there is no .tar file in {source.root}")
    for path in paths:
        shard = path.name if source.root.is_file() else path.relative_to(source.root).as_posix()
        with open(path, "rb") as file:
            try:
                listed = list(_inside(file, shard, "", 0))
            except tarfile.ReadError as error:
                raise StudyError(
                    f"{path} is no whole tar file ({error}). Members of a compressed archive cannot be read one by one: "
                    "unpack the compression (gunzip), or the archive, or fetch it again"
                ) from None
            keys = {_key(member.path) for member in listed if member.path.lower().endswith(SUFFIXES)}
            labels = {}
            for member in listed:
                if member.path.endswith(".cls") and not member.reason:
                    file.seek(member.place)
                    labels[_key(member.path)] = file.read(member.size).decode("utf-8", "replace").strip()
            for member in listed:
                is_image, key = member.path.lower().endswith(SUFFIXES), _key(member.path)
                if not is_image and key in keys:
                    continue  # the label or the caption of an image
                label = labels.get(key) or Path(member.path).parent.name
                yield Member(member.path, label, shard, member.place, member.size, member.reason)


def _inside(file: IO[bytes], shard: str, prefix: str, start: int) -> Iterator[Member]:
    """Files of a tar archive that begins at byte `start`; an archive in it is a folder of its name, as in ILSVRC-2012."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            name = posixpath.normpath(info.name).lstrip("/")
            if info.isdir() or any(part.startswith(".") for part in name.split("/")):
                continue
            path = f"{prefix}{name}"
            if not info.isreg() or info.issparse():
                yield Member(path, shard=shard, reason="no regular file (a link, a device or a file with holes)")
            elif name.lower().endswith(".tar"):
                inner = archive.extractfile(info)
                assert inner is not None
                yield from _inside(inner, shard, f"{path[: -len('.tar')]}/", start + info.offset_data)
            else:
                yield Member(path, shard=shard, place=start + info.offset_data, size=info.size)


def _key(path: str) -> str:
    """Name of the sample to which a file belongs: everything before the first dot of the file name."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, name.split(".")[0])


@functools.cache
def _descriptor(path: Path) -> int:
    """A file held open for reads at any place by this process."""
    return os.open(path, os.O_RDONLY)


@functools.cache
def _timm_reader(source: Source) -> Any:
    from timm.data.readers import create_reader  # pyright: ignore[reportPrivateImportUsage]

    prefix = source.reader.partition("/")[0] if "/" in source.reader else ""
    if source.reader not in READERS[1:] and prefix != "hfds":
        raise StudyError(
            f"images.reader is {source.reader!r}; of timm's readers those that can read any picture at any time are "
            f"allowed: {', '.join(READERS)}"
        )
    name = source.reader if prefix else ""
    root = str(source.root) if source.root is not None else None
    if not prefix and root is None:
        raise StudyError(f"images.reader {source.reader} needs a place: set images.root or the variable MIS_IMAGES")
    try:
        return create_reader(name, root, split=source.split)
    except ImportError as error:
        raise StudyError(
            f"images.reader {source.reader} needs a package that is not installed ({error}); for hfds: pip install datasets"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        raise StudyError(f"images.reader {source.reader} cannot open split {source.split!r} ({text})") from None


def _timm_members(source: Source) -> Iterator[Member]:
    """Members by the names that the reader gives; where it has no names, by number."""
    reader = _timm_reader(source)
    named = {index: name for name, index in (getattr(reader, "class_to_idx", None) or {}).items()}
    targets = list(reader.iter_targets()) if hasattr(reader, "iter_targets") else None
    for number in range(len(reader)):
        path = reader.filename(number) or f"{number:09d}"
        path = path if "/" in path or targets is None else f"{named.get(targets[number], targets[number])}/{path}"
        yield Member(path, Path(path).parent.name, place=number)
