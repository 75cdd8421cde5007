"""The rehearsal of pages on which one thing is picked: made-up people of known skill, whose shares are found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiment import picks
from experiment.answers import text_of
from experiment.commands.prepare import prepare
from experiment.recorded import read
from experiment.rehearsal.choosing import CLOCK_RATE
from experiment.rehearsal.crowds import Crowd
from experiment.rehearsal.http import Client
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import Picker
from experiment.rehearsal.process import HOST, ServerProcess
from experiment.rehearsal.walking import Choosing, Walked
from experiment.study_folder import Folder
from interpretability.randomness import generator
from study.files.tables import fresh_folder, write_text

LAPSE = 0.05
_SECONDS = (5.0, 20.0)  # a page, evenly


@dataclass(frozen=True)
class Picked:
    """What came of it.

    units    `picks.UNITS`, and expected: the probability of a right pick that the people of a unit's pages have
    z        distance of all right picks from those expected, in standard errors
    n_other  answers in the exported table that are not those that were given
    """

    walked: list[Walked]
    units: pd.DataFrame
    z: float
    n_other: int


def rehearse(pages: Path, out: Path, command: Sequence[str]) -> Picked:
    """Let made-up people answer an exported folder until nobody is needed; answers are left in `out`/answers."""
    run = out / "run"
    prepare(run, pages, simulated=True)
    keys = Keys(Folder.read(run / "questions"))

    def walker(number: int) -> Choosing:
        client = Client(HOST, server.port)
        one = picker(keys.folder.seed, number)
        return Choosing(client, keys, one.name, 30.0, pictures=number == 1, picker=one)

    with ServerProcess(run, out / "server.log", command=command, options=("--clock-rate", f"{CLOCK_RATE:g}")) as server:
        walked = Crowd(walker, [], server.address).all()
    recorded = read(run)
    answers = fresh_folder(out / "answers")
    for form in ("table", "units"):
        write_text(answers / f"{form}.csv", text_of(recorded, form))
    one = picker(keys.folder.seed, 1)
    p = {page.page: one.probability(page) for page in keys.folder.pages.values()}
    given = [(page, picked[0]) for each in walked for page, picked in each.ratings.items()]
    right = [keys.folder.pages[page].pick.answer == choice for page, choice in given]  # pyright: ignore[reportOptionalMemberAccess]
    expected = np.array([p[page] for page, _ in given])
    z = float((np.sum(right) - expected.sum()) / np.sqrt((expected * (1 - expected)).sum()))
    table, units = picks.answers(recorded), picks.units(recorded)
    of_unit = {page.pick.unit: p[page.page] for page in keys.folder.pages.values() if page.pick is not None}
    units["expected"] = list(of_unit.values())
    n_other = abs(len(table) - len(given)) + abs(int(table["correct"].sum()) - int(np.sum(right)))
    return Picked(walked, units, z, n_other)


def picker(seed: int, number: int) -> Picker:
    """The person who comes as number `number`; all guess equally often."""
    seconds = float(generator(seed, "rehearsal picker", number).uniform(*_SECONDS))
    return Picker(seed, f"simulated-picker-{number:03d}", LAPSE, seconds)
