"""The files of a study with people: questions to show, who sees which, the key to them; and answers coming back.

docs/psychophysics.md describes every file. Questions and pictures carry numbers alone, so that neither a participant nor
the page that shows them can tell units, groups, labels or right answers.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interpretability.files import sha256_file
from interpretability.schema import KEY
from study.errors import StudyError
from study.files import casts, sources
from study.files.tables import read_csv, read_json, write_json, write_text
from study.log import logger
from study.people.answers_from_table import confidence, read_answers
from study.people.experiments import condition_of

log = logger("psychophysics")

SCHEMA = 2
TWO_ALTERNATIVE, RATINGS = "two-alternative", "ratings"  # kinds of folder
LOCALIZE, NAME = PICKING = ("localize", "name")  # in which one of several things is picked on each page
CHOICES = ("top", "bottom")
PEOPLE, SIMULATED = sources.PEOPLE, sources.SIMULATED  # who answered
_TEXT = ("model", "layer", "condition", "question", "participant", "choice", "correct", "confidence", "task", "source")


def vacant(out: Path) -> None:
    """Raises StudyError where `out` is a file, or a folder that holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError(f"{out} is there already and holds something; name a new folder, or remove it")


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """A folder beside `out` that takes its name when the block ends well, and vanishes when it does not."""
    vacant(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
    try:
        os.chmod(folder, 0o755)
        yield folder
        os.replace(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_rows(path: Path, name: str, rows: Sequence[Mapping[str, Any]], **head: str) -> None:
    """JSON with the schema's number, what `head` adds to it, and a list of objects, one a line."""
    lines = ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False) for row in rows)
    more = "".join(f"{json.dumps(key)}: {json.dumps(value)}, " for key, value in head.items())
    write_text(path, f'{{"schema": {SCHEMA}, {more}"{name}": [\n{lines}\n]}}\n')


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """study.json: what the folder is, and digests of its other files (images.csv has those of the pictures)."""
    digests = {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_json(folder / "study.json", {"schema": SCHEMA, **content, "files": digests})


@dataclass(frozen=True)
class Key:
    """What analysis needs of an exported folder. questions: experiment, question, key, group, task, answer; expected: model,
    condition, group, expected. condition as of `experiments.condition_of`."""

    questions: pd.DataFrame
    expected: pd.DataFrame
    seed: int


def read_key(folder: Path) -> Key:
    """The key of an exported folder. Raises StudyError if a file is missing or not the one that study.json describes."""
    study = folder / "study.json"
    if not study.is_file():
        raise StudyError(f"{study}: no such file. `python -m tools.psychophysics export --out {folder}` writes it")
    manifest = read_json(study)
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema == 1:
        raise StudyError(
            f"{study} has schema 1, of a time before conditions and practice; this code reads {SCHEMA}. Analyse its answers with "
            "the version of the code that exported it; for new answers, export again"
        )
    if schema != SCHEMA:
        raise StudyError(f"{study} has schema {schema}; this code reads {SCHEMA}. Use the code that wrote it")
    if manifest.get("kind") != TWO_ALTERNATIVE:
        raise StudyError(
            f"{study} describes {manifest.get('kind')!r}; only {TWO_ALTERNATIVE!r} answers are analysed here. Ratings go "
            "to data/external/explanations/ratings, and `dvc repro` scores them"
        )
    if missing := [name for name in ("files", "experiments", "n_explanations", "seed") if name not in manifest]:
        raise StudyError(f"{study} lacks {', '.join(missing)}; take the folder as it was exported")
    units = folder / "units.json"
    if not units.is_file() or sha256_file(units) != manifest["files"].get("units.json"):
        raise StudyError(
            f"{units} is missing or not the file that study.json describes; take the folder as it was exported"
        )
    meant = {
        part["experiment"]: condition_of(part["condition"], part["n_explanations"], manifest["n_explanations"])
        for part in manifest["experiments"]
    }
    rows = [
        {
            **{name: unit[name] for name in ("experiment", *KEY, "group")},
            "condition": meant[unit["experiment"]],
            **{name: task[name] for name in ("question", "task", "answer")},
        }
        for unit in read_json(units)["units"]
        for task in unit["tasks"]
    ]
    expected = [
        {
            "model": part["model"],
            "condition": meant[part["experiment"]],
            **{name: group[name] for name in ("group", "expected")},
        }
        for part in manifest["experiments"]
        for group in part["groups"]
    ]
    columns = ["model", "condition", "group", "expected"]
    table = pd.DataFrame(expected, columns=columns).astype({"expected": np.float64})
    return Key(pd.DataFrame(rows), table, manifest["seed"])


def read_responses(path: Path, key: Key) -> tuple[pd.DataFrame, bool]:
    """Answers to the questions of a key: key, group, task, participant, correct, confidence; and whether they say of
    themselves, in a column `source`, that they are simulated.

    A table with a column `question` holds participant and choice (top or bottom), or correct; any other is read as for
    human.source table. Answers to units of no group are counted in the log and left out.
    """
    table = read_csv(path, text=_TEXT)
    if table.empty:
        raise StudyError(f"{path} has no rows, so no answers")
    simulated = sources.source_of(path, table.get("source"), "Make two tables of it") == SIMULATED
    if "question" in table.columns:
        return _of_questions(path, table, key.questions), simulated
    groups = key.questions[[*KEY, "group"]].drop_duplicates()
    answers = read_answers(path, "", [], [], [])
    matched = answers.merge(groups, on=KEY, how="left")
    outside = int(matched["group"].isna().sum())
    if outside == len(matched):
        raise StudyError(
            f"{path}: none of its {len(matched)} answers is to a unit of the exported groups; is it another study?"
        )
    if outside:
        log.warning("%s: %d of %d answers are to units of no group and are left out", path.name, outside, len(matched))
    return matched.dropna(subset="group").reset_index(drop=True), simulated


def _of_questions(path: Path, table: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    if "participant" not in table.columns or not {"choice", "correct"} & set(table.columns):
        raise StudyError(
            f"{path} needs the columns question, participant and choice (or correct); it has {', '.join(table.columns)}"
        )
    asked = table["question"].str.strip()
    casts.refuse(path, asked, ~asked.isin(questions["question"]), "question", "one of questions.json")
    casts.refuse(path, table["participant"], table["participant"].str.strip() == "", "participant", "filled")
    answers = pd.DataFrame({"question": asked, "participant": casts.ids(path, table["participant"], "participant")})
    answers = answers.merge(questions, on="question", how="left").set_axis(table.index)
    if "choice" in table.columns:
        choice = table["choice"].str.strip().str.lower()
        casts.refuse(path, table["choice"], ~choice.isin(CHOICES), "choice", "top or bottom")
        answers["correct"] = choice == answers["answer"]
    else:
        answers["correct"] = casts.truth(path, table["correct"], "correct")
    answers["confidence"] = confidence(path, table.get("confidence"), table.index)
    doubled = answers.duplicated(["participant", *KEY])
    if doubled.any():
        log.warning("%s: %d answers are a person's second one to a unit; all count", path.name, int(doubled.sum()))
    return answers.drop(columns=["question", "answer", "experiment"]).reset_index(drop=True)
