"""The answers of people to the tasks of a study, from whichever source it names."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from interpretability.people import human_scores
from interpretability.schema import KEY
from study.errors import StudyError
from study.files.schemas import PAIR_SCORES, PAIRS, RESPONSES, TRUTH, UNITS
from study.files.tables import write_csv, write_json, write_parquet
from study.log import logger
from study.networks.roster import read_roster
from study.people import recorded_answers
from study.people.answers_simulated import AnswerParams, Reading, simulated_answers
from study.people.pairs import NO_PAIRS, NO_SCORES, read_pairs

log = logger("human")


def write_answers(out: Path, args: argparse.Namespace, params: AnswerParams, see_made: Reading) -> None:
    """Write the answers, the judged pairs (no answers to tasks, and apart from them), the scores of units, the true shares of
    simulated observers, and what became of the rest.

    `args` names the folders and files of a source: external, tasks, images, roster, names; `see_made` is what simulated observers
    see made images by. Every table says in `source` where its answers are from: imi, table, or simulated, also where they came
    as a table that says so; simulated answers to made images, and beside them, have words of their own (`study.files.sources`).
    """
    source = params.human.source
    truth = [TRUTH.empty_table().to_pandas()]
    record = recorded_answers.Recorded(pd.DataFrame(columns=recorded_answers.ANSWER), source)
    if source == "imi":
        roster = read_roster(args.roster)["name"].tolist()
        record = recorded_answers.from_imi(params.human, args.external, args.tasks, args.names, roster)
    if source == "table":
        record = recorded_answers.from_table(params.human, args.external)
    if source == "simulated":
        record, true = simulated_answers(params, args.tasks, args.images, args.roster, see_made)
        truth.append(true)
    # only observers of this stage are known to have answered the tasks that are scored here
    answers = record.answers.assign(own_tasks=source == "simulated")
    responses = pd.concat([RESPONSES.empty_table().to_pandas(), answers], ignore_index=True)
    write_parquet(out / "responses.parquet", responses[RESPONSES.names], RESPONSES)
    units = human_scores.human_scores(responses).merge(
        responses[[*KEY, "source"]].drop_duplicates(KEY), on=KEY, how="left"
    )
    write_parquet(out / "units.parquet", units[UNITS.names], UNITS)
    write_parquet(out / "truth.parquet", pd.concat(truth, ignore_index=True), TRUTH)
    for name in ("exclusions", "checks", "crosstab", "verdicts", "unmatched"):
        write_csv(out / f"{name}.csv", getattr(record, name).assign(source=record.source))
    if record.reading is not None:
        write_json(out / "reading.json", record.reading)
    _write_pairs(out, args, params)
    n_people = responses["participant"].nunique()
    log.info("source %s: %d answers of %d people to %d units", record.source, len(responses), n_people, len(units))


def _write_pairs(out: Path, args: argparse.Namespace, params: AnswerParams) -> None:
    """The pairs that people judged and what was published of their units; empty tables of any other source."""
    pairs, scores = NO_PAIRS, NO_SCORES
    if params.human.source == "pairs":
        settings, known = params.human.pairs, read_roster(args.roster)["name"].tolist()
        if (model := settings.model.partition("/")[0]) not in known:
            raise StudyError(
                f"human.pairs.model is {settings.model!r}, but {args.roster} has no row {model!r}; allowed: {', '.join(known)}"
            )
        pairs, scores = read_pairs(args.external / settings.file, settings.model)
        published = ", ".join(dict.fromkeys(scores["score"])) or "none"
        log.info("%d judged pairs of units of %s; published scores: %s", len(pairs), settings.model, published)
    write_parquet(out / "pairs.parquet", pairs, PAIRS)
    write_parquet(out / "pair_scores.parquet", scores, PAIR_SCORES)
