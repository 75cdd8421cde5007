"""Pictures in tar archives, as ranges of bytes: nothing is ever unpacked.

An archive may say anything about its members. What cannot be a picture is listed with the reason; an archive that cannot be
listed to its end is refused, because what lies behind that place would be left out.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from interpretability.images import SUFFIXES
from study.errors import StudyError
from study.images.members import MOST_BYTES, TOO_LARGE, Member
from study.log import logger

log = logger("images")

_BLOCK = 512
_MOST_HEADER = 2**20  # bytes of one header; those of long names have a few hundred
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # beginnings of gzip, bzip2, xz and zstd
_MOST_LABEL = 1000  # bytes of a .cls file
_DEEPEST = 8  # archives in archives
_HELD_OPEN = 256  # archives that a process keeps open; systems allow about a thousand
_held: dict[Path, int] = {}
_holding = threading.Lock()


def tar_members(archives: Iterable[tuple[str, Path]]) -> Iterator[Member]:
    """Files in archives, each given as its name and its place; of a sample in several files the picture, with its label.

    The label of a picture is what a file of its name that ends in .cls holds (WebDataset), else the folder that it lies in.
    """
    unclear: list[str] = []
    for shard, path in archives:
        try:
            with open(path, "rb") as file:
                listed = list(_inside(file, _Archive(shard, str(path), os.fstat(file.fileno()).st_size)))
                labels = _labels(file, listed, shard)
        except OSError as error:
            raise StudyError(f"the tar file {path} cannot be read ({error.strerror or error})") from None
        yield from _with_labels(listed, labels, unclear)
    if unclear:
        log.warning(
            "%d pictures do not get the label of a .cls file whose name fits theirs up to the first period, because it fits "
            "others, too; the first is %s. Their label is the folder. Give each picture a .cls file of its own name",
            len(unclear),
            unclear[0],
        )


def _labels(file: IO[bytes], listed: list[Member], shard: str) -> dict[str, str]:
    """What the .cls files of an archive hold, by their names without that ending."""
    labels: dict[str, str] = {}
    for member in listed:
        if member.reason or not member.path.lower().endswith(".cls"):
            continue
        if member.size > _MOST_LABEL:
            log.warning("%s in %s holds %d bytes, which is no label", member.path, shard, member.size)
            continue
        file.seek(member.place)
        labels.setdefault(_until_last(member.path), file.read(member.size).decode("utf-8", "replace").strip())
    return labels


def _with_labels(listed: list[Member], labels: dict[str, str], unclear: list[str]) -> Iterator[Member]:
    """Pictures with their labels, and other files unless they belong to a picture.

    A .cls file is of the picture whose name is the same up to the last period. Where there is none, it is of the one whose
    name is the same up to the first period, as WebDataset has it; but a name may hold periods of its own ("photo 1.5 a.png"),
    so of several such pictures none gets the label: they are added to `unclear`.
    """
    pictures = {member.path for member in listed if member.path.lower().endswith(SUFFIXES)}
    names = {_until_last(path) for path in pictures}
    looser = Counter(_until_first(path) for path in pictures if _until_last(path) not in labels)
    shared = {name for name in labels if name not in names and looser[name] == 1}
    for member in listed:
        last, first = _until_last(member.path), _until_first(member.path)
        folder = posixpath.basename(posixpath.dirname(member.path))
        if member.path in pictures:
            label = labels.get(last, labels[first] if first in shared else "")
            if last not in labels and first in labels and first not in shared:
                unclear.append(f"{member.path} in {member.shard}, beside {first}.cls")
            yield replace(member, label=label or folder)
        elif not {last, first} & names and not {last, first} & shared:  # else the label or the caption of a picture
            yield replace(member, label=folder)


def _until_last(path: str) -> str:
    """Name of the sample to which a file belongs: its name without its last ending."""
    return posixpath.splitext(path)[0]


def _until_first(path: str) -> str:
    """The same as WebDataset has it: everything before the first period of the file name."""
    folder, name = posixpath.split(path)
    return posixpath.join(folder, name.split(".")[0])


class _Window(io.RawIOBase):
    """The bytes of an archive, of which its reader takes headers only: a header that claims to be huge is refused."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if self._at < 0:
            raise tarfile.ReadError("a header that leads before the beginning")
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self._file.seek(self._start + self._at)
        content = self._file.read(max(0, min(size, self._size - self._at)))
        self._at += len(content)
        return content


