"""The spool: groups on this disk, safe before the reply leaves, waiting for the database.

One SQLite file in WAL mode, one connection, one thread. Whatever has been asked of the thread while
it was busy is committed together, with one fsync: a lone append costs one fsync, a hundred at once
cost one as well. Rows that the database refuses move to `rejected` with the error, so none blocks
the ones behind it.
The spool is a buffer, not a backup: a row leaves it as soon as the database has it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from app.errors import ConfigError, StoreError

CAP_BYTES = 2**30
SPOOL_VERSION = 1
_MOST_IN_ONE_COMMIT = 256

T = TypeVar("T")

_SCHEMA = f"""
CREATE TABLE spool (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    trace_id TEXT NOT NULL,
    appended_at REAL NOT NULL,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX ix_spool_trace_id ON spool (trace_id);
CREATE TABLE rejected (
    seq INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL,
    appended_at REAL NOT NULL,
    error TEXT NOT NULL,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX ix_rejected_trace_id ON rejected (trace_id);
PRAGMA user_version = {SPOOL_VERSION};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolRow:
    """One appended group, not yet in the database."""

    seq: int
    trace_id: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolStats:
    depth: int
    oldest_at: float | None
    """Unix time of the oldest row."""
    rejected: int
    """Rows that the database refused, kept beside the queue."""
    bytes: int


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    done: Future[Any]
    must_last: bool
    """Whether it must be on the disk before it is answered."""


class Spool:
    """Append-only queue of group JSON.

    Past 7/8 of `cap_bytes` a group is kept without its content, at the cap it is not kept.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float], cap_bytes: int = CAP_BYTES
    ) -> None:
        self.path = path
        self.cap_bytes = cap_bytes
        self.content_dropped = 0
        self.rows_dropped = 0
        self.last_seq = 0
        """Place of the last row that was waiting when the spool was opened."""
        self._clock = clock
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._bytes = 0
        self._was_written = True

    @property
    def is_writable(self) -> bool:
        """False after a failed write, until one succeeds, and while it is full."""
        return self._was_written and self._bytes < self.cap_bytes

    async def open(self) -> None:
        """Raises `StoreError` when the file cannot be used, `ConfigError` when it is too new."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="spool", daemon=True)
        self._thread.start()
        await asyncio.wrap_future(opened)

    async def close(self) -> None:
        """Finish what was asked, fold the log into the file and let go of it."""
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    async def append(self, trace_id: str, data: bytes, lean: Callable[[], bytes]) -> int:
        """Durable when it returns; gives the row's place in the queue.

        `lean` gives the same group without content, for a spool that is nearly full. Raises
        `StoreError` when the row cannot be written.
        """
        if self._bytes + len(data) > self.cap_bytes // 8 * 7:
            data = lean()
            self.content_dropped += 1
        if self._bytes + len(data) > self.cap_bytes:
            self.rows_dropped += 1
            raise StoreError(
                f"the spool '{self.path}' is full ({self.cap_bytes} bytes): the database has been "
                "away for too long"
            )
        at, size = self._clock(), len(data)
        self._bytes += size

        def insert(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO spool (trace_id, appended_at, size, data) VALUES (?, ?, ?, ?)",
                (trace_id, at, size, data),
            )
            return cursor.lastrowid or 0

        try:
            seq = await self._ask(insert, must_last=True)
        except StoreError:
            self._bytes -= size
            self._was_written = False
            raise
        self._was_written = True
        return seq

    async def head(self, *, rows: int, size: int) -> list[SpoolRow]:
        """The oldest rows, at most `rows` of them and about `size` bytes; at least one."""

        def read(connection: sqlite3.Connection) -> list[SpoolRow]:
            found: list[SpoolRow] = []
            total = 0
            query = "SELECT seq, trace_id, data FROM spool ORDER BY seq LIMIT ?"
            with closing(connection.execute(query, (rows,))) as cursor:
                for seq, trace_id, data in cursor:
                    total += len(data)
                    if found and total > size:
                        break
                    found.append(SpoolRow(seq=seq, trace_id=trace_id, data=data))
            return found

        return await self._ask(read)

    async def drop(self, rows: list[SpoolRow]) -> None:
        """Forget rows that the database has."""

        def delete(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM spool WHERE seq = ?", [(r.seq,) for r in rows])

        await self._ask(delete)
        self._bytes -= sum(len(row.data) for row in rows)

    async def reject(self, row: SpoolRow, error: str) -> None:
        """Move a row out of the queue, with the reason."""

        def move(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO rejected (seq, trace_id, appended_at, error, size, data)"
                " SELECT seq, trace_id, appended_at, ?, size, data FROM spool WHERE seq = ?",
                (error, row.seq),
            )
            connection.execute("DELETE FROM spool WHERE seq = ?", (row.seq,))

        await self._ask(move)

    async def find(self, trace_id: str) -> bytes | None:
        """The group, waiting or rejected."""
        return await self._ask(lambda connection: find_in(connection, trace_id))

    async def stats(self) -> SpoolStats:
        return await self._ask(stats_of)

    async def _ask(self, work: Callable[[sqlite3.Connection], T], *, must_last: bool = False) -> T:
        if self._thread is None or not self._thread.is_alive():
            raise StoreError(f"the spool '{self.path}' is closed")
        job = _Job(work, Future(), must_last)
        self._jobs.put(job)
        # A caller that is cancelled does not take back what others are committed with.
        return await asyncio.shield(asyncio.wrap_future(job.done))

    def _run(self, opened: Future[None]) -> None:
        try:
            connection = _open(self.path)
            self._bytes = stats_of(connection).bytes
            self.last_seq = connection.execute("SELECT max(seq) FROM spool").fetchone()[0] or 0
        except (ConfigError, StoreError) as failed:
            opened.set_exception(failed)
            return
        opened.set_result(None)
        with closing(connection):
            while (first := self._jobs.get()) is not None:
                jobs, last = self._gather(first)
                _commit(connection, jobs)
                if last:
                    break
            # On a full disk the log stays beside the file, and the next start folds it in.
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        """All jobs that wait now, and whether the spool was closed behind them."""
        jobs = [first]
        while len(jobs) < _MOST_IN_ONE_COMMIT:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False


def _commit(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
    """Do all jobs in one transaction and answer them when it is as safe as they need.

    Only an append waits for the disk: a deletion that a power cut undoes is made again.
    """
    try:
        is_synced = any(job.must_last for job in jobs)
        connection.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        results = [job.work(connection) for job in jobs]
        connection.execute("COMMIT")
    except Exception as failed:  # whatever it was, the thread must live and each caller must hear
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in jobs:
            job.done.set_exception(StoreError(f"the spool cannot be written: {failed}"))
        return
    for job, result in zip(jobs, results, strict=True):
        job.done.set_result(result)


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            path, timeout=10, isolation_level=None, check_same_thread=False
        )
    except (OSError, sqlite3.Error) as failed:
        raise StoreError(f"the spool '{path}' cannot be opened: {failed}") from None
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, once. Raises `ConfigError` for a form that is not known here."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error as failed:
        raise StoreError(f"the spool '{path}' cannot be opened: {failed}") from None
    if version > SPOOL_VERSION:
        raise ConfigError(
            f"the spool '{path}' was written by a newer verivote (form {version}, this one knows "
            f"{SPOOL_VERSION}): start the newer version once to drain it"
        )


def read_only(path: Path) -> sqlite3.Connection:
    """A connection for another process to look with; it cannot change the spool."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)


def find_in(connection: sqlite3.Connection, trace_id: str) -> bytes | None:
    """The data of the first row of this trace, waiting or rejected."""
    for table in ("spool", "rejected"):
        query = f"SELECT data FROM {table} WHERE trace_id = ? ORDER BY seq LIMIT 1"
        row = connection.execute(query, (trace_id,)).fetchone()
        if row is not None:
            return bytes(row[0])
    return None


def stats_of(connection: sqlite3.Connection) -> SpoolStats:
    depth, oldest, waiting = connection.execute(
        "SELECT count(*), min(appended_at), coalesce(sum(size), 0) FROM spool"
    ).fetchone()
    rejected, kept = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM rejected"
    ).fetchone()
    return SpoolStats(depth=depth, oldest_at=oldest, rejected=rejected, bytes=waiting + kept)
