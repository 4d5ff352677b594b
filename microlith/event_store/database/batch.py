"""A batch: what many callers want written, planned in order and written in a few statements.

Planning decides who comes too late and what was recorded before; nothing but schedules is written meanwhile. A first try takes for
granted that no message id was recorded before. When that turns out wrong, the batch is rolled back and planned again
with the ids looked up.

Begins and ends no transaction.
"""

from collections.abc import Mapping, Sequence
from time import time
from typing import Any
from zlib import crc32

from pydantic_core import to_json

from microlith.envelope import Envelope
from microlith.errors import PositionConflictError, StoreError
from microlith.event_store.database import scheduling
from microlith.event_store.database.codec import chained, row_crc
from microlith.event_store.database.letter_plan import LetterPlan
from microlith.event_store.database.session import Session
from microlith.event_store.database.state import LogState
from microlith.event_store.protocol import Committed, Done, Place, RecordedEvent, Settlement
from microlith.event_store.records import MICROSECONDS, AppendedEvent, StoredType, write_facts
from microlith.event_store.snapshot import Snapshot
from microlith.serialization import MessageTypes


class LookUpIdsError(Exception):
    """A message id may have been recorded before: plan again, with the ids looked up. Never leaves the store."""


Prepared = tuple[Envelope[Any], StoredType, bytes, str, str | None, str]
"""A message made ready for writing: envelope, type, payload, facts (`write_facts`), stream (None for a command) and
the beginning of its head (`write_stream`). A tuple, because one is made for every message."""

Recording = tuple[Prepared, Done]
"""One message to record, and who to tell."""


class Write:
    """A unit that waits for its turn.

    Attributes:
        messages: What to record.
        settlement: What is settled with it.
        letter: The payload for a dead letter, when the settlement is one of failure.
        expected: Last stream position that the writer of the unit has read.
        done: Who to tell; None for a settlement that nobody waits for.
        places: Streams of single events, with what is expected of them; None for most.
        snapshot: One to keep, or the stream and owner of one to remove; nothing else is written then.
    """

    __slots__ = ("done", "expected", "letter", "messages", "places", "settlement", "snapshot")

    changes: Sequence[scheduling.PreparedChange] = ()
    takes: str | None = None

    def __init__(
        self,
        messages: Sequence[Prepared],
        settlement: Settlement | None = None,
        letter: bytes | None = None,
        expected: int | None = None,
        done: Done | None = None,
        places: Mapping[str, Place] | None = None,
        snapshot: Snapshot | tuple[str, str] | None = None,
    ) -> None:
        self.messages = messages
        self.settlement = settlement
        self.letter = letter
        self.expected = expected
        self.done = done
        self.places = places
        self.snapshot = snapshot


class TimedWrite(Write):
    """A unit that has to do with schedules.

    Attributes:
        changes: What it changes about them.
        takes: The one it takes.
    """

    __slots__ = ("changes", "takes")

    def __init__(
        self,
        messages: Sequence[Prepared],
        settlement: Settlement | None,
        letter: bytes | None,
        expected: int | None,
        done: Done | None,
        places: Mapping[str, Place] | None,
        changes: Sequence[scheduling.PreparedChange],
        takes: str | None,
    ) -> None:
        super().__init__(messages, settlement, letter, expected, done, places)
        self.changes = changes
        self.takes = takes


def _nothing_of(write: Write) -> Committed:
    """Say that nothing of a unit was written: it comes too late."""
    later = [change[0].envelope.message_id for change in write.changes if isinstance(change, tuple)]
    return Committed((), [*(one[0].message_id for one in write.messages), *later])


