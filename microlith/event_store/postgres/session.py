"""The writing connection of a PostgreSQL store, and what a transaction on it is.

Each begins with taking the one row that says where the log ends, and holds it to its end: positions are given, and
become visible, in the order of the commits, whoever else appends. The row also says whose turn it is: a process that is
no longer the owner writes nothing.

A connection that is lost is opened again. Whether a commit under way then had come about is told by the same row, so
that nobody is left in doubt, and nothing is written twice.

Belongs to the writer's thread.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import uuid4

import psycopg
from psycopg.pq import TransactionStatus

from microlith.errors import CorruptionError, StoreAwayError, StoreError, UnknownOutcomeError
from microlith.event_store.database.session import Session, ValueRefused, WriteFailed
from microlith.event_store.database.statements import statements
from microlith.event_store.postgres.connection import (
    Connection,
    connect,
    is_authors,
    is_busy,
    is_lost,
    judge,
    run,
    said,
)
from microlith.event_store.postgres.dialect import DIALECT
from microlith.event_store.postgres.permission import Permission
from microlith.event_store.postgres.place import Place

T = TypeVar("T")

logger = logging.getLogger("microlith.event_store")

PATIENCE_SECONDS = 10.0
"""How long a database may be away before those who wait outside are told so."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class LogEnd(NamedTuple):
    """Where the log ends, and who wrote it there."""

    epoch: int
    version: int
    writer: str
    head: int
    sequence: int
    checksum: bytes


class _NotDone(Exception):  # noqa: N818 (internal: the transaction certainly did not happen, and may later)
    def __init__(self, error: StoreAwayError) -> None:
        super().__init__(str(error))
        self.error = error


