"""Building a projection anew, beside the live one.

Pages of the log are folded into shadow tables between live writes. The last page, the switch and the checkpoint come
with no write between them, so every event is in exactly one of both. Digests are taken from a snapshot that holds the
old and the new rows of the same position.

Interrupted anywhere, the live rows keep serving; left-over shadows are dropped now or when the store is next opened.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from sqlite3 import Connection
from time import monotonic
from typing import TypeVar

from microlith.errors import StoreError
from microlith.event_store.protocol import Rebuilt
from microlith.event_store.sqlite.projecting import PAGE, Projections
from microlith.event_store.sqlite.reading import LogReader, Readers
from microlith.event_store.sqlite.rows import LIVE, SHADOW, ordered_rows
from microlith.event_store.sqlite.writer import Writer
from microlith.event_store.tables import digest_of

T = TypeVar("T")


async def rebuild(
    name: str, writer: Writer, reader: LogReader, readers: Readers, progress: Callable[[int, int], None]
) -> Rebuilt:
    """Build a projection anew and switch at once.

    Raises:
        HandlerFailedError: The projection raised; the old rows keep serving.
        UnknownProjectionError: The store was opened without it.
    """
    begun = monotonic()
    projections = writer.projections
    projections.standing(name)
    pin = readers.borrow()
    try:
        await _whole(writer.do(lambda: writer.transact(lambda: projections.begin_shadow(name))))
        done = await _follow(name, writer, reader, progress)
        head = await _whole(writer.do(lambda: _finish(name, writer, reader, pin, done)))
        progress(head + 1, head + 1)
        before, after = await _whole(asyncio.to_thread(_digests, projections, name, pin))
    except BaseException:
        # What cannot be dropped now, because the store is closing, is dropped when it is opened.
        with suppress(StoreError):
            await _whole(writer.do(lambda: writer.transact(lambda: projections.drop_shadow(name))))
        raise
    finally:
        if pin.in_transaction:
            pin.execute("ROLLBACK")
        readers.give_back(pin)
    return Rebuilt(name, head + 1, monotonic() - begun, before, after)


async def _follow(name: str, writer: Writer, reader: LogReader, progress: Callable[[int, int], None]) -> int:
    """Fold page after page until little is left; return the last position folded."""
    done, left = -1, writer.state.head + 2
    while PAGE < writer.state.head - done < left:  # a log that grows faster than it is read is finished all the same
        left = writer.state.head - done
        progress(done + 1, writer.state.head + 1)
        events = await asyncio.to_thread(reader.all, done, PAGE)
        await _whole(writer.do(partial(writer.transact, partial(writer.projections.fill_shadow, name, events))))
        done = events[-1].position
    return done


def _finish(name: str, writer: Writer, reader: LogReader, pin: Connection, done: int) -> int:
    while events := reader.all(done, PAGE):
        writer.transact(partial(writer.projections.fill_shadow, name, events))
        done = events[-1].position
    pin.execute("BEGIN")
    pin.execute("SELECT count(*) FROM sqlite_master").fetchall()  # a snapshot begins with the first read
    writer.transact(lambda: writer.projections.switch(name, done))
    writer.projections.switched(name, done)
    return done


async def _whole(awaitable: Awaitable[T]) -> T:
    """Await something to its end even when cancelled: it runs on another thread and may not be left half-way."""
    future = asyncio.ensure_future(awaitable)
    try:
        return await asyncio.shield(future)
    finally:
        await asyncio.wait([future])


def _digests(projections: Projections, name: str, pin: Connection) -> tuple[str, str]:
    tables = projections.standing(name).projecting.tables
    before, after = (
        digest_of((table, ordered_rows(pin, table, prefix)) for table in tables) for prefix in (LIVE, SHADOW)
    )
    return before, after
