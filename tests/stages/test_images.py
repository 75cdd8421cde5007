"""The images stage: one row a picture, nothing left out in silence, the same bytes every time."""

from __future__ import annotations

import hashlib
import logging
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interpretability import files
from interpretability.errors import InputError
from interpretability.networks.preprocessing import Preprocessing
from interpretability.synthetic import scenes
from study.errors import message_of
from study.files import tables
from study.images.ahead import Ahead
from study.images.feed import Feed
from study.images.manifest import open_images
from study.images.packs import pack_files
from tests.conftest import encoded
from tests.helpers import profiles
from tests.helpers.pngs import GREY, chunk, png, samples


def digests(folder):
    return {path.name: files.sha256_file(path) for path in sorted(folder.iterdir())}


def use(study, root, **changes):
    study.params(images__source="folder", images__root=str(root), human__source="none", **changes)


def rejected(out):
    return pd.read_csv(out / "rejected.csv", dtype=str, keep_default_na=False)


def test_scenes_are_drawn_described_and_packed(study):
    out = study.run_images()
    manifest, factors = tables.read_parquet(out / "manifest.parquet"), tables.read_parquet(out / "factors.parquet")
    pixels = np.load(out / "pixels.npy")
    assert pixels.shape == (60, 32, 32, 3)
    assert manifest.dtypes.astype(str).to_dict() == {
        "image": "int32",
        "path": "str",
        "label": "str",
        "width": "int32",
        "height": "int32",
        "digest": "str",
    }
    assert manifest["image"].tolist() == list(range(60))
    assert factors["image"].tolist() == list(range(60))
    hashed = [hashlib.sha256(name.encode()).hexdigest() for name in manifest["path"]]
    assert hashed == sorted(hashed)
    assert sorted(manifest["path"]) == [f"scene_{i:06d}.png" for i in range(60)]
    # the row of the factor table is the one the picture is drawn from
    np.testing.assert_array_equal(scenes.render(factors.drop(columns="image"), 32), pixels)
    assert (manifest["label"] == [f"category_{category:02d}" for category in factors["category"]]).all()
    assert manifest["digest"][3] == hashlib.sha256(pixels[3].tobytes()).hexdigest()
    assert len(rejected(out)) == 0
    summary = tables.read_json(out / "summary.json")
    assert {name: summary[name] for name in ("source", "n", "n_rejected", "n_duplicates")} == {
        "source": "generated",
        "n": 60,
        "n_rejected": 0,
        "n_duplicates": 0,
    }


def test_the_same_scenes_are_the_same_bytes_and_another_seed_is_not(study):
    first = digests(study.run_images("first"))
    assert digests(study.run_images("second")) == first
    study.params(seed=1)
    assert digests(study.run_images("third"))["pixels.npy"] != first["pixels.npy"]


def test_a_folder_is_listed_with_labels_sizes_and_copies(study, photographs):
    root = photographs(24)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "copy.JPG").write_bytes((root / "cat" / "000.jpg").read_bytes())
    (root / "top.webp").write_bytes(encoded(Image.new("RGB", (9, 7), "red"), "WEBP"))
    use(study, root)
    out = study.run_images()
    manifest = tables.read_parquet(out / "manifest.parquet").set_index("path")
    assert len(manifest) == 26
    assert manifest.index.is_unique
    hashed = [hashlib.sha256(name.encode()).hexdigest() for name in manifest.index]
    assert hashed == sorted(hashed)
    assert manifest["image"].tolist() == list(range(26))
    assert manifest.loc["dog/003.jpg", ["label", "width", "height"]].tolist() == ["dog", 40, 36]
    assert manifest.loc["deep/er/copy.JPG", "label"] == "er"
    assert manifest.loc["top.webp", ["label", "width", "height"]].tolist() == ["", 9, 7]
    assert manifest.loc["deep/er/copy.JPG", "digest"] == files.sha256_file(root / "cat" / "000.jpg")
    summary = tables.read_json(out / "summary.json")
    assert (summary["n"], summary["n_duplicates"], summary["n_rejected"], summary["n_labels"]) == (26, 1, 0, 4)
    assert summary["source"] == "folder"
    assert not (out / "pixels.npy").exists()


