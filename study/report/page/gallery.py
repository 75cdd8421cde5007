"""The gallery of units: what its script reads as JSON, and the strips that stand there without a script."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from interpretability.schema import KEY
from study.report.figures.base import Study
from study.report.page.inputs import gallery_models
from study.report.page.listed_units import Listed, Pictures, ends, residuals
from study.report.page.thumbnails import Sheets

UNIT = 1_000_000  # scores, shares and errors are written as whole millionths
STEPS = 32_767  # largest whole number of a margin


@dataclass(frozen=True)
class Thumb:
    """One picture of a strip: its sheet and its place in it."""

    sheet: int
    column: int
    row: int


@dataclass(frozen=True)
class Strip:
    """The first task of a unit, as an observer sees it, and what the machine made of all its tasks."""

    unit: str
    link: str
    mis: float
    mis_se: float
    accuracy: float
    alt: str
    least: tuple[Thumb, ...]
    queries: tuple[Thumb, ...]
    most: tuple[Thumb, ...]


@dataclass(frozen=True)
class Gallery:
    """Everything the page shows of single units."""

    data: Markup
    sheets: Sheets
    strips: Mapping[str, Mapping[str, Sequence[Strip]]]
    n_listed: int
    n_pictured: int
    total: int
    n_conditions: int


def make_gallery(
    study: Study,
    listed: Listed,
    pictures: Pictures,
    sheets: Sheets,
    manifest: pd.DataFrame,
    slope: Mapping[str, Any],
    answers: pd.DataFrame,
    drop_near: bool,
    n_each: int,
) -> Gallery:
    """The gallery of a study. `manifest` has path and label of every picture; `slope` is the leading similarity's.

    `answers` (model, layer, unit, condition, task, correct) are those to the very tasks shown here. Strips are drawn of the
    `n_each` easiest and hardest units of each network that has pictures.
    """
    content = {
        **_study_facts(study, listed, slope, drop_near),
        **_columns(study, listed),
        **_human(study, listed, answers),
        **_pictured(pictures, sheets, manifest),
    }
    strips = {
        model: {
            title: [_strip(listed, row, pictures, sheets, manifest) for row in rows if row in pictures.tasks]
            for title, rows in zip(("Easiest", "Hardest"), ends(listed, model, n_each), strict=False)
        }
        for model in gallery_models(study)
        if pictures.tasks
    }
    return Gallery(
        as_json(content),
        sheets,
        strips,
        len(listed.units),
        len(pictures.tasks),
        listed.total,
        listed.units["condition"].nunique(),
    )


def as_json(content: Mapping[str, Any]) -> Markup:
    """JSON for a script block: nothing in it can end the block or begin markup."""
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    # these three occur inside strings alone, where an escape means the same character
    return Markup(written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _study_facts(study: Study, listed: Listed, slope: Mapping[str, Any], drop_near: bool) -> dict[str, Any]:
    return {
        "lead": study.lead,
        "slope": float(slope["slope"]),
        "status": str(slope["status"]),
        "people": study.people,
        "nTasks": study.n_tasks,
        "nExplanations": study.n_explanations,
        "dropNear": drop_near,
        "total": listed.total,
    }


def _columns(study: Study, listed: Listed) -> dict[str, Any]:
    """Numbers of all units, column by column; layers and conditions as runs of equal values."""
    units = listed.units
    layers = (
        units[["model", "layer", "layer_type", "depth"]].astype({"depth": float}).drop_duplicates(ignore_index=True)
    )
    models, conditions = list(dict.fromkeys(units["model"])), sorted(set(units["condition"]))
    codes = layers.index.to_numpy()[pd.MultiIndex.from_frame(layers.iloc[:, :2]).get_indexer(
        pd.MultiIndex.from_frame(units[["model", "layer"]])
    )] if len(units) else np.arange(0)  # fmt: skip
    largest = float(np.abs(listed.margins).max(initial=0.0)) or 1.0
    return {
        "models": models,
        "layers": [
            [models.index(row.model), row.layer, row.layer_type, round(row.depth, 3)] for row in layers.itertuples()
        ],
        "conditions": conditions,
        "layer": _runs(codes),
        "condition": _runs(np.array([conditions.index(name) for name in units["condition"]], dtype=np.int64)),
        "unit": units["unit"].astype(int).tolist(),
        "mis": _whole(units["mis"]),
        "se": _whole(units["mis_se"]),
        "accuracy": _whole(units["accuracy"]),
        "others": [[name, _whole(values)] for name, values in listed.others.items()],
        "marginStep": float(f"{largest / STEPS:.6g}"),
        "margins": _packed(listed.margins, largest),
        "near": {str(row): tasks for row, tasks in listed.near.items()},
        "ends": _ends(study, listed),
    }


def _runs(values: NDArray[np.integer]) -> list[list[int]]:
    """Runs of equal values as [value, length]."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    lengths = np.diff(np.append(starts, len(values)))
    return [[int(values[start]), int(length)] for start, length in zip(starts, lengths, strict=True)]


def _whole(values: Any) -> list[int | None]:
    """Numbers as whole millionths, null where missing."""
    return [None if value != value else round(value * UNIT) for value in np.asarray(values, dtype=np.float64).tolist()]


