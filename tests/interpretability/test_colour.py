"""Embedded colour profiles: ignored unless sRGB is asked for, and then converted as the standards have it."""

import numpy as np
import pytest
from PIL import Image

import interpretability as it
from interpretability.colour import AS_IS, SRGB, read_profile
from interpretability.errors import InputError
from interpretability.images import decode, decode_quickly, is_plain_jpeg, read_picture
from tests.conftest import encoded
from tests.helpers import profiles

STEPS = np.array([0, 1, 30, 90, 128, 180, 230, 255], dtype=np.uint8)
COLOURS = np.stack(np.meshgrid(STEPS, STEPS, STEPS), -1).reshape(-1, 8, 3)
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
WIDE = {"Display P3": profiles.P3, "Adobe RGB": profiles.ADOBE}
# profiles that say nothing, or the wrong thing
BROKEN = {
    "no profile": b"no profile at all",
    "cut": profiles.rgb(profiles.P3)[:300],
    "of grey for colours": profiles.grey(),
    "of inks for colours": profiles.inks([50] * 16),
    "without curves": profiles._profile(b"RGB ", b"mntr", "empty", {}),
}


def both(content):
    """Pixels as they are, and as sRGB, each by both decoders."""
    found = [decode(content, colour) for colour in (AS_IS, SRGB)]
    for colour, pixels in zip((AS_IS, SRGB), found, strict=True):
        np.testing.assert_array_equal(decode_quickly(content, colour), pixels)
    return found


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_wide_colours_become_what_the_standards_say(name, kind, options):
    content = encoded(Image.fromarray(COLOURS), kind, icc_profile=profiles.rgb(WIDE[name]), **options)
    as_is, srgb = both(content)
    np.testing.assert_array_equal(as_is, COLOURS)
    np.testing.assert_allclose(srgb, profiles.to_srgb(COLOURS, WIDE[name]), atol=2)
    assert np.abs(srgb.astype(int) - as_is).max() > 20


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_pixels_of_jpegs_with_a_profile_are_the_same_by_both_decoders(mode):
    noise = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise).convert(mode), "JPEG", icc_profile=profiles.rgb(profiles.P3))
    assert is_plain_jpeg(content)
    assert not is_plain_jpeg(content, SRGB)
    as_is, srgb = both(content)
    np.testing.assert_allclose(srgb, profiles.to_srgb(as_is, profiles.P3), atol=2)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_colours_are_converted_before_alpha_is_laid_over_white(mode):
    picture = Image.new("RGBA", (4, 4), (0, 255, 0, 128))
    if mode == "P":
        picture = Image.new("P", (4, 4))
        picture.putpalette([0, 255, 0])
        picture.info["transparency"] = b"\x80"
    green = profiles.to_srgb([[0, 200, 0]], profiles.P3)
    wide = picture if mode == "P" else Image.new("RGBA", (4, 4), (0, 200, 0, 128))
    if mode == "P":
        wide.putpalette([0, 200, 0])
    _, srgb = both(encoded(wide, icc_profile=profiles.rgb(profiles.P3)))
    np.testing.assert_allclose(srgb[0, 0], (green[0] * 128 + 255 * 127) / 255, atol=2)


def test_grey_levels_of_another_curve():
    content = encoded(Image.fromarray(RAMP), icc_profile=profiles.grey(1.0))
    as_is, srgb = both(content)
    np.testing.assert_array_equal(as_is[..., 0], RAMP)
    np.testing.assert_allclose(
        srgb[..., 1], profiles.to_srgb(RAMP[..., None] * [1, 1, 1], profiles.SRGB, 1.0)[..., 1], atol=2
    )


def test_inks_are_mixed_as_their_press_does():
    levels = [100 - 5 * number for number in range(16)]
    content = encoded(
        Image.new("CMYK", (16, 16), (0, 0, 255, 0)), "JPEG", quality=100, icc_profile=profiles.inks(levels)
    )
    as_is, srgb = both(content)
    assert np.abs(as_is[8, 8].astype(int) - [255, 255, 0]).max() <= 3, "yellow, for whoever does not look"
    light = ((levels[2] + 16) / 116) ** 3  # L* 90 of the node of full yellow
    wanted = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(srgb[8, 8], [wanted] * 3, atol=3)


@pytest.mark.parametrize(
    "profile", [profiles.BUILT_IN, profiles.rgb(profiles.SRGB, 1.0, "sRGB"), None], ids=["sRGB", "liar", "none"]
)
def test_what_is_srgb_is_found_by_its_colours_not_by_its_name(profile):
    content = encoded(Image.fromarray(COLOURS), **({"icc_profile": profile} if profile else {}))
    as_is, srgb = both(content)
    found = read_picture(content).profile
    if profile is None:
        assert found is None
    elif profile is profiles.BUILT_IN:
        assert found.is_srgb
        np.testing.assert_array_equal(srgb, as_is, "left as they are, to the bit")
    else:
        assert (found.name, found.is_srgb) == ("sRGB", False)
        assert np.abs(srgb.astype(int) - as_is).max() > 20


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_cannot_be_applied_leaves_the_pixels_and_is_told(name, tmp_path):
    content = encoded(Image.fromarray(COLOURS), icc_profile=BROKEN[name])
    as_is, srgb = both(content)
    np.testing.assert_array_equal(as_is, srgb)
    for colour in (AS_IS, SRGB):
        assert read_picture(content, colour).profile.problem
    (tmp_path / "a.png").write_bytes(content)
    images = it.ImageFolder(tmp_path, colour=SRGB)
    with pytest.warns(
        UserWarning, match=r"a\.png: its colour profile cannot be applied \(.+\); its colours are taken as"
    ):
        np.testing.assert_array_equal(images.pixels(0), as_is)


def test_a_huge_profile_is_not_parsed(monkeypatch):
    monkeypatch.setattr("interpretability.colour._MOST_BYTES", 100)
    assert "more than" in read_profile(profiles.rgb(profiles.ADOBE, name="huge"), "RGB").problem


def test_a_folder_converts_where_it_is_asked_to(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(COLOURS), icc_profile=profiles.rgb(profiles.P3)))
    np.testing.assert_array_equal(it.ImageFolder(tmp_path).pixels(0), COLOURS)
    converted = it.ImageFolder(tmp_path, colour=SRGB).pixels(0)
    np.testing.assert_allclose(converted, profiles.to_srgb(COLOURS, profiles.P3), atol=2)
    with pytest.raises(InputError, match=r"colour is 'rgb'; allowed: as_is, srgb"):
        it.ImageFolder(tmp_path, colour="rgb")
