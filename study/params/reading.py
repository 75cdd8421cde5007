"""Parameters read from a YAML 1.2 file and checked, group by group."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from study.errors import StudyError

T = TypeVar("T")


def load(path: str | os.PathLike[str], kind: type[T]) -> T:
    """The parameters of `kind`, a dataclass that holds groups, parts of groups or single keys; others are not looked at.

    Before that the whole file is checked, by a module that is loaded by name: it can only refuse a study, never change a
    result, so a stage does not depend on the groups that it does not read.
    Raises StudyError with every problem found, each naming its key, its value and what is allowed.
    """
    importlib.import_module("study.params.whole").load_params(path)
    problems: list[str] = []
    params = build(kind, content_of(path), "", problems, partial=True)
    refuse(path, problems)
    return params


def content_of(path: str | os.PathLike[str]) -> Any:
    """What a YAML 1.2 file holds."""
    try:
        return YAML(typ="safe").load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file. Copy one of studies/*.yaml there.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from None


def refuse(path: str | os.PathLike[str], problems: list[str]) -> None:
    """Raise StudyError with all problems of a file; nothing happens if there are none."""
    if problems:
        raise StudyError(
            f"{path}: " + "; ".join(problems) if len(problems) == 1 else f"{path}:\n  " + "\n  ".join(problems)
        )


def build(kind: type[T], content: Any, prefix: str, problems: list[str], *, partial: bool = False) -> T:
    """A dataclass from nested mappings; `problems` gains a line for each key that is missing, wrong or (unless the
    dataclass is `partial`) unknown. With a problem the result is of no use.
    """
    if not isinstance(content, dict):
        problems.append(f"{prefix.rstrip('.') or 'the file'} is {content!r}, it must hold keys and values")
        return typing.cast(T, None)
    hints = typing.get_type_hints(kind)
    for name in () if partial else content:
        if name not in hints:
            close = difflib.get_close_matches(str(name), hints, n=1)
            hint = f", did you mean {prefix}{close[0]}?" if close else ""
            problems.append(f"{prefix}{name} is not a known key{hint} (known here: {', '.join(hints)})")
    values = {}
    for spec in dataclasses.fields(kind):  # pyright: ignore[reportArgumentType]
        key = prefix + spec.name
        if spec.name not in content:
            problems.append(f"{key} is missing; studies/synthetic.yaml shows every key")
            continue
        hint, value = hints[spec.name], content[spec.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            values[spec.name] = build(hint, value, f"{key}.", problems, partial=partial)
        else:
            values[spec.name] = _value(hint, value, key, spec.metadata, problems)
    return kind(**values) if not problems else typing.cast(T, None)


def _value(hint: Any, value: Any, key: str, rule: typing.Mapping[str, Any], problems: list[str]) -> Any:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list):
            problems.append(f"{key} is {value!r}, it must be a list of {_TYPE_NAMES[item]}")
            return ()
        if rule.get("filled") and not value:
            problems.append(f"{key} is empty, it needs at least one entry")
        doubled = {str(entry) for entry in value if value.count(entry) > 1}
        problems.extend(f"{key} names {entry} twice" for entry in sorted(doubled))
        return tuple(_value(item, entry, f"{key}[{i}]", rule, problems) for i, entry in enumerate(value))
    right = isinstance(value, int | float) if hint is float else isinstance(value, hint)
    if not right or (isinstance(value, bool) and hint is not bool):
        quotes = f", write it in quotes: '{'null' if value is None else value}'" if hint is str else ""
        problems.append(f"{key} is {value!r} ({type(value).__name__}), it must be {_TYPE_NAMES[hint]}{quotes}")
        return value
    if hint is float:
        value = float(value)
    low, high, above, choices = (rule.get(name) for name in ("low", "high", "above", "choices"))
    # written so that NaN fails every comparison
    if low is not None and not value >= low:
        problems.append(f"{key} is {value}, it must be at least {low}")
    if high is not None and not value <= high:
        problems.append(f"{key} is {value}, it must be at most {high}")
    if above is not None and not (value > above and value != float("inf")):
        problems.append(f"{key} is {value}, it must be a finite number above {above}")
    if choices and value not in choices:
        problems.append(f"{key} is {value!r}, allowed: {', '.join(choices)}")
    if rule.get("filled") and value == "":
        problems.append(f"{key} is empty")
    return value


_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    types.NoneType: "nothing",
}
