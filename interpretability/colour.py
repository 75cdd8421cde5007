"""Colour profiles in pictures: what an embedded ICC profile says, and pixels converted from it to sRGB.

Networks and similarities were trained on pictures whose profiles nobody looked at: timm, torchvision and the packages of
similarities take the numbers of a picture as they are (AS_IS). A picture in a wide space (Adobe RGB, Display P3, a printer's
inks) then looks paler to them than on a screen. SRGB converts such numbers first.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

AS_IS, SRGB = "as_is", "srgb"
CHOICES = (AS_IS, SRGB)
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # kinds of profiles, and the pixels that they are of
_MOST_BYTES = 16 * 2**20  # of a profile; those of presses have three or four million
_NEAR = 2  # of 255 levels: profiles that are called sRGB differ by this much from each other


@dataclass(frozen=True)
class Profile:
    """An ICC profile as it bears on pixels of one mode.

    name       what it calls itself
    is_srgb    whether it is sRGB, up to rounding: then pixels are left as they are
    problem    why it cannot be applied; empty if it can
    mode       mode of the pixels that it takes (RGB, L or CMYK); `transform` makes them sRGB
    """

    name: str = ""
    is_srgb: bool = False
    problem: str = ""
    mode: str = "RGB"
    transform: Any = None


@functools.lru_cache(maxsize=16)
def read_profile(content: bytes, mode: str) -> Profile:
    """What a profile makes of pixels of a mode (RGB, L or CMYK). The few that a set of pictures has are read once."""
    if len(content) > _MOST_BYTES:
        return Profile(problem=f"of {len(content) / 2**20:.0f} MB, more than {_MOST_BYTES // 2**20}")
    name = ""
    try:
        profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(content))
        name = " ".join(ImageCms.getProfileDescription(profile).replace("\0", " ").split())
        kind = profile.profile.xcolor_space.strip()
        taken = _MODES.get(kind, "")
        if taken != mode and (taken, mode) != ("RGB", "L"):  # grey levels are colours, too
            return Profile(name, problem=f"of kind {kind} for pixels of kind {'GRAY' if mode == 'L' else mode}")
        # the quick way is within a level of the exact one for colours and inks, but ten levels off for dark greys
        flags = ImageCms.Flags.NOOPTIMIZE if taken == "L" else ImageCms.Flags.NONE
        srgb = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(profile, srgb, taken, "RGB", ImageCms.Intent.PERCEPTUAL, flags)
        return Profile(name, _changes_little(transform, taken), "", taken, transform)
    except Exception as error:  # the bytes may be anything
        return Profile(name, problem=" ".join(str(error).split()) or type(error).__name__)


def _changes_little(transform: Any, mode: str) -> bool:
    if mode == "CMYK":
        return False
    steps = np.arange(0, 256, 15 if mode == "RGB" else 1, dtype=np.uint8)
    levels = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3) if mode == "RGB" else steps[None]
    found = np.asarray(ImageCms.applyTransform(Image.fromarray(levels), transform), dtype=np.int64)
    return int(np.abs(found - (levels if mode == "RGB" else levels[..., None])).max()) <= _NEAR


def to_srgb(image: Image.Image, content: bytes) -> tuple[Image.Image, Profile]:
    """Pixels (mode RGB, L or CMYK) with an embedded profile as sRGB (mode RGB), by perceptual intent, and that profile.

    Where the profile cannot be applied, they are converted as if there were none.
    """
    profile = read_profile(content, image.mode)
    if profile.problem or profile.is_srgb:
        return image.convert("RGB"), profile
    converted: Any = ImageCms.applyTransform(image.convert(profile.mode), profile.transform)
    return converted, profile
