"""Ownership of a schema: one process at a time, for as long as it lives.

A session-level advisory lock on a connection of its own, so that it goes when its process goes, however that ends. A
number in the database, the epoch, grows with each owner; every transaction that writes looks at it, so that a process
which has lost the lock without noticing writes nothing any more. The lock keeps others out; the epoch is what is true.

A thread keeps the lock: when its connection is lost, it takes the lock again, unless somebody else has taken it.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from selectors import EVENT_READ, DefaultSelector
from time import monotonic, sleep
from typing import Self

import psycopg

from microlith.errors import StoreAwayError, StoreError, StoreLockedError
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import Connection, connect, run, said
from microlith.event_store.postgres.permission import Leader
from microlith.event_store.postgres.place import Place

logger = logging.getLogger("microlith.event_store")

HEARTBEAT_SECONDS = 5.0
"""How often the connection of the lock is looked at."""
GRACE_SECONDS = 8.0
"""How long nobody must have owned a schema, or led those who share it, before another process does. One whose connection was cut
comes first: to connect takes it up to five seconds, and it pauses up to two before."""
_LEAVING_SECONDS = 1.5
"""How long the server may take to notice that the owner before has gone."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_SQL = "postgres_owning.sql"


class OwnershipLostError(StoreError):
    """Another process has taken the store over; this one writes no more."""

    def __init__(self, place: str, owner: str) -> None:
        super().__init__(
            f"The event store {place} was taken over by {owner}; this process has stopped writing.",
            hint="Stop this process; what it had accepted is carried on by the other one.",
        )


