"""Connections to the database file, and what their errors mean.

One connection writes and checkpoints; all others only read. The journal mode is looked at before it is set, since
setting it again would touch files in use.

Holds no connection itself.
"""

import os
import resource
import sqlite3
from pathlib import Path
from typing import Literal

from microlith.errors import CorruptionError, StoreError, StoreUnavailableError, UnknownOutcomeError

Phase = Literal["begin", "write", "commit"]

ENGINE = f"SQLite {sqlite3.sqlite_version}"
BUSY_SECONDS = 5.0
_JOURNAL_LIMIT = 64 * 1024 * 1024
_CACHE_KIB = 16 * 1024
_OLDEST = (3, 37, 0)  # the first with STRICT tables
_CLOSE_TO_LIMIT = 65536 + 24  # the largest page and its header in the log


class StoreFormatError(StoreError):
    """The file is not an event store that this version can use; it was not changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} {reason}.", hint="Name another file in the store's url, or use the version that made it."
        )


class OldEngineError(StoreError):
    """The SQLite that this Python was built with is too old."""

    def __init__(self) -> None:
        oldest = ".".join(map(str, _OLDEST))
        super().__init__(
            f"The event store needs SQLite {oldest} or newer; this Python has {ENGINE}.",
            hint="Use a newer build of Python, or the store 'memory:'.",
        )


def make_file(path: Path) -> bool:
    """Make the folder and an empty database that only this user can read, where missing; tell whether it was."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    missing = not path.exists()
    if missing:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the name must survive a power cut as well as the bytes
        finally:
            os.close(folder)
    return missing


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the connection that writes. Nothing is changed yet.

    Raises:
        OldEngineError: This SQLite lacks what the tables need.
    """
    if sqlite3.sqlite_version_info < _OLDEST:
        raise OldEngineError
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def configure(connection: sqlite3.Connection, durability: Literal["durable", "fast"]) -> None:
    """Set the journal and how hard a commit is pressed onto the disk."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")
    press(connection, durability)
    connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def press(connection: sqlite3.Connection, durability: Literal["durable", "fast"]) -> None:
    """Set how hard the next commits are pressed onto the disk."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'durable' else 'NORMAL'}")


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that can only read; it never checkpoints."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's extended result code; errors that the driver raises by itself have none."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)


def damage_in(error: Exception) -> str | None:
    """Say what an error of a read tells about damage to the file; None when it tells of something else.

    Quotes nothing of what was read.
    """
    if isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode to UTF-8"):
        return "a text in it is not UTF-8"
    if isinstance(error, sqlite3.Error) and code_of(error) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return str(error)
    return None


def judge(error: sqlite3.Error, phase: Phase, path: Path) -> tuple[StoreError, bool]:
    """Say what a driver's error means for the messages in hand, and whether the connection may write again.

    A full disk is definite: the commit record is the last thing written, so without it nothing was recorded.
    Whatever else goes wrong while committing leaves the outcome unknown, and the same commit is never tried
    again: after a failed sync the next one succeeds although the bytes are gone.

    Source: https://wiki.postgresql.org/wiki/Fsync_Errors and https://www.sqlite.org/rescode.html
    """
    code = code_of(error)
    plain = code & 0xFF
    if plain == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR_WRITE and _at_size_limit(path)):
        return StoreUnavailableError(
            f"the disk is full ({error})", hint="Free some space and send the messages again."
        ), True
    if plain == sqlite3.SQLITE_BUSY:
        return StoreUnavailableError(
            f"another program has kept the database locked for {BUSY_SECONDS:g} s",
            hint="Close the program that has the file open, and send the messages again.",
        ), True
    if phase == "commit":
        return UnknownOutcomeError(str(error)), False
    damage = damage_in(error)
    if damage is not None:
        return CorruptionError(str(path), damage), False
    return StoreUnavailableError(str(error), hint="Restart; the store is checked when it is opened."), False


def _at_size_limit(path: Path) -> bool:
    """Tell whether the log is as long as this process may make a file (RLIMIT_FSIZE)."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return False
    longest = max(file.stat().st_size for file in (path, Path(f"{path}-wal")) if file.exists())
    return longest + _CLOSE_TO_LIMIT > limit
