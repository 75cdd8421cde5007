"""The server of the experiment without its pages, in the right order or in the wrong one; what `experiment_kills` kills.

    python -m benchmarks.experiment_server RUN --host 127.0.0.1 --port PORT [--early-ms 5] [--alone]

With --early-ms it acknowledges what it was sent so long before it commits it: the control, which must lose something. Without, it
is what `python -m experiment serve` serves, less the files of the page, which need npm. With --alone every answer has a commit of
its own, as one would write it first: what `experiment_load` compares with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiment import store
from experiment.rehearsal.bare_server import serve
from experiment.run import Run
from experiment.server import create_app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--early-ms", type=float)
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    if args.alone:
        store._MOST = 1  # pyright: ignore[reportPrivateUsage, reportConstantRedefinition]  writes that share a commit
    serve(create_app(Run(args.run), early_ms=args.early_ms), args.host, args.port)


if __name__ == "__main__":
    main()
