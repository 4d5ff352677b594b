"""Importing a file of events into the log of a project where nothing runs.

One transaction takes all of it or nothing, and each line is checked before that ends. The log must be empty, or the
file must continue it exactly: begin with what is there already, or with the position after the last one.

Starts no handler: what is imported is history. Read models are brought up to it.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from microlith import Microlith
from microlith.event_store import open_event_store
from microlith.event_store.copies import RestoreError, copy_of
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.protocol import EventStore
from microlith.handlers.declared import HandlerSpec
from microlith.messages import stored_names
from microlith.places import store_beside
from microlith_cli.errors import AlreadyRunningError, NothingRunsError, ToolError
from microlith_cli.plurals import plural
from microlith_cli.project import Project, load_app
from microlith_cli.session import connect_leading
from microlith_cli.supervisor.leading import check_leads
from microlith_cli.transferring.parsing import ImportFileError, Reading

Numbered = Iterator[tuple[int, EventCopy]]
_PAGE = 500
_TOLD_EVERY = 500


class LogNotEmptyError(ToolError):
    """The log holds events that the file does not continue; nothing was written."""

    def __init__(self, events: int, problem: str) -> None:
        super().__init__(
            f"The log holds {plural(events, 'event')}, and {problem}.",
            hint="Nothing was imported. Import into an empty log, or a file that begins with this log or just after it.",
        )


class HandlerBehindError(ToolError):
    """A handler has work to do in the log; nothing was written."""

    def __init__(self, handler: str, position: int) -> None:
        super().__init__(
            f"Handler {handler!r} has not handled the event at position {position} yet.",
            hint="Run the application until it has, stop it, and import then.",
        )


class InterruptedImportError(ToolError):
    """The import was interrupted; nothing was written."""

    def __init__(self) -> None:
        super().__init__("The import was interrupted; nothing was imported.")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        events: How many events were added.
        known: How many of the file the log held before.
        head: The last position of the log now.
        stopped: Projections that stopped at an event: name and error.
    """

    events: int
    known: int
    head: int
    stopped: tuple[tuple[str, str], ...]


def import_events(
    project: Project, stream: BinaryIO, *, unreadable: bool = False, advance: Callable[[int], None]
) -> Imported:
    """Import a file.

    Args:
        project: Whose log.
        stream: The file.
        unreadable: Whether events are taken, too, that this code cannot read.
        advance: Is told how many bytes have been read, on any thread.

    Raises:
        ImportFileError: Names the line that is wrong.
        LogNotEmptyError: The log holds something else.
        AlreadyRunningError: The application runs.
        StoreLockedError: Another process owns the store.
        LedElsewhereError: Another process leads the store, which is shared.
    """
    if (running := connect_leading(project)) is not None:
        with running:
            raise AlreadyRunningError(project.name, f"process {running.hello.get('pid')}")
    os.chdir(project.root)  # as under `run`: relative paths mean the same
    app = load_app(project)
    if app.store_url == "memory:":
        raise NothingRunsError(
            "The store is in memory: what is imported would end with this command.",
            hint="Set [tool.microlith.store] url, such as sqlite:.microlith/events.db.",
        )
    reading = Reading(stream, app.types, unreadable=unreadable)
    return asyncio.run(_import(app, _told(reading, advance)))


def _told(reading: Reading, advance: Callable[[int], None]) -> Numbered:
    for count, numbered in enumerate(reading.copies()):
        if count % _TOLD_EVERY == 0:
            advance(reading.bytes)
        yield numbered
    advance(reading.bytes)


async def _import(app: Microlith, numbered: Numbered) -> Imported:
    first = next(numbered, None)  # a file that is none of ours makes no store
    if first is None:
        raise ImportFileError(0, "There are no events in it")
    wiring = app.wire()
    store = open_event_store(store_beside(app.store_place(), wiring.runs), app.types, Path.cwd())
    await store.open(wiring.projections)
    stopping = False

    def copies(rest: Numbered) -> Iterator[EventCopy]:
        for _, copy in rest:
            if stopping:
                raise InterruptedImportError
            yield copy

    try:
        await check_leads(store, "Importing events")
        known, rest = await _continued(store, first, numbered)
        for spec in wiring.handlers:
            await _check_finished(store, spec)
        events = await store.restore(copies(rest))
        states = await store.projection_states()
        stopped = tuple((state.name, state.error) for state in states if state.error is not None)
        return Imported(events, known, await store.head(), stopped)
    except RestoreError as error:
        where, _, problem = str(error).rstrip(".").partition(": ")
        number = where.removeprefix("line ")
        raise ImportFileError(int(number), problem) if number.isdigit() else error from None
    finally:
        stopping = True  # after an interruption, the writer is still reading
        await store.close()


async def _check_finished(store: EventStore, spec: HandlerSpec) -> None:
    """Refuse to go on where a handler is behind: it would never see what it has not seen yet.

    Raises:
        HandlerBehindError: It has not handled an event of the log.
    """
    head = await store.head()
    names = [name for cls in spec.messages if cls.__kind__ == "event" for name in stored_names(cls)]
    if head < 0 or not names:
        return
    after, finished = await store.checkpoint(spec.name, start=head)
    while page := await store.read_all(after=after, limit=_PAGE, types=names):
        for event in page:
            if event.position not in finished:
                raise HandlerBehindError(spec.name, event.position)
        after = page[-1].position


async def _continued(store: EventStore, first: tuple[int, EventCopy], rest: Numbered) -> tuple[int, Numbered]:
    """Find where a file goes on behind what the log holds; gives how many events both have, and the rest.

    Raises:
        LogNotEmptyError: It does not go on there.
    """
    head = await store.head()
    numbered = chain([first], rest)
    if head < 0 or first[0] == head + 1:
        return 0, numbered
    for after in range(-1, head, _PAGE):
        for event in await store.read_all(after=after, limit=_PAGE):
            _, copy = next(numbered, (-1, None))
            if copy is None:
                return event.position, iter(())  # the log holds all of the file
            if copy_of(event) != copy._replace(where=""):
                raise LogNotEmptyError(head + 1, f"{copy.where} is not the event at its position {event.position}")
    return head + 1, numbered
