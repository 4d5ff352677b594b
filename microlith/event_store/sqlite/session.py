"""The writing connection of a SQLite store.

Belongs to the writer's thread.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from microlith.event_store.database.session import Session, ValueRefused, WriteFailed
from microlith.event_store.sqlite.connection import Phase, judge, press
from microlith.event_store.sqlite.dialect import DIALECT

T = TypeVar("T")


class SQLiteSession(Session):
    """The one connection that writes.

    Each step of a statement gives up Python's lock and may wait a long time to get it back: one statement for many rows
    is worth a lot.

    Attributes:
        connection: The connection.
    """

    dialect = DIALECT

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__()
        self.connection = connection
        self._path = path

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        return self.connection.execute(text, values).fetchall()

    def press(self, durability: Literal["durable", "fast"]) -> None:
        """Set how hard the next commits are pressed onto the disk."""
        press(self.connection, durability)

    def attempt(self, work: Callable[[], None]) -> None:
        """Do something that may be refused: SQLite then undoes the one statement."""
        try:
            work()
        except sqlite3.IntegrityError as error:
            raise ValueRefused(str(error)) from error

    def is_broken_by(self, error: Exception) -> bool:
        """Tell the database's own failures from those of an author's code."""
        return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError

    def transact(self, work: Callable[[], T], *, once: bool = False) -> T:
        """Do something in one transaction."""
        del once
        if self.before is not None:
            self.before()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._failed(error, "begin") from error
        try:
            result = work()
        except sqlite3.IntegrityError as error:
            self._roll_back()
            raise ValueRefused(str(error)) from error
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
