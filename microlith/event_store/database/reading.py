"""Reading: the log as events, and what lends connections to those who read.

Every read is one short statement, so no transaction is ever left open. Any thread may read; two threads never share a
connection at the same time.

Serves nothing that does not match its checksum.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

from pydantic_core import to_json

from microlith.errors import CorruptionError, StoreUnavailableError
from microlith.event_store.database.codec import (
    ChainCheck,
    StoredTypes,
    damaged,
    is_sound,
    misplaced,
    missing,
    read_events,
)
from microlith.event_store.database.dialect import Dialect
from microlith.event_store.database.session import Source
from microlith.event_store.database.statements import statements
from microlith.event_store.protocol import DeadLetter, KeyedLetters, RecordedEvent
from microlith.event_store.records import Decoding, StoredEvent
from microlith.event_store.unit import arrival_mark
from microlith.serialization import MessageTypes

T = TypeVar("T")


class Look(Protocol):
    """Has something read, by whoever may wait for the database."""

    async def __call__(self, read: Callable[..., T], /, *arguments: Any, many: bool = False) -> T:
        """Return what `read` returns; `many`: it takes longer than a few rows."""
        ...


class ForkedError(StoreUnavailableError):
    """The store is used in a process that was forked from the one that opened it."""

    def __init__(self, owner: int) -> None:
        super().__init__(
            f"process {owner} opened it, and this is process {os.getpid()}, forked from that one",
            hint="Start worker processes with the 'spawn' method; one process owns a store.",
        )


class Readers(ABC):
    """Connections that only read, lent one statement at a time. Belong to the process that made them.

    Attributes:
        dialect: The dialect of the database.
    """

    dialect: Dialect

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._closed = False
        self._sql = statements(f"{self.dialect.name}_reading.sql")

    @abstractmethod
    def run(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement and return its rows.

        Raises:
            CorruptionError: The database is damaged where it was read.
            StoreUnavailableError: The store is closed.
            ForkedError: This process is a fork.
        """
        ...

    def named(self, name: str, *values: Any) -> list[Any]:
        """Run a statement of the file for reading and return its rows."""
        return self.run(self._sql[name], values)

    @abstractmethod
    def close(self) -> None:
        """Close them all; one that is lent is closed when it comes back. Safe to call twice."""
        ...

    def check_open(self) -> None:
        """Refuse to read where nothing can be read.

        Raises:
            StoreUnavailableError: The store is closed.
            ForkedError: This process is a fork.
        """
        if os.getpid() != self._pid:
            raise ForkedError(self._pid)
        if self._closed:
            raise StoreUnavailableError("it is closed", hint="Read while the application runs.")


