"""A process's part in a shared schema: it hears when others have written, claims keys, and leads when it is its turn.

A thread listens on a connection of its own. Notifications are only hints: it looks by itself, too, each second.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from typing import NamedTuple

import psycopg

from microlith.errors import StoreAwayError, StoreError, StoreLockedError, StoreUnavailableError
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.claims import Claims
from microlith.event_store.postgres.connection import Connection, connect, run
from microlith.event_store.postgres.ownership import GRACE_SECONDS, Ownership
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.readers import PostgresReaders
from microlith.event_store.postgres.writer import PostgresWriter

logger = logging.getLogger("microlith.event_store")

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 0.5


class PostgresSharing:
    """What a process that shares a schema has of the others. Belongs to the loop that made it.

    Attributes:
        leader: Who leads, as it said itself; "" while nobody does.
    """

    def __init__(
        self,
        place: Place,
        writer: PostgresWriter,
        readers: PostgresReaders,
        take: Callable[[], Ownership],
        ownership: Ownership | None,
    ) -> None:
        """Begin to listen.

        Args:
            place: The schema.
            writer: What writes it.
            readers: What reads it.
            take: Becomes the owner, or raises StoreLockedError.
            ownership: That of this process, when it leads.
        """
        self.leader = ""
        self.ownership = ownership
        self.claims = Claims(place)
        self._place = place
        self._writer = writer
        self._readers = readers
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._sql = statements("postgres_owning.sql")
        self._looking = False
        self._free_since: float | None = None
        self._may_lead = asyncio.Event()
        self._leading: asyncio.Future[None] | None = None
        self._told_by_others = False
        self._closed = False
        self._wake, self._woken = socket.socketpair()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._listen, name="microlith-store-listener", daemon=True)
        self._thread.start()

    def watch(self, wrote: Callable[[int], None]) -> None:
        """Have a function called when others have committed, with the last position of the log."""
        self._writer.others.append(wrote)

    async def lead(self) -> None:
        """Return when this process leads. What fails is tried again for as long as it takes.

        Raises:
            StoreUnavailableError: The store was closed first, or writes no more.
        """
        if self._leading is None:
            self._leading = asyncio.ensure_future(self._take_lead())
        await asyncio.shield(self._leading)  # whoever is cancelled leaves nothing half done
        if self.ownership is None:
            raise StoreUnavailableError("it writes no more, and so cannot be led from here")

    async def end_leading(self) -> None:
        """Wait for no turn any more; finish what has begun."""
        self._closed = True
        self._may_lead.set()
        if self._leading is not None:
            await asyncio.wait([self._leading])

    def give_up(self, error: StoreError) -> None:
        """Write nothing more, and let another process lead."""
        self._writer.failure = self._writer.failure or error
        if self.ownership is not None:
            self._loop.run_in_executor(None, self.ownership.release)

    async def newest_letter(self) -> int:
        """Return the sequence of the newest dead letter; 0 for none."""
        text = self._sql["select_newest_letter"]
        return int((await asyncio.to_thread(self._readers.run, text))[0][0])

    async def claim(self, handler: str, key: str) -> int | None:
        """Wait until no other process handles a message of this key; return how many dead letters it has, if that is news."""
        return await self.claims.take(handler, key)

    def let_go(self, handler: str, key: str) -> None:
        """End a claim."""
        self.claims.let_go(handler, key)

    def close(self) -> None:
        """End the threads, and let go of everything. Waits for them. Safe to call twice."""
        if self._wake.fileno() < 0:
            return
        self._wake.send(b".")
        self._thread.join()
        self._wake.close()
        self._woken.close()
        self.claims.close()
        if self.ownership is not None:
            self.ownership.release()

    async def _take_lead(self) -> None:
        told = False
        while True:
            await self._may_lead.wait()
            if self._closed or self._writer.failure is not None:
                return
            try:
                self.ownership = await self._led()
            except StoreLockedError:
                await asyncio.sleep(_AGAIN_SECONDS)
            except StoreError as error:
                if not told:
                    logger.warning("This process cannot lead yet, and tries again: %s", error)
                told = True
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return

    async def _led(self) -> Ownership:
        """Take the lead, and bring up what a leader needs; when that fails, let go."""
        ownership = await asyncio.to_thread(self._take)
        logger.warning("This process leads those that share the event store %s now.", self._place.shown)
        try:
            await self._writer.do(partial(self._writer.lead, ownership))
        except BaseException:
            await asyncio.to_thread(ownership.release)
            raise
        return ownership

    def _heard(self, found: "_Leadership | None") -> None:
        """Have the writer look; take note of who leads, if that was found out. On the loop."""
        if not self._looking and not self._closed:
            self._looking = True
            self._writer.submit(self._look)
        if found is None:
            return
        self.leader = found.owner if found.is_held else ""
        if found.is_held:
            self._free_since = None
        elif self._free_since is None:
            # One that said goodbye does not come back; one that did not may only have lost its connection, and comes first.
            self._free_since = monotonic() - (0 if found.owner else GRACE_SECONDS)
        if self._free_since is not None and monotonic() - self._free_since >= GRACE_SECONDS:
            self._may_lead.set()
        else:
            self._may_lead.clear()

    # From here on, on the threads.

    def _look(self) -> None:
        self._looking = False  # what is committed from here on is told anew
        self._writer.look()

    def _listen(self) -> None:
        looked = 0.0
        while not self._closed:
            found = None
            try:
                connection = self._connected()
                if monotonic() - looked >= _LOOK_SECONDS:
                    found, looked = self._find(connection), monotonic()
                if found is not None or self._is_told(connection):
                    with suppress(RuntimeError):  # the loop was closed under the store: there is nobody left to tell
                        self._loop.call_soon_threadsafe(self._heard, found)
                self._rest(connection)
            except (psycopg.Error, StoreAwayError):
                self._drop()
                self._rest(None)
        self._drop()

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self._place, "listener")
            # What comes with the answer to a question is handed to this, and otherwise kept where nobody looks.
            self._connection.add_notify_handler(lambda notify: self._note(notify.pid))
            self._connection.execute(f'LISTEN "microlith_{self._place.schema}"')
        return self._connection

    def _find(self, connection: Connection) -> "_Leadership":
        is_held = bool(run(connection, self._sql["select_holder"], (self._place.schema,)))
        return _Leadership(is_held, str(run(connection, self._sql["select_owner"])[0][1]))

    def _is_told(self, connection: Connection) -> bool:
        """Take what was notified; tell whether some of it came from another process."""
        connection.pgconn.consume_input()
        while (notify := connection.pgconn.notifies()) is not None:
            self._note(notify.be_pid)
        told, self._told_by_others = self._told_by_others, False
        return told

    def _note(self, backend: int) -> None:
        self._told_by_others = self._told_by_others or backend != self._writer.session.backend

    def _rest(self, connection: Connection | None) -> None:
        """Wait until something comes from the server, or for a while."""
        with DefaultSelector() as selector:
            for one in (self._woken, connection):
                if one is not None:
                    selector.register(one, EVENT_READ)
            selector.select(_LOOK_SECONDS if connection is not None else _AGAIN_SECONDS)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Leadership(NamedTuple):
    """Whether the lock of who leads is held, and who led last; "" for one that said goodbye."""

    is_held: bool
    owner: str
