"""Keys of a keyboard by their place: what a press of each tells a browser."""

from __future__ import annotations

from dataclasses import dataclass

from study.errors import StudyError

SHIFT = 8  # the modifier, as the Chrome DevTools Protocol counts
# code, key, text that a press writes, number of the virtual key
_NAMED = {
    "Tab": ("Tab", "", 9),
    "Enter": ("Enter", "\r", 13),
    "Escape": ("Escape", "", 27),
    "Space": (" ", " ", 32),
    "PageUp": ("PageUp", "", 33),
    "PageDown": ("PageDown", "", 34),
    "End": ("End", "", 35),
    "Home": ("Home", "", 36),
    "ArrowLeft": ("ArrowLeft", "", 37),
    "ArrowUp": ("ArrowUp", "", 38),
    "ArrowRight": ("ArrowRight", "", 39),
    "ArrowDown": ("ArrowDown", "", 40),
}
_NUMPAD = 96  # the virtual key of Numpad0


@dataclass(frozen=True)
class Key:
    """One key: `code` is its place, `key` what it means there, `text` what it writes, `number` its virtual key."""

    code: str
    key: str
    text: str
    number: int


def key(code: str) -> Key:
    """The key of a `KeyboardEvent.code`: Tab, Enter, Escape, Space, Home, End, arrows, page keys, DigitN, NumpadN or
    KeyX.

    Errors: StudyError for another code.
    """
    if code in _NAMED:
        return Key(code, *_NAMED[code])
    place, sign = code[:-1], code[-1:]
    if place in ("Digit", "Numpad") and sign.isdecimal():
        return Key(code, sign, sign, ord(sign) if place == "Digit" else _NUMPAD + int(sign))
    if place == "Key" and sign.isascii() and sign.isupper():
        return Key(code, sign.lower(), sign.lower(), ord(sign))
    raise StudyError(f"No key is known by the code {code!r}: {', '.join(_NAMED)}, DigitN, NumpadN and KeyX are.")
