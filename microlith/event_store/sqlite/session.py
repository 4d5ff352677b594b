"""The writing connection: statements, and transactions that end in one of three ways.

Done; certainly not done; unknown. Which it was is said once, here.

Belongs to the writer's thread.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from microlith.errors import StoreError
from microlith.event_store.sqlite.connection import Phase, judge
from microlith.event_store.sqlite.statements import rows_of, statements

T = TypeVar("T")

_WRITING = "sqlite_writing.sql"
_MOST_ROWS = 256


class WriteFailed(Exception):  # noqa: N818 (internal: carries an error across the writer's thread)
    """A transaction did not happen, or perhaps did.

    Attributes:
        error: What to tell whoever handed in the messages.
        usable: Whether the connection may write again.
    """

    def __init__(self, error: StoreError, *, usable: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.usable = usable


class Session:
    """The one connection that writes.

    Attributes:
        connection: The connection.
        before: Done before each transaction, such as keeping new keys; None: nothing.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.before: Callable[[], None] | None = None
        self._path = path
        self._sql = statements(_WRITING)

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        return self.connection.execute(text, values).fetchall()

    def named(self, name: str, *values: Any) -> list[Any]:
        """Run a statement of sqlite_writing.sql and return its rows."""
        return self.connection.execute(self._sql[name], values).fetchall()

    def insert(self, name: str, values: list[Any], columns: int) -> None:
        """Insert many rows, given as one flat list, in as few statements as possible.

        Each step of a statement gives up Python's lock and may wait a long time to get it back; the number of rows in
        a statement is a power of two, so that few statements are ever prepared.
        """
        execute = self.connection.execute
        start, left = 0, len(values) // columns
        while left:
            rows = min(_MOST_ROWS, 1 << left.bit_length() - 1)
            end = start + rows * columns
            execute(rows_of(_WRITING, name, rows, columns), values[start:end])
            start, left = end, left - rows

    def transact(self, work: Callable[[], T]) -> T:
        """Do something in one transaction.

        Raises:
            WriteFailed: It was rolled back, or its commit went wrong.
            sqlite3.IntegrityError: A unique value was not; it was rolled back.
            Exception: Whatever `work` raised; it was rolled back.
        """
        if self.before is not None:
            self.before()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._failed(error, "begin") from error
        try:
            result = work()
        except sqlite3.IntegrityError:
            self._roll_back()
            raise
        except sqlite3.Error as error:
            raise self._failed(error, "write") from error
        except BaseException:
            self._roll_back()
            raise
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error, "commit") from error
        return result

    def _failed(self, error: sqlite3.Error, phase: Phase) -> WriteFailed:
        meaning, usable = judge(error, phase, self._path)
        try:
            self._roll_back()
        except WriteFailed:
            usable = False
        return WriteFailed(meaning, usable=usable)

    def _roll_back(self) -> None:
        # Some errors make SQLite roll back by itself.
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise WriteFailed(judge(error, "write", self._path)[0], usable=False) from error