@dataclass(frozen=True)
class _Archive:
    """An archive: the shard that it is, or lies in, its name for a message, its bytes there, and how deep it lies."""

    shard: str
    called: str
    size: int
    start: int = 0
    prefix: str = ""
    depth: int = 0


def _inside(file: IO[bytes], archive: _Archive) -> Iterator[Member]:
    """Files of an archive; an archive in it is a folder of its name, as in ILSVRC-2012."""
    window = _Window(file, archive.start, archive.size)
    try:
        with tarfile.open(fileobj=cast(IO[bytes], window), mode="r:") as reader:
            end = 0
            for info in reader:
                if info.size < 0 or reader.offset <= end:  # without this, the same header for ever
                    raise tarfile.ReadError(f"a header that leads back, for {info.name!r}")
                end = reader.offset
                yield from _members(file, info, archive)
            _check_end(window, reader.offset)
    except StudyError:
        raise
    except Exception as error:  # what the reader of archives raises on broken ones is of many kinds
        text = " ".join(str(error).split()) or type(error).__name__
        window.seek(0)
        packed = window.read(_BLOCK).startswith(_COMPRESSED)
        raise StudyError(
            f"{archive.called} is no whole tar file ({text}). "
            + (
                "Members of a compressed archive cannot be read one by one: unpack the compression (gunzip), or the archive"
                if packed
                else "Fetch it again, or pack its files anew (tar -cf)"
            )
        ) from None


def _check_end(window: _Window, end: int) -> None:
    """The reader of archives takes a broken header for the end of all; this is it only if nothing follows but zeros."""
    window.seek(end)
    while content := window.read(_MOST_HEADER):
        if content.strip(b"\0"):
            place = window.tell() - len(content.lstrip(b"\0"))
            raise tarfile.ReadError(
                f"the header at byte {end} is broken"
                if place < end + _BLOCK
                else f"it ends at byte {end}, but more follows at byte {place}, as in archives put one behind another"
            )


def _members(file: IO[bytes], info: tarfile.TarInfo, archive: _Archive) -> Iterator[Member]:
    """A file of an archive, or those of the archive that it is."""
    name = posixpath.normpath(info.name).lstrip("/") or "/"
    parts = name.split("/")
    path, place = f"{archive.prefix}{name}", archive.start + info.offset_data
    if info.isdir() or any(part.startswith(".") and part != ".." for part in parts):
        return
    reason = ""
    if ".." in parts:
        reason = "its name leads out of the archive"
    elif not info.isreg() or info.issparse():
        reason = "no regular file (a link, a device or a file with holes)"
    elif name.lower().endswith(".tar"):
        if archive.depth < _DEEPEST:
            called = f"{path} in {archive.shard}"
            prefix = f"{path[: -len('.tar')]}/"
            yield from _inside(file, _Archive(archive.shard, called, info.size, place, prefix, archive.depth + 1))
            return
        reason = f"an archive in more than {_DEEPEST} archives"
    elif info.size > MOST_BYTES:
        reason = TOO_LARGE
    yield Member(path, shard=archive.shard, place=place, size=info.size, reason=reason)


def read_range(path: Path, shard: str, place: int, size: int) -> bytes:
    """Bytes of an archive. Raises OSError where they are not there."""
    descriptor = _held.get(path)
    if descriptor is None:
        with _holding:
            if path not in _held and len(_held) < _HELD_OPEN:
                _held[path] = os.open(path, os.O_RDONLY)
        descriptor = _held.get(path)
    if descriptor is not None:
        content = os.pread(descriptor, size, place)
    else:
        with open(path, "rb") as file:
            content = os.pread(file.fileno(), size, place)
    if len(content) != size:
        raise OSError(f"{shard} ends at byte {place + len(content)}")
    return content
