"""Projections that are not inline: they follow the log at their own pace, on the writer's thread.

There is one connection that writes, so such a projection takes its turns between the commits: a turn is short, and
writes that came meanwhile go first. A turn is one transaction of rows and checkpoint. It is not pressed onto the disk:
after a power cut the log may be ahead of it, never behind, and what is missing is folded again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from microlith.errors import HandlerFailedError
from microlith.event_store.database.projecting import Standing
from microlith.event_store.database.reading import LogReader, Look
from microlith.event_store.database.rebuilding import Pin, rebuild
from microlith.event_store.database.writer import Writer
from microlith.event_store.projecting import Reached
from microlith.event_store.recorded_event import RecordedEvent

TURN_SECONDS = 0.002
"""How long writes may have to wait for such a projection."""
_OTHERS = 3
"""While others write, they have so many times the time of such a projection."""
_FEW = 50
"""Events that are read on the loop; a thread would take longer to be called."""


async def advance(name: str, writer: Writer, reader: LogReader, limit: int, look: Look) -> Reached:
    """Fold the next events, as many as one page holds, turn by turn.

    Raises:
        CorruptionError: The log is damaged where it goes on.
        StoreUnavailableError: The rows could not be written.
    """
    standing = writer.projections.standing(name)
    behind = writer.state.head - standing.checkpoint
    if standing.outdated is None and behind > 0 and standing.error is None and not standing.projecting.inline:
        read = _page if behind > _FEW else _few
        events = await look(read, reader, standing, limit, many=behind > _FEW)
        while events:
            before = writer.commits
            events = await writer.do(partial(_turn, writer, standing, events))
            if events and writer.commits > before:  # others write: leave most of the time to them
                await asyncio.sleep(_OTHERS * TURN_SECONDS)
    return Reached(standing.checkpoint, standing.error)


async def replace_outdated(name: str, writer: Writer, reader: LogReader, pin: Callable[[], Pin]) -> None:
    """Build the rows of a changed projection anew while the old ones serve; if that fails they go on serving."""
    projections = writer.projections
    standing = projections.standing(name)
    if standing.outdated is None or standing.error is not None:
        return
    try:
        await rebuild(name, writer, reader, pin(), lambda _done, _total: None)
    except HandlerFailedError as error:
        why = str(error)
        await writer.do(lambda: writer.transact(lambda: projections.keep_outdated(name, why)))


async def note_reached(name: str, writer: Writer, checkpoint: int, error: str | None) -> None:
    """Note how far a projection has come that keeps its rows elsewhere.

    Raises:
        StoreUnavailableError: It could not be written.
    """
    standing = writer.projections.standing(name)

    def note() -> None:
        session, projections = writer.session, writer.projections
        writer.lightly(lambda: session.transact(lambda: projections.note(name, checkpoint, error)))
        standing.checkpoint, standing.error = checkpoint, error

    await writer.do(note)


def _few(reader: LogReader, standing: Standing, limit: int) -> list[RecordedEvent]:
    return reader.all(standing.checkpoint, limit)


def _page(reader: LogReader, standing: Standing, limit: int) -> list[RecordedEvent]:
    """Read a page, and decode it here rather than on the writer's thread; what cannot be decoded fails there."""
    events = reader.all(standing.checkpoint, limit)
    for event in events:
        if standing.projecting.takes(event):
            with suppress(Exception):
                _ = event.message
    return events


def _turn(writer: Writer, standing: Standing, events: list[RecordedEvent]) -> list[RecordedEvent]:
    """Fold some of a page; return the rest of it, which is empty when the projection was changed meanwhile."""
    if standing.error is not None or events[0].position != standing.checkpoint + 1:
        return []  # it was built anew while the page was read
    writer.lightly(lambda: writer.projections.apply_page(standing, events, TURN_SECONDS))
    stopped = _error_of(standing) is not None
    return [] if stopped else [event for event in events if event.position > standing.checkpoint]


def _error_of(standing: Standing) -> str | None:
    return standing.error  # it changes where a checker of types does not see it