def test_the_order_of_the_folder_and_the_workers_do_not_matter(study, photographs, monkeypatch):
    root = photographs(24)
    monkeypatch.setattr("study.images.finding._CHUNK", 5)
    use(study, root)
    one = digests(study.run_images("one"))
    paths = tables.read_parquet(study.folder / "one" / "manifest.parquet")["path"]
    assert paths.tolist() == sorted(paths, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda *args, **options: reversed(list(walk(*args, **options))))
    monkeypatch.setenv("MIS_WORKERS", "2")
    assert digests(study.run_images("two")) == one


def test_few_broken_files_are_rejected_by_name_and_reason(study, photographs):
    root = photographs(40)
    (root / "cat" / "broken.jpg").write_bytes((root / "cat" / "000.jpg").read_bytes()[:-50])
    (root / "dog" / "empty.png").touch()
    use(study, root, images__max_rejected=0.05)  # 2 of 42 are 4.8 %
    out = study.run_images()
    found = rejected(out)
    assert list(found.columns) == ["path", "reason"]
    assert found["path"].tolist() == ["cat/broken.jpg", "dog/empty.png"]
    assert found["reason"][0].startswith("cannot be decoded (OSError: image file is truncated")
    assert found["reason"][1] == "empty file"
    assert len(tables.read_parquet(out / "manifest.parquet")) == 40
    assert tables.read_json(out / "summary.json")["n_rejected"] == 2


def test_more_broken_files_stop_the_stage_and_are_listed(study, photographs):
    root = photographs(38)
    for i in range(2):
        (root / f"broken{i}.jpg").write_text("no picture")
    use(study, root, images__max_rejected=0.049)  # 2 of 40 are 5 %
    with pytest.raises(InputError) as caught:
        study.run_images()
    text = str(caught.value)
    assert f"2 of 40 pictures (5.0%) in {root} cannot be read; images.max_rejected allows 4.9%" in text
    assert "Repair or remove them, or raise that limit" in text
    assert "\n  broken0.jpg: cannot be decoded (its content is no picture of JPEG, PNG, WEBP, GIF, " in text
    assert "\n  broken1.jpg: " in text


def test_files_of_other_kinds_are_listed_but_not_counted_as_broken(study, photographs):
    root = photographs(20)
    for i in range(30):
        (root / "cat" / f"note {i}.txt").touch()
    use(study, root, images__max_rejected=0.0)
    found = rejected(study.run_images())
    assert len(found) == 30
    assert set(found["reason"]) == {"not a picture file (.jpg, .jpeg, .png, .webp)"}


def test_hostile_names_survive_into_the_tables(study, photographs):
    root = photographs(20)
    names = ["a b.jpg", "ü 猫.jpg", 'it\'s "it".jpg', "new\nline.jpg", "<script>alert(1)</script>"]
    names[4] = names[4].replace("/", "∕") + ".jpg"
    for i, name in enumerate(names):
        (root / name).write_bytes(encoded(Image.new("RGB", (4, 4 + i)), "PNG"))
        (root / f"{name}.bad,{i}").touch()
    use(study, root)
    out = study.run_images()
    manifest = tables.read_parquet(out / "manifest.parquet")
    assert set(names) <= set(manifest["path"])
    assert rejected(out)["path"].tolist() == sorted(f"{name}.bad,{i}" for i, name in enumerate(names))


def test_a_name_that_is_no_utf_8_is_rejected(study, photographs):
    root = photographs(20)
    with open(bytes(root) + b"/caf\xe9.jpg", "wb") as file:
        file.write(encoded(Image.new("RGB", (4, 4)), "JPEG"))
    use(study, root, images__max_rejected=0.1)
    found = rejected(study.run_images())
    assert found["reason"].tolist() == ["the name is not written in UTF-8; rename the file or its folder"]


