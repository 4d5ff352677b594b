"""The event store in one schema of a PostgreSQL database."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from microlith.errors import StoreAwayError, StoreError, StoreLockedError
from microlith.event_store.database.reading import ForkedError
from microlith.event_store.database.store import DatabaseEventStore
from microlith.event_store.postgres.connection import Connection, connect
from microlith.event_store.postgres.opening import prepare, server_of
from microlith.event_store.postgres.ownership import GRACE_SECONDS, Ownership
from microlith.event_store.postgres.permission import Membership, agreed_in, agreement
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.readers import PostgresPin, PostgresReaders
from microlith.event_store.postgres.sharing import PostgresSharing
from microlith.event_store.postgres.writer import PostgresWriter, ProjectionsBehindError
from microlith.event_store.protocol import Projecting
from microlith.serialization import MessageTypes

T = TypeVar("T")

logger = logging.getLogger("microlith.event_store")

_LOOK_SECONDS = 0.5
_BEGINS_SECONDS = 3.0
"""How long an owner may take to say that it shares, once it has the lock; or to be gone, once it has ended."""

_THREADS = 8


class SharedPersonalError(StoreError):
    """Processes share no store whose messages have personal fields."""

    def __init__(self, place: Place) -> None:
        super().__init__(
            f"Messages have personal fields, whose keys several processes cannot keep for the event store {place.shown}.",
            hint="Take `shared=yes` out of its url; `standby=yes` lets another process stand by.",
        )


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
        self._permission: Ownership | Membership | None = None
        self._sharing: PostgresSharing | None = None
        self._agreed = ""

    @property
    def engine(self) -> str:
        """The server, with its version once the store is open."""
        return self._engine

    @property
    def failure(self) -> StoreError | None:
        """Why the store stopped writing for good; None while it writes."""
        permission = (self._sharing and self._sharing.ownership) or self._permission
        return super().failure or (None if permission is None else permission.lost)

    @property
    def sharing(self) -> PostgresSharing | None:
        """What the processes that share the schema need of each other; None when this one owns it."""
        return self._sharing

    @property
    def leads(self) -> bool:
        """Whether this process owns the schema, or leads those who share it."""
        return self._sharing is None or self._sharing.ownership is not None

    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Take ownership, check the end of the log, and bring the projections up to it.

        Raises:
            StoreAwayError: The server does not answer.
            StoreLockedError: Another process owns the schema, and this one neither stands by nor shares it; nothing was
                touched.
            SharedPersonalError: It is to be shared, and messages have personal fields.
            SchemaError: The schema is something else, or newer.
            CorruptionError: The newest events are damaged.
        """
        if self._place.shared:
            if self._types.personal:
                raise SharedPersonalError(self._place)
            self._agreed = agreement(self._types, projections)
        writer, permission = await self._writing(projections)
        self._permission = permission
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="microlith-store-reader")
        readers = PostgresReaders(self._place)
        self._opened(writer, readers)
        if self._place.shared:
            ownership = permission if isinstance(permission, Ownership) else None
            self._sharing = PostgresSharing(self._place, writer, readers, self._take, ownership)

    async def close(self) -> None:
        """Finish the writes under way and let go. Safe to call twice."""
        if not self._pid or self._permission is None:
            return
        if os.getpid() != self._pid:
            raise ForkedError(self._pid)
        try:
            if self._sharing is not None:
                await self._sharing.end_leading()
            await self._writer.stop()
        finally:
            self._readers.close()
            self._executor.shutdown(wait=False)
            if self._sharing is not None:
                await asyncio.to_thread(self._sharing.close)
            elif isinstance(self._permission, Ownership):
                await asyncio.to_thread(self._permission.release)

    async def _writing(self, projections: Sequence[Projecting]) -> tuple[PostgresWriter, Ownership | Membership]:
        """Start a writer; where whoever leads is still bringing the projections up, as soon as that is done."""
        told = False
        while True:
            permission = await self._allowed()
            writer = PostgresWriter(self._place, self._types, permission)
            try:
                await writer.start(projections)
            except ProjectionsBehindError as behind:
                if not told:
                    logger.warning("%s This process waits.", behind)
                told = True
                await asyncio.sleep(_LOOK_SECONDS)
            except BaseException:
                if isinstance(permission, Ownership):
                    await asyncio.to_thread(permission.release)
                raise
            else:
                return writer, permission

    async def _allowed(self) -> Ownership | Membership:
        """Become the owner, or one of those that share; where the place says so, wait until that is possible.

        Raises:
            StoreLockedError: Another process owns it, and this one neither stands by nor can share it.
        """
        until = monotonic() + _BEGINS_SECONDS
        while True:
            try:
                return await asyncio.to_thread(self._take)
            except StoreLockedError as error:
                agreed = (await asyncio.to_thread(agreed_in, self._place))[1] if self._place.shared else ""
                if agreed and agreed == self._agreed:
                    await asyncio.to_thread(self._name_engine)
                    return Membership(self._place, agreed)
                if self._place.shared and not agreed and monotonic() < until:
                    await asyncio.sleep(_LOOK_SECONDS)  # it may have only just begun, or be about to end
                    continue
                if not (self._place.stands_by or agreed):
                    raise
                why = " It is of another version, and leads when none of that one does." if agreed else ""
                logger.warning("This process stands by: %s%s", error, why)
            await self._stand_by()
            until = monotonic() + _BEGINS_SECONDS  # another one that stood by may be quicker, and have only just begun
            logger.warning("The event store %s has no owner any more; this process takes over.", self._place.shown)

    async def _stand_by(self) -> None:
        """Return once nobody has owned the schema for some seconds: an owner whose connection was cut comes first."""
        free_since: float | None = None
        while free_since is None or monotonic() - free_since < GRACE_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                owner = await asyncio.to_thread(Ownership.owner_of, self._place)
                if owner is None and self._place.shared and not (await asyncio.to_thread(agreed_in, self._place))[0]:
                    return  # the one that led said goodbye
            except StoreAwayError:  # of the owner as of this process
                owner = ""
            free_since = None if owner is not None else free_since or monotonic()

    def _take(self) -> Ownership:
        return Ownership.take(self._place, self._prepare_schema, self._agreed)

    def _name_engine(self) -> None:
        with closing(connect(self._place, "member", reads=True)) as connection:
            self._engine = f"PostgreSQL {server_of(connection, self._place)}"

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
