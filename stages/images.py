"""Find or draw the pictures of the study and describe each in a manifest.

Reads   the folder, tar files or data set named by MIS_IMAGES or images.root; nothing for generated scenes
Writes  data/images: manifest.parquet, rejected.csv, summary.json; members.parquet (where each picture lies, but for a
        folder); factors.parquet and pixels.npy for generated scenes
Run     dvc repro images
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from stages.errors import StudyError
from stages.pipeline import pictures, sources
from stages.pipeline.log import Progress, logger, run
from stages.pipeline.params import Params, load_params
from stages.pipeline.tables import atomic_path, fresh_folder, write_csv, write_json, write_parquet
from stages.pipeline.workers import Failure, run_jobs
from stages.science import scenes, tasks

log = logger("images")
_CHUNK = 200  # files inspected by one job


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", default="params.yaml")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    params = load_params(args.params)
    out = fresh_folder(args.out)
    manifest, rejected = _draw(params, out) if params.images.source == "generated" else _read(params, out)
    conditions = params.tasks.conditions if params.tasks.source == "rebuilt" else ()
    warning = tasks.check_images(len(manifest), params.tasks.n_tasks, params.tasks.n_explanations, conditions)
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


def _draw(params: Params, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scenes drawn from known factors, in the order of the sha256 of their names."""
    given = params.images.generated
    factors = scenes.draw_factors(given.n, seed=params.seed, stream="study", n_categories=given.n_categories)
    names = [f"scene_{i:06d}.png" for i in range(given.n)]
    order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names])
    factors = factors.iloc[order].reset_index(drop=True)
    pixels = scenes.render(factors, given.size)
    with atomic_path(out / "pixels.npy") as part, open(part, "wb") as file:
        np.save(file, pixels)
    manifest = pd.DataFrame(
        {
            "path": [names[i] for i in order],
            "label": [f"category_{category:02d}" for category in factors["category"]],
            "width": given.size,
            "height": given.size,
            "digest": [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels],
        }
    )
    factors.insert(0, "image", np.arange(len(factors), dtype=np.int32))
    write_parquet(out / "factors.parquet", factors)
    return manifest, pd.DataFrame(columns=["path", "reason"])


def _inspect(job: tuple[sources.Source, list[sources.Member]]) -> list[pictures.Found]:
    return [pictures.inspect(job[0], member) for member in job[1]]


def _read(params: Params, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pictures of a source; what cannot be read is rejected by name and reason."""
    given = params.images
    source = pictures.open_source(given.source, given.root, given.reader, given.split)
    root = source.root or given.reader
    members = source.members()
    if not members:
        raise StudyError(f"the image folder {root} holds no files. {_NAME_ANOTHER}")
    jobs = [(source, members[i : i + _CHUNK]) for i in range(0, len(members), _CHUNK)]
    progress = Progress(log, len(members), "files read")
    found: dict[int, list[pictures.Found]] = {}
    for place, result in run_jobs(_inspect, jobs, [job[1][0].path for job in jobs], on_cpu=True):
        if isinstance(result, Failure):
            raise StudyError(f"reading {jobs[place][1][0].path} and the files after it failed: {result.reason}")
        found[place] = result
        progress.step(len(result))
    rows = [each for place in sorted(found) for each in found[place]]
    good = pd.DataFrame([asdict(each) for each in rows if not each.reason], columns=_COLUMNS)
    kept = [member for member, each in zip(members, rows, strict=True) if not each.reason]
    bad = pd.DataFrame([asdict(each) for each in rows if each.reason], columns=[*_COLUMNS, "reason"])[
        ["path", "reason"]
    ]
    broken = bad[~bad["reason"].str.startswith(pictures.NO_PICTURE)] if len(bad) else bad
    share = len(broken) / max(len(broken) + len(good), 1)
    if share > params.images.max_rejected:
        listed = "".join(f"\n  {row.path}: {row.reason}" for row in broken.sort_values("path").head(10).itertuples())
        raise StudyError(
            f"{len(broken)} of {len(broken) + len(good)} pictures ({share:.1%}) in {root} cannot be read; images.max_rejected "
            f"allows {params.images.max_rejected:.1%}. Repair or remove them, or raise that limit. The first of them:{listed}"
        )
    if good.empty:
        raise StudyError(
            f"the image folder {root} holds {len(members)} files, but no picture that can be read. {_NAME_ANOTHER}"
        )
    if source.kind != "folder":
        places = pd.DataFrame([(member.shard, member.place, member.size) for member in kept])
        write_parquet(out / pictures.MEMBERS, places.set_axis(["shard", "place", "size"], axis=1))
    return good, bad.sort_values("path")


_COLUMNS = ["path", "label", "width", "height", "digest"]
_NAME_ANOTHER = (
    f"Put pictures ({', '.join(sources.SUFFIXES)}) there, or name another folder in MIS_IMAGES or images.root"
)

if __name__ == "__main__":
    run(main)
