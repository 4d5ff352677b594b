"""Keys of subjects in a file of their own, beside the events.

What is deleted is overwritten, and the write-ahead log is cut off after an erasure, so that no copy of a destroyed key is
left in the file, in its log or in free pages. The file of the events knows which file of keys is its own, and
goes on with no other.

One connection; the ring that asks lets one thread in at a time.
"""

import os
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path

from microlith.errors import StoreError, StoreUnavailableError
from microlith.event_store.database.statements import statements
from microlith.event_store.sqlite.connection import StoreFormatError, configure, connect_writer, make_file
from microlith.event_store.sqlite.readers import SQLiteReaders
from microlith.event_store.sqlite.session import SQLiteSession
from microlith.privacy.keys import KeyRow, KeysInMemory

_FORMAT = b"1"
_SQL = "sqlite_keys.sql"


class KeysLostError(StoreError):
    """The keys of the personal fields in a store are not there."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"The keys of the personal fields cannot be used: {path} {problem}.",
            hint="Restore it from a backup. Without it every personal field would read as erased.",
        )


def keys_path(events: Path) -> Path:
    """Return the file of the keys that belong to a file of events: keys.db for events.db."""
    return events.with_name("keys.db" if events.name == "events.db" else f"{events.stem}.keys.db")


class SQLiteKeys:
    """Where the keys of one store are kept. Opened by whoever owns the store.

    Attributes:
        id: Tells this file from any other.
        pepper: Makes subjects into tags.
    """

    def __init__(self, path: Path, *, expected: bytes | None) -> None:
        """Open the file, or make it.

        Raises:
            KeysLostError: The events expect a file of keys, and this one is missing or another.
            StoreFormatError: The file is something else, or newer; it was not changed.
        """
        if expected is not None and not path.exists():
            raise KeysLostError(path, "is missing")
        make_file(path)
        self._path = path
        self._connection = connect_writer(path)
        self._session = SQLiteSession(self._connection, path)
        self._sql = statements(_SQL)
        try:
            self._open(expected)
        except BaseException:
            self._connection.close()
            raise

    def by_tag(self, tag: bytes) -> KeyRow | None:
        """Find the key of a subject."""
        found = self._run("select_by_tag", tag)
        return KeyRow(*found[0]) if found else None

    def by_id(self, key_id: bytes) -> KeyRow | None:
        """Find a key."""
        found = self._run("select_by_id", key_id)
        return KeyRow(*found[0]) if found else None

    def is_destroyed(self, key_id: bytes) -> bool:
        """Tell whether a key was destroyed."""
        return bool(self._run("select_destroyed", key_id))

    def keep(self, rows: Sequence[KeyRow]) -> None:
        """Keep new keys; they are on the disk when this returns.

        Raises:
            WriteFailed: They are not, or perhaps not.
        """

        def work() -> None:
            for row in rows:
                self._run("insert_key", *row)

        self._session.transact(work)

    def destroy(self, tags: Collection[bytes]) -> None:
        """Destroy keys, and note that an erasure is unfinished.

        Raises:
            WriteFailed: It did not happen, or perhaps did.
            StoreUnavailableError: They are destroyed, and copies of them are left in the write-ahead log.
        """

        def work() -> None:
            for tag in tags:
                self._run("insert_destroyed", tag)
                self._run("delete_key", tag)
            self._run("insert_meta", "unfinished", b"1")

        self._session.transact(work)
        self.cut_off()

    def cut_off(self) -> None:
        """Leave nothing in the write-ahead log.

        Raises:
            StoreUnavailableError: Another program has the file open.
        """
        cut_off(self._connection, self._path)

    def finish(self) -> None:
        """Note that no erasure is unfinished."""
        self.cut_off()  # of one that was interrupted, the log may still hold the key
        self._session.transact(lambda: self._run("delete_meta", "unfinished"))
        self.cut_off()

    @property
    def unfinished(self) -> bool:
        """Whether an erasure was begun and not finished."""
        return bool(self._run("select_meta", "unfinished"))

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._connection.close()

    def _open(self, expected: bytes | None) -> None:
        names = {name for (name,) in self._session.run(statements("sqlite_schema.sql")["select_tables"])}
        if names and not {"meta", "keys", "destroyed"} <= names:
            raise StoreFormatError(self._path, "is a SQLite database of something else")
        configure(self._connection, "durable")  # whatever the events are: a key that is lost takes events with it
        self._connection.execute(self._sql["overwrite"])
        if not names:
            self._session.transact(self._create)
        found = self._run("select_meta", "format")
        if not found or found[0][0] != _FORMAT:
            raise StoreFormatError(self._path, "was made by a newer version of microlith")
        self.id: bytes = self._run("select_meta", "id")[0][0]
        self.pepper: bytes = self._run("select_meta", "pepper")[0][0]
        if expected is not None and self.id != expected:
            raise KeysLostError(self._path, "belongs to other events")

    def _create(self) -> None:
        for name, text in self._sql.items():
            if name.startswith("create_"):
                self._session.run(text)
        for name, value in (("format", _FORMAT), ("id", os.urandom(16)), ("pepper", os.urandom(32))):
            self._run("insert_meta", name, value)

    def _run(self, name: str, *values: object) -> list[tuple[bytes, ...]]:
        return self._session.run(self._sql[name], values)


class KeysAtRest(KeysInMemory):
    """The keys of a store that is not open, only read: whoever looks holds the store meanwhile. New ones are not kept.

    Args:
        events: The file of the events.
    """

    def __init__(self, events: Path) -> None:
        super().__init__()
        self._readers = SQLiteReaders(keys_path(events)) if keys_path(events).exists() else None

    def by_id(self, key_id: bytes) -> KeyRow | None:
        """Find a key."""
        found = self._find("select_by_id", key_id)
        return KeyRow(*found[0]) if found else None

    def is_destroyed(self, key_id: bytes) -> bool:
        """Tell whether a key was destroyed."""
        return bool(self._find("select_destroyed", key_id))

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        if self._readers is not None:
            self._readers.close()

    def _find(self, name: str, key_id: bytes) -> list[tuple[bytes, ...]]:
        return [] if self._readers is None else self._readers.run(statements(_SQL)[name], (key_id,))


def cut_off(connection: sqlite3.Connection, path: Path) -> None:
    """Bring everything from the write-ahead log into the database, and leave the log empty.

    Raises:
        StoreUnavailableError: A reader is in the way for too long.
    """
    busy, _, _ = connection.execute(statements(_SQL)["truncate"]).fetchone()
    if busy:
        raise StoreUnavailableError(
            f"another program reads {path}, so that what was erased cannot be overwritten yet",
            hint="Close that program; what is left is done at the next start.",
        )
