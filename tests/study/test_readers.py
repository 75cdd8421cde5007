"""Pictures behind readers: which columns of a data set hold pictures and labels, and what is told where none is certain.

Data sets are Parquet files that the tests write, read by the package itself.
"""

import io
import logging
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from study.errors import StudyError
from study.files.tables import read_json, read_parquet
from study.images import readers
from study.images.finding import inspect_file
from study.images.manifest import check_unchanged, open_images
from study.images.members import Member
from study.images.sources import Source, open_source
from tests.conftest import encoded
from tests.helpers.programs import need


@pytest.fixture
def told(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("stages"), "propagate", True)
    return caplog


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    need("datasets")
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return datasets


def picture(number):
    return encoded(Image.fromarray(np.full((6, 8, 3), number, dtype=np.uint8)))


def cells(n=4, names=None):
    return [{"bytes": picture(i), "path": names[i] if names else f"{i}.png"} for i in range(n)]


def written(datasets, folder, columns, **kinds):
    """A folder with a Parquet file of these columns, the file's own description of their types among it."""
    folder.mkdir(parents=True, exist_ok=True)
    features = datasets.Features(kinds)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(folder / "train.parquet"))
    return folder


def listed(folder, columns="", split="train"):
    source = open_source("timm", "", f"hfds/{folder}{columns}", split)
    members = sorted(source.members(), key=lambda member: member.place)
    reasons = [inspect_file(source, member).reason for member in members]
    assert not any(reasons)
    for number, member in enumerate(members):
        assert source.read(member) == picture(number)
    return [(member.path, member.label) for member in members]


def animals(datasets):
    return datasets.ClassLabel(names=["cat", "dog"])


@pytest.mark.parametrize("name", ["image", "img", "jpg", "the picture"])
def test_the_column_of_pictures_is_found_by_its_type(datasets, tmp_path, name):
    columns = {name: cells(), "label": [0, 1, 0, 1]}
    folder = written(datasets, tmp_path / "set", columns, **{name: datasets.Image(), "label": animals(datasets)})
    assert listed(folder) == [("cat/0.png", "cat"), ("dog/1.png", "dog"), ("cat/2.png", "cat"), ("dog/3.png", "dog")]


LABELS = {
    "label": ({"label": [0, 1, 0, 1]}, ["cat", "dog", "cat", "dog"], "those of column 'label'"),
    "fine before coarse": (
        {"coarse_label": [0, 0, 0, 0], "fine_label": [1, 0, 1, 0]},
        ["dog", "cat", "dog", "cat"],
        "those of column 'fine_label'; images.reader: hfds/{folder}#image,coarse_label takes others",
    ),
    "label before others": (
        {"breed": [1, 1, 1, 1], "label": [0, 0, 0, 0]},
        ["cat"] * 4,
        "those of column 'label'; images.reader: hfds/{folder}#image,breed takes others",
    ),
    "another name": ({"breed": [0, 1, 1, 0]}, ["cat", "dog", "dog", "cat"], "those of column 'breed'"),
    "none": ({}, [""] * 4, "none, because no column holds classes"),
    "unknown ones": ({"label": [-1, None, 0, 1]}, ["", "", "cat", "dog"], "those of column 'label'"),
}


@pytest.mark.parametrize("name", LABELS)
def test_the_column_of_labels_is_a_column_of_classes(datasets, tmp_path, told, name):
    columns, wanted, text = LABELS[name]
    kinds = {"image": datasets.Image(), **dict.fromkeys(columns, animals(datasets))}
    folder = written(datasets, tmp_path / "set", {"image": cells(), **columns}, **kinds)
    assert [label for _, label in listed(folder)] == wanted
    assert f"pictures are those of column 'image', labels {text.format(folder=folder)}" in told.text


def test_plain_values_of_the_column_label_are_labels(datasets, tmp_path):
    kinds = {"image": datasets.Image(), "label": datasets.Value("string"), "text": datasets.Value("string")}
    columns = {"image": cells(), "label": ["a", "b", None, "a"], "text": list("wxyz")}
    assert [label for _, label in listed(written(datasets, tmp_path / "set", columns, **kinds))] == ["a", "b", "", "a"]


