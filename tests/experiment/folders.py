"""Small folders of questions and of rating pages, in the formats that the exports write, with made-up pictures."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from interpretability.randomness import generator

SEED = 7
CHECKS = {
    "max_demo_blocks": 3,
    "min_catch_share": 0.8,
    "min_seconds": 135,
    "max_seconds": 2500,
    "min_row": 5,
    "min_instruction_seconds": 15,
    "multi_participation": "recomputed",
}
GROUPS = ("easiest", "hardest", "random")
_POOL = 60  # pictures of an experiment


class Pictures:
    """Pictures of noise under names that tell nothing, written as they are asked for."""

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.side = folder, side
        self.rows: list[dict[str, Any]] = []
        (folder / "images").mkdir(parents=True)

    def new(self) -> str:
        """Another picture: its file in the folder."""
        row = len(self.rows)
        draw = generator(SEED, "picture", row)
        width, height = self.side, self.side - int(draw.integers(4))
        buffer = io.BytesIO()
        coarse = Image.fromarray(draw.integers(0, 256, (4, 4, 3)).astype("uint8")).resize((width, height))
        coarse.save(buffer, "jpeg", quality=80)
        name = hashlib.blake2b(f"{SEED}:{row}".encode(), digest_size=8).hexdigest()
        file = f"images/{name}.jpg"
        data = buffer.getvalue()
        (self.folder / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        path = f"class_{row % 10:02d}/{row:05d}.JPEG"
        self.rows.append(
            {"image": row, "path": path, "file": file, "width": width, "height": height}
            | {"bytes": len(data), "sha256": digest}
        )
        return file

    def write(self, columns: Sequence[str]) -> None:
        _write_csv(self.folder / "images.csv", columns, self.rows)


def two_alternative(
    folder: Path,
    *,
    experiments: Mapping[str, tuple[str, str]] | None = None,
    n_units: int = 10,
    n_tasks: int = 2,
    n_explanations: int = 9,
    size: int = 5,
    n_sessions: int = 4,
    responses: int = 2,
    side: int = 24,
    checks: Mapping[str, Any] | None = None,
) -> Path:
    """Write a folder of questions of two alternatives and return it.

    experiments  name -> (model, condition); one of natural tasks if not given
    n_units      units of each experiment, `n_tasks` questions a unit; every unit shall have `responses` answers
    size         questions of one session, of different units; `n_sessions` sessions are listed for each experiment
    """
    experiments = experiments or {"resnet_natural": ("resnet", "natural")}
    pictures = Pictures(folder, side)
    units, shown, practice, catch, sessions, counts = [], [], [], [], [], []
    for number, (experiment, (model, condition)) in enumerate(experiments.items()):
        draw = generator(SEED, "folder", experiment)
        pool = [pictures.new() for _ in range(_POOL)]

        def question(name: str, obvious: bool = False, pool=pool, draw=draw) -> dict[str, Any]:
            files = [pool[at] for at in draw.permutation(len(pool))[:20]]
            right, wrong, left, strong = files[0], files[1], files[2:11], files[11:20]
            if obvious:
                left[0], strong[0] = wrong, right
            answer = ("top", "bottom")[int(draw.integers(2))]
            top, bottom = (right, wrong) if answer == "top" else (wrong, right)
            return {"question": name, "left": left, "right": strong, "top": top, "bottom": bottom, "answer": answer}

        first = len(shown)
        for unit in range(n_units):
            tasks = []
            for task in range(n_tasks):
                row = question(f"q{len(shown) + 1:06d}") | {"task": task}
                row["left"], row["right"] = row["left"][:n_explanations], row["right"][:n_explanations]
                tasks.append(row)
                shown.append({key: row[key] for key in ("question", "left", "right", "top", "bottom")})
            units.append(
                {"experiment": experiment, "model": model, "layer": f"layer{unit % 3}.conv", "unit": 100 + unit}
                | {"condition": condition, "layer_type": "conv", "group": GROUPS[unit % 3], "rank": unit // 3}
                | {"mis": 0.9 - 0.03 * unit, "even": 0.9, "odd": 0.9, "tasks": tasks}
            )
        for at in range(12):
            key = {"experiment": experiment, "model": model, "layer": "layer9.conv", "unit": 900 + at}
            name = f"p{12 * number + at + 1:04d}"
            more = {"obvious": at < 8, "condition": condition, "task": 0}
            practice.append(question(name, at < 8) | key | more)
        for at in range(10):
            key = {"experiment": experiment, "model": model, "layer": "layer9.conv", "unit": 950 + at}
            name = f"c{10 * number + at + 1:04d}"
            catch.append(question(name, True) | key | {"obvious": True, "condition": condition, "task": 0})
        for session in range(n_sessions):
            # each beginning of the list is balanced: units by turns, another task each time round
            asked = [divmod(session * size + at, n_units) for at in range(size)]
            names = [f"q{first + unit * n_tasks + turn % n_tasks + 1:06d}" for turn, unit in asked]
            sessions.append({"session": f"s{len(sessions) + 1:05d}", "experiment": experiment, "questions": names})
        counts.append(
            {"experiment": experiment, "model": model, "condition": condition, "n_explanations": n_explanations}
            | {"n_units": n_units, "n_sessions": n_sessions}
            | {"groups": [{"group": group, "expected": 0.8} for group in GROUPS]}
        )
    for name, rows in {
        "units": units,
        "questions": shown,
        "practice": practice,
        "catch": catch,
        "sessions": sessions,
    }.items():
        write_rows(folder / f"{name}.json", name, rows)
    pictures.write(("image", "file", "width", "height", "bytes", "sha256"))
    content = {
        "kind": "two-alternative",
        "source": "simulated",
        "backend": "clip",
        "slope": 6.25,
        "slope_status": "default",
        "seed": SEED,
        "n_explanations": n_explanations,
        "responses_a_unit": responses,
        "trials_a_session": size,
        "experiments": counts,
        "networks": [
            {"model": model, "groups": []} for model in dict.fromkeys(model for model, _ in experiments.values())
        ],
        "practice": {"n": len(practice), "obvious": sum(row["obvious"] for row in practice)},
        "catch": {"n": len(catch)},
        "checks": {**CHECKS, **(checks or {})},
    }
    return write_study(folder, content)


def ratings(folder: Path, *, n_texts: int = 4, n_pages: int = 8, raters: int = 3, side: int = 24) -> Path:
    """Write a folder of rating pages, 15 pictures each, and return it."""
    pictures = Pictures(folder, side)
    pages = [
        {
            "page": page + 1,
            "text": f"<b>dots</b> & stripes {page % n_texts}",
            "pictures": [pictures.new() for _ in range(15)],
        }
        for page in range(n_pages)
    ]
    by_file = {row["file"]: row["path"] for row in pictures.rows}
    body = json.dumps(pages, sort_keys=True)
    study = hashlib.sha256(body.encode()).hexdigest()
    lines = ",\n".join(json.dumps(page, sort_keys=True) for page in pages)
    (folder / "pages.json").write_text(f'{{"schema": 2, "study": "{study}", "pages": [\n{lines}\n]}}\n')
    gold = [
        {"text": page["text"], "image": by_file[page["pictures"][at]], "label": at % 2, "source": "factors"}
        for page in pages[:2]
        for at in range(2)
    ]
    _write_csv(folder / "gold.csv", ("text", "image", "label", "source"), gold)
    pictures.write(("image", "path", "file", "width", "height", "bytes", "sha256"))
    content = {"kind": "ratings", "study": study, "raters": raters, "page": 15, "simulated": True, "price": 0.004}
    return write_study(folder, content)


def picking(
    folder: Path, kind: str = "localize", *, n_units: int = 4, n_queries: int = 3, raters: int = 3, side: int = 24
) -> Path:
    """Write a folder of pages on which one thing is picked, 9 examples each, and return it: cells of 4 x 4, or one of 4 texts."""
    pictures, draw = Pictures(folder, side), generator(SEED, "picking", kind)
    rows = []
    for unit in range(n_units):
        examples = [pictures.new() for _ in range(9)]
        for task in range(n_queries if kind == "localize" else 1):
            where = {"side": 4, "texts": [], "pictures": [*examples, pictures.new()], "answer": int(draw.integers(16))}
            words = {
                "side": 0,
                "texts": [f"<b>dots</b> & stripes {unit} {at}" for at in range(4)],
                "pictures": examples,
            }
            asked = where if kind == "localize" else words | {"answer": int(draw.integers(4))}
            key = {"model": "resnet", "layer": f"layer{unit % 2}.conv", "unit": 10 + unit, "task": task}
            rows.append({"page": len(rows) + 1} | key | asked)
    write_rows(folder / "pages.json", "pages", rows)
    pictures.write(("image", "file", "width", "height", "bytes", "sha256"))
    return write_study(folder, {"kind": kind, "seed": SEED, "raters": raters})


def write_rows(path: Path, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON with the schema's number and a list of objects, one a line."""
    lines = ",\n".join(json.dumps(row, sort_keys=True) for row in rows)
    path.write_text(f'{{"schema": 2, "{name}": [\n{lines}\n]}}\n')


def write_study(folder: Path, content: Mapping[str, Any]) -> Path:
    """study.json with the digests of the folder's other files as they are now."""
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != "study.json"
    }
    (folder / "study.json").write_text(json.dumps({"schema": 2, **content, "files": files}, indent=1) + "\n")
    return folder


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    lines = [",".join(columns), *(",".join(str(row[name]) for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
