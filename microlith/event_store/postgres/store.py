"""The event store in one schema of a PostgreSQL database."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from microlith.errors import StoreAwayError, StoreError, StoreLockedError
from microlith.event_store.database.reading import ForkedError
from microlith.event_store.database.store import DatabaseEventStore
from microlith.event_store.postgres.connection import Connection
from microlith.event_store.postgres.opening import prepare, server_of
from microlith.event_store.postgres.ownership import Ownership
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.readers import PostgresPin, PostgresReaders
from microlith.event_store.postgres.writer import PostgresWriter
from microlith.event_store.protocol import Projecting
from microlith.serialization import MessageTypes

T = TypeVar("T")

logger = logging.getLogger("microlith.event_store")

GRACE_SECONDS = 5.0
"""How long nobody must have owned a schema before a process that stands by takes over."""
_LOOK_SECONDS = 0.5

_THREADS = 8


class PostgresEventStore(DatabaseEventStore):
    """Keeps events, commands and read models in one schema.

    Args:
        place: The schema; made when missing.
        types: The application's message types.
    """

    def __init__(self, place: Place, types: MessageTypes) -> None:
        super().__init__(types, place.durability)
        self._place = place
        self._engine = "PostgreSQL"
        self._ownership: Ownership | None = None

    @property
    def engine(self) -> str:
        """The server, with its version once the store is open."""
        return self._engine

    @property
    def failure(self) -> StoreError | None:
        """Why the store stopped writing for good; None while it writes."""
        lost = None if self._ownership is None else self._ownership.lost
        return super().failure or lost

    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Take ownership, check the end of the log, and bring the projections up to it.

        Raises:
            StoreAwayError: The server does not answer.
            StoreLockedError: Another process owns the schema, and this one does not stand by; nothing was touched.
            SchemaError: The schema is something else, or newer.
            CorruptionError: The newest events are damaged.
        """
        ownership = await self._own()
        try:
            writer = PostgresWriter(self._place, self._types, ownership)
            await writer.start(projections)
        except BaseException:
            await asyncio.to_thread(ownership.release)
            raise
        self._ownership = ownership
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="microlith-store-reader")
        self._opened(writer, PostgresReaders(self._place))

    async def close(self) -> None:
        """Finish the writes under way and let go. Safe to call twice."""
        if not self._pid or self._ownership is None:
            return
        if os.getpid() != self._pid:
            raise ForkedError(self._pid)
        try:
            await self._writer.stop()
        finally:
            self._readers.close()
            self._executor.shutdown(wait=False)
            await asyncio.to_thread(self._ownership.release)

    async def _own(self) -> Ownership:
        """Become the owner; where the place says so, as soon as whoever is the owner now has gone."""
        while True:
            try:
                return await asyncio.to_thread(self._take)
            except StoreLockedError as error:
                if not self._place.stands_by:
                    raise
                logger.warning("This process stands by: %s", error)
            await self._stand_by()
            logger.warning("The event store %s has no owner any more; this process takes over.", self._place.shown)

    async def _stand_by(self) -> None:
        """Return once nobody has owned the schema for some seconds: an owner whose connection was cut comes first."""
        free_since: float | None = None
        while free_since is None or monotonic() - free_since < GRACE_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                owner = await asyncio.to_thread(Ownership.owner_of, self._place)
            except StoreAwayError:  # of the owner as of this process
                owner = ""
            free_since = None if owner is not None else free_since or monotonic()

    def _take(self) -> Ownership:
        return Ownership.take(self._place, self._prepare_schema)

    def _prepare_schema(self, connection: Connection) -> None:
        self._engine = f"PostgreSQL {server_of(connection, self._place)}"
        prepare(connection, self._place)

    def _pin(self) -> PostgresPin:
        return PostgresPin(self._place)

    async def _look(self, read: Callable[..., T], /, *arguments: Any, many: bool = False) -> T:
        """Read on a thread: the loop waits for no network."""
        del many
        self._readers.check_open()
        call = partial(copy_context().run, read, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)
