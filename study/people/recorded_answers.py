"""Recorded answers of people: the IMI record and other tables become answers by unit.

The stage `human` writes what comes out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from interpretability.casts import narrowed
from interpretability.people import sessions
from interpretability.schema import KEY
from study.errors import StudyError
from study.files.sources import SIMULATED
from study.files.tables import read_parquet
from study.log import logger
from study.networks import imi_naming
from study.params.human import Human
from study.people import answers_from_imi, answers_from_table, imi_tasks

log = logger("human")

ANSWER = [*KEY, "task", "participant", "correct", "confidence", "source"]
UNMATCHED_COLUMNS = ["imi_model", "imi_layer", "model", "reason", "n_units", "n_responses"]
NO_NETWORK, NO_LAYER = "no such network in the roster", "no such layer among the tasks"
MISLABELLED = "task id and model disagree"


@dataclass(frozen=True)
class Recorded:
    """Answers (ANSWER), whose they are, and the side tables that say what became of the rest.

    source   of the parameter human.source, or SIMULATED where the tables say that nobody gave the answers
    reading  how simulated observers read made images (`study.solving.factors_of_made`); None where they saw none
    """

    answers: pd.DataFrame
    source: str
    exclusions: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=sessions.EXCLUSION_COLUMNS))
    crosstab: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=answers_from_imi.CROSSTAB))
    verdicts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=sessions.VERDICT_COLUMNS))
    checks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=sessions.CHECK_COLUMNS))
    unmatched: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=UNMATCHED_COLUMNS))
    reading: dict[str, Any] | None = None


def from_table(settings: Human, external: Path) -> Recorded:
    """Answers of the table that human.table describes; every row that its filters keep counts."""
    table = settings.table
    answers = answers_from_table.read_answers(
        external / table.file, table.model, table.columns, table.keep, table.conditions
    )
    if (answers["model"] == "").any():
        raise StudyError(
            f"{external / table.file} has no column for model: name it in human.table.columns, or the network of all rows "
            "in human.table.model"
        )
    source = _source(answers, settings)
    return Recorded(answers.assign(source=source)[ANSWER], source)


def _source(rows: pd.DataFrame, settings: Human) -> str:
    return SIMULATED if (rows["source"] == SIMULATED).any() else settings.source


def annotated_units(settings: Human, external: Path, names: Path) -> set[tuple[str, str, int]]:
    """Network, layer and number of every unit of which the record holds a main trial, whatever its session is worth.

    Networks have the names of this study where `names` knows one; layers of the IMI record keep theirs.
    """
    if settings.source == "table":
        answers = from_table(settings, external).answers
        return set(zip(answers["model"], answers["layer"], map(int, answers["unit"]), strict=True))
    if settings.source != "imi":
        raise StudyError(f"human.source is {settings.source}; only the answers of imi and table name units in advance")
    rows = answers_from_imi.read_responses(external, settings.imi.responses)
    rows, known = rows[answers_from_imi.is_main(rows)], imi_naming.read_names(names)
    models = [known.get(model) or model for model in rows["model"].map(imi_naming.base_model)]
    return set(zip(models, rows["layer"], map(int, rows["channel"]), strict=True))


def from_imi(settings: Human, external: Path, tasks: Path, names: Path, roster: list[str]) -> Recorded:
    """Answers of the IMI record in sessions that pass the checks, keyed by network, module path and unit.

    Main trials alone. Rows whose task id and model disagree are left out and counted. A network has the name that `names`
    gives it, or, where `names` says nothing of it, its own if that stands in the roster. Networks and layers that this study
    does not have keep their IMI names: their HIS stands, but no score will meet it.
    """
    rows = answers_from_imi.read_responses(external, settings.imi.responses)
    rows["experiment"] = answers_from_imi.experiment_of(rows["task_id"])
    rows["session"] = rows["task_id"] + "/" + rows["response_index"].astype(str)
    verdicts, checks, reasons = _judged(rows, settings)
    main = rows[answers_from_imi.is_main(rows)].copy()
    crosstab = answers_from_imi.crosstab(main)
    for row in crosstab.to_dict("records"):
        log.info("%(experiment)s x %(model)s x %(mode)s: %(n_rows)d trials, %(status)s", row)
    main = main.merge(
        crosstab[["experiment", "model", "mode", "condition", "status"]], on=["experiment", "model", "mode"]
    )
    main = main.merge(reasons, on=sessions.SESSION)
    flagged = (main["reason"] == "") & (main["status"] == answers_from_imi.DISAGREE)
    main.loc[flagged, "reason"] = MISLABELLED
    excluded = sessions.exclusions(main.rename(columns={"session": "participant"}))
    for row in excluded.to_dict("records"):
        log.info("left out: %(n_responses)d answers of %(n_participants)d sessions: %(reason)s", row)
    kept = main[main["reason"] == ""]
    if kept.empty:
        raise StudyError(
            f"none of the {len(main)} main trials passes human.checks and has a task id that fits its model"
        )
    for experiment, problem in answers_from_imi.check_complete(kept).items():
        log.warning("%s is not complete: %s", experiment, problem)
    doubled = kept.groupby([kept["model"].map(imi_naming.base_model), "condition"])["experiment"].unique()
    for key, experiments in doubled[doubled.map(len) > 1].items():
        model, condition = cast(tuple[str, str], key)
        log.warning("%s, %s comes from %s: their answers are pooled", model, condition, " and ".join(experiments))
    if settings.imi.image_map:
        _check_map(kept, imi_tasks.read_image_map(external / settings.imi.image_map))
    source = _source(rows, settings)
    keyed, unmatched = _keyed(kept.assign(source=source), imi_naming.read_names(names), tasks, roster)
    return Recorded(keyed, source, excluded, crosstab, verdicts, checks, unmatched)


def _judged(rows: pd.DataFrame, settings: Human) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Agreement with the stored verdicts, values of the checks, and the reason (empty: accepted) of every session."""
    table = sessions.sessions(rows)
    bounds = sessions.Bounds(**asdict(settings.checks))
    if bounds.multi_participation == "recomputed" and not sessions.identified(table):
        log.info("participants have no names in this record: the stored flag of repeated participation is used")
    verdict = sessions.judge(table, bounds)
    agreement = sessions.verdict_agreement(table, verdict)
    log.info("%d of %d sessions are accepted", int(verdict["accepted"].sum()), len(verdict))
    for row in agreement[agreement["n_agree"] < agreement["n_sessions"]].to_dict("records"):
        log.warning(
            "%(check)s: recomputed and stored verdict agree for %(n_agree)d of %(n_sessions)d sessions (%(n_stricter)d "
            "refused here alone, %(n_milder)d accepted here alone)",
            row,
        )
    return agreement, sessions.check_histogram(table, verdict, bounds), verdict[[*sessions.SESSION, "reason"]]


