"""What lies outside of DVC's sight: listings of images, digests of named files, and what counts as a change of them."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from interpretability.similarity import registry
from interpretability.weights import WeightsFile
from study.errors import StudyError
from study.images.sources import list_folder
from study.inputs import named
from study.inputs.digests import Digests
from study.inputs.fingerprint import Inputs
from study.inputs.listing import ImagePlace, _files, look_at_images
from study.inputs.refusing import refuse_missing
from study.inputs.settings import (
    EncoderName,
    Epochs,
    EpochsOfRecipe,
    GuideWeights,
    ImiFiles,
    InputParams,
    KeptUnits,
    LikenessFiles,
    NamedUnits,
    OfStats,
    OneFile,
    People,
    Rebuilt,
    Roster,
    Similarities,
    TaskSizes,
    Texts,
    WithoutLabels,
)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "pictures"
    for name in ("a/1.png", "a/b/2.png", "c/3.png", ".hidden/4.png", "a/.5.png", "a/note.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    os.symlink(root / "a", root / "c" / "link")
    os.symlink(root, root / "c" / "loop")
    os.symlink(root / "nowhere", root / "c" / "lost.png")
    return root


def facts(root, source="folder", reader=""):
    return look_at_images(ImagePlace(source=source, root=str(root), reader=reader, split="")).facts


def test_a_listing_holds_the_files_that_the_stage_finds(folder):
    listed = [os.fsdecode(name) for name, _, _ in _files("folder", folder)]
    assert sorted(listed) == sorted(list_folder(folder))
    assert "c/link/b/2.png" in listed
    assert facts(folder)["files"] == len(listed)


def test_files_that_are_called_as_pictures_are_counted_where_they_lie_in_a_folder(folder):
    def counted(source, reader=""):
        return look_at_images(ImagePlace(source=source, root=str(folder), reader=reader, split="")).pictures

    # by a link once more: 1.png, 2.png; 3.png; and a link to nothing. note.txt is none
    assert counted("folder") == 6
    assert counted("timm", "folder") is None
    assert counted("generated") is None


def test_generated_images_and_a_data_set_of_a_hub_have_no_listing():
    assert facts("", "generated") == {"source": "generated"}
    assert facts("", "timm", "hfds/some/name") == {"source": "timm"}


def test_a_data_set_in_a_folder_of_this_machine_is_listed(folder):
    of_table = facts("", "timm", f"hfds/{folder}#img")
    assert of_table["listing"] == facts(folder)["listing"] == facts(folder, "timm", "folder")["listing"]
    # what is downloaded to a cache is none of the study's inputs
    assert facts(folder, "timm", "hfds/some/name") == {"source": "timm"}


def add(root):
    (root / "a" / "6.png").write_bytes(b"new")


def remove(root):
    (root / "a" / "1.png").unlink()


def rename(root):
    (root / "a" / "1.png").rename(root / "a" / "7.png")


def change(root):
    place = root / "a" / "1.png"
    before = place.stat()
    place.write_bytes(b"A" * before.st_size)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def grow(root):
    place = root / "a" / "1.png"
    before = place.stat()
    place.write_bytes(b"longer than it was")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def appear(root):
    (root / "nowhere").write_bytes(b"")


@pytest.mark.parametrize("edit", [add, remove, rename, change, grow, appear])
def test_every_change_of_a_folder_shows(folder, edit):
    before = facts(folder)
    edit(folder)
    assert facts(folder)["listing"] != before["listing"]


def test_the_same_files_elsewhere_are_the_same_images(folder, tmp_path):
    shutil.rmtree(folder / ".hidden")
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    for name in ("link", "loop", "lost.png"):
        (copy / "c" / name).unlink()
        (folder / "c" / name).unlink()
    assert facts(copy) == facts(folder)


def test_a_change_of_a_shard_shows(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"1")
    (tmp_path / "note.txt").write_bytes(b"no shard")
    before = facts(tmp_path, "tar")
    assert before["files"] == 1
    (tmp_path / "x.tar").write_bytes(b"22")
    assert facts(tmp_path, "tar") != before
    assert facts(tmp_path / "x.tar", "tar")["bytes"] == 2


def test_a_place_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(StudyError, match=r"images\.root"):
        facts(tmp_path / "nowhere")


def test_digests_are_kept_and_files_read_again_only_if_they_changed(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    path.write_bytes(b"one")
    digests = Digests.open()
    first = digests.of(path)
    digests.save()
    read = []
    monkeypatch.setattr("study.inputs.digests.sha256_file", lambda place: read.append(place) or "new")
    assert Digests.open().of(path) == first
    assert not read
    kept = path.stat()
    path.write_bytes(b"two")  # of the same size, and the time set back
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert Digests.open().of(path) == "new"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b'{"a": 5}', b'{"a": [1]}'])
def test_a_damaged_memory_of_digests_is_made_anew(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(b"one")
    digests = Digests.open()
    digests.file.parent.mkdir(parents=True, exist_ok=True)
    digests.file.write_bytes(content)
    assert Digests.open().of(path) == digests.of(path)


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Call with the place of the images to look at a study that was looked at before."""
    monkeypatch.delenv("MIS_IMAGES", raising=False)
    (tmp_path / "roster.csv").write_text("name,constructor\nnet,test_vit\n")

    def run(root, source="folder", first="", second=""):
        guides = [GuideWeights(source="open_clip" if file else "none", pretrained=file) for file in (first, second)]
        trained = Epochs(epochs=4, recipe="one_cycle", a3=EpochsOfRecipe(epochs=4, first_epoch=0, every=1))
        params = InputParams(
            processor="native",
            images=ImagePlace(source=source, root=root, reader="", split=""),
            models=Roster(roster=str(tmp_path / "roster.csv"), max_failed=0.0, training=trained),
            activations=KeptUnits(keep=(), keep_file="", windows=()),
            human=People(
                source="none", imi=ImiFiles(responses=(), image_map=""), table=OneFile(file=""), pairs=OneFile(file="")
            ),
            scores=Similarities(backends=("pixel",), encoder=EncoderName(model=""), feature_models=()),
            tasks=TaskSizes(n_tasks=1, n_explanations=1, conditions=("natural",), source="rebuilt", one_sided=()),
            explanations=Texts(guide=guides[0], second_guide=guides[1], concepts="", units=()),
            visualisations=NamedUnits(units=()),
            explanation_kinds=NamedUnits(units=()),
            label_free=WithoutLabels(models=(), localizability=()),
            sensitivity=Rebuilt(models=(), map_models=()),
            stats=OfStats(likeness=LikenessFiles(tables=(), decisions="", names=())),
        )
        inputs = Inputs.look(params, tmp_path / "code", tmp_path / "texts", tmp_path / "inputs")
        inputs.write(tmp_path / "inputs")
        return inputs.images

    return run


