"""Decoding of every kind of picture, and folders with whatever lies in them."""

from __future__ import annotations

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from interpretability.errors import InputError
from interpretability.images import decode
from study.images import finding, sources
from study.images.manifest import check_unchanged, open_images, rows_in_batches
from study.images.members import Member
from study.images.sources import Source, list_folder
from tests.conftest import encoded


def inspect(root, name):
    return finding.inspect_file(Source("folder", root), Member(name, os.path.basename(os.path.dirname(name))))


RED, WHITE = [255, 0, 0], [255, 255, 255]


def checked(width=30, height=20):
    """A picture whose four quarters differ, so that every rotation and flip shows."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = [0, 255, 0]
    pixels[height // 2 :, : width // 2] = [0, 0, 255]
    pixels[height // 2 :, width // 2 :] = [200, 200, 0]
    return pixels


# --------------------------------------------------------------------------- formats and modes


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_give_the_pixels_back(kind, options):
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(checked()), kind, **options)), checked())


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95})])
def test_lossy_formats_come_close(kind, options):
    found = decode(encoded(Image.fromarray(checked()), kind, **options))
    assert found.shape == (20, 30, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - checked())[2:8, 2:12].max() <= 8, "inside of one quarter"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_grey_becomes_three_equal_channels(kind):
    found = decode(encoded(Image.new("L", (5, 4), 77), kind))
    assert np.abs(found.astype(int) - 77).max() <= 1
    assert found.shape == (4, 5, 3)


def test_16_bit_grey_is_scaled_to_8_bits():
    # 257 * k is what k of 255 is of 65535
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    found = decode(encoded(Image.fromarray(values)))
    np.testing.assert_array_equal(found[..., 0].ravel(), np.arange(256))
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_a_dark_16_bit_picture_stays_dark():
    found = decode(encoded(Image.fromarray(np.full((4, 4), 300, dtype=np.uint16))))
    assert found.max() == 1


def test_black_and_white_of_one_bit():
    assert decode(encoded(Image.new("1", (4, 4), 1))).min() == 255


def test_cmyk_is_converted():
    # no cyan, full magenta and yellow: red
    found = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(found[8, 8].astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_laid_over_white(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert decode(encoded(clear, kind, **options))[0, 0].tolist() == WHITE
    # 255 * (1 - 128 / 255) = 127 of white shows through
    assert decode(encoded(half, kind, **options))[0, 0].tolist() == [255, 127, 127]


def test_grey_with_alpha_is_laid_over_white():
    assert decode(encoded(Image.new("LA", (4, 4), (0, 0))))[0, 0].tolist() == WHITE


def palette_picture():
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata([0, 1])
    return picture


def test_a_palette_is_looked_up():
    assert decode(encoded(palette_picture()))[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["one colour", "a table"])
def test_a_transparent_palette_colour_is_white(transparency):
    assert decode(encoded(palette_picture(), transparency=transparency))[0].tolist() == [[10, 20, 30], WHITE]


def test_a_transparent_colour_of_an_rgb_picture_is_white():
    found = decode(encoded(Image.fromarray(checked()), transparency=tuple(RED)))
    assert found[0, 0].tolist() == WHITE
    assert found[0, -1].tolist() == [0, 255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_rotation_is_undone(orientation, kind):
    upright = checked()
    # how a camera that is held so stores the picture; EXIF 2.3, table of tag 274
    stored = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert found.shape == upright.shape
    for y, x in ((5, 7), (5, 22), (15, 7), (15, 22)):  # the middle of each quarter
        assert np.abs(found[y, x].astype(int) - upright[y, x]).max() <= 10


def test_the_first_frame_of_an_animation_is_the_picture():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(content)[0, 0].tolist() == RED


# --------------------------------------------------------------------------- broken files


def reason(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    found = inspect(tmp_path, name)
    assert found.path == name
    assert (found.width, found.height, found.digest) == (0, 0, "") or not found.reason
    return found.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_picture_is_no_picture(tmp_path, kind, share):
    rng = np.random.default_rng(0)
    content = encoded(Image.fromarray(rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)), kind)
    assert reason(tmp_path, "whole.jpg", content) == ""
    told = reason(tmp_path, "cut.jpg", content[: int(share * len(content))])
    assert told.startswith("cannot be decoded (")
    assert "truncated" in told or kind == "WEBP"


def test_an_empty_file_is_told_as_such(tmp_path):
    assert reason(tmp_path, "a.png", b"") == "empty file"


@pytest.mark.parametrize("content", [b"This is a text.", b"<html>", b"\x00" * 100, b"GIF89a"])
def test_other_content_under_the_name_of_a_picture(tmp_path, content):
    told = reason(tmp_path, "a.jpg", content)
    assert told.startswith("cannot be decoded (")
    assert "0x" not in told, "no address in memory, which would differ from run to run"
    assert str(tmp_path) not in told


def test_a_picture_under_the_suffix_of_another_format_is_read(tmp_path):
    assert reason(tmp_path, "a.jpg", encoded(Image.new("RGB", (3, 2)))) == ""


@pytest.mark.parametrize("name", ["a.txt", "a.gif", "Thumbs.db", "README", "a.jpg.bak"])
def test_files_of_other_kinds_are_not_opened(tmp_path, name):
    assert reason(tmp_path, name, b"") == "not a picture file (.jpg, .jpeg, .png, .webp)"


def test_a_file_that_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # reading it would wait for ever
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    for name in ("pipe.jpg", "link.jpg"):
        assert inspect(tmp_path, name).reason == "no regular file (a broken link, a pipe or a device)"


def test_a_file_that_may_not_be_read_says_why(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"x")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(sources, "read_file", refuse)
    assert inspect(tmp_path, "a.jpg").reason == "cannot be read (Permission denied)"


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("interpretability.images._MOST_PIXELS", 100)
    told = reason(tmp_path, "a.png", encoded(Image.new("RGB", (20, 20))))
    assert "DecompressionBombError" in told


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(2**40)
    assert (
        inspect(tmp_path, "a.png").reason == "cannot be read (larger than 1 GB, which is more than a picture may have)"
    )


def test_a_whole_file_is_described(tmp_path):
    content = encoded(Image.new("RGB", (7, 5)))
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "A.PNG").write_bytes(content)
    found = inspect(tmp_path, "cat/A.PNG")
    assert (found.path, found.label, found.width, found.height) == ("cat/A.PNG", "cat", 7, 5)
    assert found.digest == hashlib.sha256(content).hexdigest()
    assert found.reason == ""


# --------------------------------------------------------------------------- folders


def test_files_are_ordered_by_the_sha256_of_their_relative_path(tmp_path):
    names = [f"{folder}/{i}.jpg" for folder in ("a", "b/c", "d") for i in range(5)] + ["top.jpg"]
    for name in names:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    shutil.copytree(tmp_path / "x", tmp_path / "moved" / "elsewhere")
    found = list_folder(tmp_path / "x")
    assert found == sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert found != sorted(names)
    assert list_folder(tmp_path / "moved" / "elsewhere") == found


def test_hidden_files_and_folders_are_left_out(tmp_path):
    for name in ("a.jpg", ".hidden.jpg", ".cache/b.jpg", "c/._d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_folder(tmp_path) == ["a.jpg"]


def test_linked_folders_are_followed_but_not_round_in_circles(tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "root" / "a" / "1.jpg").touch()
    (tmp_path / "other" / "2.jpg").touch()
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "other")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "other" / "self").symlink_to(tmp_path / "other")
    assert sorted(list_folder(tmp_path / "root")) == ["a/1.jpg", "linked/2.jpg"]


HOSTILE = [
    "with space.png",
    " leading.png",
    "quote'and\".png",
    "comma,semicolon;.png",
    "new\nline.png",
    "ünïcode 猫 🐈.png",
    "<script>alert(1)<script>.png",
    "-rf.png",
    "=1+1.png",
    "%00 %s {x} $HOME.png",
    "trailing dot..png",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_listed_and_described(tmp_path, name):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / name
    path.write_bytes(encoded(Image.new("RGB", (3, 2))))
    (listed,) = list_folder(tmp_path)
    found = inspect(tmp_path, listed)
    assert found.path == f"in/{path.name}"
    assert found.reason == ""


def test_a_name_that_is_no_utf_8_is_rejected_by_a_readable_name(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(encoded(Image.new("RGB", (3, 2))))
    (listed,) = list_folder(tmp_path)
    found = inspect(tmp_path, listed)
    assert found.reason == "the name is not written in UTF-8; rename the file or its folder"
    found.path.encode()  # it can be written into a table
    assert found.path.startswith("caf")


def root_of(text):
    return sources.open_source("folder", text).root


def test_the_folder_of_the_variable_goes_first(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert root_of(str(tmp_path / "a")) == tmp_path / "a"
    monkeypatch.setenv("MIS_IMAGES", str(tmp_path / "b"))
    assert root_of(str(tmp_path / "a")) == tmp_path / "b"


def test_a_missing_folder_is_told_with_its_setting(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"neither the variable MIS_IMAGES nor images\.root in params\.yaml names one"):
        root_of("")
    with pytest.raises(InputError, match=r"/gone does not exist; correct images\.root in params\.yaml"):
        root_of(str(tmp_path / "gone"))
    monkeypatch.setenv("MIS_IMAGES", str(tmp_path / "away"))
    with pytest.raises(InputError, match="/away does not exist; correct the variable MIS_IMAGES"):
        root_of(str(tmp_path))
    (tmp_path / "away").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="/away does not exist: it is a link to a place that is not there; correct"):
        root_of(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        (
            "folder",
            "a.png",
            r"a\.png is a file, but images\.source is folder: name the folder .*, as \S+ \(it is named by the ",
        ),
        (
            "folder",
            "a.tar",
            r"a\.tar is an archive: set images\.source to tar, .* \(it is named by the variable MIS_IMAGES\)",
        ),
        (
            "tar",
            "a.png",
            r"a\.png is a picture, but images\.source is tar: name a tar file, .* in the variable MIS_IMAGES",
        ),
        ("tar", "gone.tar", r"gone\.tar does not exist; correct the variable MIS_IMAGES"),
        ("timm", "gone", r"/gone does not exist; correct the variable MIS_IMAGES"),
    ],
)
def test_a_place_of_the_wrong_kind_is_told_with_the_right_one(tmp_path, monkeypatch, kind, name, told):
    if not name.startswith("gone"):
        (tmp_path / name).touch()
    monkeypatch.setenv("MIS_IMAGES", str(tmp_path / name))
    with pytest.raises(InputError, match=told):
        sources.open_source(kind, "")


# --------------------------------------------------------------------------- a finished images stage


@pytest.fixture
def folder_study(study, photographs):
    """A study of 20 photographs after its images stage, and their folder."""
    root = photographs(20)
    study.params(images__source="folder", images__root=str(root), human__source="none")
    study.run_images()
    return study, root


def test_pictures_are_handed_out_by_row_of_the_manifest(folder_study):
    study, root = folder_study
    images = open_images(study.folder / "images", str(root))
    assert len(images) == 20
    assert images.factors is None
    for row in (0, 7, 19):
        content = (root / images.manifest["path"][row]).read_bytes()
        np.testing.assert_array_equal(images.pixels(row), decode(content))
    assert images.thumbnail(3, 16).size == (16, 16)


def test_a_changed_file_is_an_error_with_the_command_that_rebuilds(folder_study):
    study, root = folder_study
    images = open_images(study.folder / "images", str(root))
    name = images.manifest["path"][4]
    (root / name).write_bytes((root / images.manifest["path"][5]).read_bytes())
    check_unchanged(images)  # it is still there
    with pytest.raises(InputError, match=rf"{name} has changed since the manifest .*: dvc repro --force images && dvc"):
        images.pixels(4)
    images.pixels(5)


def test_a_removed_file_is_an_error_with_the_command_that_rebuilds(folder_study):
    study, root = folder_study
    images = open_images(study.folder / "images", str(root))
    name = images.manifest["path"][4]
    (root / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is gone from the image folder .*: dvc repro --force images && dvc"):
        images.pixels(4)
    with pytest.raises(InputError, match=rf"{name} is gone from the .* \(1 of 20 pictures are\)\. .*--force images"):
        check_unchanged(images)


def test_the_digest_of_a_set_changes_with_any_picture_and_with_the_order(folder_study):
    study, _ = folder_study
    images = open_images(study.folder / "images")
    before = images.digest
    swapped = open_images(study.folder / "images")
    swapped.manifest["digest"] = swapped.manifest["digest"][::-1].to_numpy()
    assert swapped.digest != before
    other = open_images(study.folder / "images")
    other.manifest.loc[0, "digest"] = "0" * 64
    assert other.digest != before
    assert open_images(study.folder / "images").digest == before
    converted = open_images(study.folder / "images")
    converted.summary["colour"] = "srgb"
    assert converted.digest != before


def test_batches_are_fixed_and_cover_every_row_once():
    batches = rows_in_batches(7, 3)
    assert [batch.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[0].dtype == np.int32
    assert list(rows_in_batches(0, 3)) == []