def _check_map(kept: pd.DataFrame, images: pd.DataFrame) -> None:
    """Log how many annotated units and tasks the map of images knows."""
    by = ["model", "layer", "channel", "batch"]
    known = pd.MultiIndex.from_frame(images[by].drop_duplicates())
    asked = kept.loc[~kept["condition"].str.contains("synthetic"), by].drop_duplicates()
    missing = ~pd.MultiIndex.from_frame(asked.astype({"channel": int, "batch": int})).isin(known)
    log.info("the map of images has %d networks and %d tasks", images["model"].nunique(), len(known))
    if missing.any():
        log.warning("%d of %d answered tasks with natural images are not in the map", missing.sum(), len(asked))


def _keyed(
    kept: pd.DataFrame, names: dict[str, str], tasks: Path, roster: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers with the names of this study, and what has none: UNMATCHED_COLUMNS."""
    parts, unmatched = [], []
    for imi_model, rows in kept.groupby(kept["model"].map(imi_naming.base_model), sort=True):
        name = names.get(imi_model, imi_model if imi_model in roster else "")
        known = name in roster and (tasks / f"{name}.parquet").is_file()
        layers = read_parquet(tasks / f"{name}.parquet", ["layer"])["layer"].unique() if known else []
        paths = imi_naming.match_layers(rows["layer"].unique(), layers)
        reason = NO_LAYER if known else NO_NETWORK
        absent = rows[~rows["layer"].isin(list(paths))]
        counts = absent.groupby("layer", sort=True).agg(n_units=("channel", "nunique"), n_responses=("correct", "size"))
        counts = counts.reset_index(names="imi_layer").assign(imi_model=imi_model, model=name, reason=reason)
        if len(counts):
            shown = ", ".join(counts["imi_layer"].head(5)) + (", ..." if len(counts) > 5 else "")
            log.warning(
                "%s: %s: %d of %d layers, %d units, %d answers (%s)",
                *(imi_model, reason, len(counts), rows["layer"].nunique(), counts["n_units"].sum()),
                *(counts["n_responses"].sum(), shown),
            )
        unmatched.append(counts[UNMATCHED_COLUMNS])
        parts.append(
            pd.DataFrame(
                {
                    "model": name if known else imi_model,
                    "layer": [paths.get(layer, layer) for layer in rows["layer"]],
                    "unit": rows["channel"].astype("int64"),
                    "condition": rows["condition"],
                    "task": narrowed(rows["batch"].to_numpy(np.int64), np.int32, "the batch of an answer"),
                    "participant": rows["session"],
                    "correct": rows["correct"],
                    "confidence": rows["confidence"].astype("Int8"),
                    "source": rows["source"],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)[ANSWER], pd.concat(unmatched, ignore_index=True)
