"""A few read-only connections to the file.

Every read is one short statement, so the write-ahead log can always shrink.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from microlith.errors import CorruptionError
from microlith.event_store.database.reading import Readers
from microlith.event_store.database.statements import statements
from microlith.event_store.sqlite.connection import connect_reader, damage_in
from microlith.event_store.sqlite.dialect import DIALECT
from microlith.event_store.tables import TableSpec, digest_of

_IDLE = 8


class SQLiteReaders(Readers):
    """Read-only connections, lent one statement at a time."""

    dialect = DIALECT

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._idle: list[sqlite3.Connection] = []

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows.

        Raises:
            CorruptionError: The file is damaged where it was read.
            StoreUnavailableError: The store is closed.
        """
        connection = self.borrow()
        try:
            return connection.execute(text, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            damage = damage_in(error)
            if damage is None:
                raise
            raise CorruptionError(str(self._path), damage) from None
        finally:
            self.give_back(connection)

    def borrow(self) -> sqlite3.Connection:
        """Take a connection; give it back soon."""
        self.check_open()
        try:
            return self._idle.pop()
        except IndexError:
            return connect_reader(self._path)

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Return a connection."""
        if self._closed or len(self._idle) >= _IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close them all; one that is lent is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


class SQLitePin:
    """A reading connection that sees the database as it was at one moment."""

    def __init__(self, readers: SQLiteReaders) -> None:
        self._readers = readers
        self._connection: sqlite3.Connection | None = None

    def begin(self) -> None:
        """See the database as it is now, until `end`."""
        self._connection = connection = self._readers.borrow()
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # a snapshot begins with the first read

    def digest(self, tables: Sequence[TableSpec], prefix: str) -> str:
        """Digest the rows of tables."""
        connection = self._connection
        if connection is None:
            raise RuntimeError("it sees no moment yet")
        text = statements("sqlite_rows.sql")["ordered"]
        names = [(table, DIALECT.table(prefix, table.name)) for table in tables]
        with closing(connection.cursor()) as cursor:
            return digest_of((table, cursor.execute(text.replace("{table}", name))) for table, name in names)

    def end(self) -> None:
        """Let go. Safe to call at any time, and twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.execute("ROLLBACK")
            self._readers.give_back(connection)
