"""Whether a training by the recipe A3 learns: held-out accuracy of a small network, beside a plain classifier.

    python -m benchmarks.training --images FOLDER [--least 300] [--epochs 30]
    python -m benchmarks.training --scenes [--epochs 30]

Takes the classes of a folder of pictures (a folder a class) that have at least `--least` of them, or the generated scenes of
the embedded study by their categories, and runs the stages `images` and `models` as a study would, with
`models.training.recipe: a3`, on reduced sizes: a narrow ResNet of ten layers, crops of 48 pixels for 160, 64 shown for 224,
batches of 32 for 2,048, 30 epochs for 100; eight minutes of one core. The learning rate of a batch is .006, near the published
.008 of 2,048 images: scaled down with so small a batch, as the recipe does it, so few steps would hardly move the weights.
Rows of the other images stay in the table as an earlier run left them.

Beside it stands a logistic regression on the same pictures at 32 pixels, learnt from the same images and tried on the same
ones held out; of several strengths of its penalty the one that is best on those very images is taken, which favours it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from ruamel.yaml import YAML

from benchmarks import harness
from stages import images as images_stage
from stages import models as models_stage
from study.files.tables import read_csv
from study.images.manifest import open_images
from study.networks.recipes.pictures import Labelled

_ROOT = Path(__file__).resolve().parents[1]
_PENALTIES = (1e-5, 1e-4, 1e-3)  # inverse strengths
_SIDE = 32  # pixels that the logistic regression sees
_NETWORK = "narrow_resnet"
_PHOTOGRAPHS, _SCENES = "pictures of a folder", "generated scenes"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--images", type=Path)
    images.add_argument("--scenes", action="store_true")
    for name, kind, default in (
        ("least", int, 300),
        ("epochs", int, 30),
        ("warmup", int, 1),
        ("batch", int, 32),
        ("rate", float, 0.006),
        ("train-size", int, 48),
        ("test-size", int, 64),
        ("held-out", float, 0.2),
        ("seed", int, 0),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--channels", type=json.loads, default=[32, 64, 128, 256], help="of the four blocks")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        rows = compare(args, Path(name))
    kind = rows[0]["images"]
    before = harness.RESULTS / "training.csv"
    others = read_csv(before) if before.is_file() else pd.DataFrame(columns=["form", "images"])
    table = pd.concat([others[others["images"] != kind], pd.DataFrame(rows)], ignore_index=True)
    harness.report("training", "A3 on reduced sizes", table.sort_values("images", kind="stable", ascending=False))


def compare(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """A row a form: the logistic regression, and the network untrained, after its first epoch, and at its end."""
    os.environ["MIS_STORE"], os.environ["MIS_IMAGES"] = str(folder / "store"), ""
    if args.images:
        os.environ["MIS_IMAGES"] = str(_link_classes(args.images, args.least, folder / "pictures"))
    params = _write_params(args, folder)
    images_stage.main(["--params", str(params), "--out", str(folder / "images")])
    images = open_images(folder / "images", quick=True)
    labelled = Labelled.of(images, args.seed, args.held_out, args.batch)
    began = _minutes()
    plain = _logistic_regression(labelled)
    middle = _minutes()
    print(f"logistic regression: {100 * plain:.1f} % of {len(labelled.held_out)} images", flush=True)
    models_stage.main(
        [
            "--params",
            str(params),
            "--code",
            str(folder),
            "--images",
            str(folder / "images"),
            "--out",
            str(folder / "models"),
        ]
    )
    ended = _minutes()
    roster = read_csv(folder / "models" / "roster.csv", ["name", "step", "top1"])
    top1 = {float(step): float(value) for step, value in zip(roster["step"], roster["top1"], strict=True)}
    per_epoch = len(labelled.learnt) // args.batch
    about = {
        "images": _SCENES if args.scenes else _PHOTOGRAPHS,
        "classes": len(labelled.classes),
        "n_learnt": len(labelled.learnt),
        "n_held_out": len(labelled.held_out),
    }
    recipe = {"train_size": args.train_size, "test_size": args.test_size, "batch_size": args.batch, "rate": args.rate}
    rows: list[dict[str, Any]] = [
        {"form": f"logistic regression on {_SIDE} x {_SIDE} pixels", **about, "test_size": _SIDE, "top1": 100 * plain}
    ]
    rows[0]["cpu_minutes"] = middle - began
    for epoch in dict.fromkeys((0.0, 1.0, float(args.epochs))):
        row = {"form": f"A3 reduced, after {epoch:g} of {args.epochs} epochs", **about, **recipe, "top1": top1[epoch]}
        rows.append({**row, "epochs": epoch, "steps": int(epoch) * per_epoch})
    rows[-1]["cpu_minutes"] = ended - middle
    for row in rows:
        share = row["top1"] / 100
        row["top1_se"] = 100 * np.sqrt(share * (1 - share) / about["n_held_out"])
    return rows


def _link_classes(images: Path, least: int, pictures: Path) -> Path:
    """The classes of a folder that have enough pictures, as links in a folder of their own."""
    pictures.mkdir()
    for each in sorted(images.iterdir()):
        if each.is_dir() and len(list(each.iterdir())) >= least:
            (pictures / each.name).symlink_to(each.resolve(), target_is_directory=True)
    return pictures


def _write_params(args: argparse.Namespace, folder: Path) -> Path:
    """The study of one's own pictures, or of as many scenes as the embedded one has, its network trained by the recipe."""
    yaml = YAML()
    content = yaml.load(_ROOT / "studies" / "custom.yaml")
    content["seed"] = args.seed
    if args.scenes:
        content["images"]["source"] = "generated"
        content["images"]["generated"] = yaml.load(_ROOT / "studies" / "synthetic.yaml")["images"]["generated"]
    content["models"]["roster"] = str(folder / "roster.csv")
    content["models"]["max_failed"] = 0.0
    content["models"]["training"]["recipe"] = "a3"
    recipe = content["models"]["training"]["a3"]
    recipe |= {"epochs": args.epochs, "warmup_epochs": args.warmup, "batch_size": args.batch, "held_out": args.held_out}
    recipe |= {"train_size": args.train_size, "test_size": args.test_size, "every": args.epochs, "first_epoch": 0}
    recipe["learning_rate"] = args.rate * 2048 / args.batch  # the key is for 2,048 images
    path = folder / "params.yaml"
    yaml.dump(content, path)
    row = {"name": _NETWORK, "constructor": "resnet10t", "kwargs": json.dumps({"channels": args.channels})}
    row |= {"weights": "trained", "role": "study", "series": _NETWORK}
    with (folder / "roster.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return path


def _logistic_regression(labelled: Labelled) -> float:
    """Share of the images held out that it names right, with the best of several penalties."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    parts = [_small(labelled, rows) for rows in (labelled.learnt, labelled.held_out)]
    scaler = StandardScaler().fit(parts[0])
    seen, tried = (scaler.transform(part) for part in parts)
    targets, wanted = labelled.targets[labelled.learnt], labelled.targets[labelled.held_out]
    fits = [LogisticRegression(C=penalty, max_iter=100).fit(seen, targets) for penalty in _PENALTIES]
    return max(float(fit.score(tried, wanted)) for fit in fits)


def _small(labelled: Labelled, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Pictures as rows of 32 x 32 x 3 numbers."""
    sizes = (_SIDE, _SIDE)
    pictures = [
        Image.fromarray(labelled.images.pixels(int(row))).resize(sizes, Image.Resampling.BICUBIC) for row in rows
    ]
    return np.stack([np.asarray(picture, dtype=np.float32).ravel() for picture in pictures])


def _minutes() -> float:
    """Minutes of processor time of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) / 60


if __name__ == "__main__":
    main()
