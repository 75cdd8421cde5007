"""Images of a study found in a folder, tar files or a data set, or drawn from known factors; each read and described."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

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
from study.log import logger
from study.params.images import Images
from study.params.tasks import Tasks
from study.workers.jobs import run_all_or_stop

log = logger("images")

_CHUNK = 200  # files inspected by one job
_COLUMNS = ["path", "label", "width", "height", "digest"]
_NAME_ANOTHER = f"Put pictures ({', '.join(SUFFIXES)}) there, or name another folder in MIS_IMAGES or images.root"
NO_IMAGE = "not a picture file"  # the beginning of a reason that counts nothing as broken


@dataclass(frozen=True, kw_only=True)
class ImageParams:
    """What the stage `images` reads. The tasks change no byte of its outs: they refuse a study with too few images early."""

    seed: int
    processor: str
    images: Images
    tasks: Tasks


def draw_scenes(params: ImageParams, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scenes drawn from known factors, in the order of the sha256 of their names."""
    settings = params.images.generated
    factors = draw_factors(settings.n, seed=params.seed, stream="study", n_categories=settings.n_categories)
    names = [f"scene_{i:06d}.png" for i in range(settings.n)]
    order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names], kind="stable")
    factors = factors.iloc[order].reset_index(drop=True)
    pixels = scenes.render(factors, settings.size)
    with atomic_path(out / "pixels.npy") as part, open(part, "wb") as file:
        np.save(file, pixels)
    manifest = pd.DataFrame(
        {
            "path": [names[i] for i in order],
            "label": [f"category_{category:02d}" for category in factors["category"]],
            "width": settings.size,
            "height": settings.size,
            "digest": [hashlib.sha256(scene.tobytes()).hexdigest() for scene in pixels],
        }
    )
    factors.insert(0, "image", np.arange(len(factors), dtype=np.int32))
    write_parquet(out / "factors.parquet", factors)
    return manifest, pd.DataFrame(columns=["path", "reason"])


def summary(images: Images, manifest: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, str | int]:
    """What the manifest holds, in a few words."""
    facts: dict[str, str | int] = {
        "source": images.source,
        "n": len(manifest),
        "n_rejected": len(rejected),
        "n_duplicates": int(manifest["digest"].duplicated().sum()),
        "n_labels": int(manifest["label"].nunique()),
        "digest": hashlib.sha256("".join(manifest["digest"]).encode()).hexdigest(),
    }
    return facts | ({"reader": images.reader, "split": images.split} if images.source == "timm" else {})


@dataclass(frozen=True)
class InspectedFile:
    """One file of a folder: a row of the manifest, or the reason why it is none."""

    path: str
    label: str
    width: int = 0
    height: int = 0
    digest: str = ""
    reason: str = ""


def inspect_file(source: Source, member: Member) -> InspectedFile:
    """What one member of a source is, read and fully decoded."""
    name = member.path
    if name.encode("utf-8", "replace") != os.fsencode(name):
        readable = name.encode("utf-8", "backslashreplace").decode()
        return InspectedFile(readable, "", reason="the name is not written in UTF-8; rename the file or its folder")
    if member.reason:
        return InspectedFile(name, member.label, reason=member.reason)
    if source.kind != "timm" and not name.lower().endswith(SUFFIXES):
        return InspectedFile(name, member.label, reason=f"{NO_IMAGE} ({', '.join(SUFFIXES)})")
    if source.kind == "folder" and source.root is not None and not (source.root / name).is_file():
        return InspectedFile(name, member.label, reason="no regular file (a broken link, a pipe or a device)")
    try:
        content = source.read(member)
    except OSError as error:
        return InspectedFile(name, member.label, reason=f"cannot be read ({error.strerror or error})")
    if not content:
        return InspectedFile(name, member.label, reason="empty file")
    try:
        height, width, _ = decode(content).shape
    except UnidentifiedImageError:
        return InspectedFile(name, member.label, reason="cannot be decoded (its content is no picture)")
    except Exception as error:  # a decoder may raise anything on broken data; the file and the reason are recorded
        text = " ".join(str(error).split())
        return InspectedFile(name, member.label, reason=f"cannot be decoded ({type(error).__name__}: {text})")
    return InspectedFile(name, member.label, width, height, hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class InspectJob:
    """What some neighbouring members of a source are."""

    source: Source
    members: list[Member]

    @property
    def size(self) -> float:
        return len(self.members)

    @property
    def name(self) -> str:
        return f"{self.members[0].path} and the files after it"

    def run(self) -> list[InspectedFile]:
        return [inspect_file(self.source, member) for member in self.members]


def read_images(params: ImageParams, out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images of a source, and what cannot be read, by name and reason."""
    settings = params.images
    source = sources.open_source(settings.source, settings.root, settings.reader, settings.split)
    root = source.root or settings.reader
    members = source.members()
    if not members:
        raise StudyError(f"the image folder {root} holds no files. {_NAME_ANOTHER}")
    jobs = [InspectJob(source, members[i : i + _CHUNK]) for i in range(0, len(members), _CHUNK)]
    files = [file for part in run_all_or_stop(jobs, "files read", log, on_cpu=True) for file in part]
    images = pd.DataFrame([asdict(file) for file in files if not file.reason], columns=_COLUMNS)
    rejected = pd.DataFrame([(file.path, file.reason) for file in files if file.reason], columns=["path", "reason"])
    _check_rejected(images, rejected, settings.max_rejected, root)
    if images.empty:
        raise StudyError(
            f"the image folder {root} holds {len(members)} files, but no picture that can be read. {_NAME_ANOTHER}"
        )
    if source.kind != "folder":
        kept = [member for member, file in zip(members, files, strict=True) if not file.reason]
        located = pd.DataFrame([(member.shard, member.place, member.size) for member in kept])
        write_parquet(out / MEMBERS, located.set_axis(["shard", "place", "size"], axis=1))
    return images, rejected.sort_values("path", kind="stable")


def _check_rejected(images: pd.DataFrame, rejected: pd.DataFrame, most: float, root: Path | str) -> None:
    """Refuse a source of which a larger share than `most` is broken; what is no image counts for nothing."""
    broken = rejected[~rejected["reason"].str.startswith(NO_IMAGE)] if len(rejected) else rejected
    total = len(broken) + len(images)
    share = len(broken) / max(total, 1)
    if share > most:
        listed = "".join(
            f"\n  {row.path}: {row.reason}" for row in broken.sort_values("path", kind="stable").head(10).itertuples()
        )
        raise StudyError(
            f"{len(broken)} of {total} pictures ({share:.1%}) in {root} cannot be read; images.max_rejected "
            f"allows {most:.1%}. Repair or remove them, or raise that limit. The first of them:{listed}"
        )
