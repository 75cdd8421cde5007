"""The gallery of units: what its script reads as JSON, and the strips that stand there without a script."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from interpretability.schema import KEY, SYNTHETIC
from study.report.figures.base import Study
from study.report.figures.words import UNIDENTIFIED
from study.report.page.inputs import gallery_models
from study.report.page.kinds import Kinds
from study.report.page.kinds import as_content as as_kinds
from study.report.page.latents import Latents
from study.report.page.latents import as_content as as_directions
from study.report.page.listed_units import Key, Listed, ShownTasks, ends, residuals
from study.report.page.packing import whole
from study.report.page.thumbnails import Sheets
from study.report.page.unit_texts import ShownTexts, as_content

STEPS = 32_767  # largest whole number of a margin


class Thumb(NamedTuple):
    """One image of a strip: in which sheet, and where in it."""

    sheet: int
    column: int
    row: int


@dataclass(frozen=True)
class Strip:
    """The first task of a unit, as an observer sees it, and what the machine made of all its tasks."""

    unit: str
    link: str
    alt: str
    least: tuple[Thumb, ...]
    queries: tuple[Thumb, ...]
    most: tuple[Thumb, ...]
    mis: float
    mis_se: float
    tasks_alone: bool
    accuracy: float


@dataclass(frozen=True)
class Gallery:
    """Everything the page shows of single units."""

    data: Markup
    sheets: Sheets
    strips: Mapping[str, Mapping[str, Sequence[Strip]]]
    n_listed: int
    n_with_images: int
    n_with_texts: int
    n_texts_total: int
    n_kinds: int
    n_made: int
    total: int
    n_conditions: int


def make_gallery(
    study: Study,
    listed: Listed,
    shown: ShownTasks,
    texts: ShownTexts,
    sheets: Sheets,
    manifest: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    slope: float,
    slope_status: str,
    drop_near: bool,
    n_each: int,
    latents: Latents,
    kinds: Kinds,
) -> Gallery:
    """The gallery of a study. `manifest` has path and label of every image, made ones behind the others; the slope is that of
    the leading similarity.

    `answers` (model, layer, unit, condition, task, correct) are those to the very tasks shown here. Strips are drawn of the
    `n_each` easiest and hardest units of each network that has images.
    """
    facts = {
        "lead": study.lead,
        "slope": slope,
        "status": slope_status,
        "slopes": _made_slopes(study),
        "people": study.people,
        "nTasks": study.n_tasks,
        "nExplanations": study.n_explanations,
        "dropNear": drop_near,
        "total": listed.total,
    }
    number = {image: index for index, image in enumerate(sheets.images)}
    content = facts | _columns(study, listed) | _human(study, listed, answers) | _images(shown, sheets, manifest)
    content["directions"] = as_directions(study, listed, latents)
    content["texts"] = as_content(texts, number)
    content["kinds"] = as_kinds(study, kinds, number)
    content["through"] = sorted(study.human_through)
    strips = {
        model: {
            title: [_strip(listed, row, shown, sheets, manifest) for row in rows if row in shown.tasks]
            for title, rows in _ends_and_made(listed, shown, model, n_each).items()
        }
        for model in gallery_models(study)
        if shown.tasks
    }
    return Gallery(
        data=as_json(content),
        sheets=sheets,
        strips=strips,
        n_listed=len(listed.units),
        n_with_images=len(shown.tasks),
        n_with_texts=len(texts.units.texts),
        n_texts_total=texts.units.total,
        n_kinds=len(kinds.of),
        n_made=sum(image in number for image in kinds.values),
        total=listed.total,
        n_conditions=listed.units["condition"].nunique(),
    )


def _made_slopes(study: Study) -> dict[str, list[object]]:
    """Slope of the leading similarity in each kind of tasks with made images, and where it comes from, in words."""
    rows = study.tables["made_slopes"]
    rows = rows[rows["backend"] == study.lead]
    told = zip(rows["condition"], rows["slope"], rows["status"], rows["source"], strict=True)
    return {str(name): [float(slope), f"{status}; from {source}"] for name, slope, status, source in told}


def _ends_and_made(listed: Listed, shown: ShownTasks, model: str, n_each: int) -> dict[str, list[int]]:
    """Rows that have a strip under each heading: both ends, and units that made images explain, where there are any."""
    easiest, hardest, _ = ends(listed, model, n_each)
    groups = {"Easiest units": easiest, "Hardest units": hardest}
    units = listed.units
    made = units.index[(units["model"] == model) & (units["condition"] == SYNTHETIC)]
    shown_made = [int(row) for row in made if row in shown.tasks]
    return groups | ({"Units that made images explain": shown_made} if shown_made else {})


def _called(study: Study, backend: str) -> str:
    """Name of another similarity, with a word where its level compares with no other."""
    return f"{backend} ({UNIDENTIFIED})" if backend in study.unidentified else backend


def as_json(content: Mapping[str, object]) -> Markup:
    """JSON for a script block: nothing in it can end the block or begin markup."""
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    # these three occur inside strings alone, where an escape means the same character
    return Markup(written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _columns(study: Study, listed: Listed) -> dict[str, object]:
    """Numbers of all units, column by column; layers and conditions as runs of equal values."""
    units = listed.units
    layers = units[["model", "layer", "layer_type", "depth"]].astype({"depth": float})
    layers = layers.drop_duplicates(ignore_index=True)
    models, conditions = list(dict.fromkeys(units["model"])), sorted(set(units["condition"]))
    known, wanted = (pd.MultiIndex.from_frame(rows[["model", "layer"]]) for rows in (layers, units))
    codes = known.get_indexer(wanted) if len(units) else np.arange(0)
    largest = float(np.abs(listed.margins).max(initial=0.0)) or 1.0
    return {
        "models": models,
        "layers": [
            [models.index(model), layer, kind, round(depth, 3)]
            for model, layer, kind, depth in layers.itertuples(index=False, name=None)
        ],
        "conditions": conditions,
        "layer": _runs(codes),
        "condition": _runs(np.array([conditions.index(name) for name in units["condition"]], dtype=np.int64)),
        "unit": units["unit"].astype(int).tolist(),
        "mis": whole(units["mis"]),
        "se": whole(units["mis_se"]),
        "tasksAlone": np.flatnonzero(units["tasks_alone"]).tolist(),
        "accuracy": whole(units["accuracy"]),
        "others": [[_called(study, name), whole(values)] for name, values in listed.others.items()],
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


def _packed(margins: NDArray[np.float32], largest: float) -> str:
    """Margins as little-endian 16-bit steps, base64; only a margin of exactly zero becomes zero, as it is a tie."""
    steps = np.rint(margins.astype(np.float64) / largest * STEPS)
    steps = np.where(steps == 0, np.sign(margins), steps)
    return base64.b64encode(steps.astype("<i2").tobytes()).decode()


def _ends(study: Study, listed: Listed) -> dict[str, list[object]]:
    """Units of extreme_units.csv: which end, shrunken score, probability to belong there."""
    rows, row_of = study.tables["extreme_units"], listed.rows()
    rows = rows[rows["backend"] == study.lead]
    facts = zip(rows["end"], whole(rows["shrunken"]), whole(rows["p_among"]), strict=True)
    return {str(row_of[key]): list(of_unit) for key, of_unit in zip(_keys(rows), facts, strict=True) if key in row_of}


def _keys(rows: pd.DataFrame) -> list[Key]:
    return list(rows[KEY].itertuples(index=False, name=None))


def _human(study: Study, listed: Listed, answers: pd.DataFrame) -> dict[str, object]:
    """HIS of annotated units, answers to their tasks, and the units that MIS misses most."""
    row_of = listed.rows()
    scores = zip(whole(study.human["his"]), whole(study.human["his_se"]), study.human["n_responses"], strict=True)
    human = {
        str(row_of[key]): [his, his_se, int(n)]
        for key, (his, his_se, n) in zip(_keys(study.human), scores, strict=True)
        if key in row_of
    }
    by_task: dict[str, list[int]] = {}
    asked = answers.groupby([*KEY, "task"], sort=True, observed=True)["correct"].agg(["size", "sum"])
    for (*key, task), (n, right) in zip(asked.index, asked.itertuples(index=False, name=None), strict=True):
        if tuple(key) in row_of and 0 <= task < study.n_tasks:
            counts = by_task.setdefault(str(row_of[tuple(key)]), [0] * (2 * study.n_tasks))
            counts[2 * task : 2 * task + 2] = [int(n), int(right)]
    missed = {}
    for side in ("over", "under"):
        rows = residuals(study, side)
        known = [(key, z) for key, z in zip(_keys(rows), rows["z"], strict=True) if key in row_of]
        missed[side] = [[row_of[key], round(float(z), 2)] for key, z in known]
    return {"human": human, "answers": by_task, "missed": missed}


def _images(shown: ShownTasks, sheets: Sheets, manifest: pd.DataFrame) -> dict[str, object]:
    """Images of units as numbers of thumbnails, and what each thumbnail is called."""
    number = {image: index for index, image in enumerate(sheets.images)}

    def ids(images: NDArray[np.int32]) -> list[int]:
        return [number[int(image)] for image in images.ravel()]

    units = {}
    for row, tasks in sorted(shown.tasks.items()):
        half = tasks.shape[1] // 2 - 1
        units[str(row)] = {
            "most": ids(shown.extremes[row][0]),
            "least": ids(shown.extremes[row][1]),
            "ranked": row not in shown.unranked,
            "queries": ids(tasks[:, -2:]),
            "full": [ids(task[: 2 * half]) for task in tasks[: shown.n_full]],
        }
    rows = manifest.iloc[list(sheets.images)]
    labels = sorted(set(rows["label"].astype(str)))
    code = {label: index for index, label in enumerate(labels)}
    return {
        "pictures": units,
        "sheetColumns": sheets.columns,
        "perSheet": sheets.per_sheet,
        "labels": labels,
        "label": [code[str(label)] for label in rows["label"]],
        "path": rows["path"].astype(str).tolist(),
    }


def _strip(listed: Listed, row: int, shown: ShownTasks, sheets: Sheets, manifest: pd.DataFrame) -> Strip:
    unit, task = listed.units.loc[row].to_dict(), shown.tasks[row][0]
    half = len(task) // 2 - 1
    number = {image: index for index, image in enumerate(sheets.images)}

    def thumbs(images: NDArray[np.int32]) -> tuple[Thumb, ...]:
        cells = [divmod(number[int(image)], sheets.per_sheet) for image in images]
        return tuple(Thumb(sheet, cell % sheets.columns, cell // sheets.columns) for sheet, cell in cells)

    name = f"{unit['layer']} unit {unit['unit']}"
    labels = manifest["label"].astype(str).to_numpy()
    return Strip(
        unit=name,
        link=f"{unit['model']}/{unit['layer']}/{unit['unit']}/{unit['condition']}",
        mis=float(unit["mis"]),
        mis_se=float(unit["mis_se"]),
        tasks_alone=bool(unit["tasks_alone"]),
        accuracy=float(unit["accuracy"]),
        alt=f"One task of {name}. Left, least exciting: {label_words(labels[task[half:-2]])}. "
        f"Right, most exciting: {label_words(labels[task[:half]])}.",
        least=thumbs(task[half:-2]),
        queries=thumbs(task[[-1, -2]]),
        most=thumbs(task[:half]),
    )


def label_words(labels: NDArray[np.object_]) -> str:
    """The commonest labels of some images in words."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    order = np.lexsort((names, -counts))[:3]
    known = [f"{counts[i]} of {len(labels)} labelled {names[i]}" for i in order if names[i]]
    return ", ".join(known) or f"{len(labels)} images"
