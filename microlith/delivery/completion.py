"""Completion: what happens when a handler has returned or raised.

What it returned or sent, the mark that it is done, and the read models that follow from it go
into one commit; only then are the new messages delivered. A failure becomes a dead letter and
ends the waits on its correlation.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from time import monotonic
from typing import Any

from microlith.context import Handling, caused_by
from microlith.delivery.delivery import Delivery
from microlith.delivery.patience import PAUSE_SECONDS, patiently
from microlith.delivery.recovery import count_attempt, refill
from microlith.delivery.retrying import budget_used
from microlith.delivery.routes import Route
from microlith.envelope import Envelope
from microlith.errors import (
    HandlerFailedError,
    MicrolithError,
    PositionConflictError,
    StoreAwayError,
    StoreError,
    WrongBusError,
    text_of,
)
from microlith.event_store.protocol import ArrivedSettlement, Committed, Place, Settlement, TimedUnit, Unit
from microlith.event_store.schedule import Cancelling, Scheduling
from microlith.handlers.decisions import MAX_CONFLICTS, Decision, Ignored
from microlith.handlers.lanes import HandlerTimeoutError, Lane
from microlith.handlers.schedules import Cancelled, Scheduled
from microlith.ids import new_id
from microlith.messages import Message
from microlith.middleware import dispatched_through
from microlith.payloads import scrub
from microlith.secrecy import hidden_values

logger = logging.getLogger("microlith.handlers")


class MiddlewareRefusedError(MicrolithError):
    """A middleware raised while a handler's message passed it; its error is the cause."""

    def __init__(self, message_name: str, error: Exception) -> None:
        super().__init__(
            f"A middleware refused {message_name}, which the handler sent: {error}",
            hint="Nothing of what the handler sent went out.",
        )


class BehindDeadLetterError(HandlerFailedError):
    """A message was not handled, since one before it in its key is a dead letter."""

    def __init__(self, handler: str, message_name: str) -> None:
        super().__init__(handler, message_name, "parked: a message of the same key before it is a dead letter")


