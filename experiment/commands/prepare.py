"""Make a run folder: questions, settings, the text of consent, keys and an empty database."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiment import recorded, store
from experiment.people import write_secret
from experiment.settings import DEFAULTS, RATINGS, Checks, template
from experiment.study_folder import Folder
from study.errors import StudyError

_SECONDS_A_PAGE = 15  # of raters, in the paper


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="new folder")
    parser.add_argument("--questions", type=Path, metavar="FOLDER", required=True, help="what an export wrote")
    parser.add_argument(
        "--simulated", action="store_true", help="for made-up participants: everything that comes out is marked so"
    )


def main(args: argparse.Namespace) -> None:
    prepare(args.run, args.questions, simulated=args.simulated)
    print(
        f"{args.run} is ready. Put your own text into {args.run / 'consent.md'}, look through {args.run / 'settings.yaml'}, "
        f"then run: python -m experiment serve {args.run}"
    )


def prepare(run: Path, questions: Path, *, simulated: bool = False, settings: Mapping[str, Any] | None = None) -> None:
    """Make the folder `run` for the questions or rating pages of the folder `questions`.

    simulated  made-up participants answer, no people
    settings   values of settings.yaml other than the defaults, by key such as `feedback` or `checks.min_seconds`

    Raises StudyError where `run` holds something, or `questions` is not as an export writes it.
    """
    from study.people.questions import new_folder  # brings pandas

    folder = Folder.read(questions, look_at_pictures=True)
    with new_folder(run) as new:
        shutil.copytree(questions, new / "questions")
        values = {**_values(folder), **(settings or {})}
        (new / "settings.yaml").write_text(template(folder.kind, values), encoding="utf-8")
        shutil.copyfile(DEFAULTS / "consent.md", new / "consent.md")
        (new / "keys").mkdir(mode=0o700)
        write_secret(new / "keys/person.key")
        write_secret(new / "keys/researcher.token")
        source = "simulated" if simulated else "people"
        store.create(recorded.database(new), study=folder.digest, source=source, now=time.time())


def _values(folder: Folder) -> dict[str, Any]:
    """What the export says about settings."""
    if folder.kind == RATINGS:
        pages = min(len(folder.pages), 12)
        pay = round(pages * folder.study["price"], 2)
        return {"pages_a_session": pages, "minutes": pages * _SECONDS_A_PAGE / 60, "pay.amount": pay}
    unknown = folder.study["checks"].keys() - Checks.model_fields.keys()
    if unknown:
        raise StudyError(
            f"{folder.path / 'study.json'} has checks that are not known here: {', '.join(sorted(unknown))}"
        )
    return {f"checks.{name}": value for name, value in folder.study["checks"].items()}
