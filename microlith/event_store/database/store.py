"""What the application sees of an event store in a database.

Messages are encoded on the caller's thread, so that a bad one is refused before it is queued and the others' commit
goes on meanwhile. Reads go to connections of their own and never wait for the writer.

Decides nothing itself: see `writer` and `reading`.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from microlith.envelope import Envelope
from microlith.errors import (
    MicrolithError,
    PayloadError,
    StoreAwayError,
    StoreError,
    StoreUnavailableError,
    UnknownTypeError,
    WrongBusError,
)
from microlith.event_store.database import dead_letters, following, recovering, schedules
from microlith.event_store.database.batch import Prepared, TimedWrite, Write
from microlith.event_store.database.codec import ChainCheck
from microlith.event_store.database.erasing import erase
from microlith.event_store.database.reading import ForkedError, LogReader, Readers
from microlith.event_store.database.rebuilding import Pin, rebuild
from microlith.event_store.database.rows import DatabaseRows
from microlith.event_store.database.schedules import ScheduleReader
from microlith.event_store.database.scheduling import PreparedChange, head_of
from microlith.event_store.database.snapshots import DatabaseSnapshots
from microlith.event_store.database.writer import WAITING_LIMIT, Durability, Writer
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.protocol import (
    Acceptance,
    DeadLetter,
    Done,
    KeyedLetters,
    PendingCommand,
    Projecting,
    ProjectionState,
    Reached,
    Rebuilt,
    RecordedEvent,
    RowReader,
    Settlement,
    Unit,
)
from microlith.event_store.records import StoredType, write_facts, write_stream
from microlith.event_store.schedule import FIRST, Cancelling, Change, Schedule, Turn
from microlith.event_store.sharing import LedElsewhereError, Sharing
from microlith.messages import Message
from microlith.serialization import MessageTypes

_MOST_AT_ONCE = 1000
_PAGE = 500

T = TypeVar("T")
Way = tuple[StoredType, str | None, str]

_NULL = b"null"


class StoreBusyError(StoreUnavailableError):
    """More writes wait than the store takes from outside; this one was not queued."""

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} writes are waiting already",
            hint="Await the receipt of each dispatch: that slows the sender to the speed of the disk.",
        )


class DatabaseEventStore(DatabaseSnapshots, ABC):
    """Keeps events, commands and read models in one database.

    Args:
        types: The application's message types.
        durability: "durable": each commit is on the disk before it is acknowledged. "fast": a power cut may take
            the newest commits; what remains is the log up to some position.
    """

    def __init__(self, types: MessageTypes, durability: Durability) -> None:
        self._types = types
        self._durability: Durability = durability
        self._pid = 0
        self._ways: dict[type[Message], Way] = {}

    @property
    def durability(self) -> Durability:
        """What survives a power cut: everything acknowledged, or all but the newest."""
        return self._durability

    @property
    @abstractmethod
    def engine(self) -> str:
        """What keeps the events, with its version."""
        ...

    @property
    def failure(self) -> StoreError | None:
        """Why the store stopped writing for good; None while it writes."""
        return self._writer.failure if self._pid else None

    @property
    def leads(self) -> bool:
        """Whether this process may do what only one may: it owns the store, or leads those who share it."""
        return True

    @property
    def sharing(self) -> Sharing | None:
        """What the processes that share the store need of each other; None where one process owns it."""
        return None

    @abstractmethod
    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Take ownership, check the end of the log, and bring the projections up to it."""
        ...

    @abstractmethod
    async def close(self) -> None:
        """Finish the writes under way and let go. Safe to call twice."""
        ...

    @abstractmethod
    def _pin(self) -> Pin:
        """Return a connection that can see the database as it was at one moment."""
        ...

    @abstractmethod
    async def _look(self, read: Callable[..., T], /, *arguments: Any, many: bool = False) -> T:
        """Have something read where it may wait for the database; `many`: it takes longer than a few rows."""
        ...

    def _opened(self, writer: Writer, readers: Readers) -> None:
        """Begin to serve."""
        self._pid = os.getpid()
        self._ways = {}
        self._writer = writer
        self._readers = readers
        self._reader = LogReader(readers, writer.state.numbered, self._types, lambda: writer.state.head)
        self._schedules = ScheduleReader(readers, writer.state.numbered, self._types)
        self._rows = DatabaseRows(readers)
        self._rebuilding = asyncio.Lock()

    def record(self, envelope: Envelope[Any], done: Done) -> Acceptance:
        """Record one command or event; `done` is called after the commit."""
        if os.getpid() != self._pid:
            self._check_process()
        writer = self._writer
        try:
            if writer.waiting >= WAITING_LIMIT and envelope.causation_id is None:
                raise StoreBusyError(writer.waiting)
            prepared = self._prepare(envelope, None)
        except MicrolithError as error:
            done(None, error)
        else:
            writer.record((prepared, done))
        return Acceptance.UNDER_WAY

    def complete(self, unit: Unit, done: Done) -> None:
        """Write a unit, all or none; `done` is called after the commit."""
        self._check_process()
        settlement = unit.settlement
        try:
            if settlement is None and self._writer.waiting >= WAITING_LIMIT:
                raise StoreBusyError(self._writer.waiting)
            places = unit.places
            if places is None:
                messages = [self._prepare(envelope, unit.stream) for envelope in unit.envelopes]
            else:
                messages = [
                    self._prepare(one, places[one.message_id].stream if one.message_id in places else unit.stream)
                    for one in unit.envelopes
                ]
            changes = [self._prepare_change(change) for change in unit.changes] if unit.changes else ()
            letter = None if settlement is None else self._letter(settlement)
        except MicrolithError as error:
            done(None, error)
        else:
            if changes or unit.takes is not None:
                self._writer.put(
                    TimedWrite(messages, settlement, letter, unit.expected_position, done, places, changes, unit.takes)
                )
            else:
                self._writer.put(Write(messages, settlement, letter, unit.expected_position, done, places))

    def settle(self, settlement: Settlement) -> None:
        """Settle a message whose handler sent nothing; committed within a few milliseconds."""
        self._check_process()
        try:
            letter = self._letter(settlement)
        except StoreAwayError:  # the keys are away; what was recorded here keeps the payload
            letter = _NULL
        self._writer.put(Write((), settlement, letter))

    def settle_command(self, envelope: Envelope[Any]) -> None:
        """Settle a command whose handler ended well and sent nothing."""
        self.settle(Settlement("", envelope))

    async def flush(self) -> None:
        """Return when everything handed in so far is committed."""
        self._check_process()
        await self._writer.do(self._writer.settle_left_over)

    async def head(self) -> int:
        """Return the last global position; -1 for an empty log."""
        return self._writer.state.head

    async def read(self, stream: str, *, after: int = -1, limit: int = 500) -> list[RecordedEvent]:
        """Read one stream in order, after a stream position."""
        after = max(after, -1)
        return await self._look(self._reader.stream, stream, after, limit, many=limit > _MOST_AT_ONCE)

    async def newest(self, stream: str) -> RecordedEvent | None:
        """Read the last event of a stream."""
        return await self._look(self._reader.newest, stream)

    async def is_recorded(self, message_id: str) -> bool:
        """Tell whether an event with this message id is in the log."""
        return await self._look(self._reader.is_recorded, message_id)

    async def read_all(
        self, *, after: int = -1, limit: int = 500, types: Collection[str] | None = None
    ) -> list[RecordedEvent]:
        """Read the log in order, after a global position; `types` are class names."""
        after = max(after, -1)
        scanned = limit if types is None else self._writer.state.head - after
        return await self._look(self._reader.all, after, limit, types, many=scanned > _MOST_AT_ONCE)

    async def read_correlation(self, correlation_id: str) -> list[RecordedEvent]:
        """Read the events of one correlation, in order."""
        return await self._look(self._reader.correlation, correlation_id)

    async def pending_commands(self, *, after: int = -1, limit: int = 500) -> list[PendingCommand]:
        """Read commands that are not settled, in order of acceptance. What fits no class any more is a dead letter."""
        if self.sharing is not None and after < 0:  # what others have accepted is this one's to carry on
            await self._writer.do(self._writer.learn_pending)
        return await recovering.pending_commands(self._writer, self._reader, after, limit, self._look)

    async def begin_again(self, handler: str, envelope: Envelope[Any]) -> int:
        """Count, durably, that a message is tried again; return the count."""
        self._check_process()
        return await recovering.begin_again(self._writer, handler, envelope)

    async def uncount(self, begun: Sequence[tuple[str, Envelope[Any]]]) -> None:
        """Take back counts of messages that a stop has cut off."""
        self._check_process()
        await recovering.uncount(self._writer, begun)

    async def arrived(self, message_id: str) -> int | None:
        """Return the digest of a settled command that came over a transport."""
        return await self._look(self._reader.arrived, message_id)

    async def checkpoint(self, handler: str, *, start: int) -> tuple[int, frozenset[int]]:
        """Return a handler's checkpoint and the finished positions above it; a new handler starts at `start`."""
        self._check_process()
        return await recovering.checkpoint(self._writer, handler, start)

    async def carry_on(self, group: str, names: Collection[str], *, start: int) -> dict[str, int]:
        """Have checkpoints of these names, and no others whose name begins with the group's; return them."""
        self._check_process()
        return await recovering.carry_on(self._writer, group, names, start)

    async def failure_of(self, correlation_id: str) -> tuple[str, str, str] | None:
        """Return (handler, message type, error text) of the first dead letter of a correlation."""
        return await self._look(self._reader.failure, correlation_id)

    async def dead_letters(self, *, after: int = 0, limit: int = 500) -> list[DeadLetter]:
        """Read dead letters in the order of failing."""
        return await self._look(self._reader.dead_letters, after, limit)

    async def dead_letter(self, sequence: int) -> DeadLetter | None:
        """Read one dead letter."""
        return await self._look(dead_letters.read, self._reader, sequence)

    async def dead_message(self, letter: DeadLetter) -> Envelope[Message]:
        """Read the message of a dead letter in its envelope."""
        numbered = self._writer.state.numbered
        return await self._look(dead_letters.message_of, letter, self._reader, self._readers, numbered, self._types)

    async def keyed_letters(self) -> list[KeyedLetters]:
        """Sum up the dead letters that have a key."""
        return await self._look(self._reader.keyed_letters)

    async def first_letter(self, handler: str, key: str) -> DeadLetter | None:
        """Read the first dead letter of a handler's key."""
        return await self._look(self._reader.first_letter, handler, key)

    async def drop_dead_letter(self, sequence: int) -> bool:
        """Remove a dead letter; tell whether there was one."""
        self._check_process()
        return await dead_letters.drop(self._writer, sequence)

    async def schedules(self, *, after: Turn = FIRST, limit: int = 500, failed: bool = False) -> list[Schedule]:
        """Read schedules in the order in which they are due, after a turn."""
        return await self._look(self._schedules.page, after, limit, failed)

    async def schedule(self, message_id: str) -> Schedule | None:
        """Read one schedule."""
        return await self._look(self._schedules.one, message_id)

    async def due_schedules(self, wall: float, steady: float, *, limit: int = 500) -> list[Schedule]:
        """Read what is due and was not tried in vain, in order."""
        return await self._look(self._schedules.due, wall, steady, limit)

    async def next_due(self) -> tuple[float, float]:
        """Return when the first is due, by either clock."""
        return await self._look(self._schedules.next_due)

    async def cancel_schedule(self, message_id: str) -> bool:
        """Remove a schedule; tell whether there was one."""
        self._check_process()
        return await schedules.cancel(self._writer, message_id)

    async def fail_schedule(self, message_id: str, error: str) -> None:
        """Note why a schedule could not be sent."""
        self._check_process()
        await schedules.fail(self._writer, message_id, error)

    @property
    def rows(self) -> RowReader:
        """Reads the live read models; from any thread."""
        return self._rows

    async def look(self, read: Callable[..., T], /, *arguments: Any) -> T:
        """Read rows where that may wait for the database."""
        return await self._look(read, *arguments)

    def reached(self, name: str) -> Reached:
        """Return how far a projection has come."""
        standing = self._writer.projections.standing(name)
        return Reached(standing.checkpoint, standing.error)

    def watch(self, grown: Callable[[], None]) -> None:
        """Have a function called soon after each commit that appended events."""
        self._writer.watching.append(grown)

    async def advance(self, name: str, limit: int = 500) -> Reached:
        """Fold the next events into a projection that is not inline."""
        self._check_process()
        if self._writer.projections.standing(name).outdated is not None:
            async with self._rebuilding:
                await following.replace_outdated(name, self._writer, self._reader, self._pin)
        return await following.advance(name, self._writer, self._reader, limit, self._look)

    async def note_reached(self, name: str, checkpoint: int, error: str | None = None) -> None:
        """Note how far a projection has come that keeps its rows elsewhere."""
        self._check_process()
        await following.note_reached(name, self._writer, checkpoint, error)

    async def projection_states(self) -> list[ProjectionState]:
        """Return where every projection stands."""
        return await self._look(self._states, many=True)

    async def rebuild(self, name: str, progress: Callable[[int, int], None]) -> Rebuilt:
        """Build a projection anew beside the live one and switch at once."""
        self._check_leads("Building a projection anew")
        async with self._rebuilding:
            return await rebuild(name, self._writer, self._reader, self._pin(), progress)

    async def restore(self, copies: Iterable[EventCopy]) -> int:
        """Append copies of events as they were recorded elsewhere, in one transaction; return how many.

        Raises:
            RestoreError: One does not continue the log; nothing was written.
        """
        self._check_leads("Restoring events")
        async with self._rebuilding:
            return await self._writer.do(lambda: self._writer.restore(copies))

    @property
    def erasures(self) -> int:
        """Odd while an erasure is under way; grows with each beginning and end."""
        return 0 if self._types.keys is None else self._types.keys.erasures

    async def erase(self, subjects: Collection[str]) -> list[str]:
        """Destroy the keys of subjects and take away what is left in clear; return the rebuilt projections."""
        self._check_process()
        keys = self._types.keys
        if keys is None:
            return []
        async with self._rebuilding:
            return await erase(subjects, keys, self._writer, self._reader, self._readers, self._pin)

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Walk the whole log, check both checksums of every event, and what the database can check of itself.

        Raises:
            CorruptionError: Names the first damaged position.
        """
        chain = ChainCheck()
        while await self._look(self._reader.check_chain, chain, _PAGE, many=True):
            if progress is not None:
                progress(chain.position + 1, self._writer.state.head + 1)
        await self._look(self._reader.check_structure, many=True)
        return chain.position + 1

    def _prepare(self, envelope: Envelope[Any], stream: str | None) -> Prepared:
        message = envelope.message
        data = self._types.encode(message, envelope.message_id)
        facts = write_facts(envelope)
        stored, own_stream, prefix = self._ways.get(type(message)) or self._way(type(message))
        if own_stream is not None and stream is not None:
            own_stream, prefix = stream, write_stream(stream)
        return envelope, stored, data, facts, own_stream, prefix

    def _prepare_change(self, change: Change) -> PreparedChange:
        if isinstance(change, Cancelling):
            return change
        _, stored, data, facts, _, _ = self._prepare(change.envelope, None)
        return change, stored, data, head_of(change, facts)

    def _way(self, cls: type[Message]) -> Way:
        """Remember what is the same for every message of a class."""
        entry = self._types.of(cls)
        if entry.kind not in ("command", "event"):
            raise WrongBusError(entry.name, entry.kind, "event")
        stored = self._writer.state.numbered.of(entry)
        stream = entry.component if entry.kind == "event" else None
        self._ways[cls] = way = (stored, stream, "" if stream is None else write_stream(stream))
        return way

    def _letter(self, settlement: Settlement) -> bytes | None:
        if settlement.error is None:
            return None
        try:
            return self._types.encode(settlement.envelope.message, settlement.envelope.message_id)
        except (PayloadError, UnknownTypeError):
            return _NULL

    def _check_leads(self, what: str) -> None:
        self._check_process()
        if self.sharing is not None and not self.leads:
            raise LedElsewhereError(what, self.sharing.leader)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(self._pid) if self._pid else StoreUnavailableError("it is not open")

    def _states(self) -> list[ProjectionState]:
        return [
            ProjectionState(
                name,
                standing.checkpoint,
                standing.error,
                sum(self._rows.count(table, {}) for table in standing.projecting.tables),
            )
            for name, standing in self._writer.projections.standings.items()
        ]