def _packed(margins: NDArray[np.float32], largest: float) -> str:
    """Margins as little-endian 16-bit steps, base64; only a margin of exactly zero becomes zero, as it is a tie."""
    steps = np.rint(margins.astype(np.float64) / largest * STEPS)
    steps = np.where(steps == 0, np.sign(margins), steps)
    return base64.b64encode(steps.astype("<i2").tobytes()).decode()


def _ends(study: Study, listed: Listed) -> dict[str, list[Any]]:
    """Units of extreme_units.csv: which end, shrunken score, probability to belong there."""
    rows, places = study.tables["extreme_units"], listed.places()
    rows = rows[rows["backend"] == study.lead]
    keys = rows[KEY].itertuples(index=False, name=None)
    told = zip(rows["end"], _whole(rows["shrunken"]), _whole(rows["p_among"]), strict=True)
    return {str(places[key]): list(facts) for key, facts in zip(keys, told, strict=True) if key in places}


def _human(study: Study, listed: Listed, answers: pd.DataFrame) -> dict[str, Any]:
    """HIS of annotated units, answers to their tasks, and the units that MIS misses most."""
    places = listed.places()
    human = {}
    for row in study.human.itertuples():
        key = (row.model, row.layer, row.unit, row.condition)
        if key in places:
            human[str(places[key])] = [*_whole([row.his, row.his_se]), int(row.n_responses)]
    by_task: dict[str, list[int]] = {}
    asked = answers.groupby([*KEY, "task"], sort=True, observed=True)["correct"].agg(["size", "sum"])
    for (*key, task), (n, right) in zip(asked.index, asked.itertuples(index=False, name=None), strict=True):
        if tuple(key) in places and 0 <= task < study.n_tasks:
            counts = by_task.setdefault(str(places[tuple(key)]), [0] * (2 * study.n_tasks))
            counts[2 * task : 2 * task + 2] = [int(n), int(right)]
    missed = {}
    for side in ("over", "under"):
        rows = residuals(study, side)
        keys = rows[KEY].itertuples(index=False, name=None)
        missed[side] = [
            [places[key], round(float(z), 2)] for key, z in zip(keys, rows["z"], strict=True) if key in places
        ]
    return {"human": human, "answers": by_task, "missed": missed}


def _pictured(pictures: Pictures, sheets: Sheets, manifest: pd.DataFrame) -> dict[str, Any]:
    """Pictures of units as numbers of thumbnails, and what each thumbnail is called."""
    number = {image: place for place, image in enumerate(sheets.images)}
    units = {}
    for row, tasks in sorted(pictures.tasks.items()):
        half = tasks.shape[1] // 2 - 1

        def ids(images: NDArray[np.int32]) -> list[int]:
            return [number[int(image)] for image in images.ravel()]

        units[str(row)] = {
            "most": ids(pictures.extremes[row][0]),
            "least": ids(pictures.extremes[row][1]),
            "ranked": row not in pictures.unranked,
            "queries": ids(tasks[:, -2:]),
            "full": [ids(task[: 2 * half]) for task in tasks[: pictures.n_full]],
        }
    shown = manifest.iloc[list(sheets.images)]
    labels = sorted(set(shown["label"].astype(str)))
    places = {label: place for place, label in enumerate(labels)}
    return {
        "pictures": units,
        "sheetColumns": sheets.columns,
        "perSheet": sheets.per_sheet,
        "labels": labels,
        "label": [places[str(label)] for label in shown["label"]],
        "path": shown["path"].astype(str).tolist(),
    }


def _strip(listed: Listed, row: int, pictures: Pictures, sheets: Sheets, manifest: pd.DataFrame) -> Strip:
    unit, task = listed.units.loc[row], pictures.tasks[row][0]
    half = len(task) // 2 - 1
    places = {image: place for place, image in enumerate(sheets.images)}

    def thumbs(images: NDArray[np.int32]) -> tuple[Thumb, ...]:
        found = [divmod(places[int(image)], sheets.per_sheet) for image in images]
        return tuple(Thumb(sheet, place % sheets.columns, place // sheets.columns) for sheet, place in found)

    name = f"{unit['layer']} unit {unit['unit']}"
    labels = manifest["label"].astype(str).to_numpy()
    alt = (
        f"One task of {name}. Left, least exciting: {label_words(labels[task[half:-2]])}. "
        f"Right, most exciting: {label_words(labels[task[:half]])}."
    )
    return Strip(
        name,
        f"{unit['model']}/{unit['layer']}/{unit['unit']}/{unit['condition']}",
        *(float(unit[column]) for column in ("mis", "mis_se", "accuracy")),
        alt,
        thumbs(task[half:-2]),
        thumbs(task[[-1, -2]]),
        thumbs(task[:half]),
    )


def label_words(labels: NDArray[np.object_]) -> str:
    """The commonest labels of some pictures in words."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    order = np.lexsort((names, -counts))[:3]
    known = [f"{counts[i]} of {len(labels)} labelled {names[i]}" for i in order if names[i]]
    return ", ".join(known) or f"{len(labels)} images"