def test_a_study_goes_on_without_its_images(look, folder, monkeypatch):
    known = look(str(folder))
    assert known["files"] > 0
    assert look("") == known
    assert look("/nowhere/else") == known
    with pytest.raises(StudyError):  # nothing is known of shards
        look("", "tar")
    monkeypatch.setenv("MIS_IMAGES", "/nowhere")
    with pytest.raises(StudyError, match="MIS_IMAGES"):
        look(str(folder))


def test_weights_of_both_guides_are_noticed(look, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    digests = {}
    for name, content in (("one.pt", b"one"), ("two.pt", b"two")):
        (tmp_path / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    note = tmp_path / "inputs/explanations/guide.json"
    look(str(folder), first="one.pt")
    assert json.loads(note.read_text()) == {"one.pt": digests["one.pt"]}
    look(str(folder), first="one.pt", second="webli=two.pt")
    assert json.loads(note.read_text()) == digests
    with pytest.raises(StudyError, match=r"explanations\.second_guide\.pretrained is 'gone\.pt', but there is no"):
        look(str(folder), first="one.pt", second="gone.pt")


def test_without_an_earlier_look_images_must_be_there(look):
    with pytest.raises(StudyError, match="MIS_IMAGES"):
        look("")


def row(**changes):
    return {
        "name": "net",
        "constructor": "test_vit",
        "kwargs": "",
        "weights": "none",
        "sha256": "",
        "directions": "",
    } | changes


def test_files_of_a_roster_are_named_and_missing_ones_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    (tmp_path / "w.pth").write_bytes(b"weights")
    np.save(tmp_path / "d.npy", np.eye(2))
    rows = [
        row(),
        row(name="hub", weights="hub"),
        row(name="a", weights="w.pth", directions="layer=d.npy"),
        row(name="b", weights="gone.pth"),
    ]
    found, problems = named.network_files(rows, Path("data/external/code"), Digests.open(), {})
    assert set(found) == {"w.pth", "layer=d.npy", "gone.pth"}
    assert found["gone.pth"] == named.MISSING
    assert list(problems) == ["b"]
    assert "gone.pth does not exist" in problems["b"]


def test_what_is_not_on_this_machine_counts_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(named, "_weights_files", lambda name: [FILE])
    rows = [row(weights="gone.pth")]
    code, absent = Path("data/external/code"), {"gone.pth": named.MISSING}
    assert named.network_files(rows, code, Digests.open(), {"gone.pth": "abc"}) == ({"gone.pth": "abc"}, {})
    found, problems = named.network_files(rows, code, Digests.open(), absent)  # it was missing then, too
    assert found == absent
    assert list(problems) == ["net"]
    assert named.similarity_files("any", Digests.open(), {"w.pth": "abc"})[0] == {"w.pth": "abc"}


FILE = WeightsFile(("w.pth", "w.safetensors"), "https://example.org/w.pth")


@pytest.mark.parametrize(("published", "content"), [("", b"any"), ("2c26b46b", b"foo"), ("2c26b46b", b"other")])
def test_weights_of_a_similarity_before_and_after_they_are_fetched(tmp_path, monkeypatch, published, content):
    file = WeightsFile(FILE.names, FILE.url, published)
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(named, "_weights_files", lambda name: [file])
    before, absent = named.similarity_files("any", Digests.open(), {})
    assert before == {"w.pth": published or FILE.url}
    assert absent == [file]
    (tmp_path / "w.pth").write_bytes(content)
    after, absent = named.similarity_files("any", Digests.open(), {})
    assert not absent
    assert (after == before) is (content == b"foo")  # sha256 of foo begins with that


def test_every_similarity_says_which_files_it_reads():
    files = {name: registry.family_of(name).weights_files(name) for name in registry.similarity_names()}
    with_weights = {name.split("-")[0] for name, some in files.items() if some}
    assert with_weights == {"lpips", "dists", "dreamsim"}
    assert len(files["dists"]) == 2


def test_files_that_arguments_name_are_inputs(tmp_path):
    (tmp_path / "ck.pth").write_bytes(b"1")
    kwargs = f'{{"pretrained_cfg_overlay": {{"file": "{tmp_path / "ck.pth"}"}}, "act": "relu", "n": "{"a" * 5000}"}}'
    before, _ = named.network_files([row(kwargs=kwargs)], tmp_path, Digests.open(), {})
    assert list(before) == [str(tmp_path / "ck.pth")]
    (tmp_path / "ck.pth").write_bytes(b"2")
    assert named.network_files([row(kwargs=kwargs)], tmp_path, Digests.open(), {})[0] != before


def test_code_of_a_package_that_is_no_release_is_an_input(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "lab"))
    package = tmp_path / "lab" / "labcode"
    package.mkdir(parents=True)
    for name in ("__init__.py", "net.py"):
        (package / name).write_text("")
    found, _ = named.network_files([row(constructor="labcode.net:make")], tmp_path, Digests.open(), {})
    assert list(found) == [str(package / "__init__.py"), str(package / "net.py")]


def test_all_that_is_missing_of_a_network_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_WEIGHTS", str(tmp_path))
    _, problems = named.network_files(
        [row(weights="gone.pth", directions="layer=gone.npy")], tmp_path, Digests.open(), {}
    )
    assert "gone.pth" in problems["net"]
    assert "gone.npy" in problems["net"]


def test_studies_that_share_a_store_keep_their_digests(tmp_path, monkeypatch):
    for name in ("a", "b", "gone"):
        (tmp_path / name).write_bytes(b"x")
        digests = Digests.open()
        digests.of(tmp_path / name)
        digests.save()
    (tmp_path / "gone").unlink()
    Digests.open().save()
    read = []
    monkeypatch.setattr("study.inputs.digests.sha256_file", lambda place: read.append(place) or "new")
    for name in ("a", "b"):
        Digests.open().of(tmp_path / name)
    assert not read
    assert "gone" not in Digests.open().file.read_text()


def test_a_folder_that_cannot_be_read_is_passed_over_and_said(folder, monkeypatch, caplog):
    scandir = os.scandir

    def refuse(path):
        if os.fsdecode(path).endswith("/a"):
            raise PermissionError(13, "denied")
        return scandir(path)

    monkeypatch.setattr("study.inputs.listing.os.scandir", refuse)
    with caplog.at_level("WARNING"):
        assert facts(folder)["files"] == 5  # those of c, in which a link leads to the same files
    assert "cannot be read" in caplog.text


def test_likeness_that_is_named_and_not_there_is_refused_before_any_work(tmp_path):
    params = SimpleNamespace(
        human=SimpleNamespace(source="none"),
        activations=SimpleNamespace(keep_file=""),
        tasks=SimpleNamespace(source="rebuilt"),
        models=SimpleNamespace(roster="r.csv", max_failed=0.0),
        stats=OfStats(
            likeness=LikenessFiles(tables=("there.csv|model|V1", "gone.tex|model|V1"), decisions="raw-data", names=())
        ),
    )
    (tmp_path / "there.csv").write_text("model,V1\n")
    inputs = SimpleNamespace(problems={}, n_networks=1)
    with pytest.raises(StudyError) as error:
        refuse_missing(inputs, params, "params.yaml", tmp_path, tmp_path)
    assert str(error.value).splitlines() == [
        "params.yaml names what is not there:",
        f"  stats.likeness.tables names 'gone.tex', but {tmp_path} holds no such file",
        f"  stats.likeness.decisions names 'raw-data', but {tmp_path} holds no such folder",
    ]
    (tmp_path / "raw-data").mkdir()
    (tmp_path / "gone.tex").write_text("")
    assert refuse_missing(inputs, params, "params.yaml", tmp_path, tmp_path) == []