def storable(text: str) -> str:
    """Make text that may hold anything, such as an error's, fit for a column."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


class Batch:
    """A plan on top of the state, not yet part of it.

    Attributes:
        events: The events it appends, in order.
    """

    def __init__(
        self, session: Session, state: LogState, types: MessageTypes, *, suspects: Sequence[str] | None
    ) -> None:
        self.events: list[RecordedEvent] = []
        self._session = session
        self._state = state
        self._types = types
        self._head = state.head
        self._checksum = state.checksum
        self._sequence = state.sequence
        self._streams: dict[str, int] = {}
        self._event_values: list[Any] = []
        self._parts: list[bytes] = []
        self._command_values: list[Any] = []
        self._pending: dict[str, int] = {}
        self._settled: dict[str, list[int]] = {"handled": [], "failed": []}
        self._settled_ids: set[str] = set()
        self._checkpoints: dict[str, int] = {}
        self._finished: dict[tuple[str, int], None] = {}
        self._tried: set[tuple[str, str]] = set()
        self._dead_values: list[Any] = []
        self._parked: list[Sequence[Any]] = []
        self._letters = LetterPlan(session)
        self._snapshots: dict[tuple[str, str], Snapshot | None] = {}
        self._suspects = suspects
        self._known: set[str] | None = None

    def look_up(self) -> None:
        """Look up which of the suspect ids were recorded before."""
        if self._suspects is not None:
            ids = to_json(self._suspects).decode()
            self._known = {found for (found,) in self._session.named("select_recorded", ids)}

    def record(self, message: Prepared) -> Committed:
        """Plan to record one message; say what will be committed."""
        envelope, stored, data, facts, stream, prefix = message
        if self._known is not None:
            if envelope.message_id in self._known:
                return Committed((), (envelope.message_id,))
            self._known.add(envelope.message_id)
        if stream is None:
            self._accept(envelope, stored, data, facts)
            return Committed(())
        return Committed((self._append(envelope, stored, data, facts, stream, prefix),))

    def add(self, write: Write) -> Committed | StoreError:
        """Plan a unit; say what will be committed, or why it will not.

        Raises:
            LookUpIdsError: That depends on ids which were not looked up.
        """
        settlement = write.settlement
        if write.snapshot is not None:
            kept = write.snapshot if isinstance(write.snapshot, Snapshot) else None
            self._snapshots[write.snapshot[0], write.snapshot[1]] = kept
        if (settlement is not None and self._is_settled(settlement)) or (
            write.takes is not None and scheduling.is_gone(self._session, write.takes)
        ):
            return _nothing_of(write)
        messages = write.messages
        duplicates: Sequence[str] = ()
        if self._known is not None:
            messages, duplicates = self._without_known(messages, self._known)
        if write.expected is not None or write.places is not None:
            conflict = self._conflict(messages, write.expected, write.places or {})
            if conflict is not None:
                if self._known is None:
                    raise LookUpIdsError
                return conflict
        if self._known is not None:
            self._known.update(one[0].message_id for one in messages)
        events: list[RecordedEvent] = []
        for envelope, stored, data, facts, stream, prefix in messages:
            if stream is None:
                self._accept(envelope, stored, data, facts)
            else:
                events.append(self._append(envelope, stored, data, facts, stream, prefix))
        if settlement is not None:
            self._settle(settlement, write.letter)
        if write.changes or write.takes is not None:
            duplicates = [*duplicates, *self._change_schedules(write)]
        return Committed(events, duplicates)

    def write(self) -> None:
        """Write the plan, but for the projections."""
        session = self._session
        if self._event_values:
            self._checksum = chained(self._checksum, self._parts)
            self._event_values[-2] = self._checksum
            session.insert("insert_events", self._event_values, 6)
        if self._command_values:
            session.insert("insert_commands", self._command_values, 8)
        for status, sequences in self._settled.items():
            if sequences:
                session.named("settle_commands", status, to_json(sequences).decode())
        self._write_checkpoints()
        for handler, message_id in self._tried:
            session.named("delete_attempts", handler, message_id)
        if self._dead_values:
            session.insert("insert_dead_letters", self._dead_values, 11)
        for values in self._parked:
            session.named("insert_parked", *values)
        self._letters.write()
        for (stream, owner), snapshot in self._snapshots.items():
            if snapshot is None:
                session.named("delete_snapshot", stream, owner)
            else:
                session.named("upsert_snapshot", *snapshot)
        session.ends_at(self._head, self._sequence, self._checksum)

    def adopt(self) -> None:
        """Make the plan, which was committed, part of the state."""
        state = self._state
        state.head = self._head
        state.checksum = self._checksum
        state.sequence = self._sequence
        state.move_streams(self._streams)
        state.pending.update(self._pending)
        for message_id in self._settled_ids:
            state.pending.pop(message_id, None)
        for handler, position in self._finished:
            state.finished.setdefault(handler, set()).add(position)
        for handler, checkpoint in self._checkpoints.items():
            state.move_checkpoint(handler, checkpoint)
        state.tried -= self._tried

    def _change_schedules(self, write: Write) -> list[str]:
        """Write what a unit changes about schedules; return the ids of messages that were scheduled before."""
        if write.takes is not None:
            scheduling.take(self._session, write.takes)
        return [one for change in write.changes for one in scheduling.change(self._session, change)]

    @staticmethod
    def _without_known(messages: Sequence[Prepared], known: set[str]) -> tuple[list[Prepared], list[str]]:
        fresh: dict[str, Prepared] = {}
        duplicates: list[str] = []
        for one in messages:
            message_id = one[0].message_id
            if message_id in known or message_id in fresh:
                duplicates.append(message_id)
            else:
                fresh[message_id] = one
        return list(fresh.values()), duplicates

    def _conflict(
        self, messages: Sequence[Prepared], expected: int | None, places: Mapping[str, Place]
    ) -> PositionConflictError | None:
        for one in messages:
            stream, place = one[4], places.get(one[0].message_id)
            if stream is None:
                continue
            wanted = expected if place is None else place.expected_position
            if place is None:
                expected = None  # the first one of the unit's stream speaks for all
            if wanted is not None and (actual := self._stream_head(stream)) != wanted:
                return PositionConflictError(stream, wanted, actual)
        return None

    def _stream_head(self, stream: str) -> int:
        head = self._streams.get(stream)
        return self._state.stream_head(stream) if head is None else head

    def _append(
        self, envelope: Envelope[Any], stored: StoredType, data: bytes, facts: str, stream: str, prefix: str
    ) -> RecordedEvent:
        self._head = position = self._head + 1
        last = self._streams.get(stream)
        self._streams[stream] = stream_position = (self._state.stream_head(stream) if last is None else last) + 1
        head = f"{prefix}{stream_position},{facts}"
        raw = head.encode()
        self._parts += (stored.words, raw, data)
        # As row_crc does it; the call would cost as much as the checksum.
        crc = crc32(data, crc32(raw, stored.seed)) ^ position
        self._event_values += (position, stored.number, head, data, b"", crc)
        event = AppendedEvent(envelope, stored, self._types, position, stream, stream_position, data)
        self.events.append(event)
        return event

    def _accept(self, envelope: Envelope[Any], stored: StoredType, data: bytes, facts: str) -> None:
        self._sequence = sequence = self._sequence + 1
        message_id = envelope.message_id
        self._pending[message_id] = sequence
        head = f'["",0,{facts}'
        crc = row_crc(sequence, stored, head.encode(), data)
        moment = round(envelope.time * MICROSECONDS)
        self._command_values += (sequence, message_id, stored.number, moment, head, data, crc, "pending")

    def _is_settled(self, settlement: Settlement) -> bool:
        if settlement.letter is not None:
            return self._letters.is_gone(settlement.letter)
        if settlement.position is not None:
            handler, position = settlement.handler, settlement.position
            return (
                position <= self._checkpoints.get(handler, -1)
                or (handler, position) in self._finished
                or self._state.is_finished(handler, position)
            )
        mark = settlement.mark
        if mark in self._settled_ids:
            return True
        if mark in self._state.pending or mark in self._pending:
            return False
        # Not recorded here, such as a command that came over a transport; or settled long ago.
        return bool(self._session.named("select_command_status", storable(mark)))

    def _settle(self, settlement: Settlement, letter: bytes | None) -> None:
        message_id = settlement.envelope.message_id
        if settlement.letter is not None:
            self._settle_letter(settlement, settlement.letter)
            return
        if settlement.position is None:
            if settlement.digest is None:
                self._settle_command(settlement, message_id)
            else:
                self._settle_arrived(settlement, settlement.digest, letter)
            if (settlement.handler, message_id) in self._state.tried:
                self._tried.add((settlement.handler, message_id))
        else:
            handler, position = settlement.handler, settlement.position
            checkpoint = max(settlement.checkpoint, self._checkpoints.get(handler, -1))
            if checkpoint > self._state.checkpoints.get(handler, -2):
                self._checkpoints[handler] = checkpoint
            if position > checkpoint:
                self._finished[handler, position] = None
            if (handler, message_id) in self._state.tried:
                self._tried.add((handler, message_id))
        if settlement.error is not None:
            self._bury(settlement, settlement.error, letter or b"null")

    def _settle_letter(self, settlement: Settlement, sequence: int) -> None:
        tried = settlement.handler, settlement.envelope.message_id
        if tried in self._state.tried:
            self._tried.add(tried)
        if settlement.error is None:
            self._letters.remove(sequence)
        else:
            self._letters.fail_again(sequence, storable(settlement.error), settlement.attempts)

    def _settle_command(self, settlement: Settlement, message_id: str) -> None:
        status = "handled" if settlement.error is None else "failed"
        sequence = self._state.pending.get(message_id) or self._pending.get(message_id)
        self._settled_ids.add(message_id)
        if sequence is not None:
            self._settled[status].append(sequence)
            return
        self._sequence += 1
        envelope = settlement.envelope
        stored = self._state.numbered.of(self._types.of(type(envelope.message)))
        moment = round(time() * MICROSECONDS)
        self._command_values += (self._sequence, storable(message_id), stored.number, moment, "", b"", 0, status)

    def _settle_arrived(self, settlement: Settlement, digest: int, letter: bytes | None) -> None:
        """Mark a command that came over a transport. A failed one is kept whole, as one that was recorded here."""
        self._settled_ids.add(settlement.mark)
        self._sequence = sequence = self._sequence + 1
        envelope = settlement.envelope
        stored = self._state.numbered.of(self._types.of(type(envelope.message)))
        status, head, data, crc = "handled", "", b"", digest
        if settlement.error is not None and letter is not None:
            status, head, data = "failed", f'["",0,{write_facts(envelope)}', letter
            crc = row_crc(sequence, stored, head.encode(), data)
        moment = round(time() * MICROSECONDS)
        self._command_values += (sequence, storable(settlement.mark), stored.number, moment, head, data, crc, status)

    def _bury(self, settlement: Settlement, error: str, letter: bytes) -> None:
        envelope = settlement.envelope
        entry = self._types.of(type(envelope.message))
        message = (
            settlement.handler,
            settlement.position,
            storable(envelope.message_id),
            storable(envelope.correlation_id),
            entry.component,
            entry.name,
            letter,
        )
        moment = round(time() * MICROSECONDS)
        if settlement.parked:
            self._parked.append((*message, moment, settlement.key))
        else:
            self._dead_values += (*message, storable(error), settlement.attempts, moment, settlement.key)

    def _write_checkpoints(self) -> None:
        session, state = self._session, self._state
        if self._finished:
            values = [
                value
                for handler, position in self._finished
                if position > self._checkpoints.get(handler, -1)
                for value in (handler, position)
            ]
            session.insert("insert_finished", values, 2)
        if self._checkpoints:
            session.insert("upsert_checkpoints", [v for pair in self._checkpoints.items() for v in pair], 2)
            for handler, checkpoint in self._checkpoints.items():
                if handler in state.finished:
                    session.named("delete_finished", handler, checkpoint)
