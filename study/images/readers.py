"""Pictures behind a reader: the table of a Hugging Face data set, or one of timm's readers of folders and tar files.

Of a Hugging Face data set one column holds the pictures and one may hold the labels. Which ones is found by their types, or
named behind the data set, as in hfds/NAME#img,fine_label.
"""

from __future__ import annotations

import functools
import importlib
import os
import posixpath
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import StudyError
from study.images.members import Member, read_file
from study.log import logger

log = logger("images")

# readers of which any member can be read at any time; others of timm only stream
READERS = ("hfds/NAME", "folder", "tar")
_LOCK = threading.Lock()  # they share open files, and so a place in them, between threads
_USUAL_PICTURES, _USUAL_LABELS = ("image", "img", "picture"), ("label", "labels", "fine_label")


@dataclass(frozen=True)
class _Place:
    """What images.reader and its neighbours say. reader: without the prefix of data sets and the columns."""

    reader: str
    split: str
    root: Path | None
    is_table: bool = False
    columns: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        return f"images.reader {'hfds/' if self.is_table else ''}{self.reader}, split {self.split!r},"


def _place(reader: str, split: str, root: Path | None) -> _Place:
    prefix, _, name = reader.partition("/")
    name, _, columns = name.partition("#")
    if prefix == "hfds" and name:
        return _Place(
            name, split, root, True, tuple(column.strip() for column in columns.split(",")) if columns else ()
        )
    if reader not in READERS[1:]:
        raise StudyError(
            f"images.reader is {reader!r}; of timm's readers those that can read any picture at any time are allowed: "
            f"{', '.join(READERS)}"
        )
    if root is None:
        raise StudyError(f"images.reader {reader} needs a place: set images.root or the variable MIS_IMAGES")
    return _Place(reader, split, root)


def reader_members(reader: str, split: str, root: Path | None) -> list[Member]:
    """All pictures of a reader by number; their paths are the names that it gives, or else the numbers."""
    place = _place(reader, split, root)
    return _table(place).members() if place.is_table else _timm_members(place)


def read_number(reader: str, split: str, root: Path | None, number: int) -> bytes:
    """An encoded picture. Raises IndexError where there is none of this number, OSError where it cannot be read."""
    place = _place(reader, split, root)
    with _LOCK:
        if place.is_table:
            return _table(place).read(number)
        with _timm_reader(place)[number][0] as file:
            return bytes(file.read())


def place_of(reader: str, root: Path | None) -> Path | None:
    """What a reader reads on this machine; None for a data set of a hub, of which a cache alone lies here."""
    place = _place(reader, "", root)
    if not place.is_table:
        return root
    named = Path(os.path.expanduser(place.reader))
    return named if named.exists() else None


# --------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class _Table:
    """A split of a data set: its table, the columns of the pictures and of the labels (empty: there is none), and what is to
    be said of the choice.
    """

    data: Any
    pictures: str
    labels: str
    said: str

    def read(self, number: int) -> bytes:
        if not 0 <= number < len(self.data):
            raise IndexError(number)
        cell = self.data[number][self.pictures]
        if cell and cell["bytes"]:
            return bytes(cell["bytes"])
        if not (cell and cell["path"]):
            raise OSError("its cell is empty")
        return read_file(Path(cell["path"]))

    def members(self) -> list[Member]:
        """Paths are LABEL/NAME, or NAME where it holds a folder of its own; names that occur again get their number."""
        log.info("%s", self.said)
        compute: Any = importlib.import_module("pyarrow.compute")
        names = compute.struct_field(self.data.data.column(self.pictures), "path").to_pylist()
        labels = self._label_texts()
        paths = []
        for number, (name, label) in enumerate(zip(names, labels, strict=True)):
            name = name or f"{number:09d}"
            paths.append(name if "/" in name or not label else f"{label}/{name}")
        count = Counter(paths)
        members = []
        for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
            folder, name = posixpath.split(path)
            path = posixpath.join(folder, f"{number:09d} {name}") if count[path] > 1 else path
            members.append(Member(path, label if self.labels else posixpath.basename(folder), place=number))
        return members

    def _label_texts(self) -> list[str]:
        if not self.labels:
            return [""] * len(self.data)
        values = self.data.data.column(self.labels).to_pylist()
        names = getattr(self.data.features[self.labels], "names", None)
        if names is None:
            return ["" if value is None else str(value) for value in values]
        texts = {number: str(name) for number, name in enumerate(names)} | {None: "", -1: ""}
        return [texts.get(value, str(value)) for value in values]


