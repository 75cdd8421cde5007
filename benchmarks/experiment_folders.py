"""Folders of questions for loads on the server: pictures of noise, as many sessions as people may ask for. Simulated."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiment.commands.prepare import prepare
from experiment.settings import Checks
from interpretability.files import sha256_file
from interpretability.randomness import generator, key64

EXPERIMENT = "net_natural"
TASKS, SIDE = 6, 9
ANSWERS = 20_000  # of a unit, so that nobody is turned away
_SEED = 0


def prepared(folder: Path, *, trials: int = 40, pictures: int = 60, side: int = 24) -> Path:
    """A run folder below `folder`, for simulated participants: sessions of so many trials, about as many units, whose questions
    share so many square pictures."""
    questions = folder / "questions"
    _write_questions(questions, trials, pictures, side)
    run = folder / "run"
    prepare(run, questions, simulated=True, settings={"wait_seconds": 0.0})
    return run


def _write_questions(folder: Path, trials: int, pictures: int, side: int) -> None:
    files = _write_pictures(folder, pictures, side)
    unit_facts = {"experiment": EXPERIMENT, "model": "net", "condition": "natural"}
    units: list[dict[str, Any]] = [
        {
            **unit_facts,
            "layer": "layer.conv",
            "unit": unit,
            "layer_type": "Conv",
            "group": "random",
            "rank": unit,
            "mis": 0.8,
            "even": 0.8,
            "odd": 0.8,
            "tasks": [_question(f"q{unit * TASKS + task + 1:06d}", files) | {"task": task} for task in range(TASKS)],
        }
        for unit in range(trials)
    ]
    shown = ("question", "left", "right", "top", "bottom")
    practice, catch = (
        [
            _question(f"{letter}{number:04d}", files)
            | {**unit_facts, "layer": "layer.fc", "unit": number, "task": 0, "obvious": letter == "c" or number <= 8}
            for number in range(1, n + 1)
        ]
        for letter, n in (("p", 12), ("c", 10))
    )
    content: dict[str, Sequence[Mapping[str, Any]]] = {
        "units": units,
        "questions": [{name: task[name] for name in shown} for unit in units for task in unit["tasks"]],
        "practice": practice,
        "catch": catch,
        "sessions": [],
    }
    for name, rows in content.items():
        (folder / f"{name}.json").write_text(json.dumps({"schema": 2, name: rows}))
    study = {
        "schema": 2,
        "kind": "two-alternative",
        "source": "simulated",
        "seed": _SEED,
        "n_explanations": SIDE,
        "responses_a_unit": ANSWERS,
        "trials_a_session": trials,
        "experiments": [unit_facts | {"n_explanations": SIDE, "n_units": trials, "n_sessions": 0}],
        "checks": Checks().model_dump(),
        "files": {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()},
    }
    (folder / "study.json").write_text(json.dumps(study))


def _question(name: str, files: Sequence[str]) -> dict[str, Any]:
    draw = generator(_SEED, "load", name)
    chosen = [files[place] for place in draw.permutation(len(files))[: 2 * SIDE + 2]]
    sides = {"left": chosen[:SIDE], "right": chosen[SIDE:-2], "top": chosen[-2], "bottom": chosen[-1]}
    return {"question": name, **sides, "answer": ("top", "bottom")[int(draw.integers(2))]}


def _write_pictures(folder: Path, pictures: int, side: int) -> list[str]:
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, object]] = []
    for number in range(pictures):
        buffer = io.BytesIO()
        noise = generator(_SEED, "picture", number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "jpeg", quality=60)
        data = buffer.getvalue()
        file = f"images/{key64('load picture', number):016x}.jpg"
        (folder / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        rows.append(
            {"image": number, "file": file, "width": side, "height": side, "bytes": len(data), "sha256": digest}
        )
    with (folder / "images.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return [str(row["file"]) for row in rows]
