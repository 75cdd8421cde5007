"""Serve a run, until Ctrl-C.

One process serves a run: it alone writes the database, and two hundred people at once are no burden. Behind a reverse proxy with
TLS leave --host as it is; cookies are marked Secure where the proxy says `X-Forwarded-Proto: https`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path

from experiment import plan as planning
from experiment.assets import Assets
from experiment.people import read_token
from experiment.run import Run
from experiment.serving import serve
from experiment.settings import DEFAULTS
from experiment.web import access
from study.errors import StudyError
from study.log import logger

log = logger("experiment")

HOST, PORT = "127.0.0.1", 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--host", default=HOST, help="address to listen on (%(default)s: this machine alone)")
    parser.add_argument("--port", type=int, default=PORT, help="0: any free one (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="1, since one process writes")
    parser.add_argument("--log", action="store_true", help="a line a request: method, path without query, status")
    parser.add_argument(
        "--clock-rate", type=float, default=1.0, metavar="X", help="of a simulated run: its clock goes X times as fast"
    )


def main(args: argparse.Namespace) -> None:
    if args.workers != 1:
        raise StudyError(
            f"--workers is {args.workers}; it must be 1: one process writes the answers of a run, and its memory says who is "
            "asked what. It takes more than a thousand answers a second"
        )
    if not 0 < args.clock_rate < 1e6:
        raise StudyError(f"--clock-rate is {args.clock_rate:g}; it must be above 0 and below a million")
    if args.log:
        access.setLevel(logging.DEBUG)
    with Run(args.run, clock_rate=args.clock_rate) as run:
        assets = Assets.load()
        token = read_token(args.run / "keys/researcher.token")
        template = (DEFAULTS / "consent.md").read_bytes() == (args.run / "consent.md").read_bytes()
        if run.people and template:
            log.warning("%s is still the template: put in what your ethics board approved", args.run / "consent.md")
        if doubt := planning.doubt(run.folder, run.settings):
            log.warning("%s: %s", args.run / "settings.yaml", doubt)
        with contextlib.suppress(KeyboardInterrupt):
            serve(run, args.host, args.port, lambda address: tell(run, address, token), assets)
        print("Stopped. Everything that was acknowledged is kept; serve the folder again to go on.")


def tell(run: Run, address: str, token: str) -> None:
    """Print where a run is served. What follows # is never sent, so the token reaches no log."""
    who = "people" if run.people else "made-up participants; everything is marked simulated"
    print(
        f"Serving {run.path} for {who}\n  participants  {address}/\n  researcher    {address}/researcher#{token}",
        flush=True,
    )
