"""The event store in memory: everything at once, nothing on disk.

Everything happens within the call, on the caller's thread; messages are kept as objects and are not encoded
before somebody asks for their bytes. The newest ids of settled commands are remembered, for duplicates.

Keeps nothing when its process ends.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, Literal, TypeVar

from microlith.envelope import Envelope
from microlith.errors import PositionConflictError, StoreError
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.memory_copies import MemoryCopies, check_copies
from microlith.event_store.memory_erasing import erase
from microlith.event_store.memory_projections import MemoryProjections
from microlith.event_store.memory_put_aside import MemoryPutAside
from microlith.event_store.memory_snapshots import MemorySnapshots
from microlith.event_store.protocol import (
    Acceptance,
    Committed,
    Done,
    PendingCommand,
    Projecting,
    ProjectionState,
    Reached,
    Rebuilt,
    RecordedEvent,
    RowReader,
    Settlement,
    Unit,
    message_ids,
)
from microlith.event_store.records import AppendedEvent, StoredType, write_stream
from microlith.event_store.unit import arrival_mark, carried_on
from microlith.messages import Message
from microlith.privacy.keys import KeyRing, KeysInMemory
from microlith.serialization import MessageTypes

REMEMBERED = 500_000
"""How many ids of settled commands are remembered at least; twice as many at most."""
PAGE = 1000
SLICE = 100
"""Events that are folded at a time into a projection that is not inline."""

T = TypeVar("T")

_RECORDED = Acceptance.RECORDED
_UNDER_WAY = Acceptance.UNDER_WAY
_DUPLICATE = Acceptance.DUPLICATE


class MemoryEventStore(MemorySnapshots, MemoryPutAside):
    """Keeps events, commands and read models in this process only."""

    durability: Literal["memory"] = "memory"
    engine = "memory"
    failure: StoreError | None = None

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._log: list[RecordedEvent] = []
        # Ids are kept in dictionaries without values: unlike a set, one of those is no work for the garbage collector.
        self._event_ids: dict[str, None] = {}
        self._streams: dict[str, list[RecordedEvent]] = {}
        MemorySnapshots.__init__(self, self._streams)
        MemoryPutAside.__init__(self, types)
        self._correlations: dict[str, list[RecordedEvent]] = {}
        self._pending: dict[str, Envelope[Any]] = {}
        self._numbered: dict[str, int] = {}
        self._sequence = 0
        self._settled: dict[str, int | None] = {}
        self._settled_before: dict[str, int | None] = {}
        self._checkpoints: dict[str, tuple[int, set[int]]] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._stored: dict[type, StoredType] = {}
        self._projections = MemoryProjections(())
        self._rebuilding = asyncio.Lock()
        self._keys: KeyRing | None = None

    leads = True
    sharing = None

    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Build the read models from what the log holds."""
        if self._types.personal:
            self._types.keys = self._keys = self._keys or KeyRing(KeysInMemory())
        self._projections = MemoryProjections(projections)
        self._projections.apply(self._log)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def record(self, envelope: Envelope[Any], done: Done) -> Acceptance:
        """Record one command or event."""
        message_id = envelope.message_id
        if envelope.message.__kind__ == "command":
            if message_id in self._pending or message_id in self._settled or message_id in self._settled_before:
                return _DUPLICATE
            self._pending[message_id] = envelope
            return _RECORDED
        if message_id in self._event_ids:
            return _DUPLICATE
        event = self._append(envelope, None)
        self._projections.apply((event,))
        done(Committed((event,)), None)
        return _UNDER_WAY

    def complete(self, unit: Unit, done: Done) -> None:
        """Write a unit, all or none."""
        settlement = unit.settlement
        if (settlement is not None and self._is_settled(settlement)) or (
            unit.takes is not None and not self._schedules.has(unit.takes)
        ):
            done(Committed((), message_ids(unit)), None)
            return
        fresh: dict[str, Envelope[Any]] = {}
        duplicates: list[str] = []
        for envelope in unit.envelopes:
            if self._is_known(envelope.message_id) or envelope.message_id in fresh:
                duplicates.append(envelope.message_id)
            else:
                fresh[envelope.message_id] = envelope
        conflict = self._conflict(unit, fresh.values()) or self._schedules.refusal(unit.changes)
        if conflict is not None:
            done(None, conflict)
            return
        events: list[RecordedEvent] = []
        for envelope in fresh.values():
            if envelope.message.__kind__ == "command":
                self._pending[envelope.message_id] = envelope
            else:
                events.append(self._append(envelope, _stream(unit, envelope.message_id)))
        if settlement is not None:
            self._settle(settlement)
        if unit.changes or unit.takes is not None:
            duplicates += self._schedules.apply(unit.changes, unit.takes)
        if events:
            self._projections.apply(events)
        done(Committed(events, duplicates), None)

    def settle(self, settlement: Settlement) -> None:
        """Settle a message whose handler sent nothing."""
        if not self._is_settled(settlement):
            self._settle(settlement)

    def settle_command(self, envelope: Envelope[Any]) -> None:
        """Settle a command whose handler ended well and sent nothing."""
        message_id = envelope.message_id
        self._pending.pop(message_id, None)
        self._settled[message_id] = None
        if len(self._settled) >= REMEMBERED:
            self._settled, self._settled_before = {}, self._settled
        if self._attempts:
            self._attempts.pop(("", message_id), None)

    async def flush(self) -> None:
        """Return at once: nothing is ever under way."""

    async def head(self) -> int:
        """Return the last global position; -1 for an empty log."""
        return len(self._log) - 1

    async def read(self, stream: str, *, after: int = -1, limit: int = 500) -> list[RecordedEvent]:
        """Read one stream in order, after a stream position."""
        begin = max(after, -1) + 1
        return self._streams.get(stream, [])[begin : begin + limit]

    async def newest(self, stream: str) -> RecordedEvent | None:
        """Read the last event of a stream."""
        events = self._streams.get(stream)
        return events[-1] if events else None

    async def is_recorded(self, message_id: str) -> bool:
        """Tell whether an event with this message id is in the log."""
        return message_id in self._event_ids

    async def read_all(
        self, *, after: int = -1, limit: int = 500, types: Collection[str] | None = None
    ) -> list[RecordedEvent]:
        """Read the log in order, after a global position."""
        begin = max(after, -1) + 1
        if types is None:
            return self._log[begin : begin + limit]
        return list(islice((event for event in islice(self._log, begin, None) if event.type in types), limit))

    async def read_correlation(self, correlation_id: str) -> list[RecordedEvent]:
        """Read the events of one correlation, in order."""
        return list(self._correlations.get(correlation_id, ()))

    async def pending_commands(self, *, after: int = -1, limit: int = 500) -> list[PendingCommand]:
        """Read commands that are not settled, in order of acceptance."""
        # Numbers are given when somebody asks, not for each command: hardly any is still pending then.
        known = self._numbered
        self._numbered = numbered = {}
        for message_id in self._pending:
            number = known.get(message_id)
            if number is None:
                self._sequence = number = self._sequence + 1
            numbered[message_id] = number
        found = (
            PendingCommand(self._pending[message_id], number, self._attempts.get(("", message_id), 0))
            for message_id, number in numbered.items()
            if number > after
        )
        return list(islice(found, limit))

    async def begin_again(self, handler: str, envelope: Envelope[Any]) -> int:
        """Count that a message is tried again."""
        key = ("" if envelope.message.__kind__ == "command" else handler, envelope.message_id)
        self._attempts[key] = attempts = self._attempts.get(key, 0) + 1
        return attempts

    async def uncount(self, begun: Sequence[tuple[str, Envelope[Any]]]) -> None:
        """Take back counts of messages that a stop has cut off."""
        for handler, envelope in begun:
            key = ("" if envelope.message.__kind__ == "command" else handler, envelope.message_id)
            if self._attempts.get(key, 0) > 0:
                self._attempts[key] -= 1

    async def arrived(self, message_id: str) -> int | None:
        """Return the digest of a settled command that came over a transport."""
        mark = arrival_mark(message_id)
        return self._settled.get(mark, self._settled_before.get(mark))

    async def checkpoint(self, handler: str, *, start: int) -> tuple[int, frozenset[int]]:
        """Return a handler's checkpoint and the finished positions above it."""
        checkpoint, finished = self._checkpoints.setdefault(handler, (start, set()))
        return checkpoint, frozenset(finished)

    async def carry_on(self, group: str, names: Collection[str], *, start: int) -> dict[str, int]:
        """Have checkpoints of these names, and no others of the group."""
        there = {name: at for name, (at, _) in self._checkpoints.items() if name.startswith(group)}
        kept = carried_on(there, names, start)
        for name in there:
            del self._checkpoints[name]
        self._checkpoints.update({name: (at, set()) for name, at in kept.items()})
        return kept

    @property
    def rows(self) -> RowReader:
        """Reads the live read models."""
        return self._projections.rows

    async def look(self, read: Callable[..., T], /, *arguments: Any) -> T:
        """Read rows."""
        return read(*arguments)

    def reached(self, name: str) -> Reached:
        """Return how far a projection has come."""
        projection = self._projections.find(name)
        return Reached(projection.checkpoint, projection.error)

    def watch(self, grown: Callable[[], None]) -> None:
        """Have a function called soon after each commit that appended events."""
        loop, soon = asyncio.get_running_loop(), False

        def now() -> None:
            nonlocal soon
            soon = False
            grown()

        def tell() -> None:
            nonlocal soon
            if not soon:
                soon = True
                loop.call_soon(now)

        self._projections.watch(tell)

    async def advance(self, name: str, limit: int = 500) -> Reached:
        """Fold the next events into a projection that is not inline."""
        reached, end = self.reached(name), len(self._log) - 1
        while reached.error is None and reached.checkpoint < end and limit > 0:
            before = reached.checkpoint
            reached = self._projections.advance(name, self._log, min(limit, SLICE))
            limit -= max(reached.checkpoint - before, 1)
            await asyncio.sleep(0)  # let live writes go on
        return reached

    async def note_reached(self, name: str, checkpoint: int, error: str | None = None) -> None:
        """Note how far a projection has come that keeps its rows elsewhere."""
        self._projections.note(name, checkpoint, error)

    async def projection_states(self) -> list[ProjectionState]:
        """Return where every projection stands."""
        return self._projections.states()

    async def rebuild(self, name: str, progress: Callable[[int, int], None]) -> Rebuilt:
        """Build a projection anew beside the live one and switch at once."""
        async with self._rebuilding:
            begun = monotonic()
            shadow = self._projections.shadow(name)
            while (read := shadow.checkpoint + 1) < len(self._log):
                progress(read, len(self._log))
                await asyncio.sleep(0)  # let live writes go on
                shadow.apply_or_raise(self._log[read : read + PAGE])
            progress(len(self._log), len(self._log))
            before, after = self._projections.switch(shadow)
            return Rebuilt(name, len(self._log), monotonic() - begun, before, after)

    async def verify(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Return the number of events: memory has no checksums to check."""
        if progress is not None:
            progress(len(self._log), len(self._log))
        return len(self._log)

    @property
    def erasures(self) -> int:
        """Odd while an erasure is under way; grows with each beginning and end."""
        return 0 if self._keys is None else self._keys.erasures

    async def erase(self, subjects: Collection[str]) -> list[str]:
        """Destroy the keys of subjects, and read everything anew that was sealed with them."""
        keys = self._keys
        if keys is None:
            return []
        async with self._rebuilding:
            keys.begin()
            await self.drop_snapshots()
            rebuilt = erase(
                lambda: keys.destroy(subjects),
                self._types,
                self._log,
                self._pending,
                self._dead_letters,
                self._projections,
            )
            keys.end()
            return rebuilt

    async def restore(self, copies: Iterable[EventCopy]) -> int:
        """Append copies of events as they were recorded elsewhere, all or none; return how many.

        Raises:
            RestoreError: One does not continue the log; nothing was written.
        """
        checked = check_copies(copies, lambda stream: len(self._streams.get(stream, ())) - 1, self._is_known)
        before, making = len(self._log) - 1, MemoryCopies(self._types)
        for copy in checked:
            event = making.event(copy, len(self._log))
            self._log.append(event)
            self._event_ids[copy.message_id] = None
            self._streams.setdefault(copy.stream, []).append(event)
            self._correlations.setdefault(copy.correlation_id, []).append(event)
        self._projections.apply(self._log[before + 1 :])
        for handler in self._checkpoints:
            self._checkpoints[handler] = (len(self._log) - 1, set())
        return len(checked)

    def _is_known(self, message_id: str) -> bool:
        return message_id in self._pending or self._is_settled_command(message_id) or message_id in self._event_ids

    def _is_settled_command(self, message_id: str) -> bool:
        return message_id in self._settled or message_id in self._settled_before

    def _conflict(self, unit: Unit, envelopes: Collection[Envelope[Any]]) -> PositionConflictError | None:
        if unit.expected_position is None and unit.places is None:
            return None
        expected = unit.expected_position
        for envelope in envelopes:
            if envelope.message.__kind__ != "command":
                place = unit.places.get(envelope.message_id) if unit.places else None
                if place is not None:
                    conflict = self._stale(place.stream, place.expected_position)
                else:
                    conflict = self._stale(unit.stream or self._types.of(type(envelope.message)).component, expected)
                    expected = None  # the first one of the unit's stream speaks for all
                if conflict is not None:
                    return conflict
        return None

    def _stale(self, stream: str, expected: int | None) -> PositionConflictError | None:
        actual = len(self._streams.get(stream, ())) - 1
        if actual < 0:
            write_stream(stream)  # what no store on disk takes is refused here, too
        return None if expected is None or expected == actual else PositionConflictError(stream, expected, actual)

    def _append(self, envelope: Envelope[Message], stream: str | None) -> AppendedEvent:
        stored = self._stored.get(type(envelope.message)) or self._store_type(type(envelope.message))
        stream = stream or stored.component
        siblings = self._streams.setdefault(stream, [])
        event = AppendedEvent(envelope, stored, self._types, len(self._log), stream, len(siblings))
        self._log.append(event)
        self._event_ids[envelope.message_id] = None
        siblings.append(event)
        self._correlations.setdefault(envelope.correlation_id, []).append(event)
        return event

    def _store_type(self, cls: type[Message]) -> StoredType:
        entry = self._types.of(cls)
        self._stored[cls] = stored = StoredType(len(self._stored), entry.component, entry.name, entry.version)
        return stored

    def _is_settled(self, settlement: Settlement) -> bool:
        if settlement.letter is not None:
            return self._dead_letters.get(settlement.letter) is None
        if settlement.position is None:
            return self._is_settled_command(settlement.mark)
        checkpoint, finished = self._checkpoints.get(settlement.handler, (-1, ()))
        return settlement.position <= checkpoint or settlement.position in finished

    def _settle(self, settlement: Settlement) -> None:
        if settlement.letter is not None:
            self._dead_letters.settle(settlement.letter, settlement)
            self._attempts.pop((settlement.handler, settlement.envelope.message_id), None)
            return
        envelope = settlement.envelope
        message_id = envelope.message_id
        if settlement.digest is not None:
            self._settled[settlement.mark] = settlement.digest if settlement.error is None else 0
            self._attempts.pop(("", message_id), None)
        elif settlement.position is None:
            self.settle_command(envelope)
        else:
            self._finish(settlement.handler, settlement.position, settlement.checkpoint)
            if self._attempts:
                self._attempts.pop((settlement.handler, message_id), None)
        if settlement.error is not None:
            self._dead_letters.bury(settlement, settlement.error)

    def _finish(self, handler: str, position: int, checkpoint: int) -> None:
        before, finished = self._checkpoints.get(handler, (-1, set()))
        checkpoint = max(before, checkpoint)
        if position > checkpoint:
            finished.add(position)
        if finished and checkpoint > before:
            finished = {above for above in finished if above > checkpoint}
        self._checkpoints[handler] = (checkpoint, finished)


def _stream(unit: Unit, message_id: str) -> str | None:
    place = unit.places.get(message_id) if unit.places else None
    return unit.stream if place is None else place.stream
