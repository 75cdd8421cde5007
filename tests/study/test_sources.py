"""The same pictures in a folder, in tar shards and behind timm's readers: the same manifest, extremes and tasks."""

from __future__ import annotations

import gzip
import shutil
import tarfile

import pytest

from interpretability.errors import InputError
from study.files.tables import read_csv, read_json, read_parquet
from study.images.manifest import check_unchanged, open_images
from study.images.sources import Source
from tests.helpers.archives import archive_of, member


def packed(path, root, names=None, prefix=""):
    """A tar file of files below a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for file in sorted(root.rglob("*.jpg")) if names is None else [root / name for name in names]:
            archive.add(file, f"{prefix}{file.relative_to(root)}")
    return path


def content(folder, *names):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (not names or path.name in names)
    }


@pytest.fixture
def places(tmp_path, photographs):
    """The same forty photographs in four places."""
    root = photographs(40)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    packed(tmp_path / "shards/deep/one.tar", root, files[::2], prefix="./")
    packed(tmp_path / "shards/two.tar", root, files[1::2])
    with tarfile.open(tmp_path / "nested.tar", "w") as archive:
        for label in ("cat", "dog"):
            archive.add(packed(tmp_path / f"{label}.tar", root / label), f"{label}.tar")
    return {
        "folder": {"source": "folder", "root": str(root)},
        "shards": {"source": "tar", "root": str(tmp_path / "shards")},
        "nested": {"source": "tar", "root": str(tmp_path / "nested.tar")},
        "timm folder": {"source": "timm", "reader": "folder", "root": str(root)},
        "timm tar": {"source": "timm", "reader": "tar", "root": str(packed(tmp_path / "all.tar", root))},
    }


def use(study, place):
    study.params(human__source="none", **{f"images__{name}": value for name, value in place.items()})


def test_every_source_gives_the_same_manifest_extremes_and_tasks(study, places, tmp_path, monkeypatch):
    found = {}
    for name, place in places.items():
        use(study, place)
        study.roster({"name": "tiny"})
        monkeypatch.setenv("MIS_STORE", str(tmp_path / f"store of {name}"))
        study.run_images()
        study.run_models()
        study.run_activations()
        study.run_tasks()
        tables = content(study.folder / "images", "manifest.parquet", "rejected.csv")
        found[name] = [tables, *(content(study.folder / stage) for stage in ("activations", "tasks"))]
        assert read_json(study.folder / "images/summary.json")["source"] == place["source"]
    assert len(read_parquet(study.folder / "images/manifest.parquet")) == 40
    assert all(each == found["folder"] for each in found.values())


def test_a_member_is_read_at_any_time_and_compared_with_its_digest(study, places, tmp_path):
    use(study, places["shards"])
    study.run_images()
    images = open_images(study.folder / "images", places["shards"]["root"])
    check_unchanged(images)
    assert images.pixels(39).shape == images.pixels(0).shape == (36, 40, 3)
    place = read_parquet(study.folder / "images/members.parquet").iloc[7]
    with open(tmp_path / "shards" / place["shard"], "r+b") as file:
        file.seek(place["place"] + 200)
        file.write(b"changed")
    with pytest.raises(InputError, match=r"\.jpg has changed since the manifest was written"):
        images.pixels(7)
    images.pixels(8)
    (tmp_path / "shards/two.tar").unlink()
    again = open_images(study.folder / "images", places["shards"]["root"])
    with pytest.raises(InputError, match=r"the tar file two\.tar is gone since the manifest .*--force images"):
        check_unchanged(again)


def test_what_a_shard_holds_beside_pictures_is_told(study, photographs, tmp_path):
    root = photographs(40)
    path = packed(tmp_path / "s/0.tar", root)
    with tarfile.open(path, "a") as archive:
        archive.addfile(*member("dog/notes.txt"))
        archive.addfile(*member("dog/broken.jpg", b"no picture"))
        archive.addfile(*member("dog/link.jpg", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"))
        archive.addfile(*member("cat/000.jpg", b"another one"))
        archive.addfile(*member("../../outside.jpg", b""))
    use(study, {"source": "tar", "root": str(tmp_path / "s"), "max_rejected": 0.2})
    study.run_images()
    rejected = read_csv(study.folder / "images/rejected.csv", ["path", "reason"]).set_index("path")["reason"]
    assert rejected["dog/notes.txt"].startswith("not a picture file")
    assert rejected["dog/broken.jpg"].startswith("cannot be decoded (its content is no picture of JPEG, PNG, ")
    assert rejected["dog/link.jpg"] == "no regular file (a link, a device or a file with holes)"
    assert rejected["cat/000.jpg"] == "the same path occurs twice (also in 0.tar)"
    assert rejected["../../outside.jpg"] == "its name leads out of the archive"
    assert len(read_parquet(study.folder / "images/manifest.parquet")) == 40


def test_a_sample_in_several_files_is_one_picture_with_its_label(tmp_path):
    path = archive_of(
        tmp_path / "0.tar",
        *(
            member(f"{i:03d}.{kind}", value)
            for i in range(3)
            for kind, value in (("jpg", b"picture"), ("cls", b"%d\n" % i), ("json", b"{}"))
        ),
        member("alone.txt", b"text"),
    )
    source = Source("tar", path)
    found = {each.path: each for each in source.members()}
    assert set(found) == {"000.jpg", "001.jpg", "002.jpg", "alone.txt"}
    assert [found[f"{i:03d}.jpg"].label for i in range(3)] == ["0", "1", "2"]
    assert source.read(found["001.jpg"]) == b"picture"


def test_compressed_and_cut_archives_are_refused(photographs, tmp_path):
    path = packed(tmp_path / "a.tar", photographs(6))
    zipped = tmp_path / "zipped.tar"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match=r"zipped\.tar is no whole tar file .*gunzip"):
        Source("tar", zipped).members()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.tar is no whole tar file"):
        Source("tar", cut).members()
    whole = Source("tar", path)
    last = max(whole.members(), key=lambda each: each.place)
    shutil.copy(path, tmp_path / "shorter.tar")
    with open(tmp_path / "shorter.tar", "r+b") as file:
        file.truncate(last.place + 5)
    with pytest.raises(OSError, match=rf"{last.shard} ends at byte {last.place + 5}"):
        Source("tar", tmp_path / "shorter.tar").read(last)


def test_a_place_without_archives_is_told(tmp_path):
    with pytest.raises(InputError, match=r"images\.source is tar, but there is no \.tar file in "):
        Source("tar", tmp_path).members()
