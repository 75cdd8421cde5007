"""Text files that other programs wrote: their encoding where it is certain, and files of another kind called by its name."""

from __future__ import annotations

import codecs
import os
import re
from functools import cache
from pathlib import Path

from study.errors import StudyError
from study.log import logger

log = logger("files")

# byte order marks, the longer ones first: that of UTF-16 begins that of UTF-32
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOKED_AT = 32  # bytes without a mark that tell UTF-16: so much of a header is plain letters
SAVE = {
    "CSV": "save it as CSV UTF-8, separated by commas",
    "JSON": "save it as JSON in UTF-8",
    "text": "save it as plain text in UTF-8",
}
_UNPACK = "unpack it"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", ""),
    (b"PK\x03\x04", "an Excel file (.xlsx) or another zip archive", "open it in the program that wrote it and "),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel file (.xls)", "open it in the spreadsheet and "),
    (b"\x1f\x8b\x08", "packed by gzip", _UNPACK),
    (b"\xfd7zXZ\0", "packed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed by zstd", _UNPACK),
    (b"%PDF-", "a PDF file", ""),
    (b"SQLite format 3\0", "an SQLite database", ""),
    (b"\x93NUMPY", "an array of numpy", ""),
    (b"ARROW1\0\0", "an Arrow (Feather) file", ""),
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS", "`git lfs pull` brings the file itself"),
)
_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml|table)\b", re.IGNORECASE)
_JSON = re.compile(rb'\s*(\{\s*["}]|\[\s*[\[{"\]])')


def utf8(path: str | os.PathLike[str], wanted: str) -> bytes:
    """Content of a text file as UTF-8 without byte order mark; `wanted` is CSV, JSON or text.

    UTF-16 and UTF-32 are read where a mark, or the zeros between plain letters, leave no doubt, and the log says so.
    Raises StudyError for a file of another kind, for bytes in no such encoding and for NUL characters, by line.
    """
    data = Path(path).read_bytes()
    _refuse_other_kind(path, data, wanted)
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", _without_mark(data)))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(path, data[len(mark) :], error, wanted) from None
    if encoding == "utf-8":
        data = data[len(mark) :]
    else:
        say(f"{path}: read as {encoding[:6].upper()}")
        data = text.encode("utf-8")
    data = data.removeprefix(codecs.BOM_UTF8)  # programs that join files leave a second one
    if (place := data.find(b"\0")) >= 0:
        raise StudyError(
            f"{path}: line {_line(data, place)} holds a NUL character, so it is no {wanted}, or damaged, or in another "
            f"encoding. Get the file again, or {SAVE[wanted]}"
        )
    return data


@cache
def say(message: str) -> None:
    """Log a line, once in a process: several steps read the same file."""
    log.info("%s", message)


def _without_mark(data: bytes) -> str:
    """Encoding of text without a byte order mark, by the zeros between its first letters."""
    first, second = data[0:_LOOKED_AT:2], data[1:_LOOKED_AT:2]
    if len(second) > 1 and not second.strip(b"\0") and 0 not in first:
        return "utf-16-le"
    if len(second) > 1 and not first.strip(b"\0") and 0 not in second:
        return "utf-16-be"
    return "utf-8"


def _refuse_other_kind(path: str | os.PathLike[str], data: bytes, wanted: str) -> None:
    for start, kind, remedy in _KINDS:
        if data.startswith(start):
            done = remedy if remedy and not remedy.endswith("and ") else f"{remedy}{SAVE[wanted]}"
            raise StudyError(f"{path} is {kind}, not {wanted}: {done}")
    if _PAGE.match(data):
        raise StudyError(f"{path} is a web page (HTML or XML), not {wanted}: download the file itself")
    if wanted == "CSV" and _JSON.match(data):
        raise StudyError(f"{path} is JSON, not CSV: {SAVE[wanted]}, a row a line behind a header")


def _undecodable(path: str | os.PathLike[str], data: bytes, error: UnicodeDecodeError, wanted: str) -> StudyError:
    if error.encoding != "utf-8":
        return StudyError(
            f"{path} begins as {error.encoding[:6].upper()}, but byte {error.start + 1} is no such text ({error.reason}); is "
            f"it cut off? Get the file again, or {SAVE[wanted]}"
        )
    start = max(data.rfind(b"\n", 0, error.start), data.rfind(b"\r", 0, error.start)) + 1
    before = data[max(start, error.start - 20) : error.start].decode("utf-8", "ignore")
    behind = f", behind {before!r}" if before else ""
    return StudyError(
        f"{path}: line {_line(data, error.start)} is not UTF-8 (byte {data[error.start]:#x} at place "
        f"{error.start - start + 1}{behind}). If a program of yours wrote it, {SAVE[wanted]}; if it was "
        "downloaded, get it again"
    )


def _line(data: bytes, place: int) -> int:
    """Number of the line of a byte, from 1; lines end with \\n, \\r\\n, or on old machines \\r alone."""
    before = data[:place]
    return 1 + before.count(b"\n") + before.replace(b"\r\n", b"").count(b"\r")
