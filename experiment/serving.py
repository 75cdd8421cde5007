"""Uvicorn around the application: one process, one port."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette

from experiment.assets import Asset
from experiment.run import Run
from experiment.server import create_app
from study.errors import StudyError

KEEP_ALIVE = 75  # seconds between two requests of a person who thinks
_STOPPING = 5  # seconds that open requests have when the server ends
_STARTED = 20.0


def _config(app: Starlette) -> uvicorn.Config:
    # the access log is our own: uvicorn's would hold query strings, in which platforms send the ids of people
    return uvicorn.Config(
        app,
        workers=1,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level=logging.WARNING,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=_STOPPING,
    )


def _why(error: OSError | OverflowError) -> str:
    """Why nothing can listen there, and what to do."""
    if isinstance(error, OverflowError):
        return "ports go from 0 to 65535; 0 takes any free one"
    if isinstance(error, socket.gaierror):
        return (
            f"{error.strerror}. Name an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for its networks"
        )
    return f"{error.strerror}. Choose another port; 0 takes any free one"


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises StudyError where it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # by this number asyncio knows to send at once what it accepts there: without, every reply would wait 40 ms
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        raise StudyError(f"--host {host} --port {port} cannot be listened on: {_why(error)}") from None
    return listening


def address_of(listening: socket.socket, host: str) -> str:
    """http://HOST:PORT of a socket."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


def serve(
    run: Run, host: str, port: int, started: Callable[[str], None], assets: Mapping[str, Asset] | None = None
) -> None:
    """Serve a run until it is told to stop; `started` gets the address first."""
    listening = bound(host, port)
    started(address_of(listening, host))
    uvicorn.Server(_config(create_app(run, assets=assets))).run(sockets=[listening])


class Background:
    """A server in a thread of this process, at 127.0.0.1, on a free port or the one named.

    Used with `with`; `address` is where it is. At the end the run is closed. `early_ms` and `assets` as in
    `create_app`.
    """

    def __init__(
        self, run: Run, *, early_ms: float | None = None, assets: Mapping[str, Asset] | None = None, port: int = 0
    ) -> None:
        self.run = run
        self._socket = bound("127.0.0.1", port)
        self.address = address_of(self._socket, "127.0.0.1")
        self._server = uvicorn.Server(_config(create_app(run, early_ms=early_ms, assets=assets)))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + _STARTED
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise StudyError("the server did not start; the log says why")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
        self.run.close()
