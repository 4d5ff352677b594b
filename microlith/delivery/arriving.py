"""Arriving: what comes over a transport, taken into this process.

A command goes to the lane of its handler and is settled with the handler's commit; until then the broker keeps it. An event
is recorded in this process's own log and settled then: handlers and projections take it from there, as any other. A query
is handed over and settled at once. What cannot be read is put aside at the broker with the reason.

Sends nothing; see `outbox` and `replies`.
"""

import logging
from collections.abc import AsyncIterator, Collection
from time import monotonic
from typing import Any

from microlith.context import HandlingOfArrival
from microlith.delivery.delivery import Delivery
from microlith.delivery.patience import PAUSE_SECONDS, patiently
from microlith.delivery.routes import Route
from microlith.envelope import Envelope
from microlith.errors import HandlerFailedError, StoreAwayError
from microlith.event_store.protocol import Committed
from microlith.messages import Kind
from microlith.transports import Arrival, Inbox, Subscribing, Transport
from microlith.transports.cloud_events import FAILED, Post, UnreadableParcelError, digest_of

logger = logging.getLogger("microlith.transports")

PREFETCH = 200
"""Messages of one subscription that are in this process and not settled."""
_OTHER_BODY = "the same id came before with another body"


class ArrivedCommand:
    """A command in this process's hands; the same one may have come more than once.

    Attributes:
        digest: What tells its body from others.
    """

    __slots__ = ("_arrivals", "_forget", "_message_id", "digest")

    def __init__(self, arrival: Arrival, message_id: str, in_hand: "dict[str, ArrivedCommand]") -> None:
        self.digest = digest_of(arrival.parcel)
        self._arrivals = [arrival]
        self._message_id = message_id
        self._forget = in_hand.pop
        in_hand[message_id] = self

    def join(self, arrival: Arrival) -> None:
        """Settle another arrival of it together with the first."""
        self._arrivals.append(arrival)

    def settle(self) -> None:
        """Tell the transport that it was handled."""
        self._forget(self._message_id, None)
        for arrival in self._arrivals:
            arrival.settle()


