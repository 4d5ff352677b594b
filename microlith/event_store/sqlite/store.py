"""The event store in one SQLite file."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from microlith.event_store.database.reading import ForkedError
from microlith.event_store.database.store import DatabaseEventStore
from microlith.event_store.database.writer import Durability
from microlith.event_store.protocol import Projecting
from microlith.event_store.sqlite.connection import ENGINE
from microlith.event_store.sqlite.ownership import Ownership
from microlith.event_store.sqlite.readers import SQLitePin, SQLiteReaders
from microlith.event_store.sqlite.writer import SQLiteWriter
from microlith.serialization import MessageTypes

T = TypeVar("T")


class SQLiteEventStore(DatabaseEventStore):
    """Keeps events, commands and read models in one file.

    Args:
        path: The database; made when missing, with a lock file beside it.
        types: The application's message types.
        durability: "durable": each commit is on the disk before it is acknowledged. "fast": a power cut may take
            the newest commits; what remains is the log up to some position.
    """

    _readers: SQLiteReaders

    def __init__(self, path: Path, types: MessageTypes, durability: Durability = "durable") -> None:
        super().__init__(types, durability)
        self._path = Path(path)

    @property
    def engine(self) -> str:
        """The library that keeps the file, with its version."""
        return ENGINE

    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Take ownership, check the end of the log, and bring the projections up to it.

        Raises:
            StoreLockedError: Another process owns the database; nothing was touched.
            StoreFormatError: The file is something else, or newer.
            CorruptionError: The newest events are damaged.
        """
        ownership = Ownership.take(self._path)
        try:
            writer = SQLiteWriter(self._path, self._types, self._durability)
            await writer.start(projections)
        except BaseException:
            ownership.release()
            raise
        self._ownership = ownership
        self._opened(writer, SQLiteReaders(self._path))

    async def close(self) -> None:
        """Finish the writes under way and let go. Safe to call twice."""
        if not self._pid:
            return
        if os.getpid() != self._pid:
            raise ForkedError(self._pid)
        try:
            # The last connection to close folds the log into the database. That is for the writer, unless it failed.
            if self._writer.failure is None:
                self._readers.close()
            await self._writer.stop()
        finally:
            self._readers.close()
            self._ownership.release()

    def _pin(self) -> SQLitePin:
        return SQLitePin(self._readers)

    async def _look(self, read: Callable[..., T], /, *arguments: Any, many: bool = False) -> T:
        """Read here where it is quick: another thread takes longer to be called."""
        return await asyncio.to_thread(read, *arguments) if many else read(*arguments)
