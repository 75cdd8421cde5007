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
from interpretability.synthetic import scenes
from study.errors import message_of
from study.files import tables
from tests.conftest import encoded


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
