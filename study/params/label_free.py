"""Parameters of the scores without labels, beside MIS."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number


@dataclass(frozen=True, kw_only=True)
class LabelFree:
    """Scores of units from their values over random images.

    models          networks and controls that are scored; `*` stands for any text
    n_images        random images on which values are seen; 0 = all
    n_range         of these, images on which predictions are held against values
    n_top           most exciting images of the interpretability index
    localizability  networks of whose layers it is computed how well pictures say where units are active; `*` as above
    """

    models: tuple[str, ...]
    n_images: int = number(0)
    n_range: int = number(3)
    n_top: int = number(2)
    localizability: tuple[str, ...]
