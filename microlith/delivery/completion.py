"""Completion: what happens when a handler has returned or raised.

What it returned or sent, the mark that it is done, and the read models that follow from it go
into one commit; only then are the new messages delivered. A failure becomes a dead letter and
ends the waits on its correlation.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Any

from microlith.context import caused_by
from microlith.delivery.delivery import Delivery
from microlith.delivery.recovery import count_attempt, refill
from microlith.delivery.routes import Route
from microlith.envelope import Envelope
from microlith.errors import HandlerFailedError, MicrolithError, WrongBusError
from microlith.event_store.protocol import Committed, Settlement, Unit
from microlith.handlers.lanes import HandlerTimeoutError, Item, Lane, Result
from microlith.ids import new_id
from microlith.messages import Message
from microlith.payloads import scrub
from microlith.serialization import secret_values

logger = logging.getLogger("microlith")

Outgoing = list[tuple[Envelope[Any], Route]]


class HandlerOutputError(MicrolithError):
    """A handler returned something that is not a message."""

    def __init__(self, handler: str, got: str, expected: str) -> None:
        super().__init__(
            f"Handler {handler} returned {got}; {expected} was expected.", hint="Return messages, or None."
        )


class HandlerCompletion:
    """Takes the results of every lane of one application."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._store = delivery.store
        self._tracer = delivery.tracer

    async def begin_again(self, lane: Lane, item: Item) -> int | None:
        """Count another try of a message that an earlier process left; None when it was tried too often."""
        return await count_attempt(self._delivery, lane, item, self.settlement)

    async def refill(self, lane: Lane) -> None:
        """Read what a lane missed from the log."""
        await refill(self._delivery, lane)

    def finish(self, lane: Lane, result: Result) -> Awaitable[None] | None:
        """Take what a handler returned or raised."""
        item, handling = result.item, result.handling
        if result.error is None and result.value is None and handling.outbox is None and self._may_be_silent(lane):
            self._trace(lane, result, "ok", [])
            if lane.durable:
                self._store.settle(self.settlement(lane, item, attempts=result.attempt))
            return None
        outgoing: Outgoing = []
        if result.error is None:
            try:
                outgoing = self._outgoing(lane, result)
            except MicrolithError as error:
                result.error = error
        if result.error is not None:
            self._fail(lane, result)
            return None
        if lane.spec.message.__kind__ == "query":
            return self._answer(lane, result, outgoing)
        return self._commit(lane, result, outgoing)

    def settlement(self, lane: Lane, item: Item, *, error: str | None = None, attempts: int = 1) -> Settlement:
        """Say that a lane is done with a message; for an event, also up to where it is done with all."""
        position = item.position
        if position is None:
            return Settlement(lane.spec.name, item.envelope, error=error, attempts=attempts)
        lane.under_way.discard(position)
        lane.highest_done = max(lane.highest_done, position)
        checkpoint = min(lane.under_way) - 1 if lane.under_way else lane.highest_done
        return Settlement(lane.spec.name, item.envelope, position, checkpoint, error, attempts)

    def _may_be_silent(self, lane: Lane) -> bool:
        return lane.spec.message.__kind__ != "query"

    def _outgoing(self, lane: Lane, result: Result) -> Outgoing:
        outgoing: Outgoing = [(envelope, route) for envelope, route, _ in result.handling.outbox or ()]
        is_query = lane.spec.message.__kind__ == "query"
        parent = result.item.envelope
        for value in _messages(lane, result.value, is_query=is_query):
            envelope = value if isinstance(value, Envelope) else caused_by(parent, value, new_id())
            route = self._delivery.routes.of(type(envelope.message))
            if route.kind == "query" or (route.kind == "response") != is_query:
                raise WrongBusError(route.entry.name, route.kind, "query" if is_query else "command or event")
            if route.kind != "response":
                self._delivery.check(envelope, route)
            outgoing.append((envelope, route))
        return outgoing

    def _answer(self, lane: Lane, result: Result, outgoing: Outgoing) -> Awaitable[None] | None:
        """Send a query's response, which is not recorded, and what its handler dispatched, which is."""
        response = outgoing.pop()
        held = bool(outgoing)
        self._trace(lane, result, "ok", [envelope.message_id for envelope, _ in [*outgoing, response]])
        finishing = self._commit(lane, result, outgoing, traced=True) if held else None
        if not self._delivery.waits.answer(result.item.envelope.message_id, response[0]):
            self._delivery.answer(response[0].correlation_id, response[0])
        self._delivery.deliver(*response)
        return finishing

    def _commit(
        self, lane: Lane, result: Result, outgoing: Outgoing, *, traced: bool = False
    ) -> Awaitable[None] | None:
        settlement = self.settlement(lane, result.item, attempts=result.attempt) if lane.durable else None
        finished: asyncio.Future[None] | None = None
        over = False

        def done(committed: Committed | None, error: BaseException | None) -> None:
            nonlocal over
            over = True
            if committed is None:
                result.error = error
                self._fail(lane, result, settle=False)
            else:
                if not traced:
                    self._trace(lane, result, "ok", [envelope.message_id for envelope, _ in outgoing])
                self._delivery.deliver_committed(outgoing, committed)
                self._release(result, None)
            if finished is not None and not finished.done():
                finished.set_result(None)

        self._store.complete(Unit([envelope for envelope, _ in outgoing], settlement), done)
        if over:
            return None
        finished = self._delivery.loop.create_future()
        return finished

    def _fail(self, lane: Lane, result: Result, *, settle: bool = True) -> None:
        error = result.error
        envelope = result.item.envelope
        reason = scrub(f"{type(error).__name__}: {error}", secret_values(envelope.message))
        failure = HandlerFailedError(lane.spec.name, type(envelope.message).__name__, reason)
        failure.__cause__ = error
        outcome = "timeout" if isinstance(error, HandlerTimeoutError) else "failed"
        self._trace(lane, result, outcome, [])
        logger.error("%s", failure)
        if lane.durable and settle:
            self._store.settle(self.settlement(lane, result.item, error=reason[:2000], attempts=result.attempt))
        self._release(result, failure)
        if lane.spec.message.__kind__ == "query":
            if self._delivery.waits.answer(envelope.message_id, failure):
                return  # whoever asked decides what the failure means for the correlation
            self._delivery.answer(envelope.correlation_id, failure)
        self._delivery.waits.fail(envelope.correlation_id, failure)

    def _release(self, result: Result, error: BaseException | None) -> None:
        for _, _, receipt in result.handling.outbox or ():
            receipt.accepted(error)

    def _trace(self, lane: Lane, result: Result, outcome: str, sent: list[str]) -> None:
        item = result.item
        self._tracer.handled(
            lane.spec.name,
            item.envelope,
            result.attempt,
            item.queued,
            result.started,
            result.ended,
            outcome,
            result.error,
            sent,
        )


def _messages(lane: Lane, value: Any, *, is_query: bool) -> list[Message | Envelope[Any]]:
    """List the messages in what a handler returned."""
    if isinstance(value, Message | Envelope):
        return [value]
    if is_query:
        raise HandlerOutputError(lane.spec.name, type(value).__name__, "the query's response")
    if value is None:
        return []
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        values = list(value)
        strange = next((type(v).__name__ for v in values if not isinstance(v, Message | Envelope)), None)
        if strange is None:
            return values
        raise HandlerOutputError(lane.spec.name, f"a {strange} among its messages", "a message")
    raise HandlerOutputError(lane.spec.name, type(value).__name__, "a message, several, or None")
