"""The schedules of the event store in memory: by id, by name, and in the order in which they are due.

What is gone leaves its place in the heap until that is reached; at the latest when more places are empty than full.

Tells no time.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from microlith.envelope import Envelope
from microlith.errors import MicrolithError
from microlith.event_store.schedule import Cancelling, Change, Schedule, Scheduling, Turn
from microlith.serialization import MessageTypes

_SMALL = 64


class MemorySchedules:
    """Schedules in this process only."""

    def __init__(self, types: MessageTypes) -> None:
        self._types = types
        self._by_id: dict[str, Schedule] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._by_scope: dict[str, dict[str, None]] = {}
        # One heap for each clock they go by: the wall clock, and the steady one.
        self._heaps: tuple[list[tuple[float, int, str]], ...] = ([], [])
        self._sequence = 0

    def has(self, message_id: str) -> bool:
        """Tell whether a message is scheduled."""
        return message_id in self._by_id

    def get(self, message_id: str) -> Schedule | None:
        """Return one schedule."""
        return self._by_id.get(message_id)

    def refusal(self, changes: Sequence[Change]) -> MicrolithError | None:
        """Say why a message cannot be kept; None when all can."""
        for change in changes:
            if isinstance(change, Scheduling):
                try:
                    self._types.encode(change.envelope.message, change.envelope.message_id)
                except MicrolithError as error:
                    return error
        return None

    def apply(self, changes: Sequence[Change], takes: str | None) -> list[str]:
        """Take one, add and remove others; return the ids of messages that were scheduled before."""
        if takes is not None:
            self.remove(takes)
        known: list[str] = []
        for change in changes:
            if isinstance(change, Cancelling):
                self._cancel(change)
            elif change.envelope.message_id in self._by_id:
                known.append(change.envelope.message_id)
            else:
                self._add(change)
        return known

    def remove(self, message_id: str) -> bool:
        """Remove one; tell whether it was there."""
        schedule = self._by_id.pop(message_id, None)
        if schedule is None:
            return False
        if schedule.name is not None:
            del self._by_name[schedule.scope, schedule.name]
        scope = self._by_scope[schedule.scope]
        del scope[message_id]
        if not scope:
            del self._by_scope[schedule.scope]
        heap = self._heaps[schedule.steady]
        if len(heap) > _SMALL and len(heap) > 2 * len(self._by_id):
            heap[:] = [place for place in heap if self._is_live(place)]
            heapify(heap)
        return True

    def page(self, after: Turn, limit: int, *, failed: bool) -> list[Schedule]:
        """Return schedules in the order in which they are due, after a place."""
        chosen = sorted((one for one in self._by_id.values() if one.error or not failed), key=_turn)
        begin = bisect_right(chosen, after, key=_turn)
        return chosen[begin : begin + limit]

    def due(self, wall: float, steady: float, limit: int) -> list[Schedule]:
        """Return those that are due and were not tried in vain, in order."""
        found: list[Schedule] = []
        for heap, now in zip(self._heaps, (wall, steady), strict=True):
            places: list[tuple[float, int, str]] = []
            while len(places) < limit and self._first(heap) <= now:
                places.append(heappop(heap))
            for place in places:
                heappush(heap, place)
                found.append(self._by_id[place[2]])
        return sorted(found, key=_turn)[:limit]

    def next_due(self) -> tuple[float, float]:
        """Return when the first is due by each clock; infinity for never."""
        return self._first(self._heaps[False]), self._first(self._heaps[True])

    def fail(self, message_id: str, error: str) -> None:
        """Note why one could not be sent."""
        schedule = self._by_id.get(message_id)
        if schedule is not None:
            schedule.error = error

    def _add(self, scheduling: Scheduling) -> None:
        envelope = scheduling.envelope
        entry = self._types.of(type(envelope.message))
        data = self._types.encode(envelope.message, envelope.message_id)
        if scheduling.name is not None:
            key = scheduling.scope, scheduling.name
            self.remove(self._by_name.get(key, ""))
            self._by_name[key] = envelope.message_id
        self._sequence += 1
        schedule = Schedule(
            self._sequence,
            envelope.message_id,
            envelope.correlation_id,
            envelope.causation_id,
            entry.component,
            entry.name,
            data,
            scheduling.due,
            steady=scheduling.steady,
            name=scheduling.name,
            scope=scheduling.scope,
            asked=envelope.time,
            error=None,
            open=_opening(self._types, envelope, data) if entry.personal else _holding(envelope),
        )
        self._by_id[envelope.message_id] = schedule
        self._by_scope.setdefault(scheduling.scope, {})[envelope.message_id] = None
        heappush(self._heaps[scheduling.steady], (scheduling.due, schedule.sequence, envelope.message_id))

    def _cancel(self, cancelling: Cancelling) -> None:
        message_id = cancelling.message_id
        if message_id is None and cancelling.name is None:
            for one in list(self._by_scope.get(cancelling.scope, ())):
                self.remove(one)
            return
        if message_id is None:
            message_id = self._by_name.get((cancelling.scope, cancelling.name or ""), "")
        self.remove(message_id)

    def _is_live(self, place: tuple[float, int, str]) -> bool:
        schedule = self._by_id.get(place[2])
        return schedule is not None and schedule.sequence == place[1] and schedule.error is None

    def _first(self, heap: list[tuple[float, int, str]]) -> float:
        while heap and not self._is_live(heap[0]):
            heappop(heap)
        return heap[0][0] if heap else float("inf")


def _turn(schedule: Schedule) -> Turn:
    return schedule.turn


def _holding(envelope: Any) -> Callable[[], Any]:
    return lambda: envelope


def _opening(types: MessageTypes, envelope: Envelope[Any], data: bytes) -> Callable[[], Envelope[Any]]:
    """Keep a message with personal fields as bytes: they may be erased before it is due."""
    entry, bare = types.of(type(envelope.message)), envelope.holding(None)
    words = entry.component, entry.name, entry.version
    return lambda: bare.holding(types.decode(*words, data, message_id=bare.message_id))
