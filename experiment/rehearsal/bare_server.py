"""The server of a run without the files of its pages, for made-up participants where npm's packages are missing.

python -m experiment.rehearsal.bare_server RUN --host 127.0.0.1 --port PORT [--clock-rate X]
"""

from __future__ import annotations

from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from experiment.run import Run
from experiment.server import create_app
from experiment.serving import KEEP_ALIVE, bound
from study.command import parser, run

BARE = ("-m", "experiment.rehearsal.bare_server")


def serve(app: Starlette, host: str, port: int) -> None:
    """Serve until the process is told to end."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_keep_alive=KEEP_ALIVE)
    uvicorn.Server(config).run(sockets=[bound(host, port)])


def main(argv: list[str] | None = None) -> None:
    line = parser(__doc__)
    line.add_argument("run", type=Path)
    line.add_argument("--host", required=True)
    line.add_argument("--port", type=int, required=True)
    line.add_argument("--clock-rate", type=float, default=1.0)
    args = line.parse_args(argv)
    serve(create_app(Run(args.run, clock_rate=args.clock_rate)), args.host, args.port)


if __name__ == "__main__":
    run(main)
