"""The answers of people to the tasks of a study, from whichever source it names."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from interpretability.people import human_scores
from study.files.schemas import RESPONSES, TRUTH, UNITS
from study.files.tables import write_csv, write_parquet
from study.log import logger
from study.networks.roster import read_roster
from study.people import recorded_answers
from study.people.answers_simulated import AnswerParams, simulated_answers

log = logger("human")


def write_answers(out: Path, args: argparse.Namespace, params: AnswerParams) -> None:
    """Write the answers, the scores of units, the true shares of simulated observers, and what became of a record.

    `args` names the folders and files of a source: external, tasks, images, roster, names.
    """
    source = params.human.source
    answers, truth = [RESPONSES.empty_table().to_pandas()], [TRUTH.empty_table().to_pandas()]
    record = recorded_answers.Recorded(answers[0])
    if source == "imi":
        roster = read_roster(args.roster)["name"].tolist()
        record = recorded_answers.from_imi(params.human, args.external, args.tasks, args.names, roster)
    if source == "table":
        record = recorded_answers.from_table(params.human, args.external)
    answers.append(record.answers.assign(source=source))
    if source == "simulated":
        for answered, true in simulated_answers(params, args.tasks, args.images, args.roster):
            answers.append(answered.assign(confidence=pd.array([pd.NA] * len(answered), dtype="Int8"), source=source))
            truth.append(true)
    responses = pd.concat(answers, ignore_index=True)
    write_parquet(out / "responses.parquet", responses[RESPONSES.names], RESPONSES)
    units = human_scores.human_scores(responses).assign(source=source)
    write_parquet(out / "units.parquet", units[UNITS.names], UNITS)
    write_parquet(out / "truth.parquet", pd.concat(truth, ignore_index=True), TRUTH)
    for name in ("exclusions", "checks", "crosstab", "verdicts", "unmatched"):
        write_csv(out / f"{name}.csv", getattr(record, name))
    n_people = responses["participant"].nunique()
    log.info("source %s: %d answers of %d people to %d units", source, len(responses), n_people, len(units))
