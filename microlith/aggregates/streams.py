"""Streams: the state of a stream, from its snapshot and the events after it.

A snapshot that is of no use costs a line in the log and the time to fold the events. New ones are made after a commit,
by a task of their own, from what is in the store.

Appends no events: that is the delivery's.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from microlith.aggregates.decider import Decider
from microlith.aggregates.shape import StateShape
from microlith.errors import CorruptionError
from microlith.event_store.protocol import EventStore
from microlith.event_store.snapshot import Snapshot

logger = logging.getLogger("microlith")

S = TypeVar("S")
Spawn = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]

_PAGE = 500
_MOST_DUE = 10_000
"""Streams that wait for a snapshot at most; one more gets its snapshot after a later commit."""


class Streams:
    """Loads the state of streams from the event store. Handlers may ask for it by this type."""

    def __init__(self, store: EventStore, spawn: Spawn | None = None) -> None:
        """Read from a store; `spawn` starts the task that makes snapshots, and without it none are made."""
        self._store = store
        self._spawn = spawn
        self._due: dict[tuple[str, str], Decider[Any]] = {}
        self._making: asyncio.Task[None] | None = None
        self._told: set[tuple[str, str]] = set()

    async def load(self, decider: Decider[S], stream: str) -> tuple[S, int]:
        """Fold a stream into its state; returns it with the last stream position (-1 for a new stream)."""
        state, position, _ = await self.load_on(decider, stream)
        return state, position

    async def load_on(self, decider: Decider[S], stream: str) -> tuple[S, int, int]:
        """Fold a stream; returns the state, the last stream position, and that of the snapshot it began with, or -1."""
        shape = decider.shape
        if shape is None:
            return *await self._fold(decider, stream, decider.initial(), -1), -1
        state, known = await self._from_snapshot(decider, shape, stream)
        return *await self._fold(decider, stream, state, known), known

    def make_snapshot(self, decider: Decider[Any], stream: str) -> None:
        """Make a snapshot of a stream soon. Never raises, and nobody waits for it."""
        if self._spawn is None or len(self._due) >= _MOST_DUE:
            return
        self._due[stream, decider.name] = decider
        if self._making is None or self._making.done():
            self._making = self._spawn(self._make(), "microlith snapshots")

    async def _fold(self, decider: Decider[S], stream: str, state: S, position: int) -> tuple[S, int]:
        while page := await self._store.read(stream, after=position, limit=_PAGE):
            state = decider.fold(state, (event.message for event in page))
            position = page[-1].stream_position
            if len(page) < _PAGE:
                break
        return state, position

    async def _from_snapshot(self, decider: Decider[S], shape: StateShape[S], stream: str) -> tuple[S, int]:
        """Begin with the snapshot; without one that is of use, with nothing."""
        try:
            snapshot = await self._store.snapshot(stream, decider.name)
            if snapshot is None:
                return decider.initial(), -1
            fault = await self._fault(snapshot, shape)
            if fault is None:
                return shape.read(snapshot.data), snapshot.position
        except (CorruptionError, ValueError) as error:
            fault = f"it cannot be read: {type(error).__name__}"
        self._tell(decider, "was dropped", f"{stream}: {fault}; it is made anew from the events")
        self._store.drop_snapshot(stream, decider.name)
        return decider.initial(), -1

    async def _fault(self, snapshot: Snapshot, shape: StateShape[Any]) -> str | None:
        """Say why a snapshot is of no use; None when it may be."""
        if snapshot.is_sound and snapshot.fingerprint != shape.fingerprint:
            return "the state, or how it is folded, has changed since"
        last = snapshot.position
        if snapshot.is_sound:  # otherwise not even its position can be believed
            found = await self._store.read(snapshot.stream, after=snapshot.position - 1, limit=1)
            last = snapshot.position if found else -1
        return snapshot.fault(last)

    async def _make(self) -> None:
        while self._due:
            (stream, _), decider = next(iter(self._due.items()))
            try:
                await self._make_one(decider, stream)
            except Exception as error:  # noqa: BLE001 (a snapshot only saves time: what cannot be made is not there)
                self._tell(decider, "could not be made", f"{stream}: {type(error).__name__}: {error}")
            self._due.pop((stream, decider.name), None)

    async def _make_one(self, decider: Decider[Any], stream: str) -> None:
        shape = decider.shape
        if shape is None:
            return
        erasures = self._store.erasures
        state, position, known = await self.load_on(decider, stream)
        if erasures % 2 or erasures != self._store.erasures:
            return  # it may hold what is erased meanwhile
        if position - known < shape.every:
            return
        data = shape.write(state)
        if data is None:
            self._tell(decider, "cannot be made", f"{stream}: as JSON the state would not come back as it is")
        else:
            self._store.keep_snapshot(Snapshot.of(stream, decider.name, position, shape.fingerprint, data))

    def _tell(self, decider: Decider[Any], what: str, why: str) -> None:
        """Tell once for each kind of stream; of ten thousand streams there would be ten thousand lines."""
        seen = (decider.name, what) in self._told
        self._told.add((decider.name, what))
        logger.log(logging.DEBUG if seen else logging.WARNING, "A snapshot of %s %s: %s.", decider.name, what, why)
