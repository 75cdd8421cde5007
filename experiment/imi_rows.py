"""Trials in the 45 columns of the IMI record (Zimmermann, Klein and Brendel, 2023), which `study.people.answers_from_imi` reads.

rt, time_elapsed            milliseconds: by the browser's clock to the press, by the server's since the session began
button_pressed              0 to 2 the upper row, 3 to 5 the lower one; confidence is its rest by 3, plus 1
switched_queries            whether the query that excites the unit more was on top
choice                      b: that query, a: the other one; correct says the same
trial_index                 counted by the server over practice and main part; corrected_trial_index over the main part alone
task_id, task_number        experiment and number of arrival, that number; response_index: attempt at its session of the list
batch, channel, layer       task, unit, and module path with _ in place of points; mode natural or optimized, model with its
                            difficulty. Catch trials: -1, and the mode and model that the record gives them; practice: empty
..._result, ..._details     verdicts of the checks and the facts behind them, facts also in columns of their own
multi_participation         whether the person was here before

Departure: internal_node_id, which jsPsych 8 does not have, is empty; task_number is of an arrival, and not of a list of trials
that several people see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interpretability.people.sessions import CHECKS, REPEATED
from interpretability.schema import SYNTHETIC
from study.errors import StudyError
from study.people.answers_from_imi import AGREE, COLUMNS, condition_of, status_of

if TYPE_CHECKING:
    from experiment.study_folder import Folder, Question

_HIDDEN = "anonymized"
_TRIAL = "two-alternative"
CATCH_MODEL, CATCH_MODE = "catch/manual", "catch_trial"


def refuse_unnamed(folder: Folder, experiments: Iterable[str], fewer: Mapping[str, str]) -> None:
    """StudyError for an experiment that the record's columns cannot name. `fewer`: what says that it shows fewer explanations."""
    meant = {each["experiment"]: each for each in folder.study["experiments"]}
    layers: dict[tuple[str, str], str] = {}
    for name in sorted(experiments):
        model, condition = meant[name]["model"], meant[name]["condition"]
        problem = ""
        if fewer[name]:
            k = meant[name]["n_explanations"]
            what = (
                "queries alone" if k == 0 else f"{k} explanations a side in place of {folder.study['n_explanations']}"
            )
            problem = f"it shows {what}, which no column says"
        elif condition_of(name) != condition or status_of(name, _model(model, condition), _mode(condition)) != AGREE:
            problem = f"its condition is {condition} and its network {model}, which its name does not say in the record's words"
        for each in () if problem else folder.of(name, "main"):
            assert each.unit is not None
            flat = (model, _flat(each.unit[1]))
            if layers.setdefault(flat, each.unit[1]) != each.unit[1]:
                problem = f"its layers {layers[flat]} and {each.unit[1]} have one name there, {flat[1]}"
        if problem:
            raise StudyError(
                f"{name} has no name in the 45 columns of the IMI record: {problem}. Ask for --form table, which "
                "human.source table reads, or leave it out with --experiments"
            )


def _flat(layer: str) -> str:
    return layer.replace(".", "_")


def _mode(condition: str) -> str:
    return "optimized" if SYNTHETIC in condition else "natural"


def _model(model: str, condition: str) -> str:
    level = condition.removesuffix(SYNTHETIC).removesuffix("_")
    return f"{model}_{level}" if level.startswith("hard") else model


