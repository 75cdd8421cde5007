"""The database of a run: one file, one thread that writes, and nothing acknowledged before it is on the disk.

The thread takes all writes that wait, makes one transaction of them, commits, and only then lets each of them know: a commit
costs a few milliseconds, and two hundred people share it. `synchronous` is FULL, with which SQLite promises that what was
committed in WAL mode outlives a loss of power.

A full disk undoes the whole transaction: none of its writes was acknowledged, and all are refused with `DiskFull`, as are all
that come after it. The thread tries by itself, once a second, whether there is space again, and then goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import StudyError
from study.log import logger

log = logger("experiment")

VERSION = "1"
SCHEMA = Path(__file__).with_name("schema.sql")
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE"}
_MOST = 1000  # writes that share a commit
_PROBE_BYTES = 1 << 16  # of the write that tries whether there is space again
_PROBE = "space"  # row of meta that it fills and empties
Write = Callable[[sqlite3.Connection], Any]


class DiskFull(Exception):
    """The disk took nothing: this write is not kept."""


@dataclass(slots=True)
class _Job:
    write: Write
    done: Future[Any] | asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop | None
    result: Any = None
    error: Exception | None = None


def create(path: Path, *, study: str, source: str, now: float) -> None:
    """A new database. `study`: digest of study.json of its questions; `source`: people or simulated."""
    if path.exists():
        raise StudyError(f"{path} is there already; a run has one database. Prepare another run folder")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
            connection.execute(statement)
        meta = {"schema": VERSION, "study": study, "source": source, "created": repr(now), _PROBE: ""}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")
    path.chmod(0o600)


@contextlib.contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """A connection that only reads, also while a server writes; its rows are taken by name.

    Raises StudyError where there is no database of a run, or a damaged one.
    """
    if not path.is_file():
        raise StudyError(f"{path}: no such file. `python -m experiment prepare` makes a run folder with a database")
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # all reads see the same state
            found = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
            if found is None or found[0] != VERSION:
                raise StudyError(f"{path} has schema {found and found[0]}; this code reads {VERSION}")
            yield connection
    except sqlite3.DatabaseError as error:
        raise StudyError(
            f"{path} is no database of a run, or damaged ({error}). Put a backup in its place: "
            "`python -m experiment backup` writes them"
        ) from None


class Store:
    """The writing side. `trouble` says in one line why nothing is taken at the moment, None while all is well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble: str | None = None
        self.probe_seconds = 1.0
        self._next_probe = 0.0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="writer", daemon=True)
        self._thread.start()
        opened.result()

    def write(self, write: Write) -> asyncio.Future[Any]:
        """Queue a write; what it returned, once it is committed. It runs in the writing thread and may only write.

        Raises DiskFull, or what the write raised: then nothing of it is kept.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._jobs.put(_Job(write, done, loop))
        return done

    def write_now(self, write: Write) -> Any:
        """The same from code without an event loop; waits."""
        done: Future[Any] = Future()
        self._jobs.put(_Job(write, done, None))
        return done.result()

    def close(self) -> None:
        """Finish what waits and fold the log into the file."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self, opened: Future[None]) -> None:
        try:
            connection = sqlite3.connect(self.path, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA busy_timeout = 10000")  # a backup or a reader at the end of the log
        except Exception as error:
            opened.set_exception(error)
            return
        opened.set_result(None)
        with contextlib.closing(connection):
            while (jobs := self._waiting(connection)) is not None:
                if self.trouble:  # a small write may find room where a larger one does not: none is tried
                    for job in jobs:
                        job.error = DiskFull(self.trouble)
                else:
                    self._commit(connection, jobs)
                _tell(jobs)
            with contextlib.suppress(
                sqlite3.OperationalError
            ):  # a full disk or a reader: the log stays beside the file
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _waiting(self, connection: sqlite3.Connection) -> list[_Job] | None:
        """All writes that wait, at least one; None to stop. A full disk is looked at while waiting."""
        while True:
            wait = None
            if self.trouble:
                wait = max(0.0, self._next_probe - time.monotonic())
                if wait == 0:
                    self._probe(connection)
                    self._next_probe = time.monotonic() + self.probe_seconds
                    continue
            try:
                first = self._jobs.get(timeout=wait)
                break
            except queue.Empty:
                continue
        if first is None:
            return None
        jobs = [first]
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _MOST:
                job = self._jobs.get_nowait()
                if job is None:
                    self._jobs.put(None)
                    break
                jobs.append(job)
        return jobs

    def _commit(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                _run(connection, job)
            connection.execute("COMMIT")
        except Exception as error:
            _undo(connection)
            if _full(error):
                self._set_trouble(f"the disk is full ({error})")
                refused: Exception = DiskFull(str(error))
            else:
                log.error("a transaction failed: %s", error)
                refused = error
            for job in jobs:
                job.error = refused
        else:
            self._set_trouble(None)

    def _probe(self, connection: sqlite3.Connection) -> None:
        """Try whether there is space again, by a write that takes some and gives it back."""
        try:
            for filling in (" " * _PROBE_BYTES, ""):
                connection.execute("UPDATE meta SET value = ? WHERE name = ?", (filling, _PROBE))
        except sqlite3.Error as error:
            _undo(connection)
            self._set_trouble(f"the disk is full ({error})" if _full(error) else str(error))
        else:
            self._set_trouble(None)

    def _set_trouble(self, words: str | None) -> None:
        if words and not self.trouble:
            log.error(
                "%s: %s; no answers are taken until it has space again, nothing acknowledged is lost", self.path, words
            )
        if self.trouble and not words:
            log.warning("%s has space again; answers are taken", self.path)
        self.trouble = words


def _run(connection: sqlite3.Connection, job: _Job) -> None:
    """One write of a transaction; whatever it raises undoes it alone, but a failing disk undoes all."""
    connection.execute("SAVEPOINT one")
    try:
        job.result = job.write(connection)
    except Exception as error:
        if isinstance(error, sqlite3.OperationalError) or not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        job.error = error
    connection.execute("RELEASE one")


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorname", "") in _FULL


def _tell(jobs: Sequence[_Job]) -> None:
    """Let everyone know who waits; those of an event loop all at once, since waking it is what costs."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        if job.loop is None:
            _settle(job)
        else:
            loops.setdefault(job.loop, []).append(job)
    for loop, its in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            loop.call_soon_threadsafe(_settle_all, its)


def _settle_all(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        _settle(job)


def _settle(job: _Job) -> None:
    if job.done.cancelled():
        return
    if job.error is None:
        job.done.set_result(job.result)
    else:
        job.done.set_exception(job.error)


def backup(source: Path, target: Path) -> int:
    """Copy the database as it is at one moment, also while a server writes; the number of sessions in it.

    The copy is checked as a whole before it takes its name. Raises StudyError where `target` exists.
    """
    if target.exists():
        raise StudyError(f"{target} is there already; name a new file")
    part = target.with_name(f".{target.name}.part")
    try:
        with reading(source) as connection, contextlib.closing(sqlite3.connect(part)) as copy:
            part.chmod(0o600)
            connection.execute("COMMIT")  # the copying reads on its own
            while True:
                try:
                    connection.backup(copy)
                    break
                except sqlite3.OperationalError as error:
                    if getattr(error, "sqlite_errorname", "") not in ("SQLITE_BUSY", "SQLITE_LOCKED"):
                        raise
                    time.sleep(0.05)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            found = copy.execute("PRAGMA integrity_check").fetchone()[0]
            if found != "ok":
                raise StudyError(f"{source} is damaged: {found}")
            n_sessions = copy.execute("SELECT count(*) FROM session").fetchone()[0]
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return int(n_sessions)
