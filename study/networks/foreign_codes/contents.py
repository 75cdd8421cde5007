"""What lies in a foreign file: tensors taken by name and size, and settings taken by name and kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interpretability.checkpoints import shown
from interpretability.directions.codes import Code
from study.errors import StudyError

if TYPE_CHECKING:
    from torch import Tensor

_LISTED = 12  # names in a message
_MOST_CONFIG = 10_000_000  # bytes; settings are a few thousand


@dataclass(frozen=True)
class Converted:
    """A code, and what is worth saying about how it came about."""

    code: Code
    notes: tuple[str, ...] = ()


def listed(names: Iterable[object]) -> str:
    """Names out of a file as a message shows them."""
    found = [shown(str(name)) for name in names]
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(found[:_LISTED]) + more if found else "none"


class Tensors:
    """Tensors of one file, taken one by one as float64; their sizes must agree, and none may be left over.

    Sizes have names of one letter, such as d for the width and m for the number of latents: the first tensor with such an
    axis says how long it is.
    """

    def __init__(self, tensors: Mapping[str, Tensor], where: str) -> None:
        self._tensors, self.where = dict(tensors), where
        self._taken: set[str] = set()
        self.sizes: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def names(self) -> list[str]:
        return sorted(self._tensors)

    def any_under(self, beginning: str) -> bool:
        """Whether the name of a tensor begins so."""
        return any(name.startswith(beginning) for name in self._tensors)

    def take(self, name: str, axes: str) -> Tensor:
        """A tensor with these axes."""
        if name not in self._tensors:
            raise StudyError(f"{self.where} lacks the tensor {name}; it holds {listed(self.names)}")
        self._taken.add(name)
        tensor = self._tensors[name]
        if not tensor.is_floating_point() or not _is_plain(tensor):
            raise StudyError(
                f"{self.where}: {name} holds {tensor.dtype}, {tensor.layout}; it must hold floating-point numbers"
            )
        if tensor.ndim != len(axes) or not tensor.numel():
            raise StudyError(
                f"{self.where}: {name} has shape {tuple(tensor.shape)}; it must have {len(axes)} axes, none of them empty"
            )
        for axis, size in zip(axes, tensor.shape, strict=True):
            if self.sizes.setdefault(axis, size) != size:
                wanted = tuple(self.sizes[each] for each in axes)
                raise StudyError(
                    f"{self.where}: {name} has shape {tuple(tensor.shape)}, but other tensors need {wanted}"
                )
        return tensor.detach().double()

    def maybe(self, name: str, axes: str) -> Tensor | None:
        """The same, or None where there is none."""
        return self.take(name, axes) if name in self else None

    def scalar(self, name: str) -> float | None:
        """The one number that a tensor holds, None where there is no such tensor."""
        if name not in self:
            return None
        self._taken.add(name)
        tensor = self._tensors[name]
        if tensor.numel() != 1 or tensor.is_complex() or not _is_plain(tensor):
            raise StudyError(f"{self.where}: {name} has shape {tuple(tensor.shape)}; it must be one real number")
        return float(tensor.item())

    def ignore(self, name: str) -> bool:
        """Take a tensor that does not act on codes; whether it is there."""
        self._taken.add(name)
        return name in self

    def refuse_rest(self, what: str) -> None:
        """Raise StudyError for tensors that nobody took; `what` is what the file was taken for."""
        if rest := [name for name in self.names if name not in self._taken]:
            raise StudyError(
                f"{self.where}: {what} has no tensor {listed(rest)}, so what they do to its values is not known. The file holds "
                f"{listed(self.names)}"
            )


def _is_plain(tensor: Tensor) -> bool:
    import torch

    return tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized


class Settings:
    """Settings that a file keeps, taken by name; the kind of each is looked at."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values, self.where = values, where

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def inner(self, key: str) -> Settings:
        """Settings below a key; none of them where it is not there."""
        value = self._values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, "a table of settings")
        return Settings(value, f"{self.where}: {key}")

    def text(self, key: str, default: str = "") -> str:
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def count(self, key: str) -> int | None:
        """A whole number of at least 1, None where there is none."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or value < 1:
            raise self._wrong(key, "a whole number of at least 1")
        return int(value)

    def raw(self, key: str) -> Any:
        return self._values.get(key)

    def _wrong(self, key: str, allowed: str) -> StudyError:
        return StudyError(f"{self.where}: {key} is {shown(repr(self._values[key]))}; it must be {allowed}")


def read_settings(path: Path) -> Settings:
    """A JSON file of settings."""
    if path.stat().st_size > _MOST_CONFIG:
        raise StudyError(f"{path} has {path.stat().st_size:,} bytes, too many for a file of settings")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path} is no JSON ({shown(str(error))}); download it again") from None
    if not isinstance(values, dict):
        raise StudyError(f"{path} holds no table of settings, {{...}}; it is no configuration of an autoencoder")
    return Settings(values, str(path))


def find_file(path: Path, patterns: Sequence[str], what: str) -> Path:
    """The file at `path`, or in the folder at `path` the one that the first fitting pattern names; `what` is for messages."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise StudyError(f"{path} does not exist; give the folder or file of {what}")
    for pattern in patterns:
        found = sorted(each for each in path.glob(pattern) if each.is_file())
        if len(found) > 1:
            raise StudyError(
                f"{path} holds {len(found)} files that may be meant, {listed(each.name for each in found)}; name one"
            )
        if found:
            return found[0]
    there = listed(sorted(each.name for each in path.iterdir()))
    raise StudyError(f"{path} has no {' or '.join(patterns)}, as {what} has; it holds {there}")
