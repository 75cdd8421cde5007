"""Similarities of a study tuned on the answers to its tasks, or the reason why one is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
from numpy.typing import NDArray

from interpretability.people import tuned_scores, tuning
from interpretability.people.noise import noise_within_tasks
from interpretability.people.tuned_scores import Asked, Tuned
from interpretability.people.tuning import Answers, Design
from interpretability.schema import KEY, MADE
from interpretability.synthetic.factors import factor_dimensions
from study.errors import StudyError
from study.files import sources
from study.files.store import WorkStore
from study.files.tables import read_csv, read_json, read_parquet, write_bytes, write_parquet
from study.files.unit_tables import TaskRows, near_copies, rows_of
from study.images.manifest import open_images
from study.log import logger
from study.params.fields import one_of
from study.params.mis import Mis
from study.params.parts import Backends, Confidence, SeedAndImages
from study.params.tuning import Tuning
from study.solving.embeddings import embedded_images
from study.solving.opening import Similarities, SimilarityPlan, similarity_and_images
from study.solving.study_margins import used_images

log = logger("tuning")

UNITS, WEIGHTS, PLAN, SUMMARY = "units.parquet", "weights.parquet", "plan.parquet", "summary.parquet"
_WHOSE = ["backend", "family"]
COLUMNS = [*_WHOSE, "answers", *tuned_scores.COLUMNS]
_COLUMNS = {
    UNITS: [*_WHOSE, *tuned_scores.UNIT_COLUMNS],
    WEIGHTS: [*_WHOSE, *tuned_scores.WEIGHT_COLUMNS],
    PLAN: [*_WHOSE, *tuned_scores.PLAN_COLUMNS],
}
_USED = "used"  # what data/tasks/mapped.csv says of a unit whose tasks are the very ones that people saw
NO_TASKS = (
    "the answers do not tell which tasks of this study they were given to, so no weights can be fitted to them; those of "
    "simulated observers do, and those of the record where tasks.source is imi"
)
NO_EMBEDDING = "compares pairs of images and has no embedding whose dimensions could be weighted"
NOT_MEAN = "scores.aggregation is {kind}: only under the mean is the evidence of a task a sum over dimensions"


@dataclass(frozen=True, kw_only=True)
class AllSimilarities(Similarities, Backends):
    """The similarities of the study, of `scores`."""


@dataclass(frozen=True, kw_only=True)
class Intervals(Confidence):
    """How intervals are made, of `stats`."""

    n_bootstrap: int


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Where answers come from, of `human`."""

    source: str = one_of("none", "simulated", "imi", "table", "pairs")


@dataclass(frozen=True, kw_only=True)
class TuningParams(SeedAndImages):
    """What tuned similarities depend on."""

    scores: AllSimilarities
    mis: Mis
    human: Answering
    tuning: Tuning
    stats: Intervals


@dataclass(frozen=True)
class Places:
    """Folders of a study."""

    tasks: Path
    scores: Path
    human: Path
    images: Path
    models: Path
    code: Path


@dataclass(frozen=True)
class _Shown:
    """Tasks (units, N, 2(K + 1)) that were answered, by the answers to them; none of made images."""

    tasks: NDArray[np.int32]
    n_explanations: int
    asked: Asked

    def of(self, rows: NDArray[np.integer]) -> _Shown:
        return _Shown(self.tasks[rows], self.n_explanations, self.asked.of(rows))


def tune_all(params: TuningParams, places: Places, out: Path) -> None:
    """Tune the similarities of tuning.backends, and write what became of each.

    summary.parquet  a row a similarity and family (COLUMNS); none where nobody answered
    units.parquet, weights.parquet   of those that were fitted: scores out of fold, and weights
    plan.parquet     what fewer units would have given, where tuning.plan_draws asks for it
    BACKEND-FAMILY.safetensors       of those that are tuned: how to weight an embedding (`tensors_of`)
    """
    rows: list[dict[str, object]] = []
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in _COLUMNS}
    people = _people(places.human)
    answers = sources.SIMULATED if sources.simulated(people) else sources.PEOPLE
    for backend in params.tuning.backends if len(people) else ():
        for family, result, plan in _tuned(backend, params, places, people, out):
            whose = {"backend": backend, "family": family}
            rows.append({**whose, "answers": answers, **result.row})
            for name, table in ((UNITS, result.units), (WEIGHTS, result.weights), (PLAN, plan)):
                tables[name].append(table.assign(**whose))
            if result.final is None:
                log.warning("%s: not tuned, %s", f"{backend}, {family}" if family else backend, result.row["reason"])
            else:
                r = (result.row[f"r_{name}"] for name in ("tuned", "untuned"))
                log.info("%s, %s: r %.3f, untuned %.3f", backend, family, *r)
    write_tables(out, rows, tables)


