"""Given some events, when a command comes, then these events follow.

For an aggregate, a decider or a process nothing runs but its own functions. For an application the real
handlers run, on a store in memory, and the outcome is looked at when the whole cascade has ended.

    given(Account, OpenedEvent(...)).when(Withdraw(...)).then(WithdrawnEvent(...))
    given(Fulfilment, OrderPlacedEvent(...)).when(PaymentTakenEvent(...)).then(ShipOrder(...)).state(paid=True)
    await given(app, RegisteredEvent(...)).when(LoginCommand(...)).then(LoggedInEvent(...))
"""

import asyncio
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self, overload

from microlith.aggregates import Aggregate, Decider, decider_of
from microlith.application import Microlith
from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.errors import NotRunningError
from microlith.event_store.protocol import Committed, Place, Unit
from microlith.handlers.schedules import Cancelled, Scheduled
from microlith.messages import Command, Event, Message
from microlith.processes import Process, process_type
from microlith.testing.given_process import GivenProcess, Sent
from microlith.testing.in_memory import in_memory
from microlith.testing.virtual_clock import VirtualClock

Expected = Message | type[Message] | Scheduled[Any] | Cancelled

_LONGEST = 10.0
"""Seconds a cascade may take."""


class _Nothing:
    """What never comes: a wait for it ends only when a handler fails."""


@overload
def given(subject: type[Aggregate] | Decider[Any], *events: Event) -> "GivenStream": ...
@overload
def given(subject: type[Process], *events: Event) -> GivenProcess: ...
@overload
def given(subject: Microlith, *events: Event) -> "GivenApplication": ...
def given(subject: Any, *events: Event) -> Any:
    """Begin with what has happened before: events of one stream, of a process, or of an application."""
    if isinstance(subject, Microlith):
        return GivenApplication(subject, events)
    if isinstance(subject, type) and issubclass(subject, Process):
        return GivenProcess(process_type(subject), events, _compare, _compare_error)
    return GivenStream(subject if isinstance(subject, Decider) else decider_of(subject), events)


class GivenStream:
    """A stream with a past."""

    def __init__(self, decider: Decider[Any], events: Sequence[Event]) -> None:
        self._decider = decider
        self._events = events

    def when(self, command: Command) -> "Decided":
        """Decide a command on that past."""
        state = self._decider.fold(self._decider.initial(), self._events)
        try:
            return Decided(self._decider.decided(state, command), None)
        except Exception as error:  # noqa: BLE001 (what was raised is what is looked at)
            return Decided([], error)


class Decided:
    """What a decision came to."""

    def __init__(self, events: Sequence[Any], error: BaseException | None) -> None:
        self._events = events
        self._error = error

    def then(self, *expected: Expected) -> None:
        """Check the events, in order: a message must be equal, a class must be the event's class. None: nothing happened."""
        if self._error is not None:
            raise AssertionError(f"The decision raised {type(self._error).__name__}: {self._error}") from self._error
        _compare(self._events, expected)

    def then_fails(self, error: type[BaseException], match: str = "") -> None:
        """Check that an error of this type was raised, and that a pattern is found in its text."""
        _compare_error(self._error, error, match)


class GivenApplication:
    """An application with a past: its read models and aggregates know the events, and no handler has reacted to them.

    An event that an aggregate folds stands in the stream that its fields name; where they do not, in that of the
    aggregate's commands in `when`.
    """

    def __init__(self, app: Microlith, events: Sequence[Event]) -> None:
        self._app = app
        self._events = events

    def when(self, *messages: Message) -> "Happened":
        """Send commands, events or queries, one after the other, each when the cascade of the one before has ended."""
        return Happened(self._app, self._events, messages)


