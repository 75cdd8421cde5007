"""The fields of a preprocessing as people write them: JSON, or a mapping. Every problem is told at once."""

from __future__ import annotations

import difflib
import json
import math
import numbers
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interpretability.errors import InputError

INTERPOLATIONS = ("bicubic", "bilinear", "nearest")
MODES = ("center", "border", "squash")
BYTES = 255  # the `scale` of mean and std that are for colours in 0..255
_MOST_CROP, _MOST_RESIZE = 4096, 16384  # pixels
_LEAST_STD = 0.001  # in 0..1; networks for colours in 0..255 have 1/255
_SHOWN = 100  # letters of a text or value in a message
_EXAMPLE = '{"resize": 256, "crop": 224, "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
_NEEDED = ("crop", "resize", "mean", "std")
_ALLOWED = (*_NEEDED, "interpolation", "mode", "scale")

Problems = list[str]


def read_fields(given: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checked fields of a preprocessing, mean and std for colours in 0..1; `where` names the row in errors.

    crop, resize   whole numbers of pixels, 1 to 4096 and 1 to 16384; in mode center resize is no smaller than crop
    mean, std      three finite numbers each, 0 to 1 and 0.001 to 1; with "scale": 255 up to 255, and divided by it
    interpolation  bicubic (where it is missing), bilinear or nearest
    mode           center (where it is missing), border or squash
    Raises InputError with every problem.
    """
    settings, problems = _settings(given)
    fields: dict[str, Any] = {}
    if settings is not None:
        problems += _unknown(settings)
        scale = settings.get("scale", 1)
        if not _is_whole(scale) or scale not in (1, BYTES):
            problems.append(f"scale is {_shown(scale)}, allowed: 1 (mean and std are for colours in 0..1), {BYTES}")
            scale = None
        readers: dict[str, Callable[[str, Any, Problems], Any]] = {
            "crop": lambda *field: _whole(*field, most=_MOST_CROP),
            "resize": lambda *field: _whole(*field, most=_MOST_RESIZE),
            "mean": lambda *field: _colours(*field, least=0, scale=scale),
            "std": lambda *field: _colours(*field, least=_LEAST_STD, scale=scale),
            "interpolation": lambda *field: _word(*field, allowed=INTERPOLATIONS),
            "mode": lambda *field: _word(*field, allowed=MODES),
        }
        fields = {name: read(name, settings[name], problems) for name, read in readers.items() if name in settings}
        problems += _too_small(fields)
    if problems:
        raise InputError(
            f"{where}: preprocessing {_shown(given)} is not understood: {'; '.join(problems)}. Write JSON such as {_EXAMPLE}"
        )
    return fields


def _settings(given: object) -> tuple[dict[object, Any] | None, Problems]:
    """Keys and values as they were given; None where there are none."""
    problems: Problems = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]
        problems.extend(f"{_shown(key)} is given twice" for key in twice)
        return dict(pairs)

    if isinstance(given, Mapping):
        return dict(given), problems
    if not isinstance(given, str):
        return None, [f"it is of type {type(given).__name__}, not text or a mapping"]
    try:
        content: object = json.loads(given, object_pairs_hook=once)
    except RecursionError:
        return None, ["it is nested too deeply"]
    except ValueError as error:  # no JSON, or a number of thousands of digits
        return None, [f"it is no JSON ({error})"]
    if not isinstance(content, dict):
        return None, [f"it is a JSON {type(content).__name__}, not an object with keys"]
    return content, problems


def _unknown(settings: Mapping[object, Any]) -> Problems:
    problems = [f"{name} is missing" for name in _NEEDED if name not in settings]
    for key in settings:
        if key not in _ALLOWED:
            near = difflib.get_close_matches(str(key)[:_SHOWN].lower(), _ALLOWED, n=1)
            hint = f", did you mean {near[0]}?" if near else f"; the keys are {', '.join(_ALLOWED)}"
            problems.append(f"{_shown(key)} is no key of it{hint}")
    return problems


def _whole(name: str, value: Any, problems: Problems, *, most: int) -> int | None:
    if _is_whole(value) and 0 < value <= most:
        return int(value)
    problems.append(f"{name} is {_shown(value)}, it must be a whole number of pixels from 1 to {most}")
    return None


def _colours(name: str, value: Any, problems: Problems, *, least: float, scale: int | None) -> tuple[float, ...] | None:
    values = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(values, list | tuple) or len(values) != 3 or not all(map(_is_number, values)):
        problems.append(
            f"{name} is {_shown(values)}, it must be a list of three finite numbers, for red, green and blue"
        )
        return None
    if scale is None:
        return None  # its limits are not known
    if all(least * scale <= each <= scale for each in values):
        # as they are where nothing is to be done, so that they are written as they were
        return tuple(_plain(each) if scale == 1 else each / scale for each in values)
    limits = f"from {least * scale:g} to {scale}" if name == "std" else f"from 0 to {scale}"
    hint = ""
    if scale == 1 and all(least * BYTES <= each <= BYTES for each in values):
        hint = (
            f' for colours in 0..1; divide by 255, or write "scale": {BYTES} if mean and std are for colours in 0..255'
        )
    elif scale == BYTES:
        hint = f' for colours in 0..255, as "scale": {BYTES} says'
    problems.append(f"{name} is {_shown(values)}, its numbers must be {limits}{hint}")
    return None


def _word(name: str, value: Any, problems: Problems, *, allowed: tuple[str, ...]) -> str | None:
    if isinstance(value, str) and value in allowed:
        return value
    near = difflib.get_close_matches(value[:_SHOWN].lower(), allowed, n=1) if isinstance(value, str) else []
    hint = f", did you mean {near[0]}?" if near else ""
    problems.append(f"{name} is {_shown(value)}, allowed: {', '.join(allowed)}{hint}")
    return None


def _too_small(fields: Mapping[str, Any]) -> Problems:
    crop, resize, mode = fields.get("crop"), fields.get("resize"), fields.get("mode", "center")
    if crop is None or resize is None or mode != "center" or resize >= crop:
        return []
    return [
        f'resize {resize} is smaller than crop {crop}; take a larger resize, or write "mode": "border", in which black fills '
        "up what is missing"
    ]


def _is_whole(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _plain(value: Any) -> int | float:
    """A number as JSON has it."""
    return value if type(value) in (int, float) else int(value) if _is_whole(value) else float(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
