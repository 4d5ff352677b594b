"""Schedules of an event store in a database: read, cancelled, and noted when they could not be sent.

A row looks like a command's: a head with the facts, the payload, a checksum over both. Where an event's head has its
stream and the position in it, this one has the name and the moment it is due.

One that is damaged says so when its message is asked for, and is in nobody's way.
"""

from collections.abc import Callable
from typing import Any

from microlith.envelope import Envelope
from microlith.errors import CorruptionError
from microlith.event_store.database.batch import storable
from microlith.event_store.database.codec import StoredTypes, is_sound
from microlith.event_store.database.reading import Readers, findable
from microlith.event_store.database.writer import Writer
from microlith.event_store.records import MICROSECONDS, Decoding, StoredEvent
from microlith.event_store.schedule import Schedule, Turn
from microlith.serialization import MessageTypes

_NEVER = float("inf")
_EARLIEST, _LATEST = -(1 << 62), 1 << 62


class ScheduleReader:
    """The schedules of one store."""

    def __init__(self, readers: Readers, numbered: StoredTypes, types: MessageTypes) -> None:
        self._readers = readers
        self._numbered = numbered
        self._decoding = Decoding(types)

    def page(self, after: Turn, limit: int, failed: bool) -> list[Schedule]:
        """Read schedules in the order in which they are due, after a turn."""
        name = "select_failed_schedules" if failed else "select_schedules"
        return self._read(name, (_microseconds(after[0]), after[1], limit))

    def one(self, message_id: str) -> Schedule | None:
        """Read one schedule."""
        found = self._read("select_schedule", (findable(message_id),))
        return found[0] if found else None

    def due(self, wall: float, steady: float, limit: int) -> list[Schedule]:
        """Read what is due and was not tried in vain, in order."""
        found = self._read("select_due_schedules", (0, _microseconds(wall), limit))
        found += self._read("select_due_schedules", (1, _microseconds(steady), limit))
        return sorted(found, key=lambda one: one.turn)[:limit]

    def next_due(self) -> tuple[float, float]:
        """Return when the first is due, by either clock; infinity for never."""
        return self._first(0), self._first(1)

    def _first(self, steady: int) -> float:
        rows = self._readers.named("select_next_due", steady)
        return rows[0][0] / MICROSECONDS if rows else _NEVER

    def _read(self, name: str, values: tuple[Any, ...]) -> list[Schedule]:
        try:
            return [self._schedule(*row) for row in self._readers.named(name, *values)]
        except (LookupError, TypeError, ValueError) as error:
            raise CorruptionError("the schedules", f"a row cannot be read: {type(error).__name__}") from None

    def _schedule(
        self, sequence: int, kind: int, head: bytes, data: bytes, crc: int, steady: int, scope: str, error: str | None
    ) -> Schedule:
        stored = self._numbered.by_number[kind]
        kept = StoredEvent(sequence, stored, head, data, self._decoding)
        sound = is_sound(sequence, (kind, head, data, crc), self._numbered)
        return Schedule(
            sequence,
            kept.message_id,
            kept.correlation_id,
            kept.causation_id,
            stored.component,
            stored.type,
            data,
            kept.stream_position / MICROSECONDS,
            steady=bool(steady),
            name=kept.stream or None,
            scope=scope,
            asked=kept.time,
            error=error,
            open=_opening(kept, sound=sound),
        )


async def cancel(writer: Writer, message_id: str) -> bool:
    """Remove a schedule; tell whether there was one."""
    return await writer.do(lambda: writer.transact(lambda: bool(writer.session.named("delete_schedule", message_id))))


async def fail(writer: Writer, message_id: str, error: str) -> None:
    """Note why a schedule could not be sent."""
    await writer.do(lambda: writer.transact(lambda: writer.session.named("fail_schedule", storable(error), message_id)))


def _opening(kept: StoredEvent, *, sound: bool) -> Callable[[], Envelope[Any]]:
    def open_it() -> Envelope[Any]:
        if not sound:
            raise CorruptionError(f"schedule {kept.message_id}", "the stored bytes do not match their checksum")
        return kept.envelope

    return open_it


def _microseconds(moment: float) -> int:
    """Turn seconds into what rows hold; whatever is beyond them, into what is beyond them."""
    if not -1e12 < moment < 1e12:
        return _EARLIEST if moment < 0 else _LATEST
    return round(moment * MICROSECONDS)
