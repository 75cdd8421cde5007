"""What holds for every request and reply: headers, sizes, the same origin, the log, and how errors are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from experiment.errors import Refused
from experiment.store import DiskFull
from experiment.telling import full_words
from study.log import logger

log = logger("experiment")
access = logger("experiment.access")

MOST_BYTES = 16 << 10  # of a body
RETRY_SECONDS = 5  # what those are told whom a full disk turns away
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-robots-tag": "noindex",
}
_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_LOGGED = ("/p/", "/static/")  # only the beginning of these addresses is logged
M = TypeVar("M", bound=BaseModel)


class Frame:
    """Around the whole application: adds the headers to every reply, and logs method, path and status alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_RAW]
                access.debug("%s %s %d", scope["method"], _path(scope["path"]), message["status"])
            await send(message)

        await self._app(scope, receive, framed)


def _path(path: str) -> str:
    """A path as the log may have it: in one line, and without the name of a picture."""
    for start in _LOGGED:
        if path.startswith(start):
            return start + "..."
    return path.encode("ascii", "backslashreplace").decode().translate({10: " ", 13: " "})[:100]


def reply(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that nobody keeps."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Response(body, status, {"cache-control": "no-store", **(headers or {})}, "application/json")


async def read_body(request: Request, model: type[M]) -> M:
    """The checked body of a request from a page of ours. Raises Refused, or ValidationError for `told_invalid`."""
    same_origin(request)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Refused(415, "media type", "The body must be application/json.")
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > MOST_BYTES:
        raise _too_large()
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MOST_BYTES:  # a body in chunks says no length
            raise _too_large()
    return model.model_validate_json(bytes(data))


def _too_large() -> Refused:
    # the rest of the body is not read, so the connection cannot go on
    return Refused(413, "too large", f"A body may have {MOST_BYTES} bytes.", headers={"connection": "close"})


def same_origin(request: Request) -> None:
    """Refuse what another site's page sends; browsers say where a request comes from."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in ("same-origin", "none") or (origin is not None and origin.partition("://")[2] != host):
        raise Refused(403, "other origin", "This request comes from a page of another site.")


def told_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    content: dict[str, Any] = {"error": error.word, "message": error.message}
    if error.state is not None:
        content["state"] = error.state
    return reply(content, error.status, error.headers)


def told_invalid(request: Request, error: Exception) -> Response:
    """Which keys are wrong; values are not repeated."""
    assert isinstance(error, ValidationError)
    told = [
        f"{'.'.join(str(part) for part in each['loc']) or 'body'}: {each['msg'].removeprefix('Value error, ')}"
        for each in error.errors(include_url=False, include_input=False, include_context=False)[:5]
    ]
    return reply({"error": "invalid", "message": "; ".join(told)}, 422)


def told_full(request: Request, error: Exception) -> Response:
    return reply({"error": "full", "message": full_words()}, 503, {"retry-after": str(RETRY_SECONDS)})


def told_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return reply({"error": error.detail.lower(), "message": error.detail}, error.status_code, error.headers)


def told_gone(request: Request, error: Exception) -> Response:
    """The browser went away in the middle of its request; nobody reads this."""
    return reply({"error": "gone", "message": "The request ended early."}, 400)


def told_failure(request: Request, error: Exception) -> Response:
    """A fault of ours. The traceback is in the log; the page learns nothing of it."""
    response = reply({"error": "failure", "message": "The server failed. Please try again."}, 500)
    response.headers.update(HEADERS)
    return response


HANDLERS = {
    Refused: told_refused,
    ValidationError: told_invalid,
    DiskFull: told_full,
    HTTPException: told_http,
    ClientDisconnect: told_gone,
    Exception: told_failure,
}
