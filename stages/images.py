"""Find or draw the pictures of the study and describe each in a manifest.

Reads   the folder, tar files or data set named by MIS_IMAGES or images.root; nothing for generated scenes
Writes  data/images: manifest.parquet, rejected.csv, summary.json; members.parquet (where each picture lies, but for a
        folder); factors.parquet and pixels.npy for generated scenes
Run     dvc repro images
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from interpretability.tasks import rules
from study.command import run
from study.files.tables import fresh_folder, write_csv, write_json, write_parquet
from study.images.finding import draw_scenes, read_images
from study.log import logger
from study.params.whole import load_params

log = logger("images")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    out = fresh_folder(args.out)
    manifest, rejected = (draw_scenes if params.images.source == "generated" else read_images)(params, out)
    conditions = params.tasks.conditions if params.tasks.source == "rebuilt" else ()
    warning = rules.check_images(len(manifest), params.tasks.n_tasks, params.tasks.n_explanations, conditions)
    if warning:
        log.warning("%s", warning)
    manifest.insert(0, "image", np.arange(len(manifest), dtype=np.int32))
    write_parquet(out / "manifest.parquet", manifest.astype({"width": np.int32, "height": np.int32}))
    write_csv(out / "rejected.csv", rejected)
    summary = {
        "source": params.images.source, "n": len(manifest), "n_rejected": len(rejected),
        "n_duplicates": int(manifest["digest"].duplicated().sum()), "n_labels": int(manifest["label"].nunique()),
        "digest": hashlib.sha256("".join(manifest["digest"]).encode()).hexdigest(),
    }  # fmt: skip
    if params.images.source == "timm":
        summary |= {"reader": params.images.reader, "split": params.images.split}
    write_json(out / "summary.json", summary)
    log.info("%(n)d pictures, %(n_duplicates)d of them exact copies, %(n_rejected)d files rejected", summary)


if __name__ == "__main__":
    run(main)