class PostgresSession(Session):
    """The one connection that writes.

    Attributes:
        permission: Whether this process may write.
        renew: Is told where the log ends when somebody else has written; in a transaction, under the lock, or before one.
        gives_up: Tells whether the store is being closed.
    """

    dialect = DIALECT
    is_far = True

    def __init__(self, place: Place, permission: Permission) -> None:
        super().__init__()
        self.permission = permission
        self.renew: Callable[[LogEnd], None] = lambda _: None
        self.gives_up: Callable[[], bool] = lambda: False
        self._place = place
        self._name = uuid4().hex
        self._channel = f"microlith_{place.schema}"
        self._own = statements("postgres_owning.sql")
        self._connection: Connection | None = None
        self._pipeline: psycopg.Pipeline | None = None
        self._version = -1
        self._end: tuple[int, int, bytes] | None = None
        self._begun_at = -1
        self._pressed: Literal["durable", "fast"] = place.durability
        self._away_since: float | None = None
        self._pauses = 0

    @property
    def backend(self) -> int:
        """What the server calls the connection; 0 while there is none. From any thread."""
        connection = self._connection
        return 0 if connection is None or connection.closed else connection.info.backend_pid

    def connect(self) -> LogEnd:
        """Connect for the first time; return where the log ends.

        Raises:
            StoreAwayError: The server does not answer.
        """
        end = self._look_at_end(self._connected())
        self._version = end.version
        return end

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def leave(self) -> None:
        """Close the connection for good: nobody will ask any more what became of the last commit."""
        if self._place.shared and self._connection is not None:
            with suppress(psycopg.Error):
                run(self._connection, self._own["forget_writer"], (self._name,))
        self.close()

    def look(self) -> None:
        """Find out whether somebody else has written, without waiting for the lock. A database that is away is not waited for."""
        try:
            self._learn(LogEnd(*run(self._connected(), self._own["select_end"])[0]))
        except (psycopg.Error, StoreAwayError):
            self.close()

    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows. A NUL, which no text here can hold, is written as what shows it."""
        if self._connection is None:
            raise psycopg.OperationalError("the connection is lost")
        try:
            return run(self._connection, text, [_storable(value) for value in values])
        except psycopg.Error as error:
            self._synchronise()  # what was sent after it is skipped
            raise _without_values(error) from None

    def confirm(self) -> None:
        """Wait until all that was sent has been done; raise what went wrong."""
        if self._pipeline is not None:
            try:
                self._pipeline.sync()
            except psycopg.Error as error:
                self._synchronise()
                raise _without_values(error) from None

    def press(self, durability: Literal["durable", "fast"]) -> None:
        """Set whether the next commits wait for the server's disk."""
        self._pressed = "fast" if self._place.durability == "fast" else durability

    def written(self) -> int:
        """Return up to where the log is written just now, without a transaction."""
        try:
            return LogEnd(*self.run(self._own["select_end"])[0]).head
        except psycopg.Error as error:
            raise WriteFailed(StoreAwayError(self._place.shown, said(error)), usable=True, away=True) from error

    def end(self) -> tuple[int, int, bytes]:
        """Return where the log ends, in a transaction: position, number of the last command, checksum."""
        if self._end is None:
            raise RuntimeError("no transaction has begun")
        return self._end

    def ends_at(self, head: int, sequence: int, checksum: bytes) -> None:
        """Take note of where the log ends with what the transaction has written."""
        self._end = (head, sequence, checksum)

    def attempt(self, work: Callable[[], None]) -> None:
        """Do something that may be refused: within a savepoint."""
        self.run("SAVEPOINT attempt")
        try:
            work()
            self.confirm()
        except ValueRefused:
            self.run("ROLLBACK TO attempt")
            raise
        self.run("RELEASE attempt")

    def is_broken_by(self, error: Exception) -> bool:
        """Tell the database's own failures from those of an author's code."""
        return isinstance(error, StoreAwayError) or not is_authors(error)

    def transact(self, work: Callable[[], T], *, once: bool = False) -> T:
        """Do something in one transaction. While the database is away, wait for it; not for ever."""
        while True:
            try:
                if self.before is not None:
                    self.before()
                result = self._transact(work)
            except (StoreAwayError, _NotDone) as away:
                error = away.error if isinstance(away, _NotDone) else away
                if self._away_since is None:
                    self._away_since = monotonic()
                    logger.warning("%s", error)
                waited = monotonic() - self._away_since
                if once or waited > PATIENCE_SECONDS or self.gives_up():
                    raise WriteFailed(error, usable=True, away=True) from away
                self._pause()
            else:
                if self._away_since is not None:
                    logger.warning("The event store %s writes again.", self._place.shown)
                self._away_since, self._pauses = None, 0
                return result

    def _transact(self, work: Callable[[], T]) -> T:
        connection = self._connected()
        results: list[T] = []
        committing = False
        try:
            with self._piped(connection):
                self._begin()
                results.append(work())
                self._finish()
                committing = True
                commit = connection.execute("COMMIT")
        except psycopg.Error as error:
            if not is_lost(error, connection):
                self._roll_back(connection)
                raise self._meaning(error) from error
            self.close()
            if not committing or not self._came_about(error):
                raise _NotDone(StoreAwayError(self._place.shown, said(error))) from error
        except BaseException:
            self._roll_back(connection)
            raise
        else:
            if commit.statusmessage != "COMMIT":  # the server's way to say that a statement before had failed
                raise WriteFailed(StoreError("The server rolled back instead of committing."), usable=True)
        self._version += 1
        return results[0]

    def _synchronise(self) -> None:
        if self._pipeline is not None:
            with suppress(psycopg.Error):
                self._pipeline.sync()

    @contextmanager
    def _piped(self, connection: Connection) -> Iterator[None]:
        """Send what gives no rows without waiting for it."""
        if not psycopg.Pipeline.is_supported():
            yield
            return
        try:
            with connection.pipeline() as self._pipeline:
                yield
        finally:
            self._pipeline = None

    def _begin(self) -> None:
        self.run("BEGIN")
        if self._pressed != self._place.durability:
            self.run("SET LOCAL synchronous_commit TO off")
        end = LogEnd(*self.run(self._own["lock_end"])[0])
        refused = self.permission.refusal(end.epoch, lambda: self.run(self._own["select_leader"])[0])
        if refused is not None:
            raise WriteFailed(refused, usable=False)
        if end.version < self._version:
            raise WriteFailed(self._lost_commits(end), usable=False)
        self._learn(end)
        self._begun_at = end.head
        self._end = (end.head, end.sequence, end.checksum)

    def _learn(self, end: LogEnd) -> None:
        if end.version > self._version:
            self.renew(end)
            self._version = end.version

    def _finish(self) -> None:
        if self._end is not None:
            self.run(self._own["move_end"], (self._name, *self._end))
            if self._place.shared:
                self.run(self._own["note_commit"], (self._name, str(self._version + 1)))
            if self._place.shared or self._end[0] > self._begun_at:
                self.run(self._own["notify"], (self._channel, str(self._end[0])))

    def _came_about(self, error: psycopg.Error) -> bool:
        """Find out whether a commit whose connection was lost has come about. Takes as long as the server is away.

        The row is not let go before the transaction has ended, and the commit moved it by one. Where others write, too,
        each notes its last one.

        Raises:
            WriteFailed: The store is closed meanwhile, or somebody else has written since.
        """
        logger.warning("The outcome of a commit is not known yet: %s", said(error))
        end, noted = self._end_after_loss()
        if self._place.shared and end.version >= self._version:
            return noted == self._version + 1
        if end.version == self._version:
            return False
        if end.version == self._version + 1 and end.writer == self._name:
            return True
        if end.version < self._version:
            raise WriteFailed(self._lost_commits(end), usable=False)
        raise WriteFailed(UnknownOutcomeError("another process has written since"), usable=False)

    def _end_after_loss(self) -> tuple[LogEnd, int]:
        """Return where the log ends, and which commit this writer has noted last."""
        while True:
            try:
                connection = self._connected()
                end = self._look_at_end(connection)
                noted = run(connection, self._own["select_commit"], (self._name,))
                return end, int(noted[0][0]) if noted else -1
            except (psycopg.Error, StoreAwayError) as again:
                self.close()
                if self.gives_up():
                    raise WriteFailed(UnknownOutcomeError(said(again)), usable=False) from again
                self._pause()

    def _look_at_end(self, connection: Connection) -> LogEnd:
        """Take the row, and let it go."""
        with connection.transaction():
            return LogEnd(*run(connection, self._own["lock_end"])[0])

    def _connected(self) -> Connection:
        if self._connection is not None and self._connection.closed:
            self._connection = None
        if self._connection is None:
            self._connection = connect(self._place, "writer")
        return self._connection

    def _meaning(self, error: psycopg.Error) -> Exception:
        """Say what an error means that has ended a transaction, and not the connection."""
        if is_busy(error):
            return _NotDone(StoreAwayError(self._place.shown, said(error)))
        if is_authors(error):
            return ValueRefused(said(error))
        meaning, usable = judge(error, self._place)
        return WriteFailed(meaning, usable=usable)

    def _roll_back(self, connection: Connection) -> None:
        """Undo a transaction, unless its connection is lost, and the transaction with it."""
        if connection.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")

    def _lost_commits(self, end: LogEnd) -> StoreError:
        """Build the error for a server that has forgotten what it had acknowledged: after a crash, or a fail-over."""
        return CorruptionError(
            f"position {end.head + 1}", f"the server of {self._place.shown} has lost commits that it had acknowledged"
        )

    def _pause(self) -> None:
        self._pauses += 1
        sleep(min(_LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(self._pauses, 6)))


def _storable(value: Any) -> Any:
    return value.replace("\0", "\\0") if isinstance(value, str) and "\0" in value else value


def _without_values(error: psycopg.Error) -> Exception:
    """Return an error about a value as one that does not quote the row; another one as it is."""
    return ValueRefused(said(error)) if is_authors(error) else error
