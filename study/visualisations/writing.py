"""The out of the stage: images that were made, what they reach, and what could not be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from interpretability.files import atomic_path
from interpretability.schema import UNIT
from study.files.tables import write_csv, write_json, write_parquet
from study.images.made import IMAGE_SCHEMA, IMAGES, NOTE, PIXELS, UNIT_SCHEMA, UNITS, digest_of, made_digest
from study.networks.failures import Failed, write_failures

LEFT_OUT = "left_out.csv"
LEFT_OUT_COLUMNS = [*UNIT, "reason"]


def write_made(
    folder: Path,
    images: Sequence[Mapping[str, Any]],
    pixels: Mapping[str, Iterable[NDArray[np.uint8]]],
    units: Sequence[Mapping[str, Any]],
    *,
    manifest: str,
    n_natural: int,
    left_out: Sequence[Mapping[str, Any]],
    failures: list[Failed],
    note: Mapping[str, Any],
) -> None:
    """Write all files into an empty folder.

    images    rows of IMAGE_SCHEMA without `image` and `digest`, which follow; those of one network lie together
    pixels    of each network with images: those of all of them in their order, taken one by one
    units     rows of UNIT_SCHEMA
    manifest  digest of the natural images, of which there are `n_natural`
    """
    (folder / PIXELS).mkdir()
    counts = Counter(str(row["model"]) for row in images)
    digests: list[str] = []
    for model, count in counts.items():
        with atomic_path(folder / PIXELS / f"{model}.npy") as part:
            digests += _write_pixels(part, pixels[model], count)
    numbers = range(n_natural, n_natural + len(images))
    numbered = [
        {**row, "image": number, "digest": digest} for row, number, digest in zip(images, numbers, digests, strict=True)
    ]
    write_parquet(folder / IMAGES, pd.DataFrame(numbered, columns=IMAGE_SCHEMA.names), IMAGE_SCHEMA)
    write_parquet(folder / UNITS, pd.DataFrame(list(units), columns=UNIT_SCHEMA.names), UNIT_SCHEMA)
    write_csv(folder / LEFT_OUT, pd.DataFrame(list(left_out), columns=LEFT_OUT_COLUMNS))
    write_failures(folder / "failures.csv", failures)
    write_json(folder / NOTE, {**note, "n_natural": n_natural, "manifest": manifest, "images": made_digest(digests)})


def _write_pixels(path: Path, pixels: Iterable[NDArray[np.uint8]], count: int) -> list[str]:
    """One array of so many images of one size, of which one at a time is in memory; their digests."""
    digests: list[str] = []
    with open(path, "wb") as file:
        for image in pixels:
            if not digests:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, *image.shape)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(image).data)
            digests.append(digest_of(image))
    if len(digests) != count:
        raise ValueError(f"{count} images have rows in the table, and {len(digests)} pixels")
    return digests
