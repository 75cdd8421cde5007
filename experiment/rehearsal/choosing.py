"""The rehearsal of a study with tasks of two alternatives: from its questions to its scores, with participants made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from experiment import verdicts
from experiment.answers import text_of
from experiment.commands.prepare import prepare
from experiment.recorded import Recorded, read
from experiment.rehearsal.browsing import ChoosingVisit
from experiment.rehearsal.chromium import Chromium
from experiment.rehearsal.crowds import Crowd
from experiment.rehearsal.http import Client
from experiment.rehearsal.keys_of_folder import Keys
from experiment.rehearsal.participants import HONEST, Participant, participant
from experiment.rehearsal.process import HOST, ServerProcess
from experiment.rehearsal.recovery import Recovered, kinds_and_ends, margins_of, recovered, surprises
from experiment.rehearsal.walking import Chooser, Walked
from interpretability.synthetic.observers import Population
from study.files.tables import fresh_folder, read_json, write_csv, write_text
from study.log import logger
from study.networks.roster import read_roster
from study.params.human import Human
from study.params.reading import load
from study.people import recorded_answers
from study.people.analysing import Analysis, analyse
from study.people.answers_simulated import AnswerParams
from study.people.fitting import CalibrationParams

log = logger("rehearsal")

CLOCK_RATE = 40.0  # a session in the browser lasts 15 s and is to count as one of 10 minutes
READING = 0.8  # real seconds for the instructions in the browser: 32 by that clock
WAIT = 0.05  # seconds before buttons work, instead of 1.5
FETCHING = 10  # every so manyth participant over HTTP fetches all pictures, as a page does
COMES_AGAIN = "comes again"
FORMS = ("questions", "table", "imi")


@dataclass(frozen=True)
class Study:
    """The study that is rehearsed: where it lies, and the people who are made up for it."""

    data: Path
    params: Path
    names: Path = Path("data/external/models/imi_names.csv")

    @property
    def calibration(self) -> CalibrationParams:
        return load(self.params, CalibrationParams)

    @property
    def human(self) -> Human:
        return load(self.params, AnswerParams).human

    @property
    def scores(self) -> Path:
        """Of the leading similarity."""
        return self.data / f"scores/{self.calibration.scores.backends[0]}.parquet"

    def population(self) -> Population:
        """People whose median slope is the study's own for its leading similarity, as spread and as careful as its simulated
        observers."""
        slope = read_json(self.data / "calibration/slope.json")[self.calibration.scores.backends[0]]["slope"]
        simulated = self.human.simulated
        return Population(slope, simulated.slope_spread, simulated.lapse)


@dataclass(frozen=True)
class Choices:
    """What came of it.

    walked, kinds  of everybody who came, by number of arrival
    verdicts       index session; accepted, reason
    ends           people by kind and what became of them
    surprises      verdicts that the participants did not expect; none if all is well
    analysis       of the exported groups;  record: the answers read back as a record of IMI
    found          truth beside answers
    """

    walked: Sequence[Walked]
    verdicts: pd.DataFrame
    ends: pd.DataFrame
    surprises: Sequence[str]
    analysis: Analysis
    record: recorded_answers.Recorded
    found: Recovered


def rehearse(
    questions: Path, out: Path, study: Study, command: Sequence[str], chromium: Chromium | None, n_browsers: int
) -> Choices:
    """Ask made-up people the questions of an exported folder, by a server in a process of its own, and analyse what they said.

    out         run, answers, analysis and recovered.csv go there
    command     what Python is called with to serve a run
    chromium    a browser for `n_browsers` of the people; None: all come over HTTP
    """
    run = out / "run"
    prepare(run, questions, simulated=True, settings={"wait_seconds": WAIT})
    recorded = read(run)
    keys = Keys(recorded.folder, margins_of(recorded.folder, study.scores))
    options = ("--clock-rate", f"{CLOCK_RATE:g}")
    with ServerProcess(run, out / "server.log", command=command, options=options) as server:
        log.info("the server of %s answers as process %d", run, server.pid)
        people = walk(server, keys, study.population(), chromium, n_browsers)
    recorded = read(run)
    log.info("%d simulated people gave %d answers", len(recorded.sessions), len(recorded.answers))
    return analysed(recorded, people, keys, out, study)


@dataclass(frozen=True)
class People:
    """The people made up for one run: `person` by number of arrival, what became of those who came, and of one who came again."""

    person: Callable[[int], Participant]
    walked: Sequence[Walked]
    again: Walked

    @property
    def kinds(self) -> list[str]:
        """Of all, the one who came again last."""
        return [*(self.person(number).kind for number in range(1, len(self.walked) + 1)), COMES_AGAIN]


def walk(
    server: ServerProcess, keys: Keys, population: Population, chromium: Chromium | None, n_browsers: int
) -> People:
    """Let people come until every unit has its answers, and the first one once more. Those in the browser are honest."""
    folder, in_browser = keys.folder, set[int]()

    @cache
    def drawn(number: int) -> Participant:
        return participant(folder.seed, number, population, folder.study["trials_a_session"])

    def person(number: int) -> Participant:
        return replace(drawn(number), kind=HONEST) if number in in_browser else drawn(number)

    def walker(number: int) -> Chooser:
        one = person(number)
        client = Client(HOST, server.port)
        return Chooser(client, keys, _name(number), one.reading, pictures=number % FETCHING == 0, person=one)

    with ExitStack() as profiles:

        def visit(number: int) -> ChoosingVisit:
            assert chromium is not None
            in_browser.add(number)
            tab = profiles.enter_context(chromium.profile()).tab()
            return ChoosingVisit(tab, keys, _name(number), READING, person(number))

        visits = [visit] * (n_browsers if chromium is not None else 0)
        walked = Crowd(walker, visits, server.address).all()
    again = walker(1)  # in another browser: a client without a cookie
    asyncio.run(again.come())
    return People(person, walked, again.walked)


def _name(number: int) -> str:
    return f"simulated-{number:04d}"


def analysed(recorded: Recorded, people: People, keys: Keys, out: Path, study: Study) -> Choices:
    """Write the answers in all forms, read them back as the study does, and hold them against what is known."""
    folder = keys.folder
    answers = fresh_folder(out / "answers")
    for form in FORMS:
        write_text(answers / f"{form}.csv", text_of(recorded, form))
    analysis = analyse(answers / "questions.csv", folder.path)
    analysis.write(out / "analysis")
    human = replace(study.human, source="imi")
    human = replace(human, imi=replace(human.imi, responses=("imi.csv",), image_map=""))
    roster = read_roster(study.data / "models/roster.csv")["name"].tolist()
    record = recorded_answers.from_imi(human, answers, study.data / "tasks", study.names, roster)
    found = recovered(record.answers, keys, people.person, study.calibration, study.scores)
    write_csv(out / "recovered.csv", found.units.assign(source="simulated"))
    facts = verdicts.facts(recorded.sessions, recorded.answers, recorded.events)
    judged = verdicts.judged(facts, recorded.settings.checks)
    walked = [*people.walked, people.again]
    return Choices(
        walked=walked,
        verdicts=judged,
        ends=kinds_and_ends(people.kinds, walked, judged),
        surprises=surprises(walked, judged, recorded.settings),
        analysis=analysis,
        record=record,
        found=found,
    )
