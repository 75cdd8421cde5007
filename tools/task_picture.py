"""Draw one task of a finished study as a picture with its score: docs/images/task.webp, at the top of the README.

Which task is a rule: of the units that people or simulated observers answered, by natural tasks under the leading similarity,
the one at the 90th percentile of MIS; of its tasks the one at the median of the machine's probabilities. All numbers are read
from the study's files, and the picture carries them as its description (Exif), so that words about it can be held against it.
This is a tool, not a stage.

Run     python -m tools.task_picture
        python -m tools.task_picture --unit resnet/layer3.0.conv1/35 --task 4 --out my_task.webp
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interpretability.mis import probabilities
from interpretability.schema import KEY, NATURAL, UNIT
from study.command import arguments, run
from study.errors import StudyError
from study.files.tables import read_csv, read_json, read_parquet, write_bytes
from study.files.unit_tables import Margins, Scored, matrix
from study.images.manifest import open_images
from study.log import logger
from tools.pictures.task import SIDE, Told, draw_task

if TYPE_CHECKING:
    from PIL import Image

log = logger("task_picture")

PERCENTILE = 0.9
DESCRIPTION = 0x010E  # the Exif tag ImageDescription
FOLDERS = {
    "tables": ("results/tables", "tables of the study"),
    "provenance": ("results/provenance.json", "parameters of the study"),
    "data": ("data", "what the stages wrote"),
    "out": ("docs/images/task.webp", "the picture"),
}


def main(argv: list[str] | None = None) -> None:
    flags: dict[str, dict[str, Any]] = {
        "unit": {"default": "", "metavar": "MODEL/LAYER/UNIT", "help": "without it the rule chooses"},
        "task": {"type": int, "default": 0, "help": "number of the task, from 1; without it the rule chooses"},
    }
    args = arguments(__doc__, argv, defaults=FOLDERS, flags=flags)
    params = read_json(args.provenance)["params"]
    told = tell(params, args.tables, args.data, args.unit, args.task)
    images = open_images(args.data / "images", params["images"]["root"])
    pictures = [images.thumbnail(row, SIDE) for row in images_of(args.data, told)]
    write_bytes(args.out, encoded(draw_task(pictures, told), told))
    log.info("%s: %s %s %d, task %d, MIS %.3f", args.out, told.model, told.layer, told.unit, told.task, told.mis)


def tell(params: Mapping[str, Any], tables: Path, data: Path, unit: str = "", task: int = 0) -> Told:
    """What there is to say of a task of a unit (model/layer/unit); what is not given, the rule of this file chooses.

    Raises StudyError where nobody answered any unit and none is named, where no such unit is scored, or it has no such task.
    """
    lead = str(params["scores"]["backends"][0])
    points = read_csv(tables / "unit_points.csv", text=KEY)
    points = points[(points["backend"] == lead) & (points["condition"] == NATURAL)].astype({"mis": float, "his": float})
    model, layer, number = _named(unit) if unit else _chosen(points, tables)
    scored = Scored(data / "mis/units.parquet").units(lead, model).astype({"layer": str, "condition": str})
    scores = scored.iloc[
        _place(scored, layer, number, f"{model}/{layer}/{number} is no scored unit of natural tasks under {lead}")
    ]
    margins = Margins(data / f"scores/{lead}.parquet").rows([model], [*KEY[1:], "margins"])
    at = _place(margins.select(KEY[1:]).to_pandas(), layer, number, f"{model}/{layer}/{number} has no margins")
    slope = float(read_json(data / "calibration/slope.json")[lead]["slope"])
    p = probabilities(matrix(margins["margins"].slice(at, 1))[0], slope)
    if not 0 <= task <= len(p):
        raise StudyError(f"--task {task}: {model}/{layer}/{number} has tasks 1 to {len(p)}")
    index = task - 1 if task else int(np.argsort(p, kind="stable")[(len(p) - 1) // 2])
    answered = points[points[UNIT].astype(str).agg("/".join, axis=1) == f"{model}/{layer}/{number}"]
    n = int(answered["n_responses"].iloc[0]) if len(answered) else 0
    return Told(
        model=model,
        layer=layer,
        unit=number,
        task=index + 1,
        n_tasks=int(scores["n_tasks"]),
        similarity=lead,
        mis=float(scores["mis"]),
        mis_se=float(scores["mis_se"]),
        p=float(p[index]),
        observers="simulated observers" if params["human"]["source"] == "simulated" else "people",
        answers=n,
        right=round(n * float(answered["his"].iloc[0])) if n else 0,
    )


def images_of(data: Path, told: Told) -> list[int]:
    """The images of a task by row of the manifest: K that excite, K that do not, the exciting query, the other one."""
    table = read_parquet(data / "tasks" / f"{told.model}.parquet", KEY[1:])
    at = _place(table, told.layer, told.unit, f"{told.model}/{told.layer}/{told.unit} has no natural tasks")
    tasks = np.load(data / "tasks" / f"{told.model}.npy", mmap_mode="r")
    return [int(row) for row in tasks[at, told.task - 1]]


def encoded(picture: Image.Image, told: Told) -> bytes:
    """The picture as WebP; its Exif description is `told` as JSON."""
    from PIL import Image

    exif = Image.Exif()
    exif[DESCRIPTION] = json.dumps(asdict(told))
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=82, method=6, exif=exif)
    return buffer.getvalue()


def described(path: Path) -> Told:
    """What a picture of this tool says of its task."""
    from PIL import Image

    with Image.open(path) as picture:
        return Told(**json.loads(picture.getexif()[DESCRIPTION]))


def _named(unit: str) -> tuple[str, str, int]:
    model, _, rest = unit.partition("/")
    layer, _, number = rest.rpartition("/")
    if not (model and layer and number.isdecimal()):
        raise StudyError(f"--unit {unit!r} is no unit; write one as MODEL/LAYER/UNIT, as resnet/layer3.0.conv1/35")
    return model, layer, int(number)


def _chosen(points: pd.DataFrame, tables: Path) -> tuple[str, str, int]:
    """The answered unit at the percentile, of all in the order of their MIS."""
    if points.empty:
        raise StudyError(f"{tables / 'unit_points.csv'}: nobody answered any unit; name one: --unit MODEL/LAYER/UNIT")
    ordered = points.sort_values(["mis", *UNIT], kind="stable", ignore_index=True)
    row = ordered.iloc[round(PERCENTILE * (len(ordered) - 1))]
    return str(row["model"]), str(row["layer"]), int(row["unit"])


def _place(table: pd.DataFrame, layer: str, unit: int, otherwise: str) -> int:
    """Where in a table the one row of a unit's natural tasks stands."""
    rows = (table["layer"] == layer) & (table["unit"] == unit) & (table["condition"] == NATURAL)
    (places,) = np.nonzero(rows.to_numpy(bool))
    if len(places) != 1:
        raise StudyError(f"{otherwise}. results/tables/extreme_units.csv has some")
    return int(places[0])


if __name__ == "__main__":
    run(main)
