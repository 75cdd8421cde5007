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
from typing import Any, Protocol

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from experiment import bodies, web
from experiment.errors import Refused
from experiment.limits import Bucket, Rate
from experiment.people import read_token
from experiment.settings import LOCALIZE, NAME
from study.errors import StudyError

COOKIE = "researcher"
MOST_COOKIES = 100  # the oldest is forgotten
LASTS = 12 * 3600.0  # seconds until one has to log in again
TRIES = Rate(per_second=0.2, at_once=10)  # wrong tokens
FRESH = 3.0  # seconds that an overview is shown again at least
_BUSY = 10  # looking takes at most this part of the time
CODES = "one row a session that ended: its code, whether it is to be paid, and the comment"
PICKS = {
    "table": "one row a page that was answered",
    "units": "one row a unit: right answers beside chance",
    "codes": CODES,
}
FORMS = {
    "two-alternative": {
        "questions": "one row an answer that counts, for the analysis of the questions",
        "table": "the same by unit, for the study's human.source: table",
        "imi": "every trial of complete sessions, in the 45 columns of the IMI record",
        "codes": CODES,
    },
    "ratings": {"ratings": "one row a rating, for the stage crowd", "codes": CODES},
    LOCALIZE: PICKS,
    NAME: PICKS,
}
Handler = Callable[[Request], Awaitable[Response]]


class Run(Protocol):
    """What is needed of the run that is being served."""

    path: Path
    mark: str

    def now(self) -> float:
        """Seconds since 1970 by the run's clock."""
        ...


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
        self._cookie = f"{COOKIE}-{run.mark}"
        self._token = _digest(read_token(run.path / "keys/researcher.token"))
        self._tries = Bucket(TRIES, clock())
        self._cookies: dict[bytes, float] = {}
        self._looking = asyncio.Lock()
        self._seen: dict[str, Any] | None = None
        self._until = -math.inf

    async def state(self, request: Request) -> Response:
        """Whether this browser is logged in: 200 in both cases, so that consoles stay silent."""
        return web.reply({"logged_in": self._known(request)})

    async def login(self, request: Request) -> Response:
        """A cookie for the right token. Wrong ones are 401, and 429 when there were many of them.

        The token is long and random, so that no number of tries finds it; the right one always opens, and nobody who sends
        wrong ones can lock the researcher out.
        """
        try:
            given = (await web.read_body(request, bodies.Token)).token
        except ValidationError:  # names of keys would be repeated, and the token might be one by mistake
            raise Refused(422, "invalid", "token: send it as text, and nothing else.") from None
        if not hmac.compare_digest(_digest(given), self._token):
            wait = self._tries.take(self._clock())
            if wait > 0:
                seconds = str(math.ceil(wait))
                words = f"Too many wrong tokens. Try again in {seconds} seconds."
                raise Refused(429, "too many", words, headers={"retry-after": seconds})
            raise Refused(401, "wrong token", "This is not the token of this run.")
        cookie = secrets.token_urlsafe(32)
        if len(self._cookies) >= MOST_COOKIES:
            del self._cookies[next(iter(self._cookies))]
        self._cookies[_digest(cookie)] = self._clock() + LASTS
        reply = web.reply({"logged_in": True})
        secure = request.url.scheme == "https"
        reply.set_cookie(
            self._cookie, cookie, max_age=int(LASTS), path="/", httponly=True, samesite="strict", secure=secure
        )
        return reply

    async def logout(self, request: Request) -> Response:
        """The cookie is worth nothing from now on."""
        await web.read_body(request, bodies.Nothing)
        self._cookies.pop(_digest(request.cookies.get(self._cookie, "")), None)
        reply = web.reply({"logged_in": False})
        reply.delete_cookie(self._cookie, path="/", httponly=True, samesite="strict")
        return reply

    async def overview(self, request: Request) -> Response:
        """The overview, computed beside the event loop, and again only when the last one is some seconds old."""
        async with self._looking:
            if self._seen is None or self._clock() >= self._until:
                begun = self._clock()
                try:
                    self._seen = await asyncio.to_thread(_look, self.run.path, self.run.now())
                except StudyError as error:
                    raise Refused(503, "not readable", str(error)) from None
                now = self._clock()
                self._until = now + max(FRESH, _BUSY * (now - begun))
        return web.reply(self._seen)

    async def answers(self, request: Request) -> Response:
        """All answers so far in one form, as a CSV file."""
        form = request.path_params["form"]
        if form not in {name for forms in FORMS.values() for name in forms}:
            raise Refused(404, "not found", "There is no such form of answers.")
        try:
            name, data = await asyncio.to_thread(_download, self.run.path, form)
        except StudyError as error:
            raise Refused(409, "not in this form", str(error)) from None
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        return Response(data, headers=headers, media_type="text/csv; charset=utf-8")

    def only_researcher(self, handler: Handler) -> Handler:
        """The same for whoever is logged in, 401 for all others."""

        async def checked(request: Request) -> Response:
            if not self._known(request):
                raise Refused(401, "not logged in", "Log in on the researcher's page.")
            return await handler(request)

        return checked

    def _known(self, request: Request) -> bool:
        cookie = request.cookies.get(self._cookie)
        return bool(cookie) and self._cookies.get(_digest(cookie), -math.inf) > self._clock()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _look(path: Path, now: float) -> dict[str, Any]:
    from experiment import recorded
    from experiment.overview import overview

    found = recorded.read(path)
    forms = [{"form": form, "words": words} for form, words in FORMS[found.folder.kind].items()]
    return overview(found, now) | {"downloads": forms}


def _download(path: Path, form: str) -> tuple[str, bytes]:
    """Name of the file and what `python -m experiment answers` would write into it."""
    from experiment import answers, recorded

    found = recorded.read(path)
    return f"{found.source}-{form}.csv", answers.text_of(found, form).encode()
