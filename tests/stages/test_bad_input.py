"""What a user reads after a mistake: which file, key or row, what is wrong with it, and what to do next.

Each test makes one mistake in a small study, runs the stage that meets it as its command does, and reads the message.
The messages are kept as properties of the tests (pytest -o junit_family=xunit1 --junitxml=FILE).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import save_file

from interpretability.files import sha256_file
from study.networks.building import load_network
from study.networks.roster import read_roster
from tests.helpers.programs import need
from tests.helpers.rules import ROOT


@pytest.fixture
def told(message, record_property):
    """Run, keep the message, and check that it holds every part."""

    def check(call, *parts):
        text = message(call)
        record_property("message", text)
        assert text.startswith("\nError: ")
        assert "Traceback" not in text
        for part in parts:
            assert part in text, f"{part!r} is missing in {text!r}"

    return check


def use(study, root, **changes):
    """Turn a study to a folder of photographs."""
    study.params(images__source="folder", images__root=str(root), human__source="none", **changes)


# --------------------------------------------------------------------------- parameters


def test_an_unknown_key(study, told):
    study.params(tasks__n_explanation=9)
    path = study.folder / "params.yaml"
    told(study.run_images, str(path), "tasks.n_explanation is not a known key, did you mean tasks.n_explanations?")


def test_more_tasks_than_extremes(study, told):
    path = study.params(tasks__n_tasks=20)
    told(
        study.run_images,
        str(path),
        "tasks.n_tasks * (tasks.n_explanations + 1) = 20 * 5 = 100 images a side",
        "activations.n_extremes keeps only 20",
        "raise activations.n_extremes to at least 100 or lower tasks.n_tasks or tasks.n_explanations",
    )


def test_more_tasks_than_pictures(study, told, photographs):
    use(study, photographs(59), activations__n_extremes=100, tasks__n_tasks=10)
    told(
        study.run_images,
        "59 images are too few: tasks.n_tasks = 10 and tasks.n_explanations = 4 need at least 2 * 10 * 5 = 100",
        "Add at least 41, or lower tasks.n_tasks to 5, or lower tasks.n_explanations to 1",
    )


# --------------------------------------------------------------------------- pictures


def test_an_empty_folder(study, told, tmp_path):
    (tmp_path / "nothing").mkdir()
    use(study, tmp_path / "nothing")
    told(
        study.run_images, f"the image folder {tmp_path / 'nothing'} holds no files", "name another folder in MIS_IMAGES"
    )


def test_five_percent_of_broken_files(study, told, photographs):
    root = photographs(57)
    for i in range(3):
        shutil.copyfile(ROOT / "params.yaml", root / "cat" / f"broken{i}.jpg")
    use(study, root)
    told(
        study.run_images,
        f"3 of 60 pictures (5.0%) in {root} cannot be read; images.max_rejected allows 1.0%",
        "Repair or remove them, or raise that limit",
        *(f"\n  cat/broken{i}.jpg: cannot be decoded (its content is no picture of JPEG, PNG, " for i in range(3)),
    )


def test_a_truncated_jpeg(study, told, photographs):
    root = photographs(40)
    path = root / "dog" / "003.jpg"
    path.write_bytes(path.read_bytes()[:-20])
    use(study, root)
    told(
        study.run_images,
        "1 of 40 pictures (2.5%)",
        "images.max_rejected allows 1.0%",
        "\n  dog/003.jpg: cannot be decoded (OSError: image file is truncated",
    )


def test_a_folder_that_changed_since_the_manifest(study, told, photographs):
    root = photographs(40)
    use(study, root)
    study.run_images()
    study.roster({"name": "net"})
    study.run_models()
    shutil.copyfile(root / "dog" / "001.jpg", root / "dog" / "003.jpg")
    told(
        study.run_activations,
        "dog/003.jpg has changed since the manifest was written (its sha256 differs)",
        "Put it back, or take the pictures as they are now: dvc repro --force images && dvc repro",
    )


def test_a_picture_that_is_gone_since_the_manifest(study, told, photographs):
    root = photographs(40)
    use(study, root)
    study.run_images()
    study.roster({"name": "net"})
    study.run_models()
    (root / "dog" / "003.jpg").unlink()
    told(study.run_activations, "dog/003.jpg is gone from the image folder", "dvc repro --force images && dvc repro")


# --------------------------------------------------------------------------- networks


def test_a_double_name_in_the_roster(drawn_study, told):
    path = drawn_study.roster({"name": "net"}, {"name": "other"}, {"name": "net"})
    told(drawn_study.run_models, str(path), "name 'net' stands in rows 2, 4; every network needs a name of its own")


def saved(study):
    """Path of a file of weights that fits a network of six channels."""
    study.roster({"name": "net"})
    study.run_models()
    row = read_roster(study.folder / "models" / "roster.csv").to_dict("records")[0]
    path = study.folder / "weights.safetensors"
    save_file(load_network(row, study.folder / "models", study.code, 0).model.state_dict(), path)
    return path


def test_a_wrong_sha256(drawn_study, told):
    path = saved(drawn_study)
    roster = drawn_study.roster({"name": "net", "weights": str(path), "sha256": "ab" * 32})
    told(
        drawn_study.run_models,
        str(roster),
        f"row 2 (net): weights.safetensors has sha256 {sha256_file(path)}, the roster says {'ab' * 32}",
        "Download it again, or write the new digest into the roster if you mean this one",
    )


def test_a_checkpoint_that_does_not_fit(drawn_study, told):
    path = saved(drawn_study)
    row = {"name": "net", "weights": str(path), "sha256": sha256_file(path), "kwargs": '{"width": 7}'}
    roster = drawn_study.roster(row)
    told(
        drawn_study.run_models,
        str(roster),
        "row 2 (net): weights.safetensors does not fit tiny:network: 3 have another shape (middle.weight is 6 x 8 x 3 x 3 and",
        "Correct the constructor, its kwargs or the file",
    )


def test_a_network_of_nan(drawn_study, told):
    drawn_study.roster({"name": "net"}, {"name": "broken", "kwargs": '{"broken": [4]}'})
    drawn_study.run_models()
    told(
        drawn_study.run_activations,
        "1 of 2 networks failed; activations.max_failed allows a share of 0:",
        "\nPut that right, remove their rows from the roster, or raise the limit",
        "\n  broken: layer middle, unit 4 is nan for image scene_",
    )


# --------------------------------------------------------------------------- the machine


def test_a_full_disk_under_an_out(study, told, full_disk):
    full_disk(study.folder / "images")
    told(
        study.run_images,
        f"no space left on the device while writing to {study.folder / 'images'}",
        "Nothing half-written was kept",
        "Free some space, or point MIS_STORE to a folder on a larger disk, and run the same command again",
    )


def test_a_full_disk_under_the_store(drawn_study, tmp_path, record_property):
    """On a real disk of 64 KiB, which only this process sees."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-c",
        'mount -t tmpfs -o size=64k none "$0" && exec "$@"',
        str(disk),
    ]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this system does not let a test mount a disk of its own")
    drawn_study.params(activations__n_extremes=60)
    drawn_study.roster({"name": "net", "kwargs": '{"width": 100}'})
    drawn_study.run_models()
    flags = drawn_study._flags("params.yaml", "images", "code", "models")
    command = [sys.executable, "-m", "stages.activations", *flags, "--out", str(drawn_study.folder / "out")]
    settings = {**os.environ, "MIS_STORE": str(disk)}
    ended = subprocess.run([*mounted, *command], cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    text = ended.stderr[ended.stderr.index("\nError: ") :]
    record_property("message", text)
    assert ended.returncode == 1
    assert f"no space left on the device while writing to {disk}/extremes/" in text
    assert "point MIS_STORE to a folder on a larger disk, and run the same command again" in text


def test_a_folder_that_is_no_git_clone(tmp_path, record_property):
    need("make", "git")
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    settings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    settings["GIT_CEILING_DIRECTORIES"] = str(tmp_path.parent)

    def check():
        return subprocess.run(
            ["make", "check-clone"], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
        )

    ended = check()
    record_property("message", ended.stderr)
    assert ended.returncode == 2
    assert (
        "This folder is not a git clone. DVC keeps its history in git, so a downloaded zip does not work"
        in ended.stderr
    )
    assert "use 'git clone' (or run 'git init && git add -A && git commit -m start' here)" in ended.stderr
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, env=settings, check=True)
    assert check().returncode == 0