def rows(
    sessions: pd.DataFrame,
    facts: pd.DataFrame,
    verdicts: pd.DataFrame,
    answers: pd.DataFrame,
    questions: Mapping[str, Question],
) -> pd.DataFrame:
    """All trials of some sessions, sorted by number of arrival and trial: COLUMNS, every cell as text or whole number.

    sessions, facts and verdicts are indexed by session; `questions` by name.
    """
    kept = answers[answers["session"].isin(sessions.index)]
    kept = kept.assign(arrival=kept["session"].map(sessions["number"]))
    kept = kept.sort_values(["arrival", "trial"], kind="stable").reset_index(drop=True)
    demo, catch = kept["kind"] == "practice", kept["kind"] == "catch"
    correct = kept["correct"].astype(bool)
    asked = [questions[name] for name in kept["question"]]
    place = kept.groupby("session").cumcount()
    block_place = (~demo).groupby(kept["session"]).cumsum() - 1
    elapsed = 1000 * (kept["received"] - kept["session"].map(sessions["started"]))
    columns: dict[str, Any] = {
        "rt": [repr(float(value)) for value in kept["rt"]],
        "button_pressed": kept["button"],
        "switched_queries": [str(question.answer == "top") for question in asked],
        "confidence": kept["confidence"],
        "choice": np.where(correct, "b", "a"),
        "correct": correct.astype(str),
        "catch_trial": catch.astype(str),
        "is_demo": demo.astype(str),
        "trial_type": _TRIAL,
        "trial_index": place,
        "time_elapsed": elapsed.round().astype("int64"),
        "internal_node_id": "",
        "corrected_trial_index": block_place.astype(str).mask(demo, ""),
        **dict.fromkeys(("min_query", "max_query", "min_references", "max_references"), _HIDDEN),
        **_of_units(kept["kind"], asked),
    }
    of_session = _of_sessions(sessions, facts, verdicts)
    columns |= {name: kept["session"].map(of_session[name]) for name in of_session.columns}
    return pd.DataFrame(columns, index=kept.index)[list(COLUMNS)]


def _of_units(kinds: pd.Series, asked: list[Question]) -> dict[str, list[object]]:
    """batch, channel, layer, mode and model of every trial; nothing of practice."""
    names = ("batch", "channel", "layer", "mode", "model")
    cells = [_of_unit(kind, question) for kind, question in zip(kinds, asked, strict=True)]
    return {name: [cell[place] for cell in cells] for place, name in enumerate(names)}


def _of_unit(kind: str, question: Question) -> tuple[object, ...]:
    if kind == "practice":
        return ("",) * 5
    assert question.unit is not None
    model, layer, unit, condition = question.unit
    if kind == "catch":
        return -1, unit, _flat(layer), CATCH_MODE, CATCH_MODEL
    return question.task, unit, _flat(layer), _mode(condition), _model(model, condition)


def _of_sessions(sessions: pd.DataFrame, facts: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Columns that are the same in all trials of a session."""
    seconds, read, caught = (_numbers(facts[name]) for name in ("seconds", "instruction_seconds", "catch_share"))
    details = {
        "demo_trials_details": [f"{{'n_demo_trials_blocks': {n}}}" for n in facts["demo_blocks"]],
        "catch_trials_details": [
            f"{{'ratio': {share or None}, 'correctly_answered': {n}}}"
            for share, n in zip(caught, facts["n_caught"], strict=True)
        ],
        "total_response_time_details": [f"{{'total_time': {value or None}}}" for value in seconds],
        "row_variability_details": [
            f"{{'n_upper_row': {upper}, 'n_lower_row': {lower}}}"
            for upper, lower in zip(facts["n_upper"], facts["n_lower"], strict=True)
        ],
        "instruction_time_details": [f"{{'total_time': {value or None}}}" for value in read],
    }
    extracted = {
        "instruction_time_details_extracted": read,
        "total_response_time_details_extracted": seconds,
        "row_variability_details_details_upper_extracted": facts["n_upper"],
        "row_variability_details_details_lower_extracted": facts["n_lower"],
        "catch_trials_details_ratio_extracted": caught,
        "catch_trials_details_correctly_answered_extracted": facts["n_caught"],
        "demo_trials_details_extracted": facts["demo_blocks"],
    }
    return pd.DataFrame(
        {
            "response_index": facts["response_index"],
            "participant_id": facts["participant_id"],
            "task_id": facts["task_id"],
            "task_number": sessions["number"],
            "passed_checks": verdicts[list(CHECKS)].all(axis=1).astype(str),
            **{f"{check}_result": verdicts[check].astype(str) for check in CHECKS},
            **details,
            **extracted,
            REPEATED: facts[f"stored_{REPEATED}"].astype(str),
        },
        index=sessions.index,
    )


def _numbers(values: pd.Series) -> list[str]:
    return ["" if np.isnan(value) else repr(float(value)) for value in values]