class LogReader:
    """The log as events, checked."""

    def __init__(self, source: Source, numbered: StoredTypes, types: MessageTypes, head: Callable[[], int]) -> None:
        self._run = source.run
        self._numbered = numbered
        self._decoding = Decoding(types)
        self._head = head
        self._sql = statements(f"{source.dialect.name}_reading.sql")

    @property
    def head(self) -> int:
        """Where the log ends, as far as the reader knows; there may be more."""
        return self._head()

    def forget(self) -> None:
        """Forget the message that was decoded last."""
        self._decoding.last = (None, None)

    def all(self, after: int, limit: int, names: Collection[str] | None = None) -> list[RecordedEvent]:
        """Read the log in order; `names` are class names.

        Raises:
            CorruptionError: An event is damaged or missing.
        """
        if names is not None:
            numbers = to_json(self._numbered.numbers(names)).decode()
            return self._events(self._run(self._sql["select_all_of_types"], (after, numbers, limit)))
        least = min(self._head() - after, limit)
        rows = self._run(self._sql["select_all"], (after, limit))
        if len(rows) < least:
            raise self._missing_after(after, least) or missing(after + 1 + len(rows))
        # Positions have no gaps, so they are not read but counted; the checksum covers them.
        positions = range(after + 1, after + 1 + len(rows))
        try:
            return read_events(positions, rows, self._numbered, self._decoding)
        except CorruptionError as error:
            raise self._missing_after(after, len(rows)) or error from None

    def stream(self, stream: str, after: int, limit: int) -> list[RecordedEvent]:
        """Read one stream in order.

        Raises:
            CorruptionError: An event is damaged or missing.
        """
        events = self._events(self._run(self._sql["select_stream"], (findable(stream), after, limit)))
        for expected, event in enumerate(events, after + 1):
            if event.stream != stream:
                raise misplaced(event.position)
            if event.stream_position != expected:
                raise CorruptionError(f"stream {stream!r}", f"the event at stream position {expected} is missing")
        return events

    def newest(self, stream: str) -> RecordedEvent | None:
        """Read the last event of a stream.

        Raises:
            CorruptionError: It is damaged, or stands elsewhere.
        """
        events = self._events(self._run(self._sql["select_newest"], (findable(stream),)))
        if events and events[0].stream != stream:
            raise misplaced(events[0].position)
        return events[0] if events else None

    def is_recorded(self, message_id: str) -> bool:
        """Tell whether an event with this message id is in the log."""
        return bool(self._run(self._sql["select_event_id"], (findable(message_id),)))

    def correlation(self, correlation_id: str) -> list[RecordedEvent]:
        """Read one correlation in order.

        Raises:
            CorruptionError: An event is damaged, or does not belong there.
        """
        events = self._events(self._run(self._sql["select_correlation"], (findable(correlation_id),)))
        for event in events:
            if event.correlation_id != correlation_id:
                raise misplaced(event.position)
        return events

    def check_chain(self, chain: ChainCheck, limit: int) -> int:
        """Add the next events to a check of the chain; return how many there were.

        Raises:
            CorruptionError: An event is damaged or missing, or the log does not end with a checksum.
        """
        after = chain.position
        least = min(self._head() - after, limit)
        rows = self._run(self._sql["select_chain"], (after, limit))
        gap = self._missing_after(after, max(least, len(rows)))
        if gap is not None:
            raise gap
        self._events([row[:5] for row in rows])
        for position, number, head, data, _, kept in rows:
            chain.add(position, self._numbered.by_number[number], head, data, kept)
        if not rows and not chain.whole:
            raise damaged(after)
        return len(rows)

    def pending(self, after: int, limit: int) -> list[tuple[int, int, StoredEvent]]:
        """Read unsettled commands: number, attempts, and what is stored of each.

        Raises:
            CorruptionError: A command does not match its checksum.
        """
        found = []
        for sequence, number, head, data, crc, attempts in self._run(self._sql["select_pending"], (after, limit)):
            if not is_sound(sequence, (number, head, data, crc), self._numbered):
                raise CorruptionError(f"command {sequence}", "the stored bytes do not match their checksum")
            stored = self._numbered.by_number[number]
            found.append((sequence, attempts, StoredEvent(sequence, stored, head, data, self._decoding)))
        return found

    def arrived(self, message_id: str) -> int | None:
        """Return the digest of a settled command that came over a transport."""
        found = self._run(self._sql["select_arrived"], (findable(arrival_mark(message_id)),))
        return int(found[0][0]) if found else None

    def failure(self, correlation_id: str) -> tuple[str, str, str] | None:
        """Return (handler, message type, error text) of the first dead letter of a correlation."""
        found = self._run(self._sql["select_failure"], (findable(correlation_id),))
        return found[0] if found else None

    def dead_letters(self, after: int, limit: int) -> list[DeadLetter]:
        """Read dead letters in the order of failing."""
        rows = self._run(self._sql["select_dead_letters"], (after, limit))
        return [DeadLetter(*row) for row in rows]

    def first_letter(self, handler: str, key: str) -> DeadLetter | None:
        """Read the first dead letter of a handler's key."""
        sequence = self._run(self._sql["select_first_letter"], (handler, findable(key)))[0][0]
        return None if sequence is None else self.dead_letters(sequence - 1, 1)[0]

    def keyed_letters(self) -> list[KeyedLetters]:
        """Sum up the dead letters that have a key."""
        return [KeyedLetters._make(row) for row in self._run(self._sql["select_keyed_letters"], ())]

    def check_structure(self) -> None:
        """Check what holds the log itself, as far as the database can.

        Raises:
            CorruptionError: Quotes what the database found first.
        """
        found = self._run(self._sql["check_structure"], ())[0][0]
        if found != "ok":
            raise CorruptionError("the database", str(found))

    def _events(self, rows: Sequence[tuple[int, int, bytes, bytes, int]]) -> list[RecordedEvent]:
        return read_events([row[0] for row in rows], [row[1:] for row in rows], self._numbered, self._decoding)

    def _missing_after(self, after: int, count: int) -> CorruptionError | None:
        """Positions have no gaps: find the first of so many that is not there."""
        there = {position for (position,) in self._run(self._sql["select_positions"], (after, count))}
        gap = next((position for position in range(after + 1, after + 1 + count) if position not in there), None)
        return None if gap is None else missing(gap)


def findable(sought: str) -> str:
    """Make a text that is no Unicode fit to be looked for; nothing is stored under it, so nothing is found."""
    return sought.encode("utf-8", "backslashreplace").decode()
