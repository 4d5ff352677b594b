"""Outboxes: what is to leave this process, sent over a transport in the order of its commits.

Commands and queries for a component wait in a lane of their own; a command counts as sent once the broker has taken it. Events
are read from the log behind a checkpoint, so that nothing is lost when the process or the broker goes.
After a lost connection everything that was not taken is sent again, in order and with the same ids.

Takes nothing in; see `arriving`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from time import monotonic
from typing import Any

from microlith.context import Handling
from microlith.delivery.delivery import Delivery
from microlith.delivery.replies import InboxReplies
from microlith.delivery.routes import Route
from microlith.envelope import ORIGIN, Envelope
from microlith.errors import CorruptionError, MicrolithError, StoreError
from microlith.event_store.protocol import RecordedEvent, Settlement, Unit
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.lanes import Completion, Lane, Slot
from microlith.plurals import plural
from microlith.transports import Address, Inbox, Parcel, ParcelRefusedError, Topic, Transport, TransportError
from microlith.transports.cloud_events import Post, too_large

logger = logging.getLogger("microlith.transports")

COMPONENT = "outbox"
"""What outboxes are named by, as handlers are by their component: "outbox.auth", "outbox.events"."""
_BATCH = 500
EVENTS = f"{COMPONENT}.events"
"""What the names of all checkpoints of outboxes of events begin with. Older stores have no more than this, or a scheme behind it."""
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between two tries to send what a broker did not take; the last one is repeated."""