class Ownership:
    """The lock, held from `take` to `release`.

    Attributes:
        epoch: The number of this ownership.
        lost: Why it was lost for good; None while it holds.
    """

    def __init__(self, place: Place, connection: Connection) -> None:
        self.epoch = 0
        self.lost: StoreError | None = None
        self._place = place
        self._connection: Connection | None = connection
        self._sql = statements(_SQL)
        self._released = False
        self._wake, self._woken = socket.socketpair()
        self._thread: threading.Thread | None = None

    @classmethod
    def take(cls, place: Place, prepare: Callable[[Connection], None], agreed: str = "") -> Self:
        """Become the owner of a schema, or the one that leads those who share it.

        Args:
            place: Where it lies.
            prepare: Makes what is missing in it, once nobody else can.
            agreed: What those must agree on who share it with this process; "" where nobody may.

        Raises:
            StoreAwayError: The server does not answer.
            StoreLockedError: Another process owns it; names it.
        """
        connection = connect(place, "owner")
        try:
            cls._lock(place, connection)
            prepare(connection)
            ownership = cls(place, connection)
            ownership.epoch = cls._take_over(connection, agreed)
        except psycopg.Error as error:
            connection.close()
            raise StoreAwayError(place.shown, said(error)) from error
        except BaseException:
            connection.close()
            raise
        ownership._thread = threading.Thread(target=ownership._keep, name="microlith-store-owner", daemon=True)
        ownership._thread.start()
        return ownership

    @staticmethod
    def owner_of(place: Place) -> str | None:
        """Say who owns a schema; None when nobody does.

        Raises:
            StoreAwayError: The server does not answer.
        """
        connection = connect(place, "standby", reads=True)
        try:
            if not run(connection, statements(_SQL)["select_holder"], (place.schema,)):
                return None
            return holder_of(place, connection)
        except psycopg.Error as error:
            raise StoreAwayError(place.shown, said(error)) from None
        finally:
            connection.close()

    @classmethod
    def hold(cls, place: Place) -> Connection:
        """Keep every process from becoming the owner, for as long as a connection is open, and change nothing.

        Raises:
            StoreAwayError: The server does not answer.
            StoreLockedError: Another process owns it; names it.
        """
        connection = connect(place, "inspection", reads=True)
        try:
            cls._lock(place, connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def release(self) -> None:
        """Let go. Safe to call twice."""
        if self._released:
            return
        self._released = True
        self._wake.send(b".")
        if self._thread is not None:
            self._thread.join()
        self._wake.close()
        self._woken.close()

    def refusal(self, epoch: int, leader: Callable[[], Leader]) -> StoreError | None:
        """Say why a transaction may not write: another process is the owner now."""
        return None if self.lost is None and epoch == self.epoch else self.lose(leader()[0])

    def lose(self, owner: str) -> StoreError:
        """Note that another process is the owner now; return the error that says so."""
        if self.lost is None:
            self.lost = OwnershipLostError(self._place.shown, owner or "another process")
            logger.critical("%s", self.lost)
        return self.lost

    @staticmethod
    def _take_over(connection: Connection, agreed: str) -> int:
        sql = statements(_SQL)
        with connection.transaction():
            epoch = run(connection, sql["take_over"], (_self(),))[0][0]
            run(connection, sql["share"], (f"{epoch} {agreed}" if agreed else "",))
            run(connection, sql["forget_writers"])
        return int(epoch)

    @staticmethod
    def _lock(place: Place, connection: Connection) -> None:
        sql, until = statements(_SQL), monotonic() + (0 if place.shared else _LEAVING_SECONDS)
        while not run(connection, sql["try_lock"], (place.schema,))[0][0]:
            if monotonic() > until:
                raise StoreLockedError(f"{place.shown} (schema {place.schema})", holder_of(place, connection))
            sleep(_SHORTEST_PAUSE)

    def _keep(self) -> None:
        pause = _SHORTEST_PAUSE
        try:
            while not self._released and self.lost is None:
                try:
                    if self._connection is None:
                        self._take_again()
                    self._look()
                    pause = _SHORTEST_PAUSE
                except (psycopg.Error, StoreAwayError) as error:
                    if pause == _SHORTEST_PAUSE:
                        logger.warning("The lock on the event store was lost and is taken again: %s", said(error))
                    self._drop()
                    self._rest(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
            if self._place.shared and self._connection is not None:
                with suppress(psycopg.Error):
                    run(self._connection, self._sql["leave"], (self.epoch,))
        finally:
            self._drop()

    def _look(self) -> None:
        """Wait for a moment to look at the connection, and look at it."""
        connection = self._connection
        if connection is None:  # somebody else holds the lock; whether for good is told by the epoch
            self._rest(_LONGEST_PAUSE)
            return
        self._rest(HEARTBEAT_SECONDS, connection)
        if not self._released:
            run(connection, "SELECT 1")

    def _take_again(self) -> None:
        connection = connect(self._place, "owner")
        try:
            locked = run(connection, self._sql["try_lock"], (self._place.schema,))[0][0]
            epoch, owner = run(connection, self._sql["select_owner"])[0]
            if epoch != self.epoch:
                self.lose(owner)
            elif locked:
                self._connection = connection
        finally:
            if self._connection is not connection:
                connection.close()

    def _rest(self, seconds: float, connection: Connection | None = None) -> None:
        """Wait, until released or until something comes from the server."""
        with DefaultSelector() as selector:
            for one in (self._woken, connection):
                if one is not None:
                    selector.register(one, EVENT_READ)
            selector.select(seconds)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def holder_of(place: Place, connection: Connection) -> str:
    """Say who owns a schema: as the owner said itself, or as the server sees its connection."""
    sql = statements(_SQL)
    seen = run(connection, sql["select_holder"], (place.schema,))
    try:
        said_itself = run(connection, sql["select_owner"])[0][1]
    except (psycopg.Error, IndexError):  # it has only just begun
        said_itself = ""
    if said_itself:
        return str(said_itself)
    if seen:
        address, name, since = seen[0]
        return f"a process on {address} ({name}), connected {since}"
    return "another process"


def _self() -> str:
    started = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"process {os.getpid()} on {socket.gethostname()}, started {started}"