Outgoing = list[tuple[Envelope[Any], Route]]
_LATER = (Scheduled, Cancelled)


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
        self._watched = delivery.waits.watched

    async def begin_again(self, lane: Lane, handling: Handling) -> int | None:
        """Count another try of a message that an earlier process left; None when it was tried too often."""
        return await count_attempt(self._delivery, lane, handling, self.settlement, self._settle)

    async def refill(self, lane: Lane) -> None:
        """Read what a lane missed from the log. What cannot be read stops the lane, and nothing else."""
        try:
            await patiently(lambda: refill(self._delivery, lane))
        except MicrolithError as error:
            lane.stopped = True
            logger.critical(
                "%s handles no more events: after position %d, %s Its checkpoint stays there.",
                lane.name,
                lane.last_seen,
                error,
            )

    def finish(self, lane: Lane, handling: Handling, value: Any, error: BaseException | None) -> Awaitable[None] | None:
        """Take what a handler returned or raised."""
        nothing = value is None and error is None and handling.outbox is None
        if nothing and not lane.answers and handling.letter is None and handling.arrival is None:
            handling.outcome = "ok"
            self._tracer.handled(handling)
            if handling.envelope.correlation_id in self._watched:
                self._watched[handling.envelope.correlation_id].note(handling)
            if lane.durable:
                if handling.position is None:
                    self._store.settle_command(handling.envelope)
                else:
                    self._store.settle(self.settlement(lane, handling))
            return None
        if isinstance(value, Ignored):
            return self._ignore(lane, handling, value)
        outgoing: Outgoing = []
        decision = value if isinstance(value, Decision) else None
        if error is None:
            try:
                outgoing = self._outgoing(lane, handling, value if decision is None else decision.events, decision)
            except Exception as wrong:  # noqa: BLE001 (what is returned may be a generator, and raise what it likes)
                error = wrong
        if error is not None:
            return self._raised(lane, handling, error, decision)
        if lane.answers:
            return self._answer(lane, handling, outgoing)
        if decision is not None and decision.step is not None:
            outgoing.insert(0, (decision.step, self._delivery.routes.of(type(decision.step.message))))
        return self._commit(lane, handling, outgoing, decision)

    def settlement(self, lane: Lane, handling: Handling, error: str | None = None) -> Settlement:
        """Say that a lane is done with a message; for an event, also up to where it is done with all."""
        position, key = handling.position, None
        if error is not None and lane.keyed is not None and lane.spec.parks and handling.letter is None:
            key = lane.keyed.digest_of(handling)
            lane.keyed.block(key)
        if handling.arrival is not None:
            digest = handling.arrival.digest
            return ArrivedSettlement(handling.handler, handling.envelope, digest, error, handling.attempt, key)
        checkpoint = -1 if position is None else lane.done_with(position)
        return Settlement(
            handling.handler, handling.envelope, position, checkpoint, error, handling.attempt, handling.letter, key
        )

    def park(self, lane: Lane, handling: Handling) -> None:
        """Settle a message that is not handled, since one before it in its key is a dead letter."""
        handling.started = handling.ended = monotonic()
        handling.attempt, handling.open = 0, False
        failure = BehindDeadLetterError(lane.name, type(handling.envelope.message).__name__)
        self._handled(handling, "failed", failure)
        if lane.keyed is not None and lane.keyed.digest_of(handling) not in lane.keyed.left:
            settlement = self.settlement(lane, handling, "parked")
            settlement.parked = True
            self._settle(handling, settlement)
        self._delivery.fail(handling.envelope.correlation_id, failure)

    def _outgoing(self, lane: Lane, handling: Handling, value: Any, decision: Decision | None = None) -> Outgoing:
        held = handling.outbox or ()
        outgoing: Outgoing = [(receipt.envelope, receipt.route) for receipt in held if receipt.change is None]
        is_query = lane.answers
        routes = self._delivery.routes
        later: list[Scheduled[Any] | Cancelled] = []
        for one in (value,) if routes.get(type(value)) else _messages(lane, value, later, is_query=is_query):
            envelope = one if isinstance(one, Envelope) else caused_by(handling.envelope, one, new_id())
            route = routes.of(type(envelope.message))
            if route.kind == "query" or (route.kind == "response") != is_query:
                raise WrongBusError(route.entry.name, route.kind, "query" if is_query else "command or event")
            if route.kind != "response":
                self._delivery.check(envelope, route)
                if self._delivery.middleware:
                    envelope = self._passed(envelope)
            outgoing.append((envelope, route))
        if later or len(outgoing) < len(held) or (decision is not None and decision.clears):
            self._change(handling, later, decision)
        return outgoing if len(outgoing) < 2 else _each_once(outgoing)

    def _ignore(self, lane: Lane, handling: Handling, ignored: Ignored) -> Awaitable[None] | None:
        """Settle a message that its handler had no use for."""
        handling.reason = ignored.reason
        self._handled(handling, "ignored")
        return self._commit(lane, handling, self._outgoing(lane, handling, None), None, traced=True)

    def _change(
        self, handling: Handling, later: Sequence["Scheduled[Any] | Cancelled"], decision: Decision | None
    ) -> None:
        """Note what a handler has dispatched or returned for later, or cancelled, for its commit."""
        timers = self._delivery.timers
        # A process may be continued from another correlation; its deadlines are its own all the same.
        scope = handling.envelope.correlation_id
        if decision is not None and decision.step is not None:
            scope = decision.stream
        handling.changes = [receipt.change for receipt in handling.outbox or () if receipt.change is not None]
        if decision is not None and decision.clears:
            handling.changes.append(Cancelling(scope))
        for one in later:
            if isinstance(one, Cancelled):
                handling.changes.append(Cancelling(scope, one.name, one.message_id))
                continue
            message = one.message
            envelope = message if isinstance(message, Envelope) else caused_by(handling.envelope, message, new_id())
            change = timers.scheduling(envelope, one.when, one.name, scope)
            timers.check(change.envelope, self._delivery.routes.of(type(envelope.message)))
            if self._delivery.middleware:
                change.envelope = self._passed(change.envelope)
            handling.changes.append(change)

    def _passed(self, envelope: Envelope[Any]) -> Envelope[Any]:
        try:
            return dispatched_through(self._delivery.middleware, envelope)
        except MicrolithError:
            raise
        except Exception as error:
            raise MiddlewareRefusedError(type(envelope.message).__name__, error) from error

    def _answer(self, lane: Lane, handling: Handling, outgoing: Outgoing) -> Awaitable[None] | None:
        """Send a query's response, which is not recorded, and what its handler dispatched, which is."""
        response = outgoing.pop()
        held = bool(outgoing) or hasattr(handling, "changes")
        self._handled(handling, "ok", sent=_sent(handling, [*outgoing, response]))
        finishing = self._commit(lane, handling, outgoing, None, traced=True) if held else None
        if not self._delivery.waits.answer(handling.envelope.message_id, response[0]):
            self._delivery.answer(response[0].correlation_id, response[0])
        self._delivery.deliver(*response)
        if self._delivery.replies is not None:
            self._delivery.replies.answered(response[0])
        return finishing

    def _commit(
        self, lane: Lane, handling: Handling, outgoing: Outgoing, decision: Decision | None, *, traced: bool = False
    ) -> Awaitable[None] | None:
        settlement = self.settlement(lane, handling) if lane.durable else None
        if handling.position is not None:
            lane.under_way.add(handling.position)  # until the commit: it may be refused, and others may end before
        finished: asyncio.Future[None] | None = None
        over = False

        def done(committed: Committed | None, error: BaseException | None) -> None:
            nonlocal over
            if isinstance(error, StoreAwayError) and settlement is not None:
                self._delivery.loop.call_later(PAUSE_SECONDS, self._store.complete, unit, done)
                return
            over = True
            if decision is not None:
                decision.end(committed=committed is not None)
            if committed is None:
                if not self._decides_anew(lane, handling, error):
                    refused = isinstance(error, PositionConflictError) or not isinstance(error, StoreError)
                    self._fail(lane, handling, error, settle=refused)
            else:
                self._committed(lane, handling, outgoing, committed, traced=traced)
                if unit.changes:
                    self._delivery.timers.kept(unit.changes, committed, handling.envelope)
            if finished is not None and not finished.done():
                finished.set_result(None)

        unit = _unit(handling, outgoing, settlement, decision)
        try:
            self._store.complete(unit, done)
        except Exception as error:
            if over:
                raise
            done(None, error)
        if over:
            return None
        finished = self._delivery.loop.create_future()
        return finished

    def _committed(
        self, lane: Lane, handling: Handling, outgoing: Outgoing, committed: Committed, *, traced: bool
    ) -> None:
        if handling.position is not None:
            lane.under_way.discard(handling.position)
        if not traced:
            self._handled(handling, "ok", sent=_sent(handling, outgoing))
        self._delivery.deliver_committed(outgoing, committed)
        self._release(handling, None)
        if handling.letter is not None:
            self._delivery.retrying.succeeded(lane, handling.letter, handling.letter_key)
        if handling.arrival is not None:
            handling.arrival.settle()

    def _decides_anew(self, lane: Lane, handling: Handling, error: BaseException | None) -> bool:
        """Put a decision that lost a race for its stream back to the front, a few times."""
        conflicts = getattr(handling, "conflicts", 0) + 1
        if not isinstance(error, PositionConflictError) or conflicts > MAX_CONFLICTS:
            return False
        again = lane.put_back(handling, handling.attempt)
        again.conflicts = conflicts
        return True

    def _raised(
        self, lane: Lane, handling: Handling, error: BaseException, decision: Decision | None
    ) -> Awaitable[None] | None:
        if decision is not None:
            decision.release()
        if isinstance(error, StoreAwayError) and lane.durable:
            return self._later(lane, handling, error)
        self._fail(lane, handling, error)
        return None

    async def _later(self, lane: Lane, handling: Handling, error: StoreAwayError) -> None:
        """Handle a message again when the store is back: nothing could be written about it now, not even a failure."""
        self._handled(handling, "retried", error)
        logger.warning("%s is tried again later: %s", lane.name, error)
        self._release(handling, error)
        await asyncio.sleep(PAUSE_SECONDS)
        lane.put_back(handling, handling.attempt)

    def _tries_again(self, lane: Lane, handling: Handling, failure: HandlerFailedError) -> bool:
        """Put a message whose handler failed back to the front, if its handler's policy says so."""
        retry, error = lane.retry, failure.__cause__
        if retry is None or error is None or not retry.again(budget_used(handling), error):
            return False
        self._handled(handling, "retried", error)
        logger.warning("%s (try %d of %d)", failure, budget_used(handling), retry.attempts)
        self._release(handling, failure)
        lane.put_back(handling, -handling.attempt)
        return True

    def _fail(self, lane: Lane, handling: Handling, error: BaseException | None, *, settle: bool = True) -> None:
        envelope = handling.envelope
        reason = scrub(f"{type(error).__name__}: {text_of(error)}", hidden_values(envelope.message))
        failure = HandlerFailedError(lane.spec.name, type(envelope.message).__name__, reason)
        failure.__cause__ = error
        if self._tries_again(lane, handling, failure):
            return
        if not settle and handling.arrival is not None and self._store.sharing is not None:
            self._leave_to_others(lane, handling, failure)
            return
        self._handled(handling, "timeout" if isinstance(error, HandlerTimeoutError) else "failed", error)
        logger.error("%s", failure)
        if handling.letter is not None:
            self._fail_letter(handling, handling.letter, reason, failure, settle=settle)
        elif lane.durable and settle:
            self._settle(handling, self.settlement(lane, handling, reason[:2000]))
        else:
            self._leave(lane, handling)
        self._release(handling, failure)
        asked = envelope.message.__kind__ == "query"
        if self._delivery.replies is not None:
            self._delivery.replies.failed(envelope, failure, asked=asked)
        if asked:
            if self._delivery.waits.answer(envelope.message_id, failure):
                return  # whoever asked decides what the failure means for the correlation
            self._delivery.answer(envelope.correlation_id, failure)
        self._delivery.fail(envelope.correlation_id, failure)

    def _settle(self, handling: Handling, settlement: Settlement) -> None:
        """Settle a message that failed; what came over a transport is told so after the commit, and comes again without."""
        arrival = handling.arrival
        if arrival is None:
            self._store.settle(settlement)
            return
        unit = Unit([], settlement)

        def done(committed: Committed | None, error: BaseException | None) -> None:
            if committed is not None:
                arrival.settle()
            elif isinstance(error, StoreAwayError):
                self._delivery.loop.call_later(PAUSE_SECONDS, self._store.complete, unit, done)

        self._store.complete(unit, done)

    def _leave(self, lane: Lane, handling: Handling) -> None:
        """Leave a message that could not be settled for the next start, and what comes behind it in its key."""
        if handling.position is not None:
            lane.under_way.add(handling.position)  # not done with: the checkpoint stays below it
        if lane.keyed is not None and lane.spec.parks and (key := lane.keyed.digest_of(handling)) is not None:
            lane.keyed.left.add(key)

    def _leave_to_others(self, lane: Lane, handling: Handling, failure: HandlerFailedError) -> None:
        """Leave a message whose commit was refused to the processes that share the store: its broker gives it to one of them."""
        self._handled(handling, "retried", failure.__cause__)
        logger.warning("%s is left to another process: %s", lane.name, failure.__cause__)
        self._leave(lane, handling)
        self._release(handling, failure)

    def _fail_letter(
        self, handling: Handling, letter: int, reason: str, failure: HandlerFailedError, *, settle: bool
    ) -> None:
        """Note in a dead letter that it failed again, then tell whoever had it tried again."""

        def done(_: Committed | None, error: BaseException | None) -> None:
            self._delivery.retrying.end(letter, error or failure)

        if settle:
            settlement = Settlement(
                handling.handler, handling.envelope, None, -1, reason[:2000], handling.attempt, letter
            )
            self._store.complete(Unit([], settlement), done)
        else:
            done(None, None)

    def _handled(
        self, handling: Handling, outcome: str, error: BaseException | None = None, sent: Sequence[str] = ()
    ) -> None:
        handling.outcome = outcome
        self._tracer.handled(handling, error, sent)
        watched = self._watched.get(handling.envelope.correlation_id)
        if watched is not None:
            watched.note(handling)

    def _release(self, handling: Handling, error: BaseException | None) -> None:
        held, handling.outbox = handling.outbox, None  # the tracer remembers the handling, not what it held
        for receipt in held or ():
            receipt.accepted(error)