class Arrivals:
    """Takes what comes over one transport.

    Args:
        delivery: Where it goes.
        transport: What it comes over.
        post: What reads it.
        recorded: Event classes that are recorded in this process when they come. Whoever waits for one of them is told
            then, and not before: what is folded in the same commit can be read by that time.
    """

    def __init__(
        self, delivery: Delivery, transport: Transport, post: Post, recorded: Collection[type[Any]] = ()
    ) -> None:
        self._delivery = delivery
        self._recorded = recorded
        self._transport = transport
        self._post = post
        self._in_hand: dict[str, ArrivedCommand] = {}

    async def take(self, wanted: Subscribing) -> None:
        """Take what a group is sent. Runs until cancelled, or until the transport is closed."""
        take = {"command": self._command, "query": self._query, "event": self._event}[wanted.topic.kind]
        kinds: tuple[Kind, ...] = (wanted.topic.kind,)
        async for arrival in self._transport.subscribe(wanted, prefetch=PREFETCH):
            envelope = self._read(arrival, kinds)
            if envelope is not None:
                route = self._delivery.routes.of(type(envelope.message))
                await take(arrival, envelope, route)

    async def listen(self, inbox: Inbox) -> None:
        """Hear what other processes tell of. Runs until cancelled, or until the transport is closed."""
        arrivals: AsyncIterator[Arrival] = self._transport.listen(inbox)
        async for arrival in arrivals:
            try:
                self._hear(arrival)
            except UnreadableParcelError as error:
                logger.warning("%s", error)

    def _read(self, arrival: Arrival, kinds: tuple[Kind, ...]) -> Envelope[Any] | None:
        try:
            envelope = self._post.message(arrival.parcel, kinds)
            if envelope.depth > self._delivery.max_depth:
                raise UnreadableParcelError(f"has {envelope.depth} messages before it, which cause each other")
        except UnreadableParcelError as error:
            self._refuse(arrival, str(error))
            return None
        return envelope

    def _refuse(self, arrival: Arrival, reason: str) -> None:
        shown = arrival.parcel.attributes.get("id", "?")[-8:]
        logger.error("Message %s was put aside at %s: %s", shown, self._transport.broker, reason)
        arrival.refuse(reason)

    async def _command(self, arrival: Arrival, envelope: Envelope[Any], route: Route) -> None:
        lane = route.inbound
        if lane is None:
            self._refuse(arrival, f"nobody handles {route.entry.full_name} here")
            return
        message_id = envelope.message_id
        digest = digest_of(arrival.parcel)
        in_hand = self._in_hand.get(message_id)
        if in_hand is None:
            known = await patiently(lambda: self._delivery.store.arrived(message_id))
        else:
            known = in_hand.digest
        if known is not None and known not in (0, digest):
            self._refuse(arrival, _OTHER_BODY)
        elif in_hand is not None:
            in_hand.join(arrival)
        elif known is not None:
            arrival.settle()
        else:
            arrived = ArrivedCommand(arrival, message_id, self._in_hand)
            attempt = 0 if arrival.again else 1  # it may have ended the process that it came to before
            self._see(envelope)
            lane.push_handling(HandlingOfArrival(lane.name, envelope, arrived, monotonic(), attempt))

    async def _query(self, arrival: Arrival, envelope: Envelope[Any], route: Route) -> None:
        arrival.settle()
        lane = route.inbound
        if lane is None or len(lane.queue) >= lane.limit:
            logger.warning(
                "%s was not answered: %s", route.entry.full_name, "no handler" if lane is None else "no room"
            )
            return
        self._see(envelope)
        lane.push(envelope)

    async def _event(self, arrival: Arrival, envelope: Envelope[Any], route: Route) -> None:
        store = self._delivery.store
        if await patiently(lambda: store.is_recorded(envelope.message_id)):
            await self._event_again(arrival, envelope)
            return

        def done(committed: Committed | None, error: BaseException | None) -> None:
            if isinstance(error, StoreAwayError):
                self._delivery.loop.call_later(PAUSE_SECONDS, store.record, envelope, done)
                return
            if committed is None:  # not settled, so that it comes again
                logger.error("A %s that came was not recorded: %s", route.entry.name, error)
                return
            self._delivery.deliver_committed([(envelope, route)], committed)
            arrival.settle()

        store.record(envelope, done)

    async def _event_again(self, arrival: Arrival, envelope: Envelope[Any]) -> None:
        """Settle an event that is in the log; put it aside when what is there under its id is something else."""
        store = self._delivery.store
        recorded = await patiently(lambda: store.read_correlation(envelope.correlation_id))
        if any(one.message_id == envelope.message_id and one.message == envelope.message for one in recorded):
            arrival.settle()
        else:
            self._refuse(arrival, _OTHER_BODY)

    def _hear(self, arrival: Arrival) -> None:
        delivery = self._delivery
        if arrival.parcel.attributes.get("type") == FAILED:
            told = self._post.failure(arrival.parcel)
            failure = HandlerFailedError(told.handler, told.message, told.reason)
            if told.question:
                if delivery.waits.answer(told.message_id, failure):
                    return
                delivery.answer(told.correlation_id, failure)
            delivery.fail(told.correlation_id, failure)
            return
        envelope = self._post.message(arrival.parcel, ("response", "event"))
        if type(envelope.message) in self._recorded:
            return
        if envelope.message.__kind__ == "event":
            delivery.hear(envelope)
        elif envelope.causation_id is None or not delivery.waits.answer(envelope.causation_id, envelope):
            delivery.answer(envelope.correlation_id, envelope)
        self._see(envelope, handlers=0)

    def _see(self, envelope: Envelope[Any], handlers: int = 1) -> None:
        """Let the tracer and the waits see a message that was sent elsewhere."""
        self._delivery.tracer.sent(envelope, handlers, None)
        watched = self._delivery.waits.watched.get(envelope.correlation_id)
        if watched is not None:
            watched.offer(envelope)
