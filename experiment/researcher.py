"""The researcher's part of the server: log in with the run's token, look at the overview, take the answers along.

The token is in the run folder, is printed behind the sign # of an address, which no browser sends, and comes here once, in the
body of a request. From then on a cookie of 256 random bits stands for it, of which only the digest is kept, in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from experiment.limits import Bucket, Rate
from experiment.people import read_token
from study.errors import StudyError

COOKIE = "researcher"
MOST_BYTES = 1024  # of a request to log in
MOST_COOKIES = 100  # the oldest is forgotten
LASTS = 12 * 3600.0  # seconds until one has to log in again
TRIES = Rate(per_second=0.2, at_once=10)  # wrong tokens
FRESH = 3.0  # seconds that an overview is shown again at least
_BUSY = 10  # looking takes at most this part of the time
FORMS = {
    "two-alternative": {
        "questions": "one row an answer, for `psychophysics analyse`",
        "table": "one row an answer, for `human.source: table`",
        "imi": "the 45 columns of the IMI record",
    },
    "ratings": {"ratings": "one row a rating, for the stage `crowd`"},
}
_PRIVATE = {"Cache-Control": "no-store"}
Handler = Callable[[Request], Awaitable[Response]]


class Run(Protocol):
    """What is needed of the run that is being served."""

    path: Path

    def now(self) -> float:
        """Seconds since 1970 by the run's clock."""
        ...


class _Login(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    token: Annotated[str, StringConstraints(min_length=1, max_length=256)]


def routes(run: Run) -> list[Route]:
    """All routes under /api/researcher and /researcher/answers. Without the cookie they answer 401, but for `state`."""
    desk = Desk(run)
    return [
        Route("/api/researcher/state", desk.state, methods=["GET"]),
        Route("/api/researcher/login", desk.login, methods=["POST"]),
        Route("/api/researcher/logout", desk.logout, methods=["POST"]),
        Route("/api/researcher/overview", desk.only_researcher(desk.overview), methods=["GET"]),
        Route("/researcher/answers/{form}.csv", desk.only_researcher(desk.answers), methods=["GET"]),
    ]


class Desk:
    """Who is logged in, and the last overview."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self.run, self._clock = run, clock
        self._token = _digest(read_token(run.path / "keys/researcher.token"))
        self._tries = Bucket(TRIES, clock())
        self._cookies: dict[bytes, float] = {}
        self._looking = asyncio.Lock()
        self._seen: dict[str, Any] | None = None
        self._until = -math.inf

    async def state(self, request: Request) -> Response:
        """Whether this browser is logged in: 200 in both cases, so that consoles stay silent."""
        return JSONResponse({"logged_in": self._known(request)}, headers=_PRIVATE)

    async def login(self, request: Request) -> Response:
        """A cookie for the right token. Wrong ones are 401, and 429 when there were many of them.

        The token is long and random, so that no number of tries finds it; the right one always opens, and nobody who sends wrong
        ones can lock the researcher out.
        """
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return _refused(415, "json only", "Send application/json.")
        body = await _body(request)
        if body is None:
            return _refused(413, "too long", f"A token fits into {MOST_BYTES} bytes.")
        try:
            given = _Login.model_validate_json(body).token
        except ValidationError:
            return _refused(422, "not understood", "Send the token as text.")  # never back what was sent: it may be the token
        if not hmac.compare_digest(_digest(given), self._token):
            wait = self._tries.take(self._clock())
            if wait > 0:
                words = f"Too many wrong tokens. Try again in {math.ceil(wait)} seconds."
                return _refused(429, "slow down", words, {"Retry-After": str(math.ceil(wait))})
            return _refused(401, "wrong token", "This is not the token of this run.")
        cookie = secrets.token_urlsafe(32)
        if len(self._cookies) >= MOST_COOKIES:
            del self._cookies[next(iter(self._cookies))]
        self._cookies[_digest(cookie)] = self._clock() + LASTS
        reply = JSONResponse({"logged_in": True}, headers=_PRIVATE)
        secure = request.url.scheme == "https"
        reply.set_cookie(COOKIE, cookie, max_age=int(LASTS), path="/", httponly=True, samesite="strict", secure=secure)
        return reply

    async def logout(self, request: Request) -> Response:
        """The cookie is worth nothing from now on."""
        self._cookies.pop(_digest(request.cookies.get(COOKIE, "")), None)
        reply = JSONResponse({"logged_in": False}, headers=_PRIVATE)
        reply.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return reply

    async def overview(self, request: Request) -> Response:
        """The overview, computed beside the event loop, and again only when the last one is some seconds old."""
        async with self._looking:
            if self._seen is None or self._clock() >= self._until:
                begun = self._clock()
                try:
                    self._seen = await run_in_threadpool(_look, self.run.path, self.run.now())
                except StudyError as error:
                    return _refused(503, "not readable", str(error))
                now = self._clock()
                self._until = now + max(FRESH, _BUSY * (now - begun))
        return JSONResponse(self._seen, headers=_PRIVATE)

    async def answers(self, request: Request) -> Response:
        """All answers so far in one form, as a CSV file."""
        form = request.path_params["form"]
        try:
            name, text = await run_in_threadpool(_download, self.run.path, form)
        except StudyError as error:
            return _refused(404 if form not in _all_forms() else 409, "no such answers", str(error))
        kept = {"Content-Disposition": f'attachment; filename="{name}"', **_PRIVATE}
        return Response(text, media_type="text/csv", headers=kept)

    def only_researcher(self, handler: Handler) -> Handler:
        """The same for whoever is logged in, 401 for all others."""

        async def checked(request: Request) -> Response:
            if not self._known(request):
                return _refused(401, "not logged in", "Log in on the researcher's page.")
            return await handler(request)

        return checked

    def _known(self, request: Request) -> bool:
        cookie = request.cookies.get(COOKIE)
        return bool(cookie) and self._cookies.get(_digest(cookie), -math.inf) > self._clock()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def _body(request: Request) -> bytes | None:
    """The body, counted as it comes; None where it is too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return body


def _refused(status: int, word: str, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": word, "message": message}, status, headers={**_PRIVATE, **(headers or {})})


def _all_forms() -> set[str]:
    return {form for forms in FORMS.values() for form in forms}


def _look(path: Path, now: float) -> dict[str, Any]:
    from experiment import recorded
    from experiment.overview import overview

    found = recorded.read(path)
    return overview(found, now) | {"downloads": list(FORMS[found.folder.kind].items())}


def _download(path: Path, form: str) -> tuple[str, str]:
    """Name of the file and its text."""
    from experiment import answers, recorded

    found = recorded.read(path)
    if form not in FORMS[found.folder.kind]:
        allowed = ", ".join(FORMS[found.folder.kind])
        raise StudyError(f"there are no answers in the form {form!r} here; allowed are {allowed}")
    return f"{found.source}-{form}.csv", answers.text_of(found, form)
