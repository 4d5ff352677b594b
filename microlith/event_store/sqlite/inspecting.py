"""Looking into a store that is not open, without changing it.

For as long as one looks, no other process can own the database; every connection only reads. What the next `open`
would catch up, forget or register stays as it is.

Mends nothing.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from microlith.errors import CorruptionError, StoreError
from microlith.event_store.snapshot import SnapshotCheck
from microlith.event_store.sqlite.codec import ChainCheck, StoredTypes
from microlith.event_store.sqlite.connection import StoreFormatError, damage_in
from microlith.event_store.sqlite.opening import VERSION
from microlith.event_store.sqlite.ownership import Ownership
from microlith.event_store.sqlite.reading import LogReader, Readers
from microlith.event_store.sqlite.snapshots import check
from microlith.event_store.sqlite.statements import statements
from microlith.serialization import MessageTypes

_PAGE = 1000


class StoreUnreadableError(StoreError):
    """The file of a store cannot be read just now; it was not changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read: {reason}.", hint="Close what has the file open, and see that you may read it."
        )


class Standing(NamedTuple):
    """Where a projection stands; `error` says why it stopped, None that it runs."""

    name: str
    checkpoint: int
    error: str | None


class Inspection:
    """Holds a database and reads from it. A context manager.

    Attributes:
        head: Last global position; -1 for an empty log.
        projections: Where each one stands.
        dead_letters: How many there are.

    Raises:
        StoreLockedError: Another process owns the database; nothing was touched.
        StoreFormatError: The file is something else, or newer.
        StoreUnreadableError: The file cannot be read just now.
        CorruptionError: The file is damaged where it was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ownership = Ownership.take(path)
        self._readers = Readers(path)
        self.head = -1
        self.projections: list[Standing] = []
        self.dead_letters = 0
        try:
            if not self._is_empty():
                self._look()
        except (LookupError, TypeError, ValueError) as error:
            self.close()
            raise CorruptionError(str(path), damage_in(error) or f"{type(error).__name__}: {error}") from None
        except BaseException:
            self.close()
            raise

    def verify(self, types: MessageTypes, progress: Callable[[int, int], None]) -> int:
        """Walk the whole log, as the store's own `verify` does; return how many events there are.

        Raises:
            CorruptionError: Names the first damaged position.
        """
        count = 0
        for count in self.verifying(types):
            progress(count, self.head + 1)
        return count

    def verifying(self, types: MessageTypes) -> Iterator[int]:
        """Walk the whole log, and yield after each page how many events were right so far.

        Raises:
            CorruptionError: Names the first damaged position.
        """
        if self.head < 0:
            return
        reader, chain = self.reader(types), ChainCheck()
        while reader.check_chain(chain, _PAGE):
            yield chain.position + 1
        reader.check_structure()

    def reader(self, types: MessageTypes) -> LogReader:
        """Return what reads the log; not for an empty one, which may have no tables."""
        numbered = StoredTypes(self._run(statements("sqlite_reading.sql")["select_types"]), types)
        return LogReader(self._run, numbered, types, lambda: self.head)

    def check_snapshots(self) -> SnapshotCheck:
        """Look at every snapshot; there is none in a database of an earlier version."""
        if "snapshots" not in self._tables():
            return SnapshotCheck(0, [])
        return check(self._run)

    def event_after(self, position: int) -> tuple[str, float] | None:
        """Return type and time of the event after a position; None when there is none."""
        found = self._run(statements("sqlite_reading.sql")["select_type_and_time"], (position,))
        return (str(found[0][0]), float(found[0][1])) if found else None

    def close(self) -> None:
        """Let go. Safe to call twice."""
        self._readers.close()
        self._ownership.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._readers.run(text, values)
        except sqlite3.Error as error:
            raise StoreUnreadableError(self._path, str(error)) from error

    def _tables(self) -> set[str]:
        return {name for (name,) in self._run(statements("sqlite_schema.sql")["select_tables"])}

    def _is_empty(self) -> bool:
        schema = statements("sqlite_schema.sql")
        names = self._tables()
        if not names:
            return True
        if "meta" not in names:
            raise StoreFormatError(self._path, "is a SQLite database of something else")
        found = self._run(schema["select_version"])
        if not found or int(found[0][0]) > VERSION:
            kept = found[0][0] if found else "unknown"
            raise StoreFormatError(self._path, f"has format {kept}; this version of microlith knows {VERSION}")
        return False

    def _look(self) -> None:
        reading = statements("sqlite_reading.sql")
        self.head = int(self._run(reading["select_last_position"])[0][0])
        self.projections = [Standing(*row) for row in self._run(reading["select_standings"])]
        self.dead_letters = int(self._run(reading["count_dead_letters"])[0][0])
