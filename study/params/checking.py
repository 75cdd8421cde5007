"""Checks of parameters: that every key is known and there, and that every value has its type and obeys its rule."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Any


def check(kind: type, content: Any, prefix: str, problems: list[str]) -> None:
    """Compare nested mappings with a dataclass; `problems` gains a line for each key that is unknown, missing or wrong."""
    if not isinstance(content, dict):
        problems.append(f"{prefix.rstrip('.') or 'the file'} is {content!r}, it must hold keys and values")
        return
    hints = typing.get_type_hints(kind)
    for name in content:
        if name not in hints:
            close = difflib.get_close_matches(str(name), hints, n=1)
            hint = f", did you mean {prefix}{close[0]}?" if close else ""
            problems.append(f"{prefix}{name} is not a known key{hint} (known here: {', '.join(hints)})")
    for spec in dataclasses.fields(kind):
        key, hint = prefix + spec.name, hints[spec.name]
        if spec.name not in content:
            problems.append(f"{key} is missing; studies/synthetic.yaml shows every key")
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            check(hint, content[spec.name], f"{key}.", problems)
        else:
            _check_value(hint, content[spec.name], key, spec.metadata, problems)


def _check_value(hint: Any, value: Any, key: str, rule: typing.Mapping[str, Any], problems: list[str]) -> None:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, list):
            problems.append(f"{key} is {value!r}, it must be a list of {_TYPE_NAMES[item]}")
            return
        if rule.get("filled") and not value:
            problems.append(f"{key} is empty, it needs at least one entry")
        doubled = {str(entry) for entry in value if value.count(entry) > 1}
        problems.extend(f"{key} names {entry} twice" for entry in sorted(doubled))
        for i, entry in enumerate(value):
            _check_value(item, entry, f"{key}[{i}]", rule, problems)
        return
    right = isinstance(value, int | float) if hint is float else isinstance(value, hint)
    if not right or (isinstance(value, bool) and hint is not bool):
        quotes = f", write it in quotes: '{'null' if value is None else value}'" if hint is str else ""
        problems.append(f"{key} is {value!r} ({type(value).__name__}), it must be {_TYPE_NAMES[hint]}{quotes}")
        return
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


_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    types.NoneType: "nothing",
}
