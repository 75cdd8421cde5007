"""Make a run folder: questions, settings, the text of consent, keys and an empty database.

Questions come from a folder that an export wrote (--questions), or are exported here from the study in --data; all other options
are those of the export: `python -m tools.psychophysics export --help`, and with --ratings `python -m tools.rating_pages --help`.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from experiment import recorded, store
from experiment.people import write_secret
from experiment.settings import DEFAULTS, LOCALIZE, NAME, PICKING, RATINGS, Checks, Settings, template
from experiment.study_folder import Folder
from study.errors import StudyError
from study.people import export_options, rating_pages
from study.people.exporting import export
from study.people.questions import new_folder, vacant

_SECONDS_A_PAGE = 15  # of raters, in the crowd paper
_PICKS_A_SESSION = 40
_TITLES = {LOCALIZE: "Where in the picture?", NAME: "Which words fit?"}
_FIELDS_OF_RATINGS = frozenset(field.name for field in fields(rating_pages.RatingOptions))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="new folder")
    parser.add_argument(
        "--simulated", action="store_true", help="for made-up participants: everything that comes out is marked so"
    )
    parser.add_argument("--questions", type=Path, metavar="FOLDER", help="what an export wrote, of any kind")
    parser.add_argument(
        "--ratings", action="store_true", help="export rating pages instead of two-alternative questions"
    )
    parser.add_argument("--raters", type=int, help="with --ratings: wanted ratings of a picture (crowd.n_raters)")
    export_options.add_arguments(parser)
    parser.set_defaults(format="jpeg")  # a session of pictures that lose nothing is 85 MB


def main(args: argparse.Namespace) -> None:
    _refuse_unused(args)
    vacant(args.run)  # said before minutes of export
    with _questions(args) as questions:
        prepare(args.run, questions, simulated=args.simulated)
    print(
        f"{args.run} is ready. Put your own text into {args.run / 'consent.md'}, look through {args.run / 'settings.yaml'}, "
        f"then run: python -m experiment serve {args.run}"
    )


def _refuse_unused(args: argparse.Namespace) -> None:
    """Raises StudyError for an option that this call would not look at: whoever gave it expects it to matter."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    usual = vars(parser.parse_args(["RUN"]))
    given = {name for name, value in vars(args).items() if name in usual and value != usual[name]}
    if args.questions is not None:
        read, why = {"run", "simulated", "questions"}, "--questions names a folder that is exported already"
    elif args.ratings:
        read, why = {"run", "simulated", "ratings", *_FIELDS_OF_RATINGS}, "--ratings exports rating pages"
    else:
        read, why = usual.keys() - {"raters"}, "without --ratings two-alternative questions are exported"
    if unread := sorted(given - read):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unread)
        raise StudyError(f"{why}; leave {names} out")


@contextlib.contextmanager
def _questions(args: argparse.Namespace) -> Generator[Path]:
    """The folder that was named, or one that is exported and vanishes when it was copied."""
    if args.questions is not None:
        yield args.questions
        return
    with tempfile.TemporaryDirectory(prefix="questions-") as beside:
        folder = Path(beside) / "questions"
        if args.ratings:
            rating_pages.export_ratings(rating_pages.options_of(args, out=folder))
        else:
            export(export_options.options_of(args, out=folder))
        yield folder


def prepare(run: Path, questions: Path, *, simulated: bool = False, settings: Mapping[str, Any] | None = None) -> None:
    """Make the folder `run` for the questions or rating pages of the folder `questions`.

    simulated  made-up participants answer, no people
    settings   values of settings.yaml other than the defaults, by key such as `feedback` or `checks.min_seconds`

    Raises StudyError where `run` holds something, or `questions` is not as an export writes it.
    """
    folder = Folder.read(questions, look_at_pictures=True)
    with new_folder(run) as new:
        shutil.copytree(questions, new / "questions")
        values = {**_values(folder), **(settings or {})}
        (new / "settings.yaml").write_text(template(folder.kind, values), encoding="utf-8")
        shutil.copyfile(DEFAULTS / "consent.md", new / "consent.md")
        (new / "keys").mkdir(mode=0o700)
        write_secret(new / "keys/person.key")
        write_secret(new / "keys/researcher.token")
        # answers of people and keys are nothing to commit, wherever the folder lies
        (new / ".gitignore").write_text("*\n", encoding="utf-8")
        source = "simulated" if simulated else "people"
        store.create(recorded.database(new), study=folder.digest, source=source, now=time.time())


def _values(folder: Folder) -> dict[str, Any]:
    """What the export says about settings."""
    if folder.kind in PICKING:
        pages = min(len(folder.pages), _PICKS_A_SESSION)
        minutes, usual = pages * _SECONDS_A_PAGE / 60, Settings()
        pay = round(usual.pay.amount * minutes / usual.minutes, 2)  # as much a minute as two-alternative trials
        return {"title": _TITLES[folder.kind], "pages_a_session": pages, "minutes": minutes, "pay.amount": pay}
    if folder.kind == RATINGS:
        pages = min(len(folder.pages), Settings().pages_a_session)
        pictures = sum(len(page.pictures) for page in folder.pages.values()) / len(folder.pages)
        pay = round(pages * pictures * folder.study["price"], 2)  # the price is that of one rating, of one picture
        return {"pages_a_session": pages, "minutes": pages * _SECONDS_A_PAGE / 60, "pay.amount": pay}
    unknown = folder.study["checks"].keys() - Checks.model_fields.keys()
    if unknown:
        raise StudyError(
            f"{folder.path / 'study.json'} has checks that are not known here: {', '.join(sorted(unknown))}"
        )
    return {f"checks.{name}": value for name, value in folder.study["checks"].items()}
