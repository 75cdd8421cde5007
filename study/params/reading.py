"""Parameters read from a YAML 1.2 file: those that a stage names, after the whole file was checked."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import typing
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from study.environment import require_portable
from study.errors import StudyError

T = TypeVar("T")


def load(path: str | os.PathLike[str], kind: type[T]) -> T:
    """The parameters of `kind`, a dataclass that holds groups, parts of groups or single keys; others are not looked at.

    Before that the whole file is checked, by a module that is loaded by name: it can only refuse a study, never change a
    result, so a stage does not depend on the groups that it does not read.
    Raises StudyError with every problem found, each naming its key, its value and what is allowed, and where `processor` is
    portable but this process is not.
    """
    importlib.import_module("study.params.whole").load_params(path)
    content = content_of(path)
    if content["processor"] == "portable":
        require_portable()
    return build(kind, content)


def content_of(path: str | os.PathLike[str]) -> Any:
    """What a YAML 1.2 file holds."""
    try:
        return YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file. Copy one of studies/*.yaml there.") from None
    except DuplicateKeyError as error:
        raise StudyError(f"{path}: {_twice(error)}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from None


def _twice(error: DuplicateKeyError) -> str:
    """Which key stands twice and where; the library's own words teach how to pass over it."""
    key = re.search(r'duplicate key "(.*?)"', str(error.problem))
    where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
    return f"key {key[1] if key else '?'} stands{where} once more in the same group; each key may stand once. Remove one of them"


def build(kind: type[T], content: dict[str, Any]) -> T:
    """A dataclass from nested mappings that were checked; keys that it does not name are left out."""
    return kind(**{name: _value(hint, content[name]) for name, hint in typing.get_type_hints(kind).items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value)
    if typing.get_origin(hint) is tuple:
        return tuple(_value(typing.get_args(hint)[0], entry) for entry in value)
    return float(value) if hint is float else value