def write_tables(out: Path, rows: list[dict[str, object]], tables: dict[str, list[pd.DataFrame]]) -> None:
    """The tables of `tune_all`, from the rows of the first one and the parts of the others."""
    write_parquet(out / SUMMARY, _typed(pd.DataFrame(rows, columns=COLUMNS)))
    for name, columns in _COLUMNS.items():
        parts = [part for part in tables.get(name, []) if len(part)]
        write_parquet(out / name, _typed(pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)))


_TEXT = {"backend", "family", "answers", "status", "reason", "strength_at_end", "model", "layer", "condition", "name"}
_WHOLE = {"n_answers", "n_units", "n_weights", "unit", "fold", "n_responses", "n_draws"}


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of one type each, however few rows there are."""
    kinds = {name: "str" if name in _TEXT else "int64" if name in _WHOLE else "float64" for name in table.columns}
    text = {name: table[name].astype(object).fillna("") for name in table.columns if name in _TEXT}
    return table.assign(**text).astype(kinds)


def _people(human: Path) -> pd.DataFrame:
    """Units with their human scores that may enter agreement, none of made images."""
    units = sources.counted(read_parquet(human / "units.parquet"))
    return units[~units["condition"].isin(MADE)].reset_index(drop=True)


def _tuned(
    backend: str, params: TuningParams, places: Places, people: pd.DataFrame, out: Path
) -> Iterator[tuple[str, Tuned, pd.DataFrame]]:
    """Family, result and plan of each family of one similarity; one row with an empty family where none can be fitted."""
    plan = SimilarityPlan.from_params(backend, params, places.images, places.models, places.code)
    similarity, none = similarity_and_images(plan)[0], pd.DataFrame(columns=tuned_scores.PLAN_COLUMNS)
    if not similarity.embeds:
        yield "", tuned_scores.refused(NO_EMBEDDING), none
        return
    if params.scores.aggregation != "mean":
        yield "", tuned_scores.refused(NOT_MEAN.format(kind=params.scores.aggregation)), none
        return
    shown = _shown(places, people, backend, params.human.source, drop_near=params.mis.drop_near_duplicates)
    few = tuned_scores.too_few(shown.asked) if shown else NO_TASKS
    if shown is None or few:
        yield "", tuned_scores.refused(few, shown.asked if shown else None), none
        return
    paths = sorted(places.tasks.glob("*.npy"))
    prepared = embedded_images(plan, WorkStore.open(), used_images(paths, len(open_images(places.images))))
    if prepared is None:
        raise AssertionError("a similarity that embeds has embeddings")
    rows, tasks = prepared.shown_in(shown.tasks)
    sides = tuning.task_sides(rows, tasks, shown.n_explanations)
    for family in (tuning.BLOCKS,) if similarity.needs_factors else params.tuning.families:
        design, directions = _design(family, rows, sides, params.tuning.rank)
        result = tuned_scores.tuned(shown.asked, design, params.seed, params.stats.n_bootstrap, params.stats.confidence)
        if result.final is not None:
            _save(out / f"{backend}-{family}.safetensors", tensors_of(family, result.final, directions))
        planned = tuned_scores.plan_table(shown.asked, design, params.seed, params.tuning.plan_draws)
        yield family, result, planned


def _design(
    family: str, rows: NDArray[np.floating], sides: tuple[tuning.Matrix, tuning.Matrix], rank: int
) -> tuple[Design, tuning.Matrix | None]:
    """Features of a family, and the directions of its matrix."""
    if family == tuning.BLOCKS:
        return tuning.block_design(*sides, factor_dimensions()), None
    if family == "diagonal":
        return tuning.diagonal_design(*sides), None
    directions = tuning.principal_directions(rows, min(rank, rows.shape[1]))
    return tuning.low_rank_design(*sides, directions), directions


def tensors_of(family: str, weights: tuning.Vector, directions: tuning.Matrix | None) -> dict[str, NDArray[np.float64]]:
    """How to weight unit rows x, y of the similarity, slope included.

    weights (D,)                          of diagonal and blocks: sum of weights x y
    common (1,), directions (D, r), matrix (r, r)   of low_rank: common x . y + (x directions) matrix (y directions)
    """
    if directions is not None:
        rank = directions.shape[1]
        matrix = tuning.matrix_of(weights, rank) - weights[0] * np.eye(rank)
        return {"common": weights[:1], "directions": directions, "matrix": matrix}
    if family == tuning.BLOCKS:
        names = factor_dimensions()
        return {"weights": weights[pd.factorize(np.asarray(names, dtype=object))[0]]}
    return {"weights": weights}


def _save(path: Path, tensors: dict[str, NDArray[np.float64]]) -> None:
    from safetensors.numpy import save

    write_bytes(path, save({name: np.ascontiguousarray(values) for name, values in tensors.items()}))


def _shown(places: Places, people: pd.DataFrame, backend: str, source: str, *, drop_near: bool) -> _Shown | None:
    """Annotated units and their answers by task, of answers to the very tasks of this study; None where there are none."""
    n_explanations = read_json(places.tasks / "summary.json")["n_explanations"]
    answers = sources.counted(read_parquet(places.human / "responses.parquet"))
    answers = answers[_own(answers, places.tasks, source) & (answers["task"] >= 0)].reset_index(drop=True)
    answered = pd.MultiIndex.from_frame(people[KEY]).isin(pd.MultiIndex.from_frame(answers[KEY].drop_duplicates()))
    units, parts = [], []
    for model, asked in people[answered].groupby("model", sort=True):
        path = places.tasks / f"{model}.npy"
        if not path.is_file():
            continue
        known = ds.dataset(places.tasks / f"{model}.parquet").to_table(columns=KEY)
        asked = asked[rows_of(known, asked) >= 0].reset_index(drop=True)
        at, _ = TaskRows(places.tasks, str(model)).find(asked)
        units.append(asked)
        parts.append(np.load(path, mmap_mode="r")[at])
    if not units or not sum(map(len, units)):
        return None
    table, tasks = pd.concat(units, ignore_index=True), np.concatenate(parts)
    table = table.merge(noise_within_tasks(answers), on=KEY, how="left")
    shown = _Shown(
        tasks, n_explanations, _counts(table, answers, _used(places, backend, table, tasks.shape[1], drop_near))
    )
    kept = np.flatnonzero(shown.asked.used.any(axis=1) & (shown.asked.answers.n.sum(axis=1) > 0))
    return shown.of(kept) if len(kept) else None


def _own(answers: pd.DataFrame, tasks: Path, source: str) -> NDArray[np.bool_]:
    """Answers to the very tasks of this study: of its observers, and the record's to tasks that its map of images gave."""
    own = answers["own_tasks"].to_numpy(bool)
    if source != "imi":  # a table numbers its tasks in its own way, whatever units they are of
        return own
    mapped = read_csv(tasks / "mapped.csv", text=[*KEY, "status"])
    used = mapped[mapped["status"] == _USED].astype({"unit": "int64"})
    of_map = pd.MultiIndex.from_frame(answers[KEY]).isin(pd.MultiIndex.from_frame(used[KEY]))
    return own | of_map


