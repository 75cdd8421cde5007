"""Tasks that people saw in the IMI experiments, from the map of images."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.casts import narrowed
from study.errors import StudyError
from study.files.casts import MOST
from study.files.json_files import parse_json
from study.networks import imi_naming

_CHANNEL = re.compile(r"(.+)/channel_(\d{1,18})", re.ASCII | re.DOTALL)
_BATCH = re.compile(r"batch_(\d{1,18})", re.ASCII)
_IMAGE = re.compile(r"(?:min|max)_\d\.png", re.ASCII)


def read_image_map(path: Path) -> pd.DataFrame:
    """The map of images as rows: model, layer, channel, batch, image (such as max_0.png), path relative to ImageNet's
    training folder. Raises StudyError naming the entry that is not as documented.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such file; human.imi.image_map names it. Leave it empty to go without")
    rows = []
    for model, units in _entries(parse_json(path), path, "the file"):
        for unit, batches in _entries(units, path, model):
            parts = _CHANNEL.fullmatch(unit)
            if not parts or int(parts[2]) > MOST:
                raise StudyError(
                    f"{path}: {model} has an entry {unit[:80]!r}, it must read "
                    f"LAYER/channel_NUMBER, with a number up to {MOST:,}"
                )
            for batch, images in _entries(batches, path, f"{model}, {unit}"):
                number = _BATCH.fullmatch(batch)
                if not number or int(number[1]) > MOST:
                    raise StudyError(
                        f"{path}: {model}, {unit} has an entry {batch[:80]!r}, it must read "
                        f"batch_NUMBER, with a number up to {MOST:,}"
                    )
                for image, source in _entries(images, path, f"{model}, {unit}, {batch}"):
                    if not _IMAGE.fullmatch(image) or not isinstance(source, str):
                        raise StudyError(
                            f"{path}: {model}, {unit}, {batch} has an entry {image[:80]!r}: {reprlib.repr(source)}; it must be "
                            "one of min_0.png to max_9.png and a path"
                        )
                    rows.append((model, parts[1], int(parts[2]), int(number[1]), image, source))
    return pd.DataFrame(rows, columns=["model", "layer", "channel", "batch", "image", "path"])


def _entries(content: Any, path: Path, where: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(content, Mapping) or not content:
        raise StudyError(f"{path}: {where} must hold entries by name, it holds {reprlib.repr(content)}")
    return content.items()


N_EXPLANATIONS = 9  # a side, in every task of the record; the tenth image of a side is its query
USED = "used"
NO_NETWORK, NO_LAYER = "no such network in the roster", "no such layer"
NO_UNIT = "no such unit, or it is constant"
STATUS_COLUMNS = ["model", "layer", "unit", "condition", "status"]


@dataclass(frozen=True)
class MappedUnits:
    """Units of the map: `table` (model, layer, unit, condition, status) and their `tasks` (units, N, 2(K + 1)).

    model is the roster's name, layer the record's; status is empty where all images of the first N tasks are known.
    """

    table: pd.DataFrame
    tasks: NDArray[np.int32]

    def of(self, model: str) -> MappedUnits:
        chosen = (self.table["model"] == model).to_numpy()
        return MappedUnits(self.table[chosen].reset_index(drop=True), self.tasks[chosen])


def read_imi_tasks(path: Path, names: Mapping[str, str], paths: pd.Series, n_tasks: int) -> MappedUnits:
    """Task i of a unit is batch i of the map; a unit needs batches 0 to n_tasks - 1 with all their images.

    `names`: IMI model -> roster name. `paths`: path of every image of the study in the order of the manifest; one
    is known by its folder and its name, so it does not matter where ImageNet's training folder begins.
    """
    rows = read_image_map(path)
    ends = paths.str.split("/").str[-2:].str.join("/")
    row_of = pd.Series(np.arange(len(ends)), index=ends)
    row_of = row_of[~row_of.index.duplicated(keep=False)]
    row = row_of.reindex(rows["path"].str.split("/").str[-2:].str.join("/")).fillna(-1).to_numpy()
    rows["row"] = narrowed(row, np.int32, "the number of an image")
    side, number = (rows["image"].str.extract(r"(min|max)_(\d)")[i] for i in (0, 1))
    number, positive = number.astype(int), side == "max"
    k = N_EXPLANATIONS
    # the record counts explanations from the weakest (0) to the strongest (8); here the strongest comes first
    explanation = np.where(positive, 0, k) + (k - 1 - number)
    rows["position"] = np.where(number == k, np.where(positive, 2 * k, 2 * k + 1), explanation)
    rows["condition"] = [imi_naming.difficulty(model) for model in rows["model"]]
    rows["model"] = [names.get(base) or base for base in rows["model"].map(imi_naming.base_model)]
    rows = rows.rename(columns={"channel": "unit"})
    units = rows.groupby(["model", "layer", "unit", "condition"], sort=True)
    code, table = units.ngroup().to_numpy(), units.size().index.to_frame(index=False)
    unknown, absent = -1, -2  # an image that this study lacks, a place that the map does not fill
    tasks = np.full((len(table), n_tasks, 2 * k + 2), absent, dtype=np.int32)
    asked = (rows["batch"] < n_tasks).to_numpy()
    tasks[code[asked], rows["batch"][asked], rows["position"][asked]] = rows["row"][asked]
    n_whole, n_unknown = (tasks != absent).all(axis=2).sum(axis=1), (tasks == unknown).sum(axis=(1, 2))
    table["status"] = [
        f"the map has {whole} whole tasks of {n_tasks}"
        if whole < n_tasks
        else f"{lost} images are not in this study"
        if lost
        else ""
        for whole, lost in zip(n_whole, n_unknown, strict=True)
    ]
    return MappedUnits(table, tasks)


def in_study(mapped: MappedUnits, units: pd.DataFrame, conditions: tuple[str, ...]) -> MappedUnits:
    """The units of one network with the layers of this study; status says of each whether its tasks are used.

    `units` (layer, unit) can have tasks.
    """
    paths = imi_naming.match_layers(mapped.table["layer"].unique(), dict.fromkeys(units["layer"]))
    table = mapped.table.assign(layer=[paths.get(str(layer), str(layer)) for layer in mapped.table["layer"]])
    known = pd.MultiIndex.from_frame(table[["layer", "unit"]]).isin(pd.MultiIndex.from_frame(units[["layer", "unit"]]))
    status = table["status"].where(table["condition"].isin(conditions), "tasks.conditions does not name it")
    status = status.where(known, NO_UNIT).where(mapped.table["layer"].isin(list(paths)), NO_LAYER)
    return MappedUnits(table.assign(status=status.replace("", USED)), mapped.tasks)
