"""The out of the stage: images that were made, what they reach, and what could not be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    pixels: Mapping[str, Sequence[NDArray[np.uint8]]],
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
    pixels    of each network, of all its images in their order
    units     rows of UNIT_SCHEMA
    manifest  digest of the natural images, of which there are `n_natural`
    """
    (folder / PIXELS).mkdir()
    for model, rows in pixels.items():
        if len(rows):
            with atomic_path(folder / PIXELS / f"{model}.npy") as part, open(part, "wb") as file:
                np.save(file, np.stack(list(rows)))
    order = dict.fromkeys(row["model"] for row in images)
    digests = [digest_of(image) for model in order for image in pixels[model]]
    numbers = range(n_natural, n_natural + len(images))
    numbered = [
        {**row, "image": number, "digest": digest} for row, number, digest in zip(images, numbers, digests, strict=True)
    ]
    write_parquet(folder / IMAGES, pd.DataFrame(numbered, columns=IMAGE_SCHEMA.names), IMAGE_SCHEMA)
    write_parquet(folder / UNITS, pd.DataFrame(list(units), columns=UNIT_SCHEMA.names), UNIT_SCHEMA)
    write_csv(folder / LEFT_OUT, pd.DataFrame(list(left_out), columns=LEFT_OUT_COLUMNS))
    write_failures(folder / "failures.csv", failures)
    write_json(folder / NOTE, {**note, "n_natural": n_natural, "manifest": manifest, "images": made_digest(digests)})
