"""Weights of similarity packages: a folder, filled from the packages' hubs on first use, read without running code."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from interpretability.checkpoints import sole_table
from interpretability.errors import InputError
from interpretability.files import atomic_path, sha256_file

# what a file of another kind begins with, and what it is
_FOREIGN = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself (git lfs pull fetches that)",
    b"<": "a web page or XML, not the file itself",
    b"{": "JSON",
    b"\x89HDF": "HDF5 of another library",
    b"\x1f\x8b": "packed by gzip (gunzip unpacks it)",
}
_HEADER = 8  # bytes at the beginning of a safetensors file, which say how long its JSON is


def load_state(path: Path) -> dict[str, Any]:
    """The one table of tensors of a checkpoint: safetensors, or a torch file read without running code in it."""
    return sole_table(read_content(path), path.name)


def read_content(path: Path) -> Any:
    """What a file of weights holds: tensors by name, or tables of them; no code in it is run.

    Whether it is safetensors or a torch file is told by its bytes. Raises InputError for a file that is neither, is damaged,
    or holds objects that need code to load.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with open(path, "rb") as file:
        head = file.read(64)
    if path.suffix == ".safetensors" or _begins_as_safetensors(head, path.stat().st_size):
        try:
            return load_file(path)
        except (
            SafetensorError,
            ValueError,
            KeyError,
            RuntimeError,
        ) as error:  # of types and shapes that torch lacks, too
            raise InputError(f"{path.name} is no whole safetensors file ({plain(error)}); download it again") from None
    if kind := foreign_kind(head):
        raise InputError(f"{path.name} is {kind}; a file of weights is safetensors or written by torch.save")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how the file was written, which its reader cannot change
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds; all mean that the file is no plain checkpoint
        raise InputError(
            f"{path.name} cannot be read as a plain table of tensors ({_reason(str(error))}). Files that need code to load are "
            "refused; save it again with safetensors.torch.save_file(model.state_dict(), ...)"
        ) from None


def foreign_kind(head: bytes) -> str:
    """What a file is by its first bytes, where that is one of those that are often taken for weights; else nothing."""
    return next((kind for beginning, kind in _FOREIGN.items() if head.startswith(beginning)), "")


def _begins_as_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:_HEADER], "little")
    return 0 < length <= size - _HEADER and head[_HEADER : _HEADER + 1] == b"{"


def _reason(text: str) -> str:
    """Why torch does not read a file; its advice on how to read it all the same is left out."""
    if "TorchScript" in text:
        return "it holds a whole network of TorchScript"
    if kind := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it holds an object of {kind[1]}"
    if "weights_only" in text or "Weights only" in text:
        return "it is damaged, no torch file, or holds other objects than tensors"
    return f"it is damaged or no torch file: {plain(text)}"


def plain(error: object) -> str:
    """The first sentence of another library's message, on one line."""
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in str(error)).split())
    return words.split(". ")[0][:120] or type(error).__name__


_TIMEOUT = 60  # seconds without an answer after which a hub counts as unreachable


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights that a package fetches from its hub.

    names   accepted file names, the hub's own first; all hold the same tensors under the same names
    url     where the first one comes from; a .zip holds it as a member
    sha256  its digest or the beginning of it, where the hub publishes one; other accepted names are not checked
    """

    names: tuple[str, ...]
    url: str
    sha256: str = ""

    def path_in(self, folder: Path) -> Path | None:
        """The first of the accepted names that lies in a folder."""
        return next((path for name in self.names if (path := folder / name).is_file()), None)


Content = Mapping[str, Any]  # named tensors, or what a JSON file holds
Reader = Callable[[WeightsFile], Content]
Weights = str | os.PathLike[str] | Reader  # a folder of files, or what gives their content


def reader(weights: Weights) -> Reader:
    """What gives the content of a file of weights, from such a function or from a folder (see `load`)."""
    if callable(weights):
        return weights
    if not isinstance(weights, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            "{weights} is {given!r}; it must be a folder, or a function that gives the content of a WeightsFile",
            "weights",
            given=weights,
        )
    return partial(load, folder=Path(weights))


def load(file: WeightsFile, folder: Path) -> Content:
    """Content of a file of weights in a folder: named tensors, or that of a JSON file.

    The first of the accepted names that lies in the folder is read; if none does, the file's address is fetched and kept
    under the first name (or, from a .zip, all its members under theirs). Raises InputError for a missing, damaged or
    unreadable file.
    """
    path = file.path_in(folder) or _fetch(file, folder)
    if file.sha256 and path.name == Path(file.names[0]).name:
        digest = sha256_file(path)
        if not digest.startswith(file.sha256):
            raise InputError(f"{path} has sha256 {digest}, it should begin with {file.sha256}; remove it and run again")
    return json.loads(path.read_text()) if path.suffix == ".json" else load_state(path)


def _fetch(file: WeightsFile, folder: Path) -> Path:
    """Download under a lock, so that several processes fetch a file once; it appears whole or not at all."""
    names, url = file.names, file.url
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = file.path_in(folder)
        if path is not None:
            return path
        archive = url.endswith(".zip")
        target = folder / (Path(url).name if archive else names[0])
        if not target.is_file():
            try:
                _download(url, target, "" if archive else file.sha256)
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                reason = getattr(error, "reason", error)
                raise _missing(names, url, folder, f"cannot be reached ({reason})") from None
        if archive:
            _unpack(target, folder)
        path = file.path_in(folder)
    if path is None:
        raise _missing(names, url, folder, f"does not hold {names[0]}")
    return path


def _missing(names: Sequence[str], url: str, folder: Path, reason: str) -> InputError:
    others = f" (also accepted: {', '.join(names[1:])})" if len(names) > 1 else ""
    unpack = " and unpack it there" if url.endswith(".zip") else ""
    return InputError(
        "the weights file {name} is not in {folder}, and {url}, where it would come from, {reason}. Connect once, or download "
        "that address on another machine{unpack}, so that {path} exists{others}. {weights} names another folder",
        "weights",
        name=names[0],
        folder=folder,
        url=url,
        reason=reason,
        unpack=unpack,
        path=folder / names[0],
        others=others,
    )


def _download(url: str, target: Path, sha256: str) -> None:
    if not url.startswith("https://"):
        raise InputError(f"{url} is no https address")
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, atomic_path(target) as part:
        with open(part, "wb") as file:
            shutil.copyfileobj(answer, file, 2**20)
        announced = answer.headers.get("Content-Length")
        if announced and part.stat().st_size != int(announced):
            raise InputError(f"{url}: {part.stat().st_size} of {announced} bytes arrived; run the same command again")
        if not sha256_file(part).startswith(sha256):
            raise InputError(
                f"{url}: the file that arrived does not have sha256 {sha256}...; run the same command again"
            )


def _unpack(archive: Path, folder: Path) -> None:
    """All members into the folder, each whole; the archive is removed, because its members are the cache."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in (entry for entry in opened.infolist() if not entry.is_dir()):
                target = (folder / member.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise InputError(f"{archive} holds {member.filename}, which points out of its folder; remove it")
                # reading to the end compares the checksum that the archive keeps
                with opened.open(member) as source, atomic_path(target) as part, open(part, "wb") as file:
                    shutil.copyfileobj(source, file, 2**20)
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive} is damaged ({error}); remove it and run again") from None
    archive.unlink()