Addressed = tuple[Address, Parcel]
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Sender:
    """Sends parcels over one transport for as long as it takes.

    Attributes:
        away: Whether the broker did not take what was sent last.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.away = False

    async def send(self, parcels: Sequence[Addressed]) -> None:
        """Send parcels in order, again and again until the broker has taken all.

        Raises:
            ParcelRefusedError: It never will take one of them; those before it were taken.
        """
        tries = 0
        while True:
            try:
                await self._transport.publish(parcels)
            except ParcelRefusedError:
                self.away = False
                raise
            except TransportError as error:  # the broker is away, or what it needs is gone there: both can be mended
                if not self.away:
                    logger.warning("%s not sent yet: %s", plural(len(parcels), "message"), error)
                self.away = True
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1
            else:
                self.away = False
                return


class Outbox(Lane):
    """The lane of the commands, or of the queries, that are for one component and leave this process.

    It has no slots: what it sends is safe in the store, or is a query, so nobody need wait for it at the end.
    """

    def __init__(
        self,
        topic: Topic,
        messages: Sequence[type[Any]],
        delivery: Delivery,
        completion: Completion,
        transport: Transport,
        post: Post,
        *,
        executor: Executor,
        limit: int,
        spawn: Spawn,
    ) -> None:
        spec = HandlerSpec(COMPONENT, messages[0], _named(topic.component))
        super().__init__(spec, _never, completion, executor, limit=limit, durable=True, spawn=spawn)
        self.answers = False
        self.durable = topic.kind == "command"
        self.retry = None
        self.slots = []
        self._topic = topic
        self._delivery = delivery
        self._transport = transport
        self._sender = Sender(transport)
        self._post = post
        self._under_way: list[Handling] = []

    def start(self) -> None:
        """Begin to send."""
        self._loop = asyncio.get_running_loop()
        self._spawn(self._work(Slot()), f"microlith {self.spec.name}")

    def unfinished(self) -> list[Handling]:
        """List what is being sent or waits for it, in order."""
        return [*self._under_way, *self.queue]

    @property
    def waiting(self) -> bool:
        """Whether something is on its way, or waits for it, and somebody may wait for that."""
        return bool(self._under_way or self.queue) and not (self.closing or self._is_safe)

    @property
    def _is_safe(self) -> bool:
        """Whether the broker is away, and the store keeps until the next start what it does not take."""
        return self._sender.away and self._delivery.store.durability != "memory"

    async def _work(self, slot: Slot) -> None:  # noqa: ARG002 (it sends many at a time, and needs none)
        while not self.closing:
            if not self.queue:
                await self._rest()
                continue
            self._under_way = [self.queue.popleft() for _ in range(min(len(self.queue), _BATCH))]
            now = monotonic()
            for handling in self._under_way:
                handling.started = now
                handling.open = False
            packed = [(handling, parcel) for handling in self._under_way if (parcel := self._packed(handling))]
            while packed:
                packed = packed[await self._send(packed) :]
            self._under_way = []
            if self.senders:
                self.admit(_BATCH)

    async def _send(self, packed: Sequence[tuple[Handling, Parcel]]) -> int:
        """Send some; return how many are done with, for better or worse."""
        parcels: list[Addressed] = [(self._topic, parcel) for _, parcel in packed]
        try:
            if self.durable:
                await self._sender.send(parcels)
            else:
                await self._transport.publish(parcels)
        except ParcelRefusedError as refused:
            for handling, _ in packed[: refused.index]:
                self._sent(handling)
            self._fail(packed[refused.index][0], refused)
            return refused.index + 1
        except TransportError as error:  # of queries: whoever asked waits for now, and can ask again
            for handling, _ in packed:
                self._fail(handling, error)
            return len(packed)
        for handling, _ in packed:
            self._sent(handling)
        return len(packed)

    def _packed(self, handling: Handling) -> Parcel | None:
        try:
            parcel = self._post.parcel(handling.envelope, key_of(handling.envelope, self._delivery))
            if len(parcel.data) > self._transport.largest:
                name = type(handling.envelope.message).__name__
                raise too_large(name, len(parcel.data), self._transport.largest)
        except MicrolithError as error:
            self._fail(handling, error)
            return None
        return parcel

    def _sent(self, handling: Handling) -> None:
        handling.ended, handling.outcome = monotonic(), "ok"
        self._delivery.tracer.handled(handling)
        watched = self._delivery.waits.watched.get(handling.envelope.correlation_id)
        if watched is not None:
            watched.note(handling)
        if handling.letter is not None:
            settlement = Settlement(self.name, handling.envelope, letter=handling.letter, attempts=handling.attempt)
            self._delivery.store.complete(Unit([], settlement), lambda *_: None)
            self._delivery.retrying.succeeded(self, handling.letter, handling.letter_key)
        elif self.durable:
            self._delivery.store.settle_command(handling.envelope)

    def _fail(self, handling: Handling, error: Exception) -> None:
        handling.ended = monotonic()
        self._completion.finish(self, handling, None, error)


class EventOutbox:
    """Sends the events of this process over one transport, in the order of the log.

    Attributes:
        name: What its checkpoint is kept under.
        last_seen: Global position up to which events have been sent.
    """

    def __init__(
        self,
        name: str,
        delivery: Delivery,
        transport: Transport,
        post: Post,
        carries: Callable[[Route], bool],
        replies: InboxReplies | None,
    ) -> None:
        self.name = name
        self.last_seen = -1
        self._delivery = delivery
        self._largest = transport.largest
        self._sender = Sender(transport)
        self._post = post
        self._carries = carries
        self._replies = replies
        self._grown = asyncio.Event()
        self._head = -1

    @property
    def waiting(self) -> bool:
        """Whether there is more in the log than was sent, and somebody may wait for that."""
        safe = self._sender.away and self._delivery.store.durability != "memory"
        return self.last_seen < max(self._head, self._delivery.leaving) and not safe

    def start(self, checkpoint: int, head: int, spawn: Spawn) -> None:
        """Follow the log behind a checkpoint, up to the head and on."""
        self.last_seen, self._head = checkpoint, head
        self._delivery.store.watch(self._grown.set)
        spawn(self._run(), f"microlith {self.name}")

    async def _run(self) -> None:
        store = self._delivery.store
        failed = 0
        while True:
            self._grown.clear()
            try:
                self._head = await store.head()
                while self.last_seen < self._head:
                    await self._page(await store.read_all(after=self.last_seen, limit=_BATCH))
                    failed = 0
            except CorruptionError as error:  # nothing may leave from behind it, and it does not go away by itself
                logger.critical("%s sends no more events: after position %d, %s", self.name, self.last_seen, error)
                return
            except StoreError as error:  # its database is away, or short of something: both can be mended
                if not failed:
                    logger.warning("%s waits after position %d: %s", self.name, self.last_seen, error)
                await asyncio.sleep(_PAUSES[min(failed, len(_PAUSES) - 1)])
                failed += 1
            else:
                await self._grown.wait()

    async def _page(self, events: Sequence[RecordedEvent]) -> None:
        parcels: list[Addressed] = []
        of: list[RecordedEvent] = []
        failed: dict[int, Exception] = {}
        began = monotonic()
        for event in events:
            try:
                packed = self._parcels(event)
            except StoreError:  # the event is as it should be, and what is needed to read it may come back
                raise
            except MicrolithError as error:
                logger.error("Event %d, a %s, is not sent: %s", event.position, event.type, error)  # noqa: TRY400
                continue
            parcels += packed
            of += [event] * len(packed)
        done = 0
        while done < len(parcels):
            try:
                await self._sender.send(parcels[done:])
            except ParcelRefusedError as refused:
                done += refused.index + 1
                event = of[done - 1]
                logger.error("Event %d, a %s, was not sent: %s", event.position, event.type, refused)  # noqa: TRY400
                if isinstance(parcels[done - 1][0], Topic):
                    failed[event.position] = refused
            else:
                break
        for event, (address, _) in zip(of, parcels, strict=True):
            if isinstance(address, Topic):
                self._tell(event, began, failed.get(event.position))
        last = events[-1]
        self.last_seen = last.position
        self._delivery.store.settle(Settlement(self.name, _unread(last), last.position, last.position))

    def _parcels(self, event: RecordedEvent) -> list[Addressed]:
        """Pack an event for its topic and for the inboxes that are to hear of it. What came from elsewhere stays."""
        headers = event.headers
        if headers is not None and ORIGIN in headers:
            return []
        route = self._delivery.routes.get(type(event.message))
        carried = route is not None and self._carries(route)
        inboxes = () if self._replies is None or headers is None else self._replies.inboxes_of(headers)
        if route is None or not (carried or inboxes):
            return []
        parcel = self._post.parcel(event.envelope, event.stream)
        if len(parcel.data) > self._largest:
            raise too_large(event.type, len(parcel.data), self._largest)
        to: list[Address] = [Topic("event", route.entry.component)] if carried else []
        return [(address, parcel) for address in (*to, *map(Inbox, inboxes))]

    def _tell(self, event: RecordedEvent, began: float, error: Exception | None) -> None:
        handling = Handling(self.name, event.envelope, event.position, began, 1)
        handling.started, handling.ended, handling.outcome = began, monotonic(), "ok" if error is None else "failed"
        self._delivery.tracer.handled(handling, error)


def _unread(event: RecordedEvent) -> Envelope[Any]:
    """Return an event's envelope without its message, which this code may not be able to read."""
    return Envelope(None, event.message_id, event.correlation_id, event.causation_id, event.time, event.depth)


def key_of(envelope: Envelope[Any], delivery: Delivery) -> str:
    """Return what a command keeps its order with at the broker: the key of its handler, else none."""
    route = delivery.routes.get(type(envelope.message))
    return "" if route is None or route.key is None else route.key(envelope) or ""


def _named(component: str) -> Callable[..., Any]:
    async def leave() -> None:
        """Stand for the sending in what is shown of handlers."""

    leave.__name__ = component
    return leave


async def _never(_: Envelope[Any]) -> Any:
    """Stand where a lane has its handler."""
