"""The gallery of units: what its script reads as JSON, and what stands there without a script."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from interpretability.schema import KEY, NATURAL
from study.report.figures.base import Study
from study.report.page.alike import Alike
from study.report.page.cards import Card, Tasks, label_words, make_cards
from study.report.page.distribution import Spread
from study.report.page.kinds import Kinds
from study.report.page.kinds import as_content as as_kinds
from study.report.page.latents import Latents
from study.report.page.latents import as_content as as_directions
from study.report.page.listed_units import Key, Listed, residuals
from study.report.page.packing import packed, whole
from study.report.page.places import sizes
from study.report.page.play import Still, Turn, still_task
from study.report.page.shown_tasks import ShownTasks, SingleEnds, SingleTasks
from study.report.page.thumbnails import Sheets
from study.report.page.unit_texts import ShownTexts, as_content

STEPS = 32_767  # largest whole number of a margin


@dataclass(frozen=True)
class Gallery:
    """Everything the page shows of single units.

    total, total_natural: scored units, once for each kind of their tasks and once each; n_listed, n_natural: the same of
    those listed, n_directions of the latter are none of a network's own; n_different: of the latter, units with the same
    pictures counted once; twin_share: share of the units of the
    networks shown with pictures that share their explanations with another one.
    """

    data: Markup
    sheets: Sheets
    spread: Spread
    still: Still | None
    cards: Sequence[Card]
    n_listed: int
    n_natural: int
    n_directions: int
    n_different: int
    twin_share: float
    n_with_images: int
    n_with_texts: int
    n_texts_total: int
    n_kinds: int
    n_made: int
    total: int
    total_natural: int
    n_conditions: int


@dataclass(frozen=True)
class Pictured:
    """Which units show which tasks: `shown` many of them, `single` one each and `further` more of some of these, `ends` their
    extremes; `first` the units that the gallery begins with, and `played` the tasks that the first screen asks.
    """

    shown: ShownTasks
    single: SingleTasks
    further: SingleTasks
    ends: SingleEnds
    first: Sequence[int]
    played: Sequence[Turn]

    def tasks(self) -> Tasks:
        return Tasks(self.shown, self.single, self.played)

    def leading(self) -> list[int]:
        """Images of the first screen and of the first cards, in the order in which they are seen."""
        asked = (self.shown.tasks[row][task] for row, task in self.played)
        cards = (self.tasks().images(row) for row in self.first)
        return [int(image) for images in (*asked, *cards) for image in images]


def make_gallery(
    study: Study,
    listed: Listed,
    pictured: Pictured,
    alike: Alike,
    twin_share: float,
    spread: Spread,
    texts: ShownTexts,
    sheets: Sheets,
    manifest: pd.DataFrame,
    answers: pd.DataFrame,
    *,
    slope: float,
    slope_status: str,
    drop_near: bool,
    latents: Latents,
    kinds: Kinds,
) -> Gallery:
    """The gallery of a study. `manifest` has path and label of every image, made ones behind the others; the slope is that of
    the leading similarity.

    `answers` (model, layer, unit, condition, task, correct) are those to the very tasks shown here.
    """
    facts = {
        "lead": study.lead,
        "unidentified": sorted(study.unidentified),
        "confidence": study.confidence,
        "z": round(NormalDist().inv_cdf((1 + study.confidence) / 2), 4),
        "slope": slope,
        "status": slope_status,
        "slopes": _made_slopes(study),
        "people": study.people,
        "nTasks": study.n_tasks,
        "nExplanations": study.n_explanations,
        "dropNear": drop_near,
        "through": sorted(study.human_through),
        "first": list(pictured.first),
        "play": [list(turn) for turn in pictured.played],
    }
    number = {image: index for index, image in enumerate(sheets.images)}
    content = facts | spread.as_content() | _columns(study, listed) | _human(study, listed, answers)
    content |= _images(pictured, number, sheets, manifest) | _alike(alike)
    content["directions"] = as_directions(study, listed, latents)
    content["texts"] = as_content(texts, number)
    content["kinds"] = as_kinds(study, kinds, number)
    labels = manifest["label"].astype(str).to_numpy()
    once = listed.units.loc[listed.units["condition"] == NATURAL, "model"]
    natural = len(once)
    return Gallery(
        data=as_json(content),
        sheets=sheets,
        spread=spread,
        still=_still(listed, pictured, number, labels),
        cards=make_cards(study, listed, pictured.first, pictured.tasks(), sheets, spread, labels, drop_near=drop_near),
        n_listed=len(listed.units),
        n_natural=natural,
        n_directions=int(once.isin(study.directions()).sum()),
        n_different=natural - sum(len(rows) - 1 for rows in alike.twins),
        twin_share=twin_share,
        n_with_images=len(pictured.tasks().rows()),
        n_with_texts=len(texts.units.texts),
        n_texts_total=texts.units.total,
        n_kinds=len(kinds.of),
        n_made=sum(image in number for image in kinds.values),
        total=listed.total,
        total_natural=listed.total_natural,
        n_conditions=listed.units["condition"].nunique(),
    )


def _still(listed: Listed, pictured: Pictured, number: Mapping[int, int], labels: NDArray[np.object_]) -> Still | None:
    if not pictured.played:
        return None
    row, task = pictured.played[0]
    images = pictured.shown.tasks[row][task]
    return still_task(listed, (row, task), images, number, lambda rows: label_words(labels[rows]))


def _made_slopes(study: Study) -> dict[str, list[object]]:
    """Slope of the leading similarity in each kind of tasks with made images, and where it comes from, in words."""
    rows = study.tables["made_slopes"]
    rows = rows[rows["backend"] == study.lead]
    told = zip(rows["condition"], rows["slope"], rows["status"], rows["source"], strict=True)
    return {str(name): [float(slope), f"{status}; from {source}"] for name, slope, status, source in told}


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
        "others": [[name, whole(values)] for name, values in listed.others.items()],
        "othersSe": [whole(values) for values in listed.others_se.values()],
        "place": _places(units, layers, codes, models, conditions),
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


def _places(
    units: pd.DataFrame, layers: pd.DataFrame, codes: NDArray[np.integer], models: list[str], conditions: list[str]
) -> dict[str, object]:
    """Share of the units of its network and of its layer that each is easier than, in percent, and how many there are."""
    of_model = pd.Index(models, dtype=object).get_indexer(pd.Index(units["model"], dtype=object))
    return {
        "network": packed(units["easier_network"].to_numpy(np.int64)),
        "layer": packed(units["easier_layer"].to_numpy(np.int64)),
        "nNetwork": sizes(units, "n_network", of_model, len(models), conditions),
        "nLayer": sizes(units, "n_layer", np.asarray(codes, dtype=np.int64), len(layers), conditions),
    }


def _alike(alike: Alike) -> dict[str, object]:
    """Groups of rows with the same pictures; by row its neighbours and the shares of pictures in thousandths, 0 filling up."""
    near = {"each": alike.near.shape[1], "rows": packed(alike.near), "shares": packed(alike.shares)}
    return {"twins": [list(rows) for rows in alike.twins], "neighbours": near}


def _tasks_packed(tasks: SingleTasks, ids: Callable[[NDArray[np.int32]], list[int]]) -> dict[str, object]:
    return {"rows": packed(tasks.rows), "tasks": packed(tasks.tasks), "ids": packed(_numbers(ids(tasks.images)))}


def _numbers(values: Sequence[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _images(pictured: Pictured, number: Mapping[int, int], sheets: Sheets, manifest: pd.DataFrame) -> dict[str, object]:
    """Images of units as numbers of thumbnails, and what each thumbnail is called."""
    shown = pictured.shown

    def ids(images: NDArray[np.int32]) -> list[int]:
        return [number[int(image)] for image in images.ravel()]

    units = {}
    for row, tasks in sorted(shown.tasks.items()):
        units[str(row)] = {
            "most": ids(shown.extremes[row][0]),
            "least": ids(shown.extremes[row][1]),
            "ranked": row not in shown.unranked,
            "queries": ids(tasks[:, -2:]),
            "full": {str(task): ids(tasks[task][:-2]) for task in shown.full[row]},
        }
    rows = manifest.iloc[list(sheets.images)]
    labels = sorted(set(rows["label"].astype(str)))
    code = {label: index for index, label in enumerate(labels)}
    return {
        "pictures": units,
        "packed": _tasks_packed(pictured.single, ids),
        "further": _tasks_packed(pictured.further, ids),
        "extremes": {"rows": packed(pictured.ends.rows), "ids": packed(_numbers(ids(pictured.ends.images)))},
        "sheetColumns": sheets.columns,
        "perSheet": sheets.per_sheet,
        "labels": labels,
        "label": [code[str(label)] for label in rows["label"]],
        "path": rows["path"].astype(str).tolist(),
    }
