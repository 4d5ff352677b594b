"""Building a projection anew, beside the live one.

Pages of the log are folded into shadow tables between live writes. The last page, the switch and the checkpoint come
with no write between them, so every event is in exactly one of both. Digests are taken from a snapshot that holds the
old and the new rows of the same position.

Interrupted anywhere, the live rows keep serving; left-over tables are dropped now or when the store is next opened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

from microlith.errors import StoreError
from microlith.event_store.database.projecting import PAGE
from microlith.event_store.database.reading import LogReader
from microlith.event_store.database.rows import LIVE, REPLACED
from microlith.event_store.database.writer import Writer
from microlith.event_store.protocol import Rebuilt, RecordedEvent
from microlith.event_store.tables import TableSpec

T = TypeVar("T")


class Pin(Protocol):
    """A reading connection that sees the database as it was at one moment."""

    def begin(self) -> None:
        """See it as it is now, until `end`. On any thread."""
        ...

    def digest(self, tables: Sequence[TableSpec], prefix: str) -> str:
        """Digest the rows of tables."""
        ...

    def end(self) -> None:
        """Let go. Safe to call at any time, and twice."""
        ...


async def rebuild(
    name: str, writer: Writer, reader: LogReader, pin: Pin, progress: Callable[[int, int], None]
) -> Rebuilt:
    """Build a projection anew and switch at once.

    Raises:
        HandlerFailedError: The projection raised; the old rows keep serving.
        UnknownProjectionError: The store was opened without it.
    """
    begun = monotonic()
    projections = writer.projections
    tables = projections.standing(name).projecting.tables
    try:
        await _whole(writer.do(lambda: writer.transact(lambda: projections.begin_shadow(name))))
        done = await _follow(name, writer, reader, progress)
        head = await _whole(writer.do(lambda: _finish(name, writer, reader, pin, done)))
        progress(head + 1, head + 1)
        before = await _whole(asyncio.to_thread(pin.digest, tables, REPLACED))
        after = await _whole(asyncio.to_thread(pin.digest, tables, LIVE))
    finally:
        pin.end()
        # What cannot be dropped now, because the store is closing, is dropped when it is opened.
        with suppress(StoreError):
            await _whole(writer.do(lambda: writer.transact(lambda: projections.drop_left_over(name))))
    return Rebuilt(name, head + 1, monotonic() - begun, before, after)


async def _follow(name: str, writer: Writer, reader: LogReader, progress: Callable[[int, int], None]) -> int:
    """Fold page after page until little is left; return the last position folded."""
    done, left = -1, writer.state.head + 2
    while PAGE < writer.state.head - done < left:  # a log that grows faster than it is read is finished all the same
        left = writer.state.head - done
        progress(done + 1, writer.state.head + 1)
        events = await asyncio.to_thread(reader.all, done, PAGE)
        await _whole(writer.do(partial(_fill, writer, name, events)))
        done = events[-1].position
    return done


def _fill(writer: Writer, name: str, events: Sequence[RecordedEvent]) -> None:
    writer.tell_failure(lambda: writer.projections.fill_shadow(name, events))


def _finish(name: str, writer: Writer, reader: LogReader, pin: Pin, done: int) -> int:
    projections = writer.projections
    while events := reader.all(done, PAGE):
        _fill(writer, name, events)
        done = events[-1].position
        if len(events) < PAGE:
            break

    def switch() -> int:
        """Fold what other processes have appended meanwhile, while they cannot, and switch."""
        reached = done
        while events := reader.all(reached, PAGE):
            projections.fill_shadow_within(name, events)
            reached = events[-1].position
        projections.switch(name, reached)
        return reached

    head = writer.transact(switch)
    projections.switched(name, head)
    pin.begin()
    return head


async def _whole(awaitable: Awaitable[T]) -> T:
    """Await something to its end even when cancelled: it runs on another thread and may not be left half-way."""
    future = asyncio.ensure_future(awaitable)
    try:
        return await asyncio.shield(future)
    finally:
        await asyncio.wait([future])