def test_an_out_keeps_nothing_of_an_earlier_run(study, photographs):
    study.run_images()
    use(study, photographs(20))
    out = study.run_images()
    assert sorted(path.name for path in out.iterdir()) == ["manifest.parquet", "rejected.csv", "summary.json"]


def test_folders_without_pictures_say_what_to_do(study, tmp_path):
    (tmp_path / "empty").mkdir()
    use(study, tmp_path / "empty")
    with pytest.raises(InputError, match=r"holds no files\. Put pictures \(\.jpg, .*MIS_IMAGES or images\.root"):
        study.run_images()
    (tmp_path / "empty" / "note.txt").touch()
    with pytest.raises(InputError, match=r"holds 1 files, but no picture that can be read\. Put pictures"):
        study.run_images()


def test_too_few_pictures_for_the_tasks_are_refused(study, photographs):
    use(study, photographs(19))
    with pytest.raises(InputError) as caught:
        study.run_images()
    assert message_of(caught.value).startswith(
        "19 images are too few: tasks.n_tasks = 2 and tasks.n_explanations = 4 need at"
    )


def test_few_pictures_are_a_warning(study, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("stages"), "propagate", True)
    study.run_images()
    # 2 * (4 + 1) of 60
    assert "60 images are few: each side of a task set takes 16.7% of them" in caplog.text


# --------------------------------------------------------------------------- what pictures hold beside pixels


COLOURS = np.random.default_rng(3).integers(256, size=(24, 32, 3), dtype=np.uint8)


@pytest.fixture
def varied(photographs):
    """Forty photographs, and pictures with frames, profiles and levels that are to be told."""
    root = photographs(40)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    some = {
        "moving.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "pages.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "wide.png": encoded(Image.fromarray(COLOURS), icc_profile=profiles.rgb(profiles.P3, name="Display P3")),
        "wide.jpg": encoded(
            Image.fromarray(COLOURS), "JPEG", icc_profile=profiles.rgb(profiles.ADOBE, name="Adobe RGB")
        ),
        "nearly.png": encoded(Image.fromarray(COLOURS), icc_profile=profiles.rgb(profiles.SRGB, 2.2, "nearly")),
        "usual.png": encoded(Image.fromarray(COLOURS), icc_profile=profiles.BUILT_IN),
        "odd profile.png": encoded(Image.fromarray(COLOURS), icc_profile=b"no profile"),
        "odd exif.jpg": encoded(Image.fromarray(COLOURS), "JPEG", exif=b"Exif\0\0no Exif"),
        "fine.png": png([samples(1000, 40000)], 16, GREY, chunk(b"tRNS", samples(1000))),
    }
    for name, content in some.items():
        (root / name).write_bytes(content)
    return root


def test_what_pictures_hold_beside_their_pixels_is_counted(study, varied, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("stages"), "propagate", True)
    use(study, varied)
    summary = tables.read_json(study.run_images() / "summary.json")
    found = {key: value for key, value in summary.items() if key.startswith("n_") and value}
    del found["n_labels"]
    assert found == {
        "n_several_frames": 2,
        "n_odd_exif": 1,
        "n_fine_levels": 1,
        "n_profiles_ignored": 3,
        "n_profiles_broken": 1,
    }
    assert "2 pictures hold several frames; the first one is the picture; the first is moving.webp" in caplog.text
    assert (
        "3 pictures have a colour profile that is not sRGB and is ignored, as timm and torchvision do; " in caplog.text
    )
    assert "images.colour: srgb converts them; the first is nearly.png (nearly)" in caplog.text
    assert (
        "1 pictures have a colour profile that cannot be applied; their colours are taken as they are; the first is"
        in (caplog.text)
    )


