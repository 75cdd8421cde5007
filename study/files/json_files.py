"""JSON that says one thing: no key twice, no number that is none, and a place for whatever is wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from study.errors import StudyError
from study.files.texts import SAVE, utf8

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MOST_NAMED = 4  # keys of a place that a message names


class _Doubled(dict[str, Any]):
    """An object that names a key twice."""

    key: str


def parse_json(path: str | os.PathLike[str]) -> Any:
    """Content of a JSON file in UTF-8, or in UTF-16 where that is certain.

    Raises StudyError naming line and column of what is no JSON, and the keys around a key that stands twice; also for NaN,
    infinite numbers, half characters and nesting beyond what can be read.
    """
    text = utf8(path, "JSON").decode("utf-8")
    doubled: list[_Doubled] = []

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(entries)
        if len(found) == len(entries):
            return found
        doubled.append(_Doubled(found))
        names = [name for name, _ in entries]
        doubled[-1].key = next(name for place, name in enumerate(names) if name in names[:place])
        return doubled[-1]

    def refuse(word: str) -> Any:
        raise StudyError(
            f"{path} holds the number {word[:40]}, which JSON cannot say; write a finite number or leave it out"
        )

    def finite(word: str) -> float:
        number = float(word)
        return number if abs(number) != float("inf") else refuse(word)

    try:
        content = json.loads(text, object_pairs_hook=pairs, parse_constant=refuse, parse_float=finite)
    except json.JSONDecodeError as error:
        raise StudyError(
            f"{path} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}. Is it cut off? Get it again, or "
            f"{SAVE['JSON']}"
        ) from None
    except RecursionError:
        raise StudyError(f"{path} is nested too deeply to be read; is it the right file?") from None
    except ValueError as error:
        if isinstance(error, StudyError):
            raise
        raise StudyError(f"{path} holds a number of too many digits ({error}); is it the right file?") from None
    if doubled:
        keys, key = next((keys, value.key) for keys, value in _walk(content) if isinstance(value, _Doubled))
        place = ", ".join(keys[:_MOST_NAMED]) or "the outermost object"
        raise StudyError(f"{path}: {place} names {key[:80]!r} twice; remove one of the two entries")
    if _SURROGATE.search(text):
        for keys, value in _walk(content):
            if any(_is_broken(part) for part in ([value] if isinstance(value, str) else keys[-1:])):
                raise StudyError(
                    f"{path}: {', '.join(map(repr, keys[:_MOST_NAMED]))} holds half a character (\\ud800 to \\udfff without "
                    f"its other half); {SAVE['JSON']}"
                )
    return content


def _walk(content: Any) -> Iterator[tuple[list[str], Any]]:
    """Every value with the keys that lead to it, an object before what is in it."""
    waiting: list[tuple[list[str], Any]] = [([], content)]
    while waiting:
        keys, value = waiting.pop()
        yield keys, value
        inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting.extend(reversed([([*keys, str(key)], entry) for key, entry in inside]))


def _is_broken(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)
