"""A client of one participant: one connection that stays open, one cookie, JSON; as frugal as a load test needs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from study.errors import StudyError

BUSY = 503  # not accepting for the moment
_AGAIN = 0.05  # seconds until a request is repeated
_LINE = 65536  # bytes of a line of the head


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers (names in small letters) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass
class Client:
    """One participant's browser as far as the server sees it.

    headers   sent with every request, such as X-Session and X-Clock
    patience  seconds for which a request is repeated while the server is away or does not take it yet
    """

    host: str
    port: int
    patience: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    cookie: str = ""
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> Reply:
        """Reply to a GET; as `request`."""
        return await self.request("GET", path)

    async def post(self, path: str, content: Mapping[str, Any]) -> Reply:
        """Reply to a POST of JSON; as `request`."""
        return await self.request("POST", path, json.dumps(content).encode())

    async def request(self, method: str, path: str, body: bytes = b"") -> Reply:
        """The reply, after as many attempts as `patience` allows.

        Raises OSError or asyncio.IncompleteReadError where the server is away or goes away; the next request connects anew.
        """
        end = time.monotonic() + self.patience
        while True:
            try:
                reply = await self._once(method, path, body)
                if reply.status != BUSY or time.monotonic() > end:
                    return reply
            except (OSError, asyncio.IncompleteReadError):
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(_AGAIN)

    async def _once(self, method: str, path: str, body: bytes) -> Reply:
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(self.host, self.port, limit=_LINE)
            lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
            lines += [f"{name}: {value}" for name, value in self.headers.items()]
            if self.cookie:
                lines.append(f"Cookie: {self.cookie}")
            if method == "POST":
                lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
            self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            return await self._reply()
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            raise

    async def _reply(self) -> Reply:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers: dict[str, str] = {}
        for line in filter(None, head[1:]):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if "set-cookie" in headers:
            self.cookie = headers["set-cookie"].partition(";")[0]
        if "content-length" not in headers and status not in (204, 304):
            raise StudyError(
                f"The server sends a body of no stated length ({head[0]}), which this client does not read"
            )
        body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return Reply(status, headers, body)

    async def close(self) -> None:
        """Close the connection; the cookie stays."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):  # it was broken before
                await writer.wait_closed()
