"""Rehearse an experiment: made-up participants walk through it, and what they answered is analysed.

A server in a process of its own asks about the easiest, hardest and random units of a network of the study that is here, until 63
sessions count. Three people come by a headless Chromium and press the page's keys, the others make the requests of the page.
Their chance of a right answer is known, so the last lines say whether scores, verdicts and slope are found again. Then made-up
raters tick pictures of rating pages. Everything that comes out is called simulated.

Reads   params.yaml, data, results/provenance.json
Writes  the folder of --out: questions, run, answers in every form, analysis, recovered.csv, ratings likewise, and screens:
        figures 8 and 20 to 23 of IMI and 13 of the crowd paper, as screenshots

Examples
  python -m experiment rehearse
  python -m experiment rehearse --no-browser --out rehearsal
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import StudyError

if TYPE_CHECKING:
    from experiment.rehearsal.choosing import Choices
    from experiment.rehearsal.chromium import Chromium
    from experiment.rehearsal.picking import Picked
    from experiment.rehearsal.rating import Ticks

SCREENS = "screens"
MARK = "simulated.txt"  # in the folder of a rehearsal, so that the next one may take its place
MODEL, UNITS, FORMAT = "resnet", 28, "webp"
PAGES = 48  # 12 raters of 12 pages, with three of them a page
BROWSERS = 3
REMEDY = "python -m experiment rehearse --no-browser"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("experiments/rehearsal"), help="folder (%(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="everybody comes over HTTP")
    parser.add_argument("--no-ratings", action="store_true", help="leave the rating pages out")
    parser.add_argument(
        "--places", action="store_true", help="also ask where in a picture units are active, over HTTP alone"
    )
    parser.add_argument("--model", default=MODEL, help="network whose units are asked about (%(default)s)")
    parser.add_argument("--units", type=int, default=UNITS, help="of each group (%(default)s)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--provenance", type=Path, default=Path("results/provenance.json"))


def main(args: argparse.Namespace) -> None:
    from experiment.rehearsal import report
    from study.log import logger

    log, begun = logger("rehearsal"), time.monotonic()
    n_browsers = 0 if args.no_browser else BROWSERS
    command = server_command(needs_pages=n_browsers > 0)
    out = new_place(args.out)
    ill: list[str] = []

    def tell(lines: Iterable[str]) -> None:
        for line in lines:
            print(line, flush=True)
            ill.extend([line] if report.ILL in line else [])

    with browser(n_browsers > 0) as chromium:
        tell(report.of_choices(choose(args, out, command, chromium, n_browsers), n_browsers))
        if not args.no_ratings:
            n_browsers = min(n_browsers, 1)
            tell(["", *report.of_ticks(rate(args, out / "ratings", command, chromium, n_browsers), n_browsers)])
        if args.places:
            tell(["", *report.of_picks(place(args, out / "places", command))])
        if chromium is not None:
            tell(["", f"{picture(chromium, out, ratings=not args.no_ratings)} screenshots are in {out / SCREENS}"])
    log.info("the rehearsal took %.0f s; its files are in %s", time.monotonic() - begun, out)
    if ill:
        raise StudyError(f"The rehearsal does not find again what is known of its people: {ill[0]}")


def server_command(*, needs_pages: bool) -> Sequence[str]:
    """What Python serves a run with. Raises StudyError, with what to do, where pages are needed and their packages missing."""
    from experiment.assets import Assets
    from experiment.rehearsal.bare_server import BARE
    from experiment.rehearsal.process import SERVE
    from study.log import logger

    try:
        Assets.load()
    except StudyError as error:
        if needs_pages:
            raise StudyError(f"{error} Or let everybody come over HTTP: {REMEDY}") from None
        logger("rehearsal").warning("%s The server goes without its pages", error)
        return BARE
    return SERVE


@contextlib.contextmanager
def browser(wanted: bool) -> Generator[Chromium | None]:
    """A Chromium that ends with the block, where one is wanted. Raises StudyError, with what to do, where none is installed."""
    if not wanted:
        yield None
        return
    from experiment.rehearsal.chromium import Chromium, executable

    if executable() is None:
        raise StudyError(f"No Chromium is installed (Debian: apt install chromium). Without: {REMEDY}")
    with Chromium() as chromium:
        yield chromium


def new_place(out: Path) -> Path:
    """An empty folder at `out`, where nothing lies or an earlier rehearsal. Raises StudyError where something else does."""
    from study.files.tables import fresh_folder

    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise StudyError(f"{out} holds something else than a rehearsal; name another folder by --out")
    fresh_folder(out)
    (out / MARK).write_text("All that lies here was made up by `python -m experiment rehearse`; nobody was asked.\n")
    return out


def choose(
    args: argparse.Namespace, out: Path, command: Sequence[str], chromium: Chromium | None, n_browsers: int
) -> Choices:
    """Tasks of two alternatives."""
    from experiment.rehearsal.choosing import Study, rehearse
    from study.people.export_options import ExportOptions
    from study.people.exporting import export

    study = ExportOptions(
        out=out / "questions",
        models=(args.model,),
        units=args.units,
        format=FORMAT,
        params=args.params,
        data=args.data,
        provenance=args.provenance,
    )
    export(study)
    return rehearse(study.out, out, Study(args.data, args.params), command, chromium, n_browsers)


def rate(
    args: argparse.Namespace, out: Path, command: Sequence[str], chromium: Chromium | None, n_browsers: int
) -> Ticks:
    """Rating pages."""
    from experiment.rehearsal.rating import first_pages, rehearse
    from study.params.whole import load_params
    from study.people.rating_pages import RatingOptions, export_ratings

    export_ratings(RatingOptions(out=out / "all_pages", params=args.params, data=args.data))
    first_pages(out / "all_pages", PAGES, out / "pages")
    people = load_params(args.params).crowd.simulated
    return rehearse(out / "pages", out, args.data, people, command, chromium, n_browsers)


def place(args: argparse.Namespace, out: Path, command: Sequence[str]) -> Picked:
    """Pages that ask where in a picture."""
    from experiment.rehearsal.picking import rehearse
    from study.label_free.asking_places import export_places
    from study.people.picking import PickOptions

    export_places(PickOptions(out=out / "pages", models=(args.model,), params=args.params, data=args.data))
    return rehearse(out / "pages", out, command)


def picture(chromium: Chromium, out: Path, *, ratings: bool) -> int:
    """Screenshots of all kinds of pages; how many."""
    from experiment.rehearsal import screens

    paths = screens.of_trials(chromium, out / "questions", out / SCREENS)
    if ratings:
        paths += screens.of_ratings(chromium, out / "ratings/pages", out / SCREENS)
    return len(paths + screens.of_researcher(chromium, out / "run", out / SCREENS))
