"""Simulated observers answer the tasks of some units, in sessions that are judged as those of people are.

Scenes they see as they are, by their factors; made images through the encoder of the study, which marks the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.margins import cosine_margins
from interpretability.people.sessions import CHECKS, REPEATED, SESSION, Bounds, check_histogram, exclusions, judge
from interpretability.schema import KEY, MIXED, NATURAL, ONE_SIDED, SYNTHETIC
from interpretability.synthetic import observers
from interpretability.synthetic.factors import factor_vectors
from interpretability.synthetic.sessions import (
    Conduct,
    careful_sessions,
    careless_answers,
    careless_sessions,
    n_careless,
)
from study.errors import StudyError
from study.files.sources import BESIDE_MADE, SIMULATED, THROUGH_ENCODER
from study.files.tables import read_json, read_parquet
from study.log import logger
from study.networks.roster import read_roster
from study.params.human import Human
from study.people.recorded_answers import ANSWER, Recorded

log = logger("human")

_OF_UNIT = ["layer", "unit"]
# One-sided tasks stand for comparisons of directions, mixed ones for kinds of explanation: nobody is asked either.
_NOT_ASKED = (ONE_SIDED, MIXED)

# Gives the factor vectors (made images, D) that are read in made images, and what is told of the reading, from those of scenes.
Reading = Callable[[NDArray[np.floating]], tuple[NDArray[np.float32], dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class AnswerParams:
    """What the answers of people depend on."""

    seed: int
    processor: str
    human: Human


@dataclass(frozen=True)
class _Experiment:
    """One network and condition, with people of its own (IMI): the units asked about, the margins of their tasks, and the mark
    of the answers."""

    name: str
    asked: pd.DataFrame
    margins: NDArray[np.floating]
    n_trials: int
    source: str


@dataclass(frozen=True)
class _Seen:
    """What observers see: `vectors` of all images that tasks name, those of made ones last where tasks show any; and what is told
    of the reading that gave those."""

    vectors: NDArray[np.floating]
    reading: dict[str, Any] | None


def simulated_answers(
    params: AnswerParams, tasks: Path, images: Path, roster: Path, see_made: Reading
) -> tuple[Recorded, pd.DataFrame]:
    """Answers in sessions that pass human.checks, with what became of the others; and the true share of every unit (KEY, p_true).

    Every studied network that has tasks is asked about, in each condition of them. Beside the observers whose answers fill the
    design come others who do not care (`human.simulated.careless`). `see_made` is called where tasks show made images.
    """
    settings = params.human.simulated
    population = observers.Population(settings.slope, settings.slope_spread, settings.lapse)
    answers, sessions, truth = [], [], []
    models = _asked_networks(tasks, roster)
    seen = _seen(params, tasks, images, models, see_made)
    for each in _experiments(params, tasks, models, seen):
        answered, attended = _asked(each, population, params)
        rows = pd.concat([each.asked.iloc[answered.pop("unit")].reset_index(drop=True), answered], axis=1)
        answers.append(rows.assign(source=each.source))
        sessions.append(attended)
        truth.append(each.asked.assign(p_true=observers.true_probabilities(each.margins, population)))
    if not answers:
        return Recorded(pd.DataFrame(columns=ANSWER), SIMULATED), pd.DataFrame(columns=[*KEY, "p_true"])
    record = _judged(pd.concat(answers, ignore_index=True), pd.concat(sessions, ignore_index=True), params.human)
    return replace(record, reading=seen.reading), pd.concat(truth, ignore_index=True)


def _asked_networks(tasks: Path, roster: Path) -> list[str]:
    table = read_roster(roster)
    studied = table[(table["role"] == "study") & (table["last"] == 1)]["name"]
    return [name for name in studied if (tasks / f"{name}.parquet").is_file()]


def _seen(params: AnswerParams, tasks: Path, images: Path, models: list[str], see_made: Reading) -> _Seen:
    settings, factors = params.human.simulated, images / "factors.parquet"
    if not factors.is_file():
        raise StudyError(
            f"human.source is simulated, but {factors} does not exist: simulated observers see the factors of "
            "generated scenes. Set images.source to generated, or human.source to none"
        )
    try:
        ignored = (settings.ignored_factor,) if settings.ignored_factor else ()
        vectors = factor_vectors(read_parquet(factors), ignore=ignored)
    except ValueError as error:
        raise StudyError(f"human.simulated.ignored_factor is {settings.ignored_factor!r}: {error}") from None
    conditions = (read_parquet(tasks / f"{model}.parquet", ["condition"])["condition"] for model in models)
    if not any((each == SYNTHETIC).any() for each in conditions):
        return _Seen(vectors, None)
    made, told = see_made(vectors)
    return _Seen(np.concatenate([vectors, made]), told)


@dataclass(frozen=True)
class _Network:
    """A network with its tasks, and what observers see in the images of these."""

    name: str
    units: pd.DataFrame
    tasks: NDArray[np.int32]
    n_explanations: int
    vectors: NDArray[np.floating]

    def of(self, condition: str) -> pd.DataFrame:
        """Units (layer, unit, ...) that have such tasks."""
        return self.units[self.units["condition"] == condition]

    def experiment(
        self, name: str, chosen: pd.DataFrame, condition: str, n_trials: int, source: str = SIMULATED
    ) -> Iterator[_Experiment]:
        """The experiment about those of the chosen units that have such tasks; none where no unit has.

        Of the drawn units as many are asked as was wanted; elsewhere fewer units are fewer trials (`n_trials`) a person.
        """
        asked = self.of(condition).reset_index().merge(chosen[_OF_UNIT], on=_OF_UNIT)
        if asked.empty:
            log.info("%s: none of the annotated units has tasks of condition %s", self.name, condition)
            return
        margins = cosine_margins(self.vectors, self.tasks[asked.pop("index")], self.n_explanations)
        if (condition, source) != (NATURAL, SIMULATED):
            n_trials = min(n_trials, len(asked))
        yield _Experiment(name, asked.reset_index(drop=True), margins, n_trials, source)


def _experiments(params: AnswerParams, tasks: Path, models: list[str], seen: _Seen) -> Iterator[_Experiment]:
    """All experiments; the units of harder conditions are those of the natural one that have such tasks.

    Units that have made images were named by somebody, and few of them are among those drawn. All of them are asked about, with
    natural tasks too, in an experiment of its own: so their conditions compare, and no answer to a drawn unit hangs on them.
    """
    settings = params.human.simulated
    n_explanations = read_json(tasks / "summary.json")["n_explanations"]
    for name in models:
        arrays = np.load(tasks / f"{name}.npy", mmap_mode="r")
        network = _Network(name, read_parquet(tasks / f"{name}.parquet", KEY), arrays, n_explanations, seen.vectors)
        natural, made = network.of(NATURAL), network.of(SYNTHETIC)
        chosen = natural.iloc[observers.choose_units(natural["layer"], settings.n_units, params.seed, name)]
        # each condition is an experiment of its own, with other people (IMI)
        for condition in (each for each in network.units["condition"].unique() if each not in _NOT_ASKED):
            if condition == NATURAL:
                yield from network.experiment(name, chosen, condition, settings.n_trials)
            elif condition == SYNTHETIC:
                asked = f"{name}_{condition}", made, condition, settings.n_trials
                yield from network.experiment(*asked, THROUGH_ENCODER)
            else:
                yield from network.experiment(f"{name}_{condition}", chosen, condition, settings.n_trials)
        drawn = pd.MultiIndex.from_frame(chosen[_OF_UNIT])
        beside = made[~pd.MultiIndex.from_frame(made[_OF_UNIT]).isin(drawn)]
        if len(beside):
            yield from network.experiment(
                f"{name}_{NATURAL}_beside_made", beside, NATURAL, settings.n_trials, BESIDE_MADE
            )


def _asked(
    each: _Experiment, population: observers.Population, params: AnswerParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers of all people of an experiment (unit: row of its units), and their sessions."""
    settings, seed = params.human.simulated, params.seed
    conduct = Conduct(settings.careless, settings.minutes)
    answers = observers.simulate_responses(
        each.margins, population, settings.n_responses, each.n_trials, seed, each.name
    )
    trials = answers.groupby("participant", sort=False).size()
    careful = careful_sessions(trials.index.tolist(), trials.to_numpy(), conduct, seed, each.name)
    careless = careless_sessions(careful, n_careless(len(careful), conduct), each.n_trials, conduct, seed, each.name)
    more = careless_answers(each.margins, careless["participant"].tolist(), population, each.n_trials, seed, each.name)
    sessions = pd.concat([careful, careless], ignore_index=True).assign(task_id=each.name)
    return pd.concat([answers, more], ignore_index=True), sessions


