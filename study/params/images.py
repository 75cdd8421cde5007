"""Parameters of the images."""

from __future__ import annotations

from dataclasses import dataclass

from study.params.fields import number, one_of


@dataclass(frozen=True, kw_only=True)
class Generated:
    """Pictures of the synthetic study."""

    n: int = number(1)
    size: int = number(32, 512)
    n_categories: int = number(2, 1000)


@dataclass(frozen=True, kw_only=True)
class Images:
    """Where the pictures come from.

    root          folder, tar files or data set; the variable MIS_IMAGES stands above it
    reader, split what timm reads, for source timm
    colour        what becomes of an embedded colour profile: ignored, as timm and torchvision do, or converted to sRGB
    max_rejected  largest share of pictures that may be broken
    """

    source: str = one_of("generated", "folder", "tar", "timm")
    root: str
    reader: str
    split: str
    colour: str = one_of("as_is", "srgb")
    max_rejected: float = number(0, 1)
    generated: Generated
