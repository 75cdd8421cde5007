"""The thread that writes: what is promised when it says done."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from functools import partial

import pytest

from experiment import recorded, store
from experiment.commands import backup
from experiment.run import Run
from experiment.serving import Background
from study.errors import StudyError
from tests.experiment.clients import Client, prepared


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "answers.sqlite"
    store.create(path, study="0" * 64, source="simulated", now=1.5)
    return path


@pytest.fixture
def opened(path):
    opened = store.Store(path)
    yield opened
    opened.close()


def pragma(connection, name):
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def put(connection, name, value="x"):
    connection.execute("INSERT INTO meta VALUES (?, ?)", (name, value))
    return name


def names(path):
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM meta WHERE name LIKE 'row%' ORDER BY name")]


def test_what_is_committed_outlives_a_loss_of_power(opened):
    found = {
        name: opened.write_now(partial(pragma, name=name)) for name in ("synchronous", "journal_mode", "foreign_keys")
    }
    assert found == {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}  # 2 is FULL


def test_every_table_checks_its_types(path):
    with closing(sqlite3.connect(path)) as connection:
        strict = dict(connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall())
        assert {name: strict[name] for name in ("meta", "session", "answer", "page", "event")} == dict.fromkeys(
            ("meta", "session", "answer", "page", "event"), 1
        )
    assert oct(path.stat().st_mode)[-3:] == "600"


def test_done_means_committed(opened, path):
    for number in range(20):
        assert opened.write_now(partial(put, name=f"row{number:02d}")) == f"row{number:02d}"
        assert len(names(path)) == number + 1  # another connection sees it


def test_writes_that_wait_share_a_commit(opened, path):
    """While one transaction is open, a hundred writes wait; they are committed together."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(connection):
        entered.set()
        go_on.wait(10)

    commits = []

    async def all_of_them():
        first = opened.write(slow)
        await asyncio.to_thread(entered.wait, 10)
        waiting = [opened.write(partial(put, name=f"row{number:03d}")) for number in range(100)]
        waiting.append(opened.write(lambda connection: connection.set_trace_callback(commits.append)))
        go_on.set()
        await asyncio.gather(first, *waiting)

    asyncio.run(all_of_them())
    assert len(names(path)) == 100
    assert [statement for statement in commits if statement == "COMMIT"] == ["COMMIT"]


def test_a_write_that_fails_takes_no_other_along(opened, path):
    async def all_of_them():
        writes = [partial(put, name="row1"), partial(put, name="row1"), boom, partial(put, name="row2")]
        return await asyncio.gather(*map(opened.write, writes), return_exceptions=True)

    def boom(connection):
        put(connection, "row3")
        raise ValueError("after a write")

    found = asyncio.run(all_of_them())
    assert found[0::3] == ["row1", "row2"]
    assert [type(error) for error in found[1:3]] == [sqlite3.IntegrityError, ValueError]
    assert names(path) == ["row1", "row2"]


def fill(connection):
    """From now on SQLite finds the disk full: the file may not have another page."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    return connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0]


@pytest.fixture
def space(monkeypatch):
    """An event: once it is set, SQLite finds space again when the store tries."""
    there, probe = threading.Event(), store.Store._probe

    def probing(self, connection):
        if there.is_set():
            connection.execute("PRAGMA max_page_count = 1000000")
        probe(self, connection)

    monkeypatch.setattr(store.Store, "_probe", probing)
    return there


def wait_for(opened, condition):
    until = time.monotonic() + 10
    while not condition(opened.trouble):
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_full_disk_undoes_the_whole_transaction_and_says_so(opened, path):
    opened.write_now(partial(put, name="row1"))
    opened.write_now(fill)

    async def together():
        writes = [partial(put, name="row2"), partial(put, name="row3", value="x" * 10**6), partial(put, name="row4")]
        return await asyncio.gather(*map(opened.write, writes), return_exceptions=True)

    found = asyncio.run(together())
    assert store.DiskFull in map(type, found)
    kept = [name for name in found if isinstance(name, str)]
    assert names(path) == ["row1", *kept]
    assert "full" in (opened.trouble or "")


def test_it_goes_on_by_itself_when_there_is_space_again(opened, path, space):
    opened.probe_seconds = 0.01
    opened.write_now(fill)
    with pytest.raises(store.DiskFull):
        opened.write_now(partial(put, name="row1", value="x" * 10**6))
    time.sleep(0.1)
    assert opened.trouble  # it tried, and there was none
    with pytest.raises(store.DiskFull):
        opened.write_now(partial(put, name="row2"))  # nor is a small write, which might find room
    space.set()
    wait_for(opened, lambda trouble: trouble is None)
    assert opened.write_now(partial(put, name="row3", value="x" * 10**6)) == "row3"
    assert names(path) == ["row3"]


def test_a_full_disk_can_be_closed(opened):
    opened.write_now(fill)
    with pytest.raises(store.DiskFull):
        opened.write_now(partial(put, name="row1", value="x" * 10**6))
    opened.close()
    assert not opened._thread.is_alive()


def test_a_full_disk_stops_a_session_and_loses_nothing(tmp_path, space):
    run_path = prepared(tmp_path, responses=50)
    with Background(run := Run(run_path)) as server:
        run.store.probe_seconds = 0.02
        client, other = Client.of(server.address, run), Client.of(server.address, run)
        client.start()
        acknowledged = []
        run.store.write_now(fill)
        reply = None
        while reply is None or reply.status == 200:
            if client.state["stage"] != "practice":
                client = Client.of(server.address, run)
                reply = client.begin()
                for action, sent in (("consent", {"agreed": True}), ("instructions", {"seconds": 1.0})):
                    reply = client.post(f"/api/{action}", sent) if reply.status == 200 else reply
            else:
                trial = client.trial
                reply = client.post("/api/answer", {"trial": trial, "key": client.key(), "button": 1, "rt": 1.0})
                if reply.status == 200:
                    acknowledged.append((client.session, trial))
        assert reply.status == 503
        assert run.store.trouble
        told = other.get("/api/state").json
        assert told["open"] is False
        assert "cannot keep answers" in told["message"]
        refused = other.begin()
        assert (refused.status, refused.json["error"], int(refused.headers["retry-after"]) > 0) == (503, "full", True)
        assert other.cookie is None
        needed = run.dealers.remaining()
        space.set()
        wait_for(run.store, lambda trouble: trouble is None)
        assert run.dealers.remaining() == needed
        assert other.get("/api/state").json["open"] is True
        assert other.begin().status == 200
    found = recorded.read(run_path).answers
    assert list(zip(found["session"], found["trial"], strict=True)) == sorted(acknowledged)
    assert acknowledged


def mounted(tmp_path, kilobytes):
    """A disk of so many kilobytes; skips where only others may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a test mount a disk of its own")
    return disk


