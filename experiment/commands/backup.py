"""Copy the database of a run as it is at one moment, also while it is served.

The copy is checked as a whole, and is a database of its own: put back as answers.sqlite of the run folder, with questions,
settings and keys as they were, the run goes on from there. The keys are no part of it: keep a copy of `keys/` elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiment import recorded, store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="new file")


def main(args: argparse.Namespace) -> None:
    n_sessions = store.backup(recorded.database(args.run), args.out)
    print(f"{args.out}: {n_sessions} sessions, checked")