def _used(places: Places, backend: str, units: pd.DataFrame, n_tasks: int, drop_near: bool) -> NDArray[np.bool_]:
    """Tasks (units, N) that count: all, or where mis.drop_near_duplicates says so those without a near copy."""
    used = np.ones((len(units), n_tasks), dtype=bool)
    if drop_near:
        wanted = ds.field("model").isin(units["model"].unique().tolist())
        table = ds.dataset(places.scores / f"{backend}.parquet").to_table(columns=[*KEY, "near"], filter=wanted)
        known = pd.MultiIndex.from_frame(table.select(KEY).to_pandas().astype(object))
        at = known.get_indexer(pd.MultiIndex.from_frame(units[KEY].astype(object)))
        if (at < 0).any():
            first = "/".join(map(str, units[KEY].iloc[int(np.argmax(at < 0))]))
            raise StudyError(
                f"{places.scores / backend}.parquet lacks {int((at < 0).sum())} units that were answered, {first} first; "
                "write it anew: dvc repro scores"
            )
        used &= ~near_copies(table["near"], n_tasks)[at]
    return used


def _counts(units: pd.DataFrame, answers: pd.DataFrame, used: NDArray[np.bool_]) -> Asked:
    """Answers of each unit by task; those to tasks that do not count are left out."""
    rows = answers.merge(units[KEY].assign(row=np.arange(len(units))), on=KEY)
    rows = rows[rows["task"] < used.shape[1]]
    place = rows["row"].to_numpy(), rows["task"].to_numpy()
    n, right = np.zeros(used.shape, dtype=np.int64), np.zeros(used.shape, dtype=np.int64)
    np.add.at(n, place, 1)
    np.add.at(right, place, rows["correct"].to_numpy(np.int64))
    return Asked(units, Answers(n * used, right * used), used)
