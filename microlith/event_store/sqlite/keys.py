"""Keys of subjects in a file of their own, beside the events.

What is deleted is overwritten, and the write-ahead log is cut off after an erasure, so that no copy of a destroyed key is
left in the file, in its log or in free pages. The file of the events knows which file of keys is its own, and
goes on with no other.

One connection; the ring that asks lets one thread in at a time.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microlith.errors import StoreUnavailableError
from microlith.event_store.database.keys import TABLES, Ask, DatabaseKeys, KeysAtRest, KeysLostError, identity
from microlith.event_store.database.statements import statements
from microlith.event_store.sqlite.connection import StoreFormatError, configure, connect_writer, make_file
from microlith.event_store.sqlite.readers import SQLiteReaders
from microlith.event_store.sqlite.session import SQLiteSession

_SQL = "sqlite_keys.sql"


def keys_path(events: Path) -> Path:
    """Return the file of the keys that belong to a file of events: keys.db for events.db."""
    return events.with_name("keys.db" if events.name == "events.db" else f"{events.stem}.keys.db")


class SQLiteKeys(DatabaseKeys):
    """Where the keys of one store are kept. Opened by whoever owns the store."""

    def __init__(self, path: Path, *, expected: bytes | None) -> None:
        """Open the file, or make it.

        Raises:
            KeysLostError: The events expect a file of keys, and this one is missing or another.
            StoreFormatError: The file is something else; it was not changed.
        """
        if expected is not None and not path.exists():
            raise KeysLostError(str(path), "is missing")
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

    def cut_off(self) -> None:
        """Leave nothing in the write-ahead log.

        Raises:
            StoreUnavailableError: Another program has the file open.
        """
        cut_off(self._connection, self._path)

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._connection.close()

    def _open(self, expected: bytes | None) -> None:
        names = {name for (name,) in self._session.run(statements("sqlite_schema.sql")["select_tables"])}
        if names and not names >= TABLES:
            raise StoreFormatError(self._path, "is a SQLite database of something else")
        configure(self._connection, "durable")  # whatever the events are: a key that is lost takes events with it
        self._connection.execute(self._sql["overwrite"])
        if not names:
            self._transact(self._create)
        self._identify(str(self._path), expected)

    def _create(self, ask: Ask) -> None:
        for name, text in self._sql.items():
            if name.startswith("create_"):
                self._session.run(text)
        for name, value in identity():
            ask("insert_meta", name, value)

    def _ask(self, name: str, /, *values: object) -> list[tuple[Any, ...]]:
        return self._session.run(self._sql[name], values)

    def _transact(self, work: Callable[[Ask], object]) -> None:
        self._session.transact(lambda: work(self._ask))


class SQLiteKeysAtRest(KeysAtRest):
    """The keys of a store that is not open, only read: whoever looks holds the store meanwhile.

    Args:
        events: The file of the events.
    """

    def __init__(self, events: Path) -> None:
        super().__init__()
        self._readers = SQLiteReaders(keys_path(events)) if keys_path(events).exists() else None

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
