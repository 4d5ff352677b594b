"""A correlation run again, in this process, on a store in memory that holds what the log held before it.

Handlers really run; of what is kept, nothing is touched: the store, its keys, the trace log and external projections
are left out. What is scheduled is noted, and not waited for.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from microlith import Envelope, Message, Microlith
from microlith.event_store.event_copy import EventCopy
from microlith.event_store.memory import MemoryEventStore
from microlith.event_store.protocol import Projecting
from microlith.ids import new_id
from microlith.projections import ExternalProjection
from microlith.serialization import MessageTypes
from microlith.tracing.tracer import Follower
from microlith_cli.causation import Fact, cause_of, moment
from microlith_cli.causation.nodes import SCHEDULED, scheduled_id
from microlith_cli.errors import TIMED_OUT, ToolError

_DROPPED = "microlith.dropped"
_MOST_FACTS = 1_000_000
_DRAIN = 0.5


class NotIdleError(ToolError):
    """What was run again did not come to an end in time."""

    exit = TIMED_OUT

    def __init__(self, seconds: float, running: Iterable[str]) -> None:
        names = ", ".join(sorted(set(running))) or "handlers that wait their turn"
        super().__init__(f"Not all is handled after {seconds:g} s: {names}.", hint="Give it longer with --timeout.")


class MissedFactsError(ToolError):
    """More happened than could be noted."""

    def __init__(self) -> None:
        super().__init__("More happened at once than the tracer could note, so that nothing can be compared.")


@dataclass(frozen=True, slots=True)
class Again:
    """What came of a message that was run again.

    Attributes:
        correlation_id: Its new correlation.
        facts: All that happened in it.
        left_out: External projections that did not take part.
    """

    correlation_id: str
    facts: Sequence[Fact]
    left_out: Sequence[str]


def before(
    copies: Iterable[tuple[int, EventCopy]], correlation_id: str, facts: Sequence[Fact]
) -> tuple[list[EventCopy], EventCopy | None]:
    """Take what the log held before a correlation: up to its first event, or else to when its first handler began.

    Returns:
        The events, and the first one of the correlation if there is one.
    """
    positions = [fact["position"] for fact in facts if isinstance(fact.get("position"), int)]
    first = min(positions, default=None)
    begun = [moment(fact.get("time")) for fact in facts if "handler" in (fact.get("data") or {})]
    latest = min((one for one in begun if one is not None), default=None)
    taken: list[EventCopy] = []
    for position, copy in copies:
        if copy.correlation_id == correlation_id or (first is not None and position >= first):
            return taken, copy
        if first is None and latest is not None and copy.microseconds > latest * 1_000_000:
            break
        taken.append(copy)
    return taken, None


def run_again(
    app: Microlith, history: Sequence[EventCopy], type_name: str, payload: Mapping[str, Any], timeout: float
) -> Again:
    """Run a message again, and all that it causes.

    Raises:
        NotIdleError: It took too long.
        MicrolithError: The application does not start, or refuses the message.
    """
    logging.getLogger("microlith").addHandler(logging.NullHandler())  # what fails is told by the facts
    wiring = app.wire()
    outside = [one for one in wiring.projections if isinstance(one, ExternalProjection)]
    wiring.projections = [one for one in wiring.projections if not isinstance(one, ExternalProjection)]
    app.opens = lambda _url, types, _root: _Scratch(types, history)
    app.trace_directory = None
    app.sends_scheduled = False
    message = app.types.validate(type_name, payload)
    correlation_id, facts = asyncio.run(_run(app, message, timeout))
    return Again(correlation_id, facts, [one.name for one in outside])


def unscheduled(facts: Sequence[Fact]) -> list[Fact]:
    """Leave out what came of messages that had been scheduled: whoever runs a correlation again does not wait for it."""
    gone = {scheduled_id(fact) for fact in facts if fact.get("type") == SCHEDULED and fact.get("causationid")}
    children: dict[str, list[str]] = {}
    for fact in facts:
        if "bus" in fact and fact.get("causationid"):
            children.setdefault(cause_of(fact), []).append(fact["id"])
    rest = list(gone)
    while rest:
        below = [child for child in children.get(rest.pop(), ()) if child not in gone]
        gone.update(below)
        rest += below
    first = {fact["id"] for fact in facts if "bus" in fact and not fact.get("causationid")}
    return [fact for fact in facts if not _is_gone(fact, gone) and scheduled_id(fact) not in first]


def _is_gone(fact: Fact, gone: set[str]) -> bool:
    return ("bus" in fact and fact["id"] in gone) or fact.get("causationid") in gone


class _Scratch(MemoryEventStore):
    """A store in memory that begins with a history."""

    def __init__(self, types: MessageTypes, history: Sequence[EventCopy]) -> None:
        super().__init__(types)
        self._history = history

    async def open(self, projections: Sequence[Projecting] = ()) -> None:
        """Take in the history."""
        await super().open(projections)
        await self.restore(self._history)


async def _run(app: Microlith, message: Message, timeout: float) -> tuple[str, list[Fact]]:
    await app.start()
    try:
        return await _sent(app, message, timeout)
    finally:
        await app.stop(_DRAIN)


async def _sent(app: Microlith, message: Message, timeout: float) -> tuple[str, list[Fact]]:
    if not await app.idle(timeout):  # projections that follow come up to the history first
        raise NotIdleError(timeout, ["projections"])
    identifier = new_id()
    gathered: list[Fact] = []
    follower = app.tracer.follow(_MOST_FACTS)
    following = asyncio.create_task(_gather(follower, gathered))
    try:
        envelope = Envelope(message, identifier, identifier, None, time())
        await app.bus_of(type(message).__kind__).dispatch(envelope)
        if not await app.idle(timeout):
            raise NotIdleError(timeout, _names(app))
        app.tracer.flush()
        gathered += follower.take()
    finally:
        follower.close()
        following.cancel()
    if any(fact["type"] == _DROPPED for fact in gathered):
        raise MissedFactsError
    return identifier, [fact for fact in gathered if fact.get("correlationid") == identifier]


async def _gather(follower: Follower, gathered: list[Fact]) -> None:
    async for facts in follower:
        gathered += facts


def _names(app: Microlith) -> Iterator[str]:
    for entries in app.running().values():
        yield from (str(entry["handler"]) for entry in entries)
