"""The server: what its addresses do. docs/experiment.md lists them.

Every request of a session brings its cookie, every write also the public name of the session that its page shows (`X-Session`),
so that a page left open from another session cannot write into this one. A reply to a write leaves after the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import re
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from experiment import acts, arrivals, bodies, researcher, showing, telling, web
from experiment.assets import Asset
from experiment.errors import Refused
from experiment.limits import Bucket
from experiment.pictures import media_type
from experiment.run import Run
from experiment.session import Rated, Session
from experiment.settings import PAGED
from study.log import logger

log = logger("experiment")

COOKIE = "session"
COOKIE_SECONDS = 7 * 86400  # a browser that was closed finds its session again
SWEEP_SECONDS = 15.0
_MOST_CLOCK = 1e7
Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(run: Run, *, early_ms: float | None = None, assets: Mapping[str, Asset] | None = None) -> Starlette:
    """The application of a run.

    early_ms  acknowledge that long before the commit, which is wrong: the control of the test that kills servers
    assets    files of the pages; without them it answers programs alone
    """
    run.early_seconds = None if early_ms is None else early_ms / 1000
    api = Api(run)
    routes = [
        Route("/api/state", api.state),
        Route("/api/session", api.session, methods=["POST"]),
        Route("/api/trial/{trial}", api.trial),
        Route("/p/{name}", api.picture),
        *(
            Route(f"/api/{name}", api.write(action, model), methods=["POST"])
            for name, (action, model) in api.actions().items()
        ),
    ]
    routes += researcher.routes(run)
    if assets is not None:
        routes += _pages(assets)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(web.Frame)],
        exception_handlers=web.HANDLERS,
        lifespan=_lifespan(run),
    )
    app.router.redirect_slashes = False  # a redirect would repeat the host and the query that came
    return app


def _pages(assets: Mapping[str, Asset]) -> list[Route]:
    """Addresses of the pages and of what they are made of. Names are looked up in memory; no path reaches the disk."""
    icon = assets["favicon.svg"]
    pages = {"/": "index.html", "/notices": "notices.html", "/researcher": "researcher.html"}
    routes = [Route(path, _constant(assets[name])) for path, name in pages.items() if name in assets]
    routes += [Route(path, _constant(icon)) for path in ("/favicon.ico", "/favicon.svg")]

    async def static(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None or asset.media_type.startswith("text/html"):
            raise Refused(404, "not found", "There is no such file.")
        return _sent(request, asset)

    return [*routes, Route("/static/{name}", static)]


def _constant(asset: Asset) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return _sent(request, asset)

    return endpoint


def _sent(request: Request, asset: Asset) -> Response:
    headers = {"cache-control": "no-cache", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.gzipped, headers=headers | {"content-encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _lifespan(run: Run) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        sweeping = asyncio.create_task(_sweep(run))
        try:
            yield
        finally:
            sweeping.cancel()
            run.close()

    return lifespan


async def _sweep(run: Run) -> None:
    """Give back the sessions of people who went away, every now and then."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await run.sweep(run.now())
        except Exception as error:  # a full disk now is no reason to stop looking later
            log.error("sessions without a sign of life could not be closed: %s", error)


