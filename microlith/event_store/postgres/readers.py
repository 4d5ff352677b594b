"""A few connections that only read.

Every read is one short statement; it sees all that was committed before it was sent. A connection that is lost is
opened again, and the statement sent once more.
"""

from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

import psycopg

from microlith.errors import CorruptionError, StoreAwayError, StoreUnavailableError
from microlith.event_store.database.reading import Readers
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import Connection, connect, is_busy, is_lost, judge, run, said
from microlith.event_store.postgres.dialect import DIALECT
from microlith.event_store.postgres.place import Place
from microlith.event_store.tables import TableSpec, digest_of

PATIENCE_SECONDS = 10.0
"""How long a database may be away before who reads is told so."""
_IDLE = 8
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_PAGE = 1000


class PostgresReaders(Readers):
    """Connections that read, lent one statement at a time."""

    dialect = DIALECT

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self._idle: list[Connection] = []

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows. Blocks its thread while the database is away, for some seconds.

        Raises:
            StoreAwayError: The database does not come back.
            CorruptionError: It is damaged where it was read.
            StoreUnavailableError: The store is closed.
        """
        # No text here holds a NUL: what does is equal to nothing, and so is NULL.
        values = [None if isinstance(value, str) and "\0" in value else value for value in values]
        until, pause = monotonic() + PATIENCE_SECONDS, _SHORTEST_PAUSE
        while True:
            try:
                return self._run(text, values)
            except StoreAwayError:
                if self._closed or monotonic() + pause > until:
                    raise
            sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def close(self) -> None:
        """Close them all; one that is lent is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _run(self, text: str, values: Sequence[Any]) -> list[Any]:
        connection = self._borrow()
        try:
            return run(connection, text, values)
        except psycopg.Error as error:
            if is_lost(error, connection) or is_busy(error):
                connection.close()
                raise StoreAwayError(self.place.shown, said(error)) from None
            meaning, _ = judge(error, self.place)
            if isinstance(meaning, CorruptionError):
                raise meaning from None
            raise StoreUnavailableError(f"it cannot be read ({said(error)})", hint=meaning.hint) from None
        finally:
            self._give_back(connection)

    def _borrow(self) -> Connection:
        self.check_open()
        try:
            return self._idle.pop()
        except IndexError:
            return connect(self.place, "reader", reads=True)

    def _give_back(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= _IDLE:
            connection.close()
        elif not connection.closed:
            self._idle.append(connection)


class PostgresPin:
    """A connection that sees the database as it was at one moment."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: Connection | None = None

    def begin(self) -> None:
        """See the database as it is now, until `end`."""
        self._connection = connection = connect(self._place, "digest", reads=True)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")  # a snapshot begins with the first statement

    def digest(self, tables: Sequence[TableSpec], prefix: str) -> str:
        """Digest the rows of tables."""
        connection = self._connection
        if connection is None:
            raise RuntimeError("it sees no moment yet")
        text = statements("postgres_rows.sql")["ordered"]

        def rows() -> Any:
            for table in tables:
                name = DIALECT.table(prefix, table.name)
                with connection.cursor("rows", binary=True) as cursor:
                    cursor.itersize = _PAGE
                    yield table, cursor.execute(text.replace("{table}", name))

        return digest_of(rows())

    def end(self) -> None:
        """Let go. Safe to call at any time, and twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