def _place(unit: Unit, decision: Decision) -> None:
    """Send what was decided to its stream: the step of a process alone, or all events."""
    if decision.step is not None:
        unit.places = {decision.step.message_id: Place(decision.stream, decision.expected_position)}
    elif decision.events:
        unit.stream, unit.expected_position = decision.stream, decision.expected_position


def _each_once(outgoing: Outgoing) -> Outgoing:
    """Leave out an envelope that was sent twice: it is one message."""
    return list({envelope.message_id: (envelope, route) for envelope, route in reversed(outgoing)}.values())[::-1]


def _sent(handling: Handling, outgoing: Outgoing) -> list[str]:
    """Name what a handler has sent, and what it will have sent later."""
    sent = [envelope.message_id for envelope, _ in outgoing]
    changes = getattr(handling, "changes", ())
    return (
        sent + [change.envelope.message_id for change in changes if isinstance(change, Scheduling)] if changes else sent
    )


def _unit(handling: Handling, outgoing: Outgoing, settlement: Settlement | None, decision: Decision | None) -> Unit:
    """Say what is to be committed together."""
    envelopes = [envelope for envelope, _ in outgoing]
    changes = getattr(handling, "changes", None)
    unit = TimedUnit(envelopes, settlement, changes=changes) if changes else Unit(envelopes, settlement)
    if decision is not None:
        _place(unit, decision)
    return unit


def _messages(
    lane: Lane, value: Any, later: list[Scheduled[Any] | Cancelled], *, is_query: bool
) -> list[Message | Envelope[Any]]:
    """List the messages in what a handler returned; those for later, and what it cancelled, go to `later`."""
    if isinstance(value, Message | Envelope):
        return [value]
    if is_query:
        raise HandlerOutputError(lane.spec.name, type(value).__name__, "the query's response")
    if value is None:
        return []
    if isinstance(value, _LATER):
        later.append(value)
        return []
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | dict):
        values = list(value)
        others = [v for v in values if not isinstance(v, Message | Envelope)]
        if not others:
            return values
        strange = next((type(v).__name__ for v in others if not isinstance(v, _LATER)), None)
        if strange is None:
            later += others
            return [v for v in values if not isinstance(v, _LATER)]
        raise HandlerOutputError(lane.spec.name, f"a {strange} among its messages", "a message")
    raise HandlerOutputError(lane.spec.name, type(value).__name__, "a message, several, or None")