def test_a_disk_that_fills_up_and_is_cleared(tmp_path):
    disk = mounted(tmp_path, 2000)
    try:
        with Background(run := Run(prepared(disk, side=8))) as server:
            run.store.probe_seconds = 0.02
            client = Client.of(server.address, run)
            client.start()
            assert client.answer(run).status == 200
            with pytest.raises(OSError, match="No space left"):
                (disk / "filler").write_bytes(b"x" * 4_000_000)
            sent = {"trial": client.trial, "key": client.key(), "button": 1, "rt": 1.0}
            reply = client.post("/api/answer", sent)
            while reply.status == 200:  # the log of the database may have had room
                client.answer(run)
                sent = {"trial": client.trial, "key": client.key(), "button": 1, "rt": 1.0}
                reply = client.post("/api/answer", sent)
            assert (reply.status, reply.json["error"]) == (503, "full")
            assert client.get("/api/state").json["accepting"] is False
            (disk / "filler").unlink()
            wait_for(run.store, lambda trouble: trouble is None)
            again = client.post("/api/answer", sent)
            assert (again.status, "again" in again.json) == (200, False)
            given = len(client.own(run).given)
        assert len(recorded.read(run.path).answers) == given
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_backup_while_others_write(tmp_path, capsys):
    run_path = prepared(tmp_path)
    with Background(run := Run(run_path)) as server:
        client = Client.of(server.address, run)
        client.start()
        client.answer(run)
        arguments = type("Args", (), {"run": run_path, "out": tmp_path / "copy.sqlite"})
        backup.main(arguments)
        client.answer(run)
        with pytest.raises(StudyError, match="is there already"):
            backup.main(arguments)
    assert "1 sessions, checked" in capsys.readouterr().out
    copy = tmp_path / "copy.sqlite"
    assert [path.name for path in tmp_path.glob("*copy*")] == ["copy.sqlite"]
    assert oct(copy.stat().st_mode)[-3:] == "600"
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM answer").fetchone() == (1,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    # put back, the run goes on from there
    for file in run_path.glob("answers.sqlite*"):
        file.unlink()
    copy.rename(recorded.database(run_path))
    with Background(run := Run(run_path)) as server:
        client.address = server.address
        assert client.get("/api/state").json["trial"]["trial"] == 1


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\x07" * 5000])
def test_a_damaged_database_is_named(tmp_path, content):
    run_path = prepared(tmp_path)
    for file in run_path.glob("answers.sqlite*"):
        file.unlink()
    recorded.database(run_path).write_bytes(content)
    with pytest.raises(StudyError, match=r"answers\.sqlite is no database of a run, or damaged"):
        recorded.read(run_path)
    with pytest.raises(StudyError, match="Put a backup in its place"):
        Run(run_path)


def test_answers_to_other_questions_are_refused(tmp_path):
    run_path = prepared(tmp_path)
    study = run_path / "questions/study.json"
    study.write_text(study.read_text() + "\n")
    with pytest.raises(StudyError, match="Prepare another run folder"):
        Run(run_path)


def test_a_database_of_another_schema_is_refused(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
        connection.commit()
    with pytest.raises(StudyError, match="has schema 2; this code reads 1"), store.reading(path):
        pass


def test_reading_writes_nothing(path):
    with store.reading(path) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        put(connection, "row1")


def test_a_database_is_made_once(path):
    with pytest.raises(StudyError, match="is there already"):
        store.create(path, study="", source="people", now=0.0)
