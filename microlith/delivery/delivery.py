"""Delivery: accepts messages into the store and hands accepted ones to their lanes.

One direction: dispatch, accept, deliver. What a handler returns comes back in through
`completion` and goes the same way.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from threading import get_ident
from typing import Any, Protocol

from microlith.clock import Clock, SystemClock
from microlith.context import Handling
from microlith.delivery.receipts import Receipt
from microlith.delivery.retrying import Retrying
from microlith.delivery.routes import Route, Routes
from microlith.delivery.timers import ScheduledReceipt, Timers
from microlith.envelope import ORIGIN, Envelope
from microlith.errors import (
    Behind,
    BusFullError,
    CascadeTooDeepError,
    HandlerFailedError,
    MicrolithError,
    NoHandlerError,
    NotRunningError,
)
from microlith.event_store.protocol import Acceptance, Committed, EventStore
from microlith.handlers.lanes import Lane
from microlith.middleware import Middleware
from microlith.tracing.tracer import Tracer
from microlith.waits import Waits

logger = logging.getLogger("microlith")

_ANSWERS_KEPT = 10_000
_FAILURES_KEPT = 1_000
_COMMANDS_KEPT = 10_000
_HEARD_OF_ONE = 1_000
_DUPLICATE = Acceptance.DUPLICATE
_UNDER_WAY = Acceptance.UNDER_WAY


class ReadSide(Protocol):
    """The projections, as far as a bus waits for them."""

    def names_of(self, wanted: Any) -> list[str]:
        """Find the full names of projections: one or several, given themselves, by name, or by a read model."""
        ...

    async def behind(self, names: Sequence[str], correlation_id: str, deadline: float) -> Sequence[Behind]:
        """Wait until projections have passed the events of a correlation; return those that did not in time."""
        ...


class Leaving(Protocol):
    """What sends events to other processes, as far as somebody waits for it."""

    @property
    def waiting(self) -> bool:
        """Whether there is more to send, and somebody may wait for that."""
        ...


class Replies(Protocol):
    """What tells other processes, as far as the delivery needs it."""

    def answered(self, response: Envelope[Any]) -> None:
        """Tell whoever asked a question from elsewhere the answer."""
        ...

    def failed(self, envelope: Envelope[Any], failure: HandlerFailedError, *, asked: bool) -> None:
        """Tell the processes that a message came through that its handler failed."""
        ...


class Delivery:
    """The running heart of an application: routes, store, tracer and waits together.

    Attributes:
        middleware: What every message passes before it is accepted, outermost first.
        retrying: Dead letters that are being tried again.
        read_side: The projections; None until they are followed.
        timers: Messages that are to be sent later.
        answers: The newest responses, and failures of queries, by correlation id; bounded.
        failed: The newest failures of other handlers, likewise: a wait that begins before a failure is
            committed finds it here.
        caused: The newest commands that handlers sent; bounded.
        replies: Tells other processes what their messages have caused here; None while there are none.
        outboxes: What sends the events of this process to others.
        leaving: Global position of the newest event that is to leave.
        heard: The newest events that other processes told of, by correlation id; bounded.
        away: Brokers that are away: by where each is, since when, in seconds since the epoch, and why.
    """

    def __init__(
        self,
        name: str,
        routes: Routes,
        store: EventStore,
        tracer: Tracer,
        waits: Waits,
        *,
        max_depth: int,
        lane_limit: int,
        middleware: Sequence[Middleware] = (),
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.routes = routes
        self.store = store
        self.tracer = tracer
        self.waits = waits
        self.loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self.max_depth = max_depth
        self.lane_limit = lane_limit
        self.middleware = tuple(middleware)
        self.retrying = Retrying(store, routes)
        self.timers = Timers(self, clock or SystemClock())
        self.answers: OrderedDict[str, Envelope[Any] | BaseException] = OrderedDict()
        self.read_side: ReadSide | None = None
        self.failed: OrderedDict[str, BaseException] = OrderedDict()
        self.caused: deque[Envelope[Any]] = deque(maxlen=_COMMANDS_KEPT)
        self.replies: Replies | None = None
        self.outboxes: list[Leaving] = []
        self.leaving = -1
        self.heard: OrderedDict[str, list[Envelope[Any]]] = OrderedDict()
        self.away: dict[str, tuple[float, str]] = {}

    def projections(self) -> ReadSide:
        """Return the projections.

        Raises:
            NotRunningError: The application is only starting.
        """
        if self.read_side is None:
            raise NotRunningError(self.name)
        return self.read_side

    def is_here(self) -> bool:
        """Tell whether the caller runs on the application's loop.

        While that loop runs, no other can run in its thread. To ask for the running loop would cost a system call.
        """
        return get_ident() == self._thread and self.loop.is_running()

    def check(self, envelope: Envelope[Any], route: Route) -> None:
        """Refuse a message that nobody handles, that is too deep in a cascade, or that there is no room for.

        Raises:
            NoHandlerError: A command or query without a handler.
            CascadeTooDeepError: The chain of causes is longer than `max_depth`.
            BusFullError: Its lane holds `lane_limit` messages.
        """
        if envelope.depth > self.max_depth:
            raise CascadeTooDeepError(route.entry.name, self.max_depth, self._chain(envelope))
        if route.kind != "event":
            if not route.lanes:
                raise NoHandlerError(route.entry.name, self.routes.handled(), route.elsewhere)
            if len(route.lanes[0].queue) >= self.lane_limit:
                raise BusFullError(route.kind, self.lane_limit)

    def accept(self, receipt: Receipt) -> None:
        """Record a message and deliver it once recorded; its receipt says when."""
        envelope, route = receipt.envelope, receipt.route
        if route.stored:
            acceptance = self.store.record(envelope, receipt.recorded)
            if acceptance is _UNDER_WAY:
                return
            if acceptance is _DUPLICATE:
                receipt.accepted()
                return
        self.deliver(envelope, route)
        receipt.pending = False

    def accept_later(self, receipt: Receipt) -> None:
        """Accept a message when its sender is no longer there to be told of a refusal; the receipt tells instead."""
        try:
            if isinstance(receipt, ScheduledReceipt):
                self.timers.keep(receipt)
            else:
                self.accept(receipt)
        except MicrolithError as error:
            logger.warning("%s was not recorded: %s", receipt.route.entry.name, error)
            receipt.accepted(error)

    def hold(self, handling: Handling, receipt: Receipt) -> None:
        """Keep what a handler sends until it returns, so that both are committed together."""
        if handling.outbox is None:
            handling.outbox = []
        handling.outbox.append(receipt)
        receipt.hold(lambda: self.send_now(handling))

    def send_now(self, handling: Handling) -> None:
        """Send everything a handler has held back, because it waits for some of it."""
        held, handling.outbox = handling.outbox, None
        for receipt in held or ():
            self.accept_later(receipt)

    def deliver_committed(self, sent: list[tuple[Envelope[Any], Route]], committed: Committed) -> None:
        """Deliver what a commit wrote, in the order in which it was sent."""
        events = iter(committed.events)
        for envelope, route in sent:
            if not committed.duplicates or envelope.message_id not in committed.duplicates:
                self.deliver(envelope, route, next(events).position if route.kind == "event" else None)

    def deliver(self, envelope: Envelope[Any], route: Route, position: int | None = None) -> None:
        """Hand an accepted message to the tracer, to the waits and to the lanes of its handlers."""
        lanes, leaves = route.lanes, route.leaves
        if leaves and position is not None:
            if envelope.headers is not None and ORIGIN in envelope.headers:
                leaves = 0  # what came from elsewhere does not leave again
            else:
                self.leaving = position
        self.tracer.sent(envelope, len(lanes) + leaves, position, route.projections)
        watched = self.waits.watched.get(envelope.correlation_id)
        if watched is not None:
            watched.offer(envelope)
        if envelope.depth and route.kind == "command":
            self.caused.append(envelope)
        for lane in lanes:
            if position is not None and lane.durable:
                self._deliver_event(lane, envelope, position)
            elif route.kind != "event" or len(lane.queue) < self.lane_limit:
                lane.push(envelope)  # there was room when it was accepted: what is recorded now must be handled
            else:
                logger.error("%s missed %s: its queue is full", lane.name, route.entry.name)

    def commands_of(self, correlation_id: str) -> Iterator[Envelope[Any]]:
        """Yield the commands of a correlation that are known: all that wait for their handler, and the newest others."""
        for envelope in self.caused:
            if envelope.correlation_id == correlation_id:
                yield envelope
        yield from self.tracer.sent_in(correlation_id)
        for lane in self.routes.lanes():
            if lane.spec.message.__kind__ == "command":
                for handling in lane.unfinished():
                    if handling.envelope.correlation_id == correlation_id:
                        yield handling.envelope

    def answer(self, correlation_id: str, answer: Envelope[Any] | BaseException) -> None:
        """Remember a response, or why there is none, for a wait that begins later."""
        self.answers[correlation_id] = answer
        if len(self.answers) > _ANSWERS_KEPT:
            self.answers.popitem(last=False)

    def hear(self, envelope: Envelope[Any]) -> None:
        """Remember an event that another process told of, for a wait that begins later."""
        events = self.heard.setdefault(envelope.correlation_id, [])
        if len(events) < _HEARD_OF_ONE and all(one.message_id != envelope.message_id for one in events):
            events.append(envelope)
        if len(self.heard) > _ANSWERS_KEPT:
            self.heard.popitem(last=False)

    def fail(self, correlation_id: str, failure: BaseException) -> None:
        """End the waits on a correlation, those of now and those that begin later."""
        self.failed[correlation_id] = failure
        if len(self.failed) > _FAILURES_KEPT:
            self.failed.popitem(last=False)
        self.waits.fail(correlation_id, failure)

    def _deliver_event(self, lane: Lane, envelope: Envelope[Any], position: int) -> None:
        if position <= lane.last_seen:
            return  # the lane read it from the log, where it stood a moment before this
        if lane.behind or len(lane.queue) >= lane.limit:
            lane.behind = True
            lane.missed = position
            lane.wake()
        else:
            lane.last_seen = position
            lane.push(envelope, position)

    def _chain(self, envelope: Envelope[Any]) -> list[str]:
        """Name the last messages of a chain of causes, as far as the tracer remembers them."""
        known = {sent.message_id: sent for sent in self.tracer.sent_in(envelope.correlation_id)}
        chain = [type(envelope.message).__name__]
        parent = envelope.causation_id
        while parent is not None and parent in known and len(chain) < 6:
            chain.append(type(known[parent].message).__name__)
            parent = known[parent].causation_id
        return chain[::-1]
