"""What the export of a study with people asks: which units, which of their tasks, how they are shown, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability import mis
from interpretability.analysis import ranking
from interpretability.design import intervention
from interpretability.randomness import generator, unit_keys
from interpretability.schema import KEY, UNIT
from interpretability.synthetic import observers
from study.errors import StudyError
from study.files.tables import read_parquet
from study.files.unit_tables import Margins, matrix
from study.networks.roster import read_roster
from study.params.mis import Mis
from study.params.units import Units
from study.people import questions

CONDITION = "natural"
MOST_MODELS = 10  # networks that are asked about unless they are named
_MOST_NAMED = 20  # networks that a message names


@dataclass(frozen=True)
class Design:
    """The choices of an export. `asked`: numbers of the tasks of a unit that people see."""

    asked: NDArray[np.int64]
    n_units: int
    n_random: int
    held_out: bool
    n_responses: int
    n_trials: int
    seed: int
    format: str  # of the images


@dataclass(frozen=True)
class Asked:
    """One network: groups, what to expect of them, their tasks as shown, and who sees which (person, unit, task)."""

    chosen: pd.DataFrame
    expected: pd.DataFrame
    shown: intervention.Presentation
    sessions: pd.DataFrame


def chosen_models(wanted: list[str], roster: Path) -> list[str]:
    """Networks to ask about: those named, else all studied ones (of a training its last checkpoint) if they are few."""
    table = read_roster(roster)
    known = table[(table["role"] == "study") & (table["last"] == 1)]["name"].tolist()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        more = ", ..." if len(known) > _MOST_NAMED else ""
        raise StudyError(
            f"--models names {', '.join(unknown)}; studied networks are {', '.join(known[:_MOST_NAMED])}{more}"
        )
    if not wanted and len(known) > MOST_MODELS:
        raise StudyError(
            f"the study has {len(known)} networks, too many to ask about all; name some, as --models {known[0]},{known[1]}"
        )
    return list(dict.fromkeys(wanted)) or known


def candidates(
    model: str, margins: Margins, slope: float, mis_params: Mis, units: Units, annotated: pd.DataFrame
) -> pd.DataFrame:
    """Units of a network that nobody answered: key, layer_type and the columns of `ranking.half_scores`."""
    answered = margins.rows([model], [*KEY, "layer_type", "margins", "near"])
    table, values = answered.select([*KEY, "layer_type"]).to_pandas(), matrix(answered["margins"])
    near = answered["near"].to_pylist()
    lengths = np.array([len(tasks) for tasks in near], dtype=np.int64)
    marks = np.array([task for tasks in near for task in tasks], dtype=np.int64)
    mask = mis.near_mask(lengths, marks, values.shape[1])
    table = table.join(ranking.half_scores(values, slope, mask, mis_params.drop_near_duplicates))
    kept = (table["condition"] == CONDITION) & table["layer_type"].isin(units.layer_types)
    answered_before = pd.MultiIndex.from_frame(table[UNIT]).isin(pd.MultiIndex.from_frame(annotated[UNIT]))
    return table[kept & ~answered_before].dropna(subset=["mis", "even", "odd"]).reset_index(drop=True)


def questions_about(model: str, table: pd.DataFrame, tasks: Path, design: Design) -> Asked:
    """The groups of one network, chosen among the candidates `table`, and their tasks laid out."""
    needed = 2 * design.n_units + design.n_random
    if len(table) < needed:
        raise StudyError(
            f"{model} has {len(table)} units that nobody answered; groups of {design.n_units}, {design.n_random} and "
            f"{design.n_units} need {needed}. Ask about fewer: --units, --random"
        )
    if design.n_trials > needed:
        raise StudyError(
            f"--trials is {design.n_trials}; allowed are 1 to {needed}, the units of a network: nobody sees a unit twice"
        )
    sizes = design.n_units, design.n_random, design.seed
    chosen = intervention.choose(table, *sizes, "even" if design.held_out else "mis")
    expected = intervention.expected(table, *sizes, held_out=design.held_out)
    rows = read_parquet(tasks / f"{model}.parquet", KEY).reset_index(names="row")
    chosen_rows = chosen[KEY].merge(rows, on=KEY, how="left")["row"].to_numpy()
    built = np.load(tasks / f"{model}.npy", mmap_mode="r")[chosen_rows][:, design.asked]
    owners = zip(chosen["layer"], chosen["unit"], strict=True)
    keys = np.concatenate([unit_keys(design.seed, model, layer, np.array([unit])) for layer, unit in owners])
    draw = generator(design.seed, "psychophysics", "sessions", model)
    sessions = observers.assign(len(chosen), design.n_responses, design.n_trials, len(design.asked), draw)
    return Asked(chosen, expected, intervention.present(built, keys, design.asked), sessions)


@dataclass(frozen=True)
class Written:
    """Rows of units.json, questions.json and sessions.json."""

    units: list[dict[str, Any]]
    questions: list[dict[str, Any]]
    sessions: list[dict[str, Any]]


def written_rows(asked: Asked, design: Design, n_questions: int, n_sessions: int) -> Written:
    """The rows of one network; `n_questions` and `n_sessions` were numbered before.

    Numbers of questions tell nothing of units and groups: they are dealt at random within the network.
    """
    model = str(asked.chosen["model"].iloc[0])
    size = len(asked.chosen), len(design.asked)
    deal = generator(design.seed, "psychophysics", "question numbers", model).permutation(size[0] * size[1])
    number = n_questions + 1 + deal.reshape(size)

    def files(images: NDArray[np.int32]) -> list[str]:
        return [questions.file_of(int(image), design.format) for image in images]

    units, shown = [], asked.shown
    facts = ["model", "layer", "unit", "condition", "layer_type", "group", "rank", "mis", "even", "odd"]
    for u, row in enumerate(asked.chosen[facts].to_dict("records")):
        queries = zip(files(shown.top[u]), files(shown.bottom[u]), shown.right_on_top[u], strict=True)
        tasks = [
            {
                "question": f"q{number[u, t]:06d}",
                "task": int(design.asked[t]),
                "left": files(shown.least[u, t]),
                "right": files(shown.most[u, t]),
                "top": top,
                "bottom": bottom,
                "answer": questions.CHOICES[0 if on_top else 1],
            }
            for t, (top, bottom, on_top) in enumerate(queries)
        ]
        units.append(
            {name: float(f"{cell:.6g}") if isinstance(cell, float) else cell for name, cell in row.items()}
            | {"tasks": tasks}
        )
    blind = [
        {name: task[name] for name in ("question", "left", "right", "top", "bottom")}
        for unit in units
        for task in unit["tasks"]
    ]
    sessions = [
        {
            "session": f"s{n_sessions + 1 + cast(int, person):05d}",
            "questions": [
                f"q{number[unit, task]:06d}" for unit, task in zip(trials["unit"], trials["task"], strict=True)
            ],
        }
        for person, trials in asked.sessions.groupby("person", sort=True)
    ]
    return Written(units, sorted(blind, key=lambda question: question["question"]), sessions)
