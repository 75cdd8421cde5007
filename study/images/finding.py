"""Images of a study found in a folder, tar files or a data set, or drawn from known factors; each read and described."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from interpretability.files import atomic_path
from interpretability.images import decode
from interpretability.synthetic import scenes
from interpretability.synthetic.draws import draw_factors
from study.errors import StudyError
from study.files.tables import write_parquet
from study.images import sources
from study.images.manifest import MEMBERS
from study.images.sources import SUFFIXES, Member, Source
from study.log import Progress, logger
from study.params.images import Images
from study.params.tasks import Tasks
from study.workers.device import Failure
from study.workers.jobs import run_jobs

log = logger("images")


_CHUNK = 200  # files inspected by one job


@dataclass(frozen=True, kw_only=True)
class ImageParams:
    """What the stage `images` reads. The tasks change no byte of its outs: they refuse a study with too few images early."""

    seed: int
    images: Images
    tasks: Tasks


def draw(params: ImageParams, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scenes drawn from known factors, in the order of the sha256 of their names."""
    given = params.images.generated
    factors = draw_factors(given.n, seed=params.seed, stream="study", n_categories=given.n_categories)
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


def _inspect(job: tuple[sources.Source, list[sources.Member]]) -> list[Found]:
    return [inspect(job[0], member) for member in job[1]]


def read(params: ImageParams, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pictures of a source; what cannot be read is rejected by name and reason."""
    given = params.images
    source = sources.open_source(given.source, given.root, given.reader, given.split)
    root = source.root or given.reader
    members = source.members()
    if not members:
        raise StudyError(f"the image folder {root} holds no files. {_NAME_ANOTHER}")
    jobs = [(source, members[i : i + _CHUNK]) for i in range(0, len(members), _CHUNK)]
    progress = Progress(log, len(members), "files read")
    found: dict[int, list[Found]] = {}
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
    broken = bad[~bad["reason"].str.startswith(NO_PICTURE)] if len(bad) else bad
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
        write_parquet(out / MEMBERS, places.set_axis(["shard", "place", "size"], axis=1))
    return good, bad.sort_values("path")


def summary(images: Images, manifest: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, Any]:
    """What the manifest holds, in a few words."""
    facts = {
        "source": images.source, "n": len(manifest), "n_rejected": len(rejected),
        "n_duplicates": int(manifest["digest"].duplicated().sum()), "n_labels": int(manifest["label"].nunique()),
        "digest": hashlib.sha256("".join(manifest["digest"]).encode()).hexdigest(),
    }  # fmt: skip
    return facts | ({"reader": images.reader, "split": images.split} if images.source == "timm" else {})


_COLUMNS = ["path", "label", "width", "height", "digest"]
_NAME_ANOTHER = (
    f"Put pictures ({', '.join(sources.SUFFIXES)}) there, or name another folder in MIS_IMAGES or images.root"
)


NO_PICTURE = "not a picture file"  # the beginning of a reason that counts nothing as broken


@dataclass(frozen=True)
class Found:
    """One file of a folder: a row of the manifest, or the reason why it is none."""

    path: str
    label: str
    width: int = 0
    height: int = 0
    digest: str = ""
    reason: str = ""


def inspect(source: Source, member: Member) -> Found:
    """Read and fully decode one member of a source."""
    name = member.path
    if name.encode("utf-8", "replace") != os.fsencode(name):
        readable = name.encode("utf-8", "backslashreplace").decode()
        return Found(readable, "", reason="the name is not written in UTF-8; rename the file or its folder")
    if member.reason:
        return Found(name, member.label, reason=member.reason)
    if source.kind != "timm" and not name.lower().endswith(SUFFIXES):
        return Found(name, member.label, reason=f"{NO_PICTURE} ({', '.join(SUFFIXES)})")
    if source.kind == "folder" and source.root is not None and not (source.root / name).is_file():
        return Found(name, member.label, reason="no regular file (a broken link, a pipe or a device)")
    try:
        content = source.read(member)
    except OSError as error:
        return Found(name, member.label, reason=f"cannot be read ({error.strerror or error})")
    if not content:
        return Found(name, member.label, reason="empty file")
    try:
        height, width, _ = decode(content).shape
    except UnidentifiedImageError:
        return Found(name, member.label, reason="cannot be decoded (its content is no picture)")
    except Exception as error:  # a decoder may raise anything on broken data; the file and the reason are recorded
        text = " ".join(str(error).split())
        return Found(name, member.label, reason=f"cannot be decoded ({type(error).__name__}: {text})")
    return Found(name, member.label, width, height, hashlib.sha256(content).hexdigest())
