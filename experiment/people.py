"""Whether somebody was here before, without keeping who it is: keyed hashes of what platforms call a person.

A platform's ids are few enough to be tried out one by one, so a salt beside the hashes would hide nothing. The key is a file of
its own, outside of the database and of every backup and export of it; without it the hashes cannot be told from random ones.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from study.errors import StudyError

_BYTES = 32


class Hasher:
    """Names people by keyed hashes."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def read(cls, path: Path) -> Hasher:
        """With the key of a file. Raises StudyError where it is missing or no key."""
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            raise StudyError(
                f"{path}: no such file. It is the key by which people are known who come again; put it back from where you "
                "keep it. Without it they would not be known: prepare a new run"
            ) from None
        except ValueError:
            raise StudyError(f"{path} is no key: it must hold {2 * _BYTES} hex digits") from None
        if len(key) != _BYTES:
            raise StudyError(f"{path} holds {len(key)} bytes; a key has {_BYTES}")
        return cls(key)

    def name(self, platform: str, person: str) -> str:
        """The hash, 32 hex digits, of what a platform calls a person."""
        message = f"{platform}\x00{person}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:32]


def write_secret(path: Path) -> None:
    """A new random key in a file that its owner alone may read."""
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(_BYTES) + "\n", encoding="ascii")


def read_token(path: Path) -> str:
    """The researcher's token. Raises StudyError where its file is missing or empty."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise StudyError(f"{path}: no such file. Write a long random word into it, for the researcher's page") from None
    if len(token) < 16:
        raise StudyError(f"{path} holds {len(token)} characters; the researcher's token needs at least 16")
    return token