def test_columns_can_be_named(datasets, tmp_path):
    columns = {"left": cells(), "right": cells(), "a": [0, 0, 1, 1], "b": [1, 0, 1, 0]}
    kinds = {"left": datasets.Image(), "right": datasets.Image(), "a": animals(datasets), "b": animals(datasets)}
    folder = written(datasets, tmp_path / "set", columns, **kinds)
    with pytest.raises(StudyError) as caught:
        listed(folder)
    assert str(caught.value) == (
        f"images.reader hfds/{folder}, split 'train', has 2 columns of pictures (left, right); name the right one in "
        f"images.reader, as hfds/{folder}#COLUMN. Columns: left (Image), right (Image), a (ClassLabel), b (ClassLabel)"
    )
    assert [label for _, label in listed(folder, "#right")] == ["cat", "cat", "dog", "dog"]
    assert [label for _, label in listed(folder, "#left, b")] == ["dog", "cat", "dog", "cat"]
    with pytest.raises(StudyError, match=r"has no column 'middle'; columns: left \(Image\), right"):
        listed(folder, "#middle")
    with pytest.raises(StudyError, match=r"images\.reader names 3 columns; at most two"):
        listed(folder, "#left,a,b")


def test_a_set_without_pictures_is_told_with_its_columns(datasets, tmp_path):
    folder = written(
        datasets, tmp_path / "set", {"text": ["a"], "n": [1]}, text=datasets.Value("string"), n=datasets.Value("int64")
    )
    with pytest.raises(
        StudyError, match=r"has no column of pictures; name the right one .* Columns: text \(string\), n \(int64\)"
    ):
        listed(folder)
    with pytest.raises(StudyError, match=r"cannot be read \(\w+: .*\); columns: text \(string\), n \(int64\)"):
        listed(folder, "#n")


@pytest.mark.parametrize("kind", ["bytes", "bytes and paths"])
def test_a_parquet_file_without_the_description_of_its_types(datasets, tmp_path, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "set").mkdir()
    values = cells() if kind == "bytes and paths" else [cell["bytes"] for cell in cells()]
    pq.write_table(pa.table({"n": [1, 2, 3, 4], "img": values}), tmp_path / "set/train.parquet")
    names = [f"{i}.png" for i in range(4)] if kind == "bytes and paths" else [f"{i:09d}" for i in range(4)]
    assert listed(tmp_path / "set") == [(name, "") for name in names]


def test_names_that_occur_again_get_their_number(datasets, tmp_path):
    columns = {"image": cells(names=["a.png", "x/b.png", "a.png", None]), "label": [0, 1, 0, 1]}
    folder = written(datasets, tmp_path / "set", columns, image=datasets.Image(), label=animals(datasets))
    assert listed(folder) == [
        ("cat/000000000 a.png", "cat"),
        ("x/b.png", "dog"),
        ("cat/000000002 a.png", "cat"),
        ("dog/000000003", "dog"),
    ]


def test_an_empty_cell_and_a_broken_picture_sink_nothing(datasets, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = [*cells(2), None, {"bytes": b"no picture", "path": "x.png"}, {"bytes": None, "path": "/nowhere/y.png"}]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.table({"image": values}), tmp_path / "set/train.parquet")
    source = open_source("timm", "", f"hfds/{tmp_path / 'set'}", "train")
    reasons = {member.place: inspect_file(source, member).reason for member in source.members()}
    assert reasons[0] == reasons[1] == ""
    assert reasons[2] == "cannot be read (its cell is empty)"
    assert reasons[3].startswith("cannot be decoded (its content is no picture of ")
    assert reasons[4] == "cannot be read (No such file or directory)"


