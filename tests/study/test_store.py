"""The work store: what is found again, what is made anew, and what a kill or a full disk leaves behind."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from study import log
from study.command import run
from study.files import tables
from study.files.chunks import join
from study.files.store import WorkStore, fingerprint, link_out
from tests.helpers.rules import ROOT

ASKED = {"model": "resnet", "seed": 0, "steps": [1, 2], "rules": {"b": 1, "a": 0.5}}


class Maker:
    """Writes the given text and counts how often it is asked to."""

    def __init__(self, text="result"):
        self.text, self.calls = text, 0

    def __call__(self, path):
        self.calls += 1
        path.write_text(self.text)


@pytest.fixture
def store(tmp_path):
    return WorkStore(tmp_path / "store")


def files(store):
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_the_same_ingredients_are_found_whatever_their_order(store):
    make = Maker()
    first = store.fetch("phase", ASKED, ".txt", make)
    again = store.fetch(
        "phase", {"rules": {"a": 0.5, "b": 1}, "steps": [1, 2], "seed": 0, "model": "resnet"}, ".txt", make
    )
    assert first == again
    assert first.read_text() == "result"
    assert make.calls == 1


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"model": "resnet2"}, {"steps": [2, 1]}, {"rules": {"b": 1, "a": 0.25}}, {"more": ""}]
)
def test_changed_ingredients_are_not_found(store, change):
    make = Maker()
    store.fetch("phase", ASKED, ".txt", make)
    assert store.find("phase", {**ASKED, **change}, ".txt") is None
    store.fetch("phase", {**ASKED, **change}, ".txt", make)
    assert make.calls == 2
    assert store.find("phase", ASKED, ".txt") is not None


def test_numbers_and_text_are_different_ingredients():
    assert fingerprint({"seed": 1}) != fingerprint({"seed": "1"})


def test_an_unknown_ingredient_is_refused(store):
    with pytest.raises(ValueError, match="ingredient weights, digest is unknown"):
        store.fetch("phase", {"weights": None, "seed": 0, "digest": None}, ".txt", Maker())
    assert not store.folder.exists()


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "removed"])
def test_a_damaged_file_is_made_anew(store, damage):
    make = Maker("0123456789")
    path = store.fetch("phase", ASKED, ".txt", make)
    path.chmod(0o644)
    {
        "truncated": lambda: path.write_text("01234"),
        "altered": lambda: path.write_text("0123456780"),
        "emptied": lambda: path.write_text(""),
        "removed": path.unlink,
    }[damage]()
    assert store.find("phase", ASKED, ".txt") is None
    assert store.fetch("phase", ASKED, ".txt", make).read_text() == "0123456789"
    assert make.calls == 2


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"size": "ten", "sha256": 1}'])
def test_a_file_without_a_whole_sidecar_is_made_anew(store, content):
    make = Maker()
    path = store.fetch("phase", ASKED, ".txt", make)
    sidecar = path.with_name(path.name + ".json")
    sidecar.unlink() if content is None else sidecar.write_bytes(content)
    assert store.fetch("phase", ASKED, ".txt", make) == path
    assert make.calls == 2
    assert store.find("phase", ASKED, ".txt") == path


def test_the_sidecar_names_the_ingredients(store):
    path = store.fetch("phase", ASKED, ".txt", Maker())
    assert json.loads(path.with_name(path.name + ".json").read_text())["ingredients"] == {
        **ASKED,
        "processor": "portable",
    }


def test_an_error_leaves_nothing_and_the_next_one_may_try_again(store):
    def fail(path):
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.fetch("phase", ASKED, ".txt", fail)
    assert files(store) == []
    assert store.fetch("phase", ASKED, ".txt", Maker()).read_text() == "result"


def test_the_folder_is_that_of_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MIS_STORE", str(tmp_path / "elsewhere"))
    assert WorkStore.open().folder == tmp_path / "elsewhere"
    monkeypatch.delenv("MIS_STORE")
    monkeypatch.chdir(tmp_path)
    assert WorkStore.open().folder == tmp_path / "data" / "store"


def test_an_out_shares_the_bytes_of_the_store_and_may_be_replaced(store, tmp_path):
    stored = store.fetch("phase", ASKED, ".txt", Maker())
    out = tmp_path / "out" / "result.txt"
    for _ in range(2):  # also in place of an earlier one
        link_out(stored, out)
        assert out.stat().st_ino == stored.stat().st_ino
        assert out.stat().st_mode & 0o777 == 0o444
    tables.write_text(out, "changed by a later stage")
    assert store.find("phase", ASKED, ".txt") == stored


def test_an_out_on_another_disk_is_a_copy(store, tmp_path, monkeypatch):
    def other_disk(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    stored = store.fetch("phase", ASKED, ".txt", Maker())
    monkeypatch.setattr(os, "link", other_disk)
    link_out(stored, tmp_path / "result.txt")
    assert (tmp_path / "result.txt").read_text() == "result"
    assert (tmp_path / "result.txt").stat().st_ino != stored.stat().st_ino


# --------------------------------------------------------------------------- several processes


def _count_slowly(folder, started):
    def make(path):
        with open(folder / "calls", "a") as file:
            file.write("x")
        time.sleep(0.5)  # long enough that the other process asks meanwhile
        path.write_text("result")

    started.wait()
    assert WorkStore(folder / "store").fetch("phase", ASKED, ".txt", make).read_text() == "result"


def test_two_processes_that_ask_at_once_do_the_work_once(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Barrier(2)
    asking = [context.Process(target=_count_slowly, args=(tmp_path, started)) for _ in range(2)]
    for process in asking:
        process.start()
    for process in asking:
        process.join(20)
    assert [process.exitcode for process in asking] == [0, 0]
    assert (tmp_path / "calls").read_text() == "x"


def _die_half_way(store):
    def make(path):
        path.write_text("half of it")
        os.kill(os.getpid(), signal.SIGKILL)

    store.fetch("phase", ASKED, ".txt", make)


def test_what_a_kill_leaves_inside_of_a_write_is_cleared_too(store):
    path = store.path("phase", ASKED, ".txt")
    path.parent.mkdir(parents=True)
    for name in (f".{path.name}.abc.part", f"..{path.name}.abc.part.def.part"):
        (path.parent / name).write_text("half of it")
    store.fetch("phase", ASKED, ".txt", Maker())
    assert files(store) == [path.name, path.name + ".json"]
    store.remove("phase", ASKED, ".txt")
    assert files(store) == []


def test_a_killed_process_leaves_no_result_and_its_rest_is_cleared(store):
    process = multiprocessing.get_context("fork").Process(target=_die_half_way, args=(store,))
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert len(files(store)) == 1, "a file nobody takes for a result"
    assert store.find("phase", ASKED, ".txt") is None
    path = store.fetch("phase", ASKED, ".txt", Maker())  # the lock of the dead process is gone, too
    assert files(store) == [path.name, path.name + ".json"]


# --------------------------------------------------------------------------- disks


def test_a_full_disk_ends_in_a_message_with_the_folder_and_what_to_do(store, full_disk, message):
    full_disk(store.folder)
    text = message(lambda: store.fetch("phase", ASKED, ".npy", lambda path: np.save(path.open("wb"), np.zeros(50_000))))
    folder = store.path("phase", ASKED, ".npy").parent
    assert re.search(rf"no space left on the device while writing to {re.escape(str(folder))}\. Nothing half", text)
    assert "Free some space, or point MIS_STORE to a folder on a larger disk, and run the same command again" in text
    assert files(store) == []


def test_a_full_disk_is_told_even_where_no_file_is_named(message):
    def fail():
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    assert "no space left on the device while writing to the disk" in message(fail)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_store_ends_in_a_message_with_the_folder(message, number):
    def fail():
        raise OSError(number, os.strerror(number), "/archive/store/ab/file")

    text = message(fail)
    assert f"/archive/store/ab/file cannot be opened or written ({os.strerror(number)})" in text
    assert "Make /archive/store/ab readable and writable, or point MIS_STORE to a folder that is" in text


def test_other_errors_of_the_system_keep_their_traceback():
    def fail():
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        run(fail)


def test_an_interrupted_stage_says_how_to_go_on(message):
    def interrupt():
        raise KeyboardInterrupt

    assert "Finished jobs are in the store; run the same command again to go on" in message(interrupt)


def test_a_stage_that_fails_exits_with_status_one_and_no_traceback(tmp_path):
    command = [
        sys.executable,
        "-m",
        "stages.images",
        "--params",
        str(tmp_path / "none.yaml"),
        "--out",
        str(tmp_path / "o"),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip() == f"Error: {tmp_path}/none.yaml: no such file. Copy one of studies/*.yaml there."
    assert not Path(tmp_path / "o").exists()


def test_progress_counts_only_its_own_work_for_the_rate(caplog, monkeypatch):
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(log.time, "monotonic", lambda: next(clock))
    logger = logging.getLogger("progress of a test")
    with caplog.at_level(logging.INFO):
        progress = log.Progress(logger, 100, "images", found=50)
        progress.step(25)  # 25 in 10 s: the other 25 take 10 s
        progress.step(25)
    assert caplog.messages == [
        "images: 50 of 100 found in the store",
        "images: 75 of 100  2.5/s  10 s left",
        "images: 100 of 100  2.5/s  0 s left",
    ]


@pytest.mark.parametrize(("seconds", "told"), [(42.4, "42 s"), (200, "3 min 20 s"), (18_720, "5 h 12 min")])
def test_durations_are_told_in_words(seconds, told):
    assert log.clock(seconds) == told


def test_chunks_of_embeddings_are_joined_in_order(tmp_path):
    rows = np.arange(21, dtype=np.float32).reshape(7, 3)
    chunks = [tmp_path / f"{i}.npy" for i in range(3)]
    for path, part in zip(chunks, np.split(rows, [3, 6]), strict=True):
        np.save(path, part)
    join(chunks, tmp_path / "whole.npy", 7)
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy", mmap_mode="r"), rows)
