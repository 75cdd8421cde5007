"""Images of a study found in a folder, tar files or a data set, or drawn from known factors; each read and described."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import UnidentifiedImageError

from interpretability.colour import AS_IS, SRGB
from interpretability.errors import InputError
from interpretability.files import atomic_path
from interpretability.images import FORMATS, SUFFIXES, VERSION, Picture, read_picture
from interpretability.synthetic import scenes
from interpretability.synthetic.draws import draw_factors
from study.errors import StudyError
from study.files.tables import write_parquet
from study.images import sources
from study.images.manifest import MEMBERS, set_digest
from study.images.members import Member
from study.images.sources import PUT_PICTURES, Source
from study.log import logger
from study.params.images import Images
from study.params.tasks import Tasks
from study.workers.jobs import run_all_or_stop

log = logger("images")

_CHUNK = 200  # files inspected by one job
_COLUMNS = ["path", "label", "width", "height", "digest"]
NO_IMAGE = "not a picture file"  # the beginning of a reason that counts nothing as broken


@dataclass(frozen=True, kw_only=True)
class ImageParams:
    """What the stage `images` reads. The tasks change no byte of its outs: they refuse a study with too few images early."""

    seed: int
    processor: str
    images: Images
    tasks: Tasks


def draw_scenes(params: ImageParams, out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Scenes drawn from known factors, in the order of the sha256 of their names; none is rejected, nothing to be noticed."""
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
    return manifest, pd.DataFrame(columns=["path", "reason"]), {}


def summary(
    images: Images, manifest: pd.DataFrame, rejected: pd.DataFrame, noted: dict[str, int]
) -> dict[str, str | int]:
    """What the manifest holds, in a few words; `noted` counts pictures that hold more than their pixels (`noticed`).

    How pictures are decoded is part of it where that is not as it always was: `colour`, and `decoding` where a picture is
    among them that an earlier version decoded otherwise.
    """
    colour = {"colour": images.colour} if images.colour == SRGB and images.source != "generated" else {}
    decoding = {"decoding": VERSION} if "n_fine_levels" in noted else {}
    facts: dict[str, str | int] = {
        "source": images.source,
        "n": len(manifest),
        "n_rejected": len(rejected),
        "n_duplicates": int(manifest["digest"].duplicated().sum()),
        "n_labels": int(manifest["label"].nunique()),
        "digest": set_digest(manifest["digest"].tolist(), {**colour, **decoding}),
    }
    where = {"reader": images.reader, "split": images.split} if images.source == "timm" else {}
    return facts | where | colour | decoding | noted


@dataclass(frozen=True)
class InspectedFile:
    """One file of a folder: a row of the manifest, or the reason why it is none; `notes` has keys and texts of NOTES."""

    path: str
    label: str
    width: int = 0
    height: int = 0
    digest: str = ""
    reason: str = ""
    notes: tuple[tuple[str, str], ...] = ()


# What the log tells of pictures that hold more than their pixels, by its key in summary.json.
NOTES = {
    "n_several_frames": "hold several frames; the first one is the picture",
    "n_odd_exif": "have Exif data that cannot be read; they are not turned",
    "n_fine_levels": "have a transparent level of other than 8 bits",
    "n_profiles_ignored": "have a colour profile that is not sRGB and is ignored, as timm and torchvision do; "
    "images.colour: srgb converts them",
    "n_profiles_converted": "have a colour profile that is not sRGB, from which they are converted",
    "n_profiles_broken": "have a colour profile that cannot be applied; their colours are taken as they are",
}


def _notes(picture: Picture, colour: str) -> tuple[tuple[str, str], ...]:
    """What is to be told of a picture: keys of NOTES, and a word on this one."""
    notes: dict[str, str] = {}
    if picture.several_frames:
        notes["n_several_frames"] = ""
    if picture.odd_exif:
        notes["n_odd_exif"] = ""
    if picture.fine_levels:
        notes["n_fine_levels"] = ""
    if picture.profile and picture.profile.problem:
        notes["n_profiles_broken"] = picture.profile.problem
    elif picture.profile and not picture.profile.is_srgb:
        notes["n_profiles_converted" if colour == SRGB else "n_profiles_ignored"] = picture.profile.name
    return tuple(notes.items())


