"""Numbers as the data of the page hold them: short, and the same on every machine."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

MILLION = 1_000_000  # scores, shares and errors are written as whole millionths
_STEPS = 255  # of a number that a mark of a scatter stands for


def whole(values: npt.ArrayLike) -> list[int | None]:
    """Numbers as whole millionths, null where missing."""
    return [
        None if value != value else round(value * MILLION) for value in np.asarray(values, dtype=np.float64).tolist()
    ]


def stepped(values: npt.NDArray[np.float64]) -> list[object]:
    """Finite numbers as [lowest, highest, 256 steps between them in base64]."""
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values - low) / ((high - low) or 1.0) * _STEPS).astype(np.uint8)
    return [float(f"{low:.6g}"), float(f"{high:.6g}"), base64.b64encode(steps.tobytes()).decode()]


def packed(values: npt.NDArray[np.integer]) -> list[object]:
    """Whole numbers from 0 to 2 ** 32 - 1, whatever their shape, as [bytes of one, little-endian in base64]."""
    largest = int(values.max(initial=0))
    width = next(width for width in (1, 2, 4) if largest < 256**width)
    return [width, base64.b64encode(values.astype(f"<u{width}").tobytes()).decode()]