def _judged(answers: pd.DataFrame, sessions: pd.DataFrame, settings: Human) -> Recorded:
    """The answers of sessions that pass, in their order."""
    bounds = Bounds(**asdict(settings.checks))
    number = sessions.groupby("task_id", sort=False).cumcount()
    stored = {f"stored_{check}": True for check in CHECKS} | {f"stored_{REPEATED}": sessions["returned"]}
    table = sessions.assign(**dict(zip(SESSION, (sessions["task_id"], number), strict=True)), **stored)
    verdict = judge(table, bounds)
    reasons = dict(zip(sessions["participant"], verdict["reason"], strict=True))
    answers = answers.assign(reason=answers["participant"].map(reasons))
    log.info("%d of %d simulated sessions are accepted", int(verdict["accepted"].sum()), len(verdict))
    kept = answers[answers["reason"] == ""]
    if kept.empty:
        raise StudyError(
            f"none of the {len(verdict)} simulated sessions passes human.checks; the most frequent reason is "
            f"{verdict['reason'].mode().iloc[0]}. Their median length is human.simulated.minutes {settings.simulated.minutes:g}"
        )
    return Recorded(
        kept[ANSWER].reset_index(drop=True),
        SIMULATED,
        exclusions=exclusions(answers),
        checks=check_histogram(table, verdict, bounds),
    )