def test_usual_pictures_have_the_summary_that_they_always_had(study, photographs):
    root = photographs(24)
    use(study, root)
    summary = tables.read_json(study.run_images() / "summary.json")
    assert sorted(summary) == ["digest", "n", "n_duplicates", "n_labels", "n_rejected", "source"]
    images = open_images(study.folder / "images", str(root))
    assert summary["digest"] == images.digest
    assert images.digest == hashlib.sha256("".join(images.manifest["digest"]).encode()).hexdigest()


def test_pictures_decoded_otherwise_than_before_have_another_digest(study, varied):
    use(study, varied)
    out = study.run_images()
    images = open_images(out, str(varied))
    assert tables.read_json(out / "summary.json")["decoding"] == 2
    assert images.digest == tables.read_json(out / "summary.json")["digest"]
    assert images.digest != hashlib.sha256("".join(images.manifest["digest"]).encode()).hexdigest()


@pytest.mark.parametrize("quick", [False, True])
def test_colours_are_converted_wherever_pictures_are_shown(study, varied, quick):
    use(study, varied)
    as_is = open_images(study.run_images("as_is"), str(varied), quick=quick)
    use(study, varied, images__colour="srgb")
    srgb = open_images(study.run_images("srgb"), str(varied), quick=quick)
    summary = tables.read_json(study.folder / "srgb/summary.json")
    assert (summary["colour"], summary["n_profiles_converted"], summary["n_profiles_broken"]) == ("srgb", 3, 1)
    assert "n_profiles_ignored" not in summary
    assert as_is.digest != srgb.digest == summary["digest"]
    assert as_is.manifest.equals(srgb.manifest), "the files are the same"
    changed = {as_is.path(row) for row in range(len(as_is)) if not np.array_equal(as_is.pixels(row), srgb.pixels(row))}
    assert changed == {"wide.png", "wide.jpg", "nearly.png"}
    row = srgb.manifest["path"].tolist().index("wide.png")
    wanted = profiles.to_srgb(COLOURS, profiles.P3)
    np.testing.assert_allclose(srgb.pixels(row), wanted, atol=2)
    np.testing.assert_array_equal(Ahead(srgb, 1).pixels(row), srgb.pixels(row))
    (packed,) = pack_files(srgb, 24)
    square = np.load(packed)[row]
    np.testing.assert_allclose(square, wanted[:, 4:28], atol=2)
    assert pack_files(as_is, 24) != (packed,), "another file of the store"
    np.testing.assert_allclose(np.asarray(srgb.thumbnail(row, 24)), wanted[:, 4:28], atol=2)
    batch = next(iter(Feed(srgb, [Preprocessing(24, 24, (0.5,) * 3, (0.5,) * 3)], len(srgb), "cpu")))[1]
    (view,) = batch.values()
    np.testing.assert_allclose(view[row].permute(1, 2, 0).numpy(), wanted[:, 4:28], atol=2)


def test_thin_pictures_have_small_thumbnails(study, photographs):
    root = photographs(40)
    for name, size in (("wide.png", (60_000, 1)), ("tall.png", (1, 60_000))):
        (root / name).write_bytes(encoded(Image.new("RGB", size, "red")))
    use(study, root)
    images = open_images(study.run_images(), str(root))
    for name in ("wide.png", "tall.png"):
        thumbnail = images.thumbnail(images.manifest["path"].tolist().index(name), 64)
        assert thumbnail.size == (64, 64)
        assert thumbnail.getextrema() == ((255, 255), (0, 0), (0, 0))


def test_a_decompression_bomb_is_rejected_with_the_reason(study, photographs):
    root = photographs(40)
    (root / "bomb.png").write_bytes(png([bytes(4)], 8, GREY, width=60_000, height=60_000))
    use(study, root, images__max_rejected=0.05)
    found = rejected(study.run_images())
    assert found["path"].tolist() == ["bomb.png"]
    assert "DecompressionBombError: Image size (3600000000 pixels) exceeds limit" in found["reason"][0]