def test_what_the_package_cannot_read_is_told(datasets, tmp_path):
    folder = written(datasets, tmp_path / "set", {"image": cells()}, image=datasets.Image())
    with pytest.raises(StudyError, match=r"split 'trian', cannot be read \(ValueError: Unknown split .*'train'"):
        listed(folder, split="trian")
    with pytest.raises(StudyError, match=r"split '', cannot be read \(ValueError: "):
        listed(folder, split="")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match=r"cannot be read \(\w+: .*\); columns: not known"):
        listed(tmp_path / "empty")
    with pytest.raises(StudyError, match=r"hfds/some/set, split 'train', cannot be read \(\w+: "):
        listed("some/set")
    (tmp_path / "set/train.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(StudyError, match=r"cannot be read \(\w+: .*\); columns: not known"):
        listed(folder, split="train[:1]")


def test_a_study_of_a_data_set_and_its_copy_below_another_place(datasets, study, tmp_path):
    names = [f"{i:03d}.png" for i in range(40)]
    columns = {"img": cells(40, names), "fine_label": [i % 2 for i in range(40)]}
    folder = written(datasets, tmp_path / "set", columns, img=datasets.Image(), fine_label=animals(datasets))
    reader = f"hfds/{folder}"
    study.params(human__source="none", images__source="timm", images__reader=reader, images__root=str(tmp_path / "set"))
    out = study.run_images()
    manifest = read_parquet(out / "manifest.parquet")
    assert sorted(manifest["path"]) == sorted(f"{('cat', 'dog')[i % 2]}/{name}" for i, name in enumerate(names))
    assert read_json(out / "summary.json")["reader"] == reader
    images = open_images(out, str(tmp_path / "set"))
    check_unchanged(images)
    for row in (0, 17, 39):
        number = int(manifest["path"][row][-7:-4])
        assert (images.pixels(row) == number).all()


# --------------------------------------------------------------------------- without the package


@pytest.mark.parametrize(
    "reader", ["tfds/imagenet2012", "hfids/imagenet-1k", "wds/x", "", "nonsense", "hfds/", "folder/x"]
)
def test_readers_that_only_stream_are_refused(tmp_path, reader):
    with pytest.raises(StudyError, match=r"images\.reader is '.*'; .*allowed: hfds/NAME, folder, tar"):
        Source("timm", tmp_path, reader, "train").members()


@pytest.mark.parametrize("reader", ["folder", "tar"])
def test_a_reader_that_needs_a_place_says_so(reader):
    with pytest.raises(StudyError, match=rf"images\.reader {reader} needs a place: set images\.root or the variable"):
        Source("timm", None, reader, "train").members()


def test_what_a_reader_of_timm_cannot_read_is_told(tmp_path):
    with pytest.raises(StudyError, match=r"images\.reader folder, split 'train', cannot be read \(\w+: .+\)"):
        Source("timm", tmp_path, "folder", "train").members()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        StudyError, match=r"hfds/some/set, .* needs a package .*: pip install .* requirements-datasets\.lock"
    ):
        Source("timm", tmp_path, "hfds/some/set", "train").members()


def test_whatever_the_package_raises_is_told_in_one_sentence(tmp_path, monkeypatch):
    def load_dataset(*_, **__):
        raise TypeError("'NoneType' object\n is not subscriptable")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(
        StudyError,
        match=r"hfds/a, split 'b', cannot be read \(TypeError: 'NoneType' object is not subscriptable\); columns: not",
    ):
        Source("timm", tmp_path, "hfds/a", "b").members()


def test_readers_of_timm_are_read_by_number(monkeypatch, tmp_path):
    files = [b"first", b"second"]

    class Reader:
        def __len__(self):
            return len(files)

        def __getitem__(self, place):
            return io.BytesIO(files[place]), 0

        def filename(self, place):
            return ["a/x.jpg", "b/y.jpg"][place]

    monkeypatch.setattr(readers, "_timm_reader", lambda place: Reader())
    source = Source("timm", tmp_path, "folder", "train")
    found = {each.path: each for each in source.members()}
    assert found == {"a/x.jpg": Member("a/x.jpg", "a", place=0), "b/y.jpg": Member("b/y.jpg", "b", place=1)}
    assert source.read(found["b/y.jpg"]) == b"second"