def noticed(files: list[InspectedFile]) -> dict[str, int]:
    """Counts of the notes on pictures, each told in the log."""
    count = Counter(key for file in files for key, _ in file.notes)
    for key, told in NOTES.items():
        if key in count:
            path, word = min((file.path, word) for file in files for name, word in file.notes if name == key)
            log.info("%d pictures %s; the first is %s%s", count[key], told, path, f" ({word})" if word else "")
    return {key: count[key] for key in NOTES if key in count}


def inspect_file(source: Source, member: Member, colour: str = AS_IS) -> InspectedFile:
    """What one member of a source is, read and fully decoded."""
    name = member.path
    if name.encode("utf-8", "replace") != os.fsencode(name):
        readable = name.encode("utf-8", "backslashreplace").decode()
        return InspectedFile(readable, "", reason="the name is not written in UTF-8; rename the file or its folder")
    if source.kind != "timm" and not name.lower().endswith(SUFFIXES):
        return InspectedFile(name, member.label, reason=f"{NO_IMAGE} ({', '.join(SUFFIXES)})")
    if member.reason:
        return InspectedFile(name, member.label, reason=member.reason)
    if source.kind == "folder" and source.root is not None and not (source.root / name).is_file():
        return InspectedFile(name, member.label, reason="no regular file (a broken link, a pipe or a device)")
    try:
        content = source.read(member)
    except OSError as error:
        return InspectedFile(name, member.label, reason=f"cannot be read ({error.strerror or error})")
    except Exception as error:  # a reader of data sets may raise anything on a broken one
        return InspectedFile(name, member.label, reason=f"cannot be read ({type(error).__name__}: {_line(error)})")
    if not content:
        return InspectedFile(name, member.label, reason="empty file")
    try:
        picture = read_picture(content, colour)
    except UnidentifiedImageError:
        known = ", ".join(FORMATS)
        return InspectedFile(name, member.label, reason=f"cannot be decoded (its content is no picture of {known})")
    except InputError as error:
        return InspectedFile(name, member.label, reason=f"cannot be decoded ({error})")
    except Exception as error:  # a decoder may raise anything on broken data; the file and the reason are recorded
        return InspectedFile(name, member.label, reason=f"cannot be decoded ({type(error).__name__}: {_line(error)})")
    height, width, _ = picture.pixels.shape
    digest = hashlib.sha256(content).hexdigest()
    return InspectedFile(name, member.label, width, height, digest, notes=_notes(picture, colour))


def _line(error: Exception) -> str:
    """What an error says, in one line that is not too long."""
    return " ".join(str(error).split())[:300]


@dataclass(frozen=True)
class InspectJob:
    """What some neighbouring members of a source are."""

    source: Source
    members: list[Member]
    colour: str

    @property
    def size(self) -> float:
        return len(self.members)

    @property
    def name(self) -> str:
        return f"{self.members[0].path} and the files after it"

    def run(self) -> list[InspectedFile]:
        return [inspect_file(self.source, member, self.colour) for member in self.members]


def read_images(params: ImageParams, out: Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Images of a source, what cannot be read, by name and reason, and counts of what else was noticed."""
    settings = params.images
    source = sources.open_source(settings.source, settings.root, settings.reader, settings.split)
    root = source.root or settings.reader
    members = source.members()
    if not members:
        raise StudyError(f"the image folder {root} holds no files. {PUT_PICTURES}")
    jobs = [InspectJob(source, members[i : i + _CHUNK], settings.colour) for i in range(0, len(members), _CHUNK)]
    files = [file for part in run_all_or_stop(jobs, "files read", log, on_cpu=True) for file in part]
    images = pd.DataFrame([asdict(file) for file in files if not file.reason], columns=_COLUMNS)
    rejected = pd.DataFrame([(file.path, file.reason) for file in files if file.reason], columns=["path", "reason"])
    _check_rejected(images, rejected, settings.max_rejected, root)
    if images.empty:
        raise StudyError(
            f"the image folder {root} holds {len(members)} files, but no picture that can be read. {PUT_PICTURES}"
        )
    if source.kind != "folder":
        kept = [member for member, file in zip(members, files, strict=True) if not file.reason]
        located = pd.DataFrame([(member.shard, member.place, member.size) for member in kept])
        write_parquet(out / MEMBERS, located.set_axis(["shard", "place", "size"], axis=1))
    return images, rejected.sort_values("path", kind="stable"), noticed(files)


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
