"""Looking into a file that no store has open.

For as long as one looks, no other process can own it.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from microlith.errors import CorruptionError, StoreError
from microlith.event_store.database.inspecting import Inspection
from microlith.event_store.database.statements import statements
from microlith.event_store.snapshot import SnapshotCheck
from microlith.event_store.sqlite.connection import StoreFormatError, damage_in
from microlith.event_store.sqlite.dialect import DIALECT
from microlith.event_store.sqlite.opening import VERSION
from microlith.event_store.sqlite.ownership import Ownership
from microlith.event_store.sqlite.readers import SQLiteReaders


class StoreUnreadableError(StoreError):
    """The file of a store cannot be read just now; it was not changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}.", hint="Close what has the file open, and see that you may read it."
        )


class SQLiteInspection(Inspection):
    """Holds a database and reads from it. A context manager.

    Raises:
        StoreLockedError: Another process owns the database; nothing was touched.
        StoreFormatError: The file is something else, or newer.
        StoreUnreadableError: The file cannot be read just now.
        CorruptionError: The file is damaged where it was read.
    """

    dialect = DIALECT

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._ownership = Ownership.take(path)
        self._readers = SQLiteReaders(path)
        try:
            if not self._is_empty():
                self._look()
        except (LookupError, TypeError, ValueError) as error:
            self.close()
            raise CorruptionError(str(path), damage_in(error) or f"{type(error).__name__}: {error}") from None
        except BaseException:
            self.close()
            raise

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows."""
        try:
            return self._readers.run(text, values)
        except sqlite3.Error as error:
            raise StoreUnreadableError(self._path, str(error)) from error

    def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot; there is none in a database of an earlier version."""
        return super().check_snapshots() if "snapshots" in self._tables() else SnapshotCheck(0, [])

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._readers.close()
        self._ownership.release()

    def _tables(self) -> set[str]:
        return {name for (name,) in self.run(statements("sqlite_schema.sql")["select_tables"])}

    def _is_empty(self) -> bool:
        schema = statements("sqlite_schema.sql")
        names = self._tables()
        if not names:
            return True
        if "meta" not in names:
            raise StoreFormatError(self._path, "is a SQLite database of something else")
        found = self.run(schema["select_version"])
        if not found or int(found[0][0]) > VERSION:
            kept = found[0][0] if found else "unknown"
            raise StoreFormatError(self._path, f"has format {kept}; this version of microlith knows {VERSION}")
        return False