class Api:
    """What participants' pages ask and say."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._cookie = f"{COOKIE}-{run.mark}"
        self._new = Bucket(run.limits.new, time.monotonic())

    # --- reading

    async def state(self, request: Request) -> Response:
        """Where the cookie's session stands; `none` without one."""
        session = self._session(request)
        if session is None:
            return web.reply(telling.nobody(self.run))
        self._take(session)
        async with session.lock:
            now = self._now(request, session)
            await self.run.expire(session, now)
            session.seen = max(session.seen, now) if session.running else session.seen
            return web.reply(telling.told(self.run, session))

    async def trial(self, request: Request) -> Response:
        """A trial whose pictures may be fetched."""
        session = self._required(request)
        self._take(session)
        named = str(request.path_params["trial"])
        trial = int(named) if re.fullmatch(r"[0-9]{1,6}", named) else -1
        if trial not in session.course.visible(session.state):
            raise Refused(404, "not now", "This trial cannot be seen now.", telling.told(self.run, session))
        if session.running:
            session.seen = max(session.seen, self._now(request, session))
        return web.reply(showing.trial(self.run, session, trial))

    async def picture(self, request: Request) -> Response:
        """A picture of a trial that may be seen now, under its name in this session."""
        session = self._required(request)
        self._take(session, pictures=True)
        file = showing.file_at(self.run, session, request.path_params["name"])
        if file is None:
            raise Refused(404, "not found", "There is no such picture.")
        data = self.run.pictures.kept(file)
        if data is None:
            data = await asyncio.to_thread(self.run.pictures.load, file)
            self.run.pictures.keep(file, data)
        headers = {"cache-control": "private, max-age=86400, immutable"}
        return Response(data, headers=headers, media_type=media_type(file))

    # --- coming

    async def session(self, request: Request) -> Response:
        """A session for this browser: the one that it has, or a new one."""
        body = await web.read_body(request, bodies.Begin)
        former = self._session(request)
        if former is not None:
            self._take(former)
            async with former.lock:
                await self.run.expire(former, self.run.now())
                if self._goes_on(former, body):
                    return web.reply(telling.told(self.run, former))
        _refuse_if(self._new.take(time.monotonic()))
        token = secrets.token_urlsafe(32)
        screen = body.screen.model_dump_json()
        try:
            session = await arrivals.begin(self.run, _digest(token), body.platform, body.person, former, screen)
        except Refused as error:
            error.state = telling.nobody(self.run, needed=False)
            if former is not None and not former.lapsed:
                error.state = telling.told(self.run, former)
            raise
        response = web.reply(telling.told(self.run, session))
        response.set_cookie(
            self._cookie,
            token,
            max_age=COOKIE_SECONDS,
            path="/",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    def _goes_on(self, former: Session, body: bodies.Begin) -> bool:
        """Whether somebody with this session's cookie gets this session again: who comes by the name of another person does
        not, and raters who are done may rate on."""
        if not arrivals.same_person(self.run, former, body.platform, body.person):
            return False
        return former.running or (self.run.folder.kind not in PAGED and not former.lapsed)

    # --- writing

    def actions(
        self,
    ) -> dict[str, tuple[Callable[[Session, Any, float], Awaitable[dict[str, Any]]], type[bodies.Body]]]:
        """What a session may write, by the end of its address."""
        return {
            "consent": (self._consent, bodies.Consent),
            "instructions": (self._instructions, bodies.Instructions),
            "ready": (self._ready, bodies.Nothing),
            "answer": (self._answer, bodies.Answer),
            "rating": (self._rating, bodies.Rating),
            "comment": (self._comment, bodies.Comment),
            "leave": (self._leave, bodies.Nothing),
            "alive": (self._alive, bodies.Nothing),
        }

    def write(
        self, action: Callable[[Session, Any, float], Awaitable[dict[str, Any]]], model: type[bodies.Body]
    ) -> Endpoint:
        """The address of an action: one write of a session at a time; its reply holds the state after it."""

        async def endpoint(request: Request) -> Response:
            body = await web.read_body(request, model)
            session = self._required(request)
            self._take(session)
            named = request.headers.get("x-session")
            if named is None:
                raise Refused(422, "invalid", "X-Session: the name of the session is missing.")
            if named != session.session:
                raise Refused(
                    409,
                    "another session",
                    "This page shows another session than the one that this browser has now.",
                    telling.told(self.run, session),
                )
            async with session.lock:
                now = self._now(request, session)
                await self.run.expire(session, now)
                try:
                    more = await action(session, body, now)
                except Refused as error:
                    error.state = telling.told(self.run, session)
                    raise
                return web.reply({"state": telling.told(self.run, session), **more})

        return endpoint

    async def _consent(self, session: Session, body: bodies.Consent, now: float) -> dict[str, Any]:
        return _again(not await acts.consent(self.run, session, body.agreed, now))

    async def _instructions(self, session: Session, body: bodies.Instructions, now: float) -> dict[str, Any]:
        return _again(not await acts.instructions(self.run, session, body.seconds, now))

    async def _ready(self, session: Session, body: bodies.Nothing, now: float) -> dict[str, Any]:
        return _again(not await acts.ready(self.run, session, now))

    async def _comment(self, session: Session, body: bodies.Comment, now: float) -> dict[str, Any]:
        return _again(not await acts.comment(self.run, session, body.text, now))

    async def _leave(self, session: Session, body: bodies.Nothing, now: float) -> dict[str, Any]:
        return _again(not await acts.leave(self.run, session, now))

    async def _alive(self, session: Session, body: bodies.Nothing, now: float) -> dict[str, Any]:
        await acts.alive(self.run, session, now)
        return {}

    async def _answer(self, session: Session, body: bodies.Answer, now: float) -> dict[str, Any]:
        right, again = await acts.answer(self.run, session, body.trial, body.key, body.button, body.rt, now)
        shown = body.trial < session.course.plan.first or self.run.settings.feedback == "all"
        return {"right": right if shown else None, **_again(again)}

    async def _rating(self, session: Session, body: bodies.Rating, now: float) -> dict[str, Any]:
        pages = session.course.plan.pages
        if not pages or body.trial >= len(pages):
            raise Refused(409, "not now", f"There is no page {body.trial} in this session.")
        page = self.run.folder.pages[pages[body.trial]]
        if any(place >= page.n_choices for place in body.picked):
            raise Refused(422, "invalid", f"picked: the page has {page.n_choices} {page.choices}, counted from 0.")
        if page.pick is not None and len(body.picked) != 1:
            raise Refused(422, "invalid", f"picked: one of the {page.n_choices} {page.choices} must be picked.")
        given = Rated(body.key, page.page, tuple(sorted(body.picked)), body.none, body.seconds, now)
        return _again(await acts.rate(self.run, session, body.trial, given, now))

    # --- who asks, and when

    def _session(self, request: Request) -> Session | None:
        token = request.cookies.get(self._cookie)
        return None if token is None else self.run.by_token.get(_digest(token))

    def _required(self, request: Request) -> Session:
        session = self._session(request)
        if session is None:
            raise Refused(401, "no session", "This browser has no session here.", telling.nobody(self.run))
        return session

    def _take(self, session: Session, pictures: bool = False) -> None:
        now = time.monotonic()
        _refuse_if(session.bucket(self.run.limits, now, pictures).take(now))

    def _now(self, request: Request, session: Session) -> float:
        """The server's clock; made-up participants may bring one of their own, which does not go back."""
        told = request.headers.get("x-clock")
        if told is None:
            return self.run.now()
        if self.run.people:
            raise Refused(422, "invalid", "X-Clock: people have the server's clock.")
        try:
            seconds = float(told)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= _MOST_CLOCK:
            raise Refused(422, "invalid", f"X-Clock: seconds since the session's start, at most {_MOST_CLOCK:g}.")
        return max(session.seen, session.started + seconds)


def _again(again: bool) -> dict[str, Any]:
    return {"again": True} if again else {}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _refuse_if(seconds: float) -> None:
    if seconds > 0:
        raise Refused(
            429, "too many", "Too many requests; wait a moment.", headers={"retry-after": str(math.ceil(seconds))}
        )
