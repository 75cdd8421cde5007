"""Looking through a folder of images by names, sizes and times, as the stage `inputs` does in every run.

    python -m benchmarks.listing [--files 1281167] [--folders 1000] [--rounds 3] [--place FOLDER]

Empty files in folders of equal size, in a temporary folder in `place`. Compared forms:

ours        `study.inputs.listing`: one call of the system a file, sorted folder by folder
os_walk     the careful plain form: os.walk, sorted, and the size and time of each path

Expected: as many files as ImageNet's in far less than a minute from memory; a disk that has to be asked takes longer.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import ratios, report, take_turns
from study.inputs.listing import ImagePlace, look_at_images


def write_files(root: Path, n_files: int, n_folders: int) -> None:
    """Empty files, spread over folders in turn."""
    for number in range(n_folders):
        folder = root / f"n{number:08d}"
        folder.mkdir()
        for file in range(number, n_files, n_folders):
            os.close(os.open(folder / f"n{number:08d}_{file}.JPEG", os.O_CREAT | os.O_WRONLY))


def os_walk(root: Path) -> str:
    """Digest of name, size and time of every file, in the order of the paths."""
    digest = hashlib.sha256()
    for path in sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names):
        facts = os.stat(path)
        digest.update(f"{facts.st_size} {facts.st_mtime_ns} {path}\0".encode())
    return digest.hexdigest()


def main() -> None:
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--files", type=int, default=1_281_167)
    line.add_argument("--folders", type=int, default=1000)
    line.add_argument("--rounds", type=int, default=3)
    line.add_argument("--place", type=Path)
    args = line.parse_args()
    with tempfile.TemporaryDirectory(dir=args.place) as place:
        root = Path(place)
        write_files(root, args.files, args.folders)
        images = ImagePlace(source="folder", root=place, reader="", split="")
        forms = {"ours": lambda: look_at_images(images), "os_walk": lambda: os_walk(root)}
        times = [take_turns(forms, turn) for turn in range(args.rounds)]
        found = look_at_images(images).facts["files"]
    assert found == args.files
    rows = [
        {"form": name, "files": found, "seconds": float(np.median([took[name][0] for took in times]))}
        | ratios([took["os_walk"] for took in times], [took[name] for took in times])
        for name in forms
    ]
    report(
        "listing",
        f"{found:,} empty files in {args.folders} folders; ratio: seconds of os_walk over those of the form",
        rows,
    )


if __name__ == "__main__":
    main()
