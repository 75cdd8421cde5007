"""What a request is refused with: a status, a word for programs and a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refused(Exception):
    """A request that is not done. `state` is where the session stands instead, if that helps."""

    def __init__(
        self,
        status: int,
        word: str,
        message: str,
        state: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.word, self.message = status, word, message
        self.state, self.headers = state, dict(headers or {})
