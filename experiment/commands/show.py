"""Show the experiment with the questions of the study that is here, on this machine, until Ctrl-C.

Two runs are made once, and gone on with later: two-alternative questions about one network, and rating pages where the study asks
about texts. Both are served from this process, each at an address of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from pathlib import Path

from experiment.assets import Assets
from experiment.commands.prepare import prepare
from experiment.commands.serve import HOST, PORT, tell
from experiment.people import read_token
from experiment.run import Run
from experiment.serving import Background
from study.errors import StudyError
from study.files.tables import read_csv
from study.networks.roster import read_roster
from study.people.export_options import ExportOptions, names
from study.people.exporting import export
from study.people.rating_pages import RatingOptions, export_ratings

_UNITS = 28  # of each of three groups: 84 units, as many as in a part of IMI


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("experiments"), metavar="FOLDER", help="of the runs (%(default)s)"
    )
    parser.add_argument("--models", type=names, default=(), metavar="NAME,..", help="networks (the first studied one)")
    parser.add_argument("--port", type=int, default=PORT, help="and the next one for rating pages (%(default)s)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--provenance", type=Path, default=Path("results/provenance.json"))


def main(args: argparse.Namespace) -> None:
    assets = Assets.load()
    with contextlib.ExitStack() as stack:
        for number, path in enumerate(runs(args)):
            run = stack.enter_context(Run(path))
            port = args.port + number if args.port else 0
            server = stack.enter_context(Background(run, assets=assets, port=port))
            tell(run, server.address, read_token(path / "keys/researcher.token"))
        print(
            f"Ctrl-C ends it. Only this machine ({HOST}) can reach it; `python -m experiment serve` asks others.",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def runs(args: argparse.Namespace) -> list[Path]:
    """The run folders, made where they are not there."""
    found = []
    for name, made in (("embedded", _questions), ("ratings", _pages)):
        path = args.out / name
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix="questions-") as beside:
                folder = Path(beside) / "questions"
                if not made(args, folder):
                    continue
                prepare(path, folder)
        found.append(path)
    return found


def _questions(args: argparse.Namespace, folder: Path) -> bool:
    models = args.models or (_first_model(args.data / "models/roster.csv"),)
    paths = {name: getattr(args, name) for name in ("params", "data", "provenance")}
    export(ExportOptions(out=folder, models=models, units=_UNITS, format="jpeg", **paths))
    return True


def _first_model(roster: Path) -> str:
    if not roster.is_file():
        raise StudyError(
            f"{roster}: no such file. There is no study here to ask about; `make repro` makes the embedded one"
        )
    table = read_roster(roster)
    studied = table[(table["role"] == "study") & (table["last"] == 1)]["name"].tolist()
    if not studied:
        raise StudyError(f"{roster} has no network with the role study, so there is nothing to ask about")
    return str(studied[0])


def _pages(args: argparse.Namespace, folder: Path) -> bool:
    questions = args.data / "explanations/questions.csv"
    if not questions.is_file() or read_csv(questions).empty:
        print(f"No rating pages: the study asks about no text ({questions}).")
        return False
    export_ratings(RatingOptions(out=folder, params=args.params, data=args.data))
    return True