class Happened:
    """What an application made of it; runs when `then` or `then_fails` is awaited."""

    def __init__(self, app: Microlith, past: Sequence[Event], messages: Sequence[Message]) -> None:
        self._app = app
        self._past = past
        self._messages = messages
        self._answers: list[Any] = []
        self._passing: list[timedelta | float] = []

    def after(self, by: timedelta | float) -> Self:
        """Let time pass when the cascade has ended, so that what was scheduled comes due; a timedelta, or seconds."""
        self._passing.append(by)
        return self

    async def then(self, *expected: Expected, in_any_order: bool = False) -> None:
        """Check the events that followed, once every handler is idle: in the order of the log, or in any.

        All of them, but for the steps that processes remember: `given(Fulfilment, ...)` looks at those.
        """
        events, failure = await self._run()
        if failure is not None:
            raise AssertionError(str(failure)) from failure
        _compare(_arranged(events, expected) if in_any_order else events, expected)

    async def then_answers(self, *expected: Expected) -> None:
        """Check the responses to the queries that were sent, in order."""
        _, failure = await self._run()
        if failure is not None:
            raise AssertionError(str(failure)) from failure
        _compare(self._answers, expected)

    async def then_fails(self, error: type[BaseException], match: str = "") -> None:
        """Check that a handler failed with an error of this type, and that a pattern is found in its text."""
        _, failure = await self._run()
        _compare_error(None if failure is None else failure.__cause__, error, match)

    async def _run(self) -> tuple[list[Message], BaseException | None]:
        clock = VirtualClock()
        async with in_memory(self._app, clock=clock) as app:
            await _remember(app, self._past, self._messages)
            await app.idle(_LONGEST)  # projections that are not inline know the past, too
            begin = await app.store.head()
            failure: BaseException | None = None
            for message in self._messages:
                failure = await self._send(app, message) or failure
            for by in self._passing:
                failure = await self._pass(app, clock, by) or failure
            happened = [event.message for event in await app.store.read_all(after=begin, limit=10_000)]
            return [message for message in happened if not app.types.of(type(message)).step_of], failure

    async def _send(self, app: Microlith, message: Message) -> BaseException | None:
        """Send one message, wait until nothing is left to do, and return the first failure on the way."""
        delivery = app.delivery
        if delivery is None:
            raise NotRunningError(app.name)
        envelope = correlated(message)
        wait = delivery.waits.open(envelope.correlation_id, (_Nothing,), every=False, timeout=_LONGEST)
        try:
            await app.bus_of(message.__kind__).dispatch(envelope)
            if not await app.idle(_LONGEST):
                raise AssertionError(f"The cascade did not end within {_LONGEST:g} s.")
            answer = delivery.answers.get(envelope.correlation_id)
            if isinstance(answer, Envelope):
                self._answers.append(answer.message)
            elif answer is not None:
                return answer
            return wait.future.exception() if wait.future.done() else None
        finally:
            delivery.waits.close(wait)

    async def _pass(self, app: Microlith, clock: VirtualClock, by: timedelta | float) -> BaseException | None:
        """Let time pass; return the first failure that it brought."""
        delivery = app.delivery
        if delivery is None:
            raise NotRunningError(app.name)
        before = set(delivery.failed)
        await clock.advance(by)
        return next((failure for key, failure in delivery.failed.items() if key not in before), None)


async def _remember(app: Microlith, events: Sequence[Event], messages: Sequence[Message]) -> None:
    """Append the past in one commit, without delivering it: read models follow, handlers do not."""
    if not events:
        return
    deciders = [decider for component in app.wire().components for decider in component.deciders]
    envelopes = [correlated(event) for event in events]
    streams = ((envelope, _stream_of(envelope.message, deciders, messages)) for envelope in envelopes)
    places = {envelope.message_id: Place(stream) for envelope, stream in streams if stream is not None}
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(committed: Committed | None, error: BaseException | None) -> None:
        if error is not None or committed is None:
            written.set_exception(error or AssertionError("The past was not written."))
        else:
            written.set_result(None)

    app.store.complete(Unit(envelopes, places=places), done)
    await written


def _stream_of(event: Message, deciders: Sequence[Decider[Any]], messages: Sequence[Message]) -> str | None:
    """Tell which stream an event of the past stands in; None: that of its component, since no aggregate needs it."""
    for decider in deciders:
        if type(event) not in decider.events:
            continue
        if all(name in type(event).model_fields for name in decider.stream_fields):
            return decider.stream_of(event)
        named = {decider.stream_of(one) for one in messages if type(one) in decider.commands}
        if len(named) > 1:
            raise AssertionError(
                f"{type(event).__name__} does not say which stream of {decider.name} it stands in, and the commands "
                f"name several: {', '.join(sorted(named))}. Begin with the command that leads to it instead."
            )
        if named:
            return named.pop()
    return None


def _arranged(events: Sequence[Any], expected: Sequence[Expected]) -> list[Any]:
    """Put events in the order of what is expected of them; equal messages take precedence over classes."""
    left, found = list(events), dict[int, Any]()
    for place, wanted in sorted(enumerate(expected), key=lambda one: isinstance(one[1], type)):
        match = next((event for event in left if _fits(event, wanted)), None)
        if match is not None:
            found[place] = match
            left.remove(match)
    return [found[place] for place in sorted(found)] + left


def _fits(event: Any, wanted: Sent) -> bool:
    return isinstance(event, wanted) if isinstance(wanted, type) else event == wanted


def _compare(events: Sequence[Any], expected: Sequence[Sent]) -> None:
    same = len(events) == len(expected) and all(
        _fits(event, wanted) for event, wanted in zip(events, expected, strict=True)
    )
    if not same:
        raise AssertionError(f"Expected {_shown(expected)}\nbut got  {_shown(events)}")


def _shown(messages: Sequence[Any]) -> str:
    if not messages:
        return "nothing"
    return "\n         ".join(message.__name__ if isinstance(message, type) else repr(message) for message in messages)


def _compare_error(raised: BaseException | None, error: type[BaseException], match: str) -> None:
    if raised is None:
        raise AssertionError(f"Expected {error.__name__}, but nothing was raised.")
    if not isinstance(raised, error) or not re.search(match, str(raised)):
        wanted = f"{error.__name__} matching {match!r}" if match else error.__name__
        raise AssertionError(f"Expected {wanted}, but got {type(raised).__name__}: {raised}") from raised