@functools.cache
def _table(place: _Place) -> _Table:
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise StudyError(
            f"{place.called} needs a package that is not installed ({error}): "
            "pip install --require-hashes -r requirements-datasets.lock"
        ) from None
    columns = "not known"
    try:
        root = str(place.root) if place.root is not None else None
        data = datasets.load_dataset(place.reader, split=place.split, cache_dir=root)
        columns = ", ".join(f"{name} ({_kind(feature)})" for name, feature in data.features.items())
        pictures, labels, said = _chosen(place, dict(data.features), columns)
        data = data.select_columns([pictures, labels] if labels else [pictures])
        return _Table(data.cast_column(pictures, datasets.Image(decode=False)), pictures, labels, said)
    except StudyError:
        raise
    except Exception as error:  # what the package raises on other people's files is of many kinds
        text = " ".join(str(error).split())[:300]
        raise StudyError(
            f"{place.called} cannot be read ({type(error).__name__}: {text}); columns: {columns}"
        ) from None


def _kind(feature: object) -> str:
    """Image, ClassLabel, or what a column holds otherwise."""
    return str(getattr(feature, "dtype", "")) if type(feature).__name__ == "Value" else type(feature).__name__


def _chosen(place: _Place, features: dict[str, Any], columns: str) -> tuple[str, str, str]:
    """The columns of pictures and of labels (empty: none), as named or else by their types, and a sentence that says so."""
    if missing := [name for name in place.columns if name not in features]:
        raise StudyError(f"{place.called} has no column {missing[0]!r}; columns: {columns}")
    if len(place.columns) > 2:
        raise StudyError(
            f"images.reader names {len(place.columns)} columns; at most two, of pictures and of labels, are allowed"
        )
    kinds = {name: _kind(feature) for name, feature in features.items()}
    pictures = [name for name, kind in kinds.items() if kind == "Image"]
    pictures = pictures or [name for name in _USUAL_PICTURES if kinds.get(name) in ("binary", "large_binary", "dict")]
    if place.columns:
        pictures = [place.columns[0]]
    if len(pictures) != 1:
        found = f"{len(pictures)} columns of pictures ({', '.join(pictures)})" if pictures else "no column of pictures"
        raise StudyError(
            f"{place.called} has {found}; name the right one in images.reader, as hfds/{place.reader}#COLUMN. Columns: {columns}"
        )
    classes = [name for name, kind in kinds.items() if kind == "ClassLabel"]
    plain = [
        name for name in _USUAL_LABELS[:1] if kinds.get(name, "").startswith(("string", "large_string", "int", "uint"))
    ]
    labels = [name for name in _USUAL_LABELS if name in classes] + classes + plain
    label = place.columns[1] if len(place.columns) == 2 else labels[0] if labels else ""
    others = [name for name in classes if name != label]
    said = f"{place.called} pictures are those of column {pictures[0]!r}, labels "
    said += f"those of column {label!r}" if label else "none, because no column holds classes"
    another = f"; images.reader: hfds/{place.reader}#{pictures[0]},{others[0]} takes others" if others else ""
    return pictures[0], label, said + another


# --------------------------------------------------------------------------- timm


@functools.cache
def _timm_reader(place: _Place) -> Any:
    from timm.data.readers import create_reader  # pyright: ignore[reportPrivateImportUsage]

    try:
        return create_reader("", str(place.root), split=place.split)
    except Exception as error:  # what a reader raises on other people's files is of many kinds
        text = " ".join(str(error).split())[:300]
        raise StudyError(f"{place.called} cannot be read ({type(error).__name__}: {text})") from None


def _timm_members(place: _Place) -> list[Member]:
    reader = _timm_reader(place)
    paths = [str(reader.filename(number)) for number in range(len(reader))]
    return [Member(path, Path(path).parent.name, place=number) for number, path in enumerate(paths)]
