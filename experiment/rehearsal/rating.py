"""The rehearsal of a study with rating pages: made-up raters tick pictures, and the stage crowd's reader reads their ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.special import expit, logit

from experiment import progress_of_ratings
from experiment.answers import text_of
from experiment.commands.prepare import prepare
from experiment.recorded import read
from experiment.rehearsal.browsing import TickingVisit
from experiment.rehearsal.choosing import CLOCK_RATE, READING
from experiment.rehearsal.chromium import Chromium
from experiment.rehearsal.crowds import Crowd
from experiment.rehearsal.http import Client
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import Rater
from experiment.rehearsal.process import HOST, ServerProcess
from experiment.rehearsal.walking import Ticker, Walked
from experiment.settings import RATINGS
from experiment.study_folder import Folder
from interpretability.randomness import generator
from study.crowd import ratings
from study.crowd.asked import Asked
from study.errors import StudyError
from study.files.tables import fresh_folder, read_csv, read_json, write_text
from study.log import logger
from study.params.crowd import SimulatedRaters
from study.people import questions

log = logger("rehearsal")

Present = Mapping[tuple[str, str], bool]
_SECONDS = (8.0, 25.0)  # a page, evenly


@dataclass(frozen=True)
class Ticks:
    """What came of it. progress: as the researcher's page shows it; read: what the stage crowd makes of the exported table;
    n_other: pictures whose tick in that table is another one than the rater made."""

    walked: list[Walked]
    progress: dict[str, Any]
    read: ratings.Ratings
    n_other: int


def rehearse(
    pages: Path,
    out: Path,
    data: Path,
    people: SimulatedRaters,
    command: Sequence[str],
    chromium: Chromium | None,
    n_browsers: int,
) -> Ticks:
    """Let made-up raters tick the pages of an exported folder.

    data   the study, which knows what pictures show
    out, command, chromium, n_browsers   as of `choosing.rehearse`
    """
    run = out / "run"
    prepare(run, pages, simulated=True)
    keys = Keys(Folder.read(run / "questions"))
    shown = present_in(keys.folder, data)

    def rater(number: int) -> Rater:
        return rater_of(keys.folder.seed, number, people)

    def walker(number: int) -> Ticker:
        one = rater(number)
        client = Client(HOST, server.port)
        return Ticker(client, keys, one.name, 30.0, pictures=number == 1, rater=one, present=shown)

    options = ("--clock-rate", f"{CLOCK_RATE:g}")
    with ServerProcess(run, out / "server.log", command=command, options=options) as server, ExitStack() as profiles:

        def visit(number: int) -> TickingVisit:
            assert chromium is not None
            tab = profiles.enter_context(chromium.profile()).tab()
            return TickingVisit(tab, keys, READING, rater(number), shown)

        visits = [visit] * (n_browsers if chromium is not None else 0)
        walked = Crowd(walker, visits, server.address).all()
    recorded = read(run)
    answers = fresh_folder(out / "answers")
    write_text(answers / "ratings.csv", text_of(recorded, RATINGS))
    asked = Asked.read(data / "explanations")
    found = ratings.read_ratings(answers, asked.questions, str(keys.folder.study["study"]))
    progress = progress_of_ratings.ratings(recorded, float(recorded.sessions["seen"].max()))
    return Ticks(walked, progress, found, _n_other(walked, keys.folder, found.accepted))


def first_pages(folder: Path, n: int, out: Path) -> None:
    """A copy of a folder of rating pages with its first n pages alone, so that a few raters can finish it."""
    study = read_json(folder / "study.json")
    rows = read_json(folder / "pages.json")["pages"][:n]
    with questions.new_folder(out) as new:
        for name in ("images.csv", "gold.csv"):
            (new / name).write_bytes((folder / name).read_bytes())
        (new / "images").symlink_to((folder / "images").resolve(), target_is_directory=True)
        questions.write_rows(new / "pages.json", "pages", rows, study=study["study"])
        questions.write_manifest(
            new, {name: value for name, value in study.items() if name not in ("schema", "files")} | {"n_pages": n}
        )


def rater_of(seed: int, number: int, people: SimulatedRaters) -> Rater:
    """An honest rater with error rates around those of the study's simulated raters, in log odds."""
    draw = generator(seed, "rehearsal rater", number)
    rates = [
        float(expit(logit(rate) + people.spread * shift)) if rate else 0.0
        for rate, shift in zip((people.false_yes, people.false_no), draw.standard_normal(2), strict=True)
    ]
    return Rater(seed, f"simulated-rater-{number:03d}", *rates, seconds=float(draw.uniform(*_SECONDS)))


def present_in(folder: Folder, data: Path) -> Present:
    """Whether each picture of each page shows its text, as the study knows it."""
    images = read_csv(folder.path / "images.csv", ["image", "file"], text=["file"])
    row = dict(zip(images["file"], images["image"], strict=True))
    shown = [(page.text, file, row[file]) for page in folder.pages.values() for file in page.pictures]
    table = pd.DataFrame(shown, columns=["text", "file", "image"])
    present = Asked.read(data / "explanations").presence_at(table["text"], table["image"])
    if present is None:
        raise StudyError(
            f"{data / 'explanations'} does not say what pictures show, so nobody can be made up who rates them. Set "
            "explanations.presence to factors or labels"
        )
    return dict(zip(zip(table["text"], table["file"], strict=True), (present >= 0.5).tolist(), strict=True))


def _n_other(walked: list[Walked], folder: Folder, accepted: pd.DataFrame) -> int:
    """Pictures whose rating in the table is not the one that its rater gave, or is missing there."""
    images = read_csv(folder.path / "images.csv", ["image", "file"], text=["file"])
    row = dict(zip(images["file"], images["image"], strict=True))
    given = sorted(
        (page, row[file], place in picked)
        for each in walked
        for page, picked in each.ratings.items()
        for place, file in enumerate(folder.pages[page].pictures)
    )
    read_back = sorted(
        (int(page), int(image), bool(rating))
        for page, image, rating in accepted[["page", "image", "rating"]].itertuples(index=False, name=None)
    )
    both = pd.Series(given).value_counts().sub(pd.Series(read_back).value_counts(), fill_value=0)
    return int(both.abs().sum() / 2)
