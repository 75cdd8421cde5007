"""Find or draw the pictures of the study and describe each in a manifest.

Reads   the folder, tar files or data set named by MIS_IMAGES or images.root; nothing for generated scenes
Writes  data/images: manifest.parquet, rejected.csv, summary.json; members.parquet (where each picture lies, but for a
        folder); factors.parquet and pixels.npy for generated scenes
Run     dvc repro images
"""

from __future__ import annotations

import numpy as np

from interpretability.casts import narrowed
from interpretability.tasks import rules
from study.command import arguments, run
from study.files.tables import fresh_folder, write_csv, write_json, write_parquet
from study.images.finding import ImageParams, draw_scenes, read_images, summary
from study.log import logger
from study.params.reading import load

log = logger("images")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=("out",), defaults={"params": "params.yaml"})
    params = load(args.params, ImageParams)
    out = fresh_folder(args.out)
    manifest, rejected, noted = (draw_scenes if params.images.source == "generated" else read_images)(params, out)
    conditions = params.tasks.conditions if params.tasks.source == "rebuilt" else ()
    if warning := rules.check_images(len(manifest), params.tasks.n_tasks, params.tasks.n_explanations, conditions):
        log.warning("%s", warning)
    manifest.insert(0, "image", np.arange(len(manifest), dtype=np.int32))
    sides = {name: narrowed(manifest[name].to_numpy(), np.int32, name) for name in ("width", "height")}
    write_parquet(out / "manifest.parquet", manifest.assign(**sides))
    write_csv(out / "rejected.csv", rejected)
    facts = summary(params.images, manifest, rejected, noted)
    write_json(out / "summary.json", facts)
    log.info("%(n)d pictures, %(n_duplicates)d of them exact copies, %(n_rejected)d files rejected", facts)


if __name__ == "__main__":
    run(main)
