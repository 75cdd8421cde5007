"""What a place of images holds, by names, sizes and times: read without opening a single image."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interpretability.images import SUFFIXES
from study.images import readers, sources
from study.log import logger

log = logger("inputs")

Facts = dict[str, str | int]


@dataclass(frozen=True, kw_only=True)
class ImagePlace:
    """Where the images lie, of `images`."""

    source: str
    root: str
    reader: str
    split: str


@dataclass(frozen=True)
class Listing:
    """What a place of images holds.

    facts     its source, and where files were listed their number, their bytes and a digest of name, size and time of each
    pictures  files that are called as pictures are; None where they are no files of a folder, so that only reading tells
    """

    facts: Facts
    pictures: int | None


def look_at_images(images: ImagePlace) -> Listing:
    """The images of a study as they lie there. Raises StudyError where none do."""
    if images.source == "generated":
        return Listing({"source": images.source}, None)
    source = sources.open_source(images.source, images.root, images.reader, images.split)
    place = readers.place_of(images.reader, source.root) if source.kind == "timm" else source.root
    if place is None:
        return Listing({"source": images.source}, None)
    facts, n_pictures = _listed(source.kind, place)
    return Listing({"source": images.source, **facts}, n_pictures if source.kind == "folder" else None)


def _listed(kind: str, root: Path) -> tuple[Facts, int]:
    """Number of files, their bytes, and a digest of name, size and time of each; and how many are called as pictures are.

    The place itself is none of it: the same files elsewhere are the same images.
    """
    digest, n_files, n_bytes, n_pictures = hashlib.sha256(), 0, 0, 0
    suffixes = tuple(suffix.encode() for suffix in SUFFIXES)
    for name, size, time in _files(kind, root):
        digest.update(b"%d %d %s\0" % (size, time, name))
        n_files, n_bytes = n_files + 1, n_bytes + max(size, 0)
        n_pictures += name.lower().endswith(suffixes)
    return {"files": n_files, "bytes": n_bytes, "listing": digest.hexdigest()}, n_pictures


def _files(kind: str, root: Path) -> Iterator[tuple[bytes, int, int]]:
    if kind == "tar":
        for path in sources.shards(root):
            yield _entry(os.fsencode(os.path.relpath(path, root)), path)
    elif root.is_file():
        yield _entry(b"", root)
    else:
        yield from _below(os.fsencode(root), b"", frozenset())


def _entry(name: bytes, path: Path) -> tuple[bytes, int, int]:
    facts = path.stat()
    return name, facts.st_size, facts.st_mtime_ns


def _below(folder: bytes, prefix: bytes, above: frozenset[tuple[int, int]]) -> Iterator[tuple[bytes, int, int]]:
    """Files at any depth in the order of their names, as `sources.list_folder` finds them: no hidden ones, links to folders
    followed except back to one that holds them. A link to nothing has the size -1.
    """
    here = os.stat(folder)
    above |= {(here.st_dev, here.st_ino)}
    try:
        with os.scandir(folder) as entries:
            listed = sorted(
                (entry for entry in entries if not entry.name.startswith(b".")), key=lambda entry: entry.name
            )
    except PermissionError:  # as lost+found of a disk; the stage that reads the images passes over it as well
        log.warning("%s cannot be read, so images in it are not seen", os.fsdecode(folder))
        return
    for entry in listed:
        name = prefix + entry.name
        try:
            facts = entry.stat()
        except OSError:
            yield name, -1, 0
            continue
        if not entry.is_dir():
            yield name, facts.st_size, facts.st_mtime_ns
        elif (facts.st_dev, facts.st_ino) not in above:
            yield from _below(entry.path, name + b"/", above)
