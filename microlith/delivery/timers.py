"""Timers: messages that are to be sent later, one task for all of them.

The store keeps them in the order in which they are due; nothing of them is kept in memory but when the first is. When it
is due, one commit removes it and accepts its message, with the ids it was given when it was asked for: over any crash it
is sent once. What became due while the process was away is sent at start.

A moment (`at`) goes by the wall clock. A length of time (`after`) goes, for as long as the process lives, by a clock that
no jump of the wall clock moves.

Handles nothing: a message that is due goes the way of any other.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from microlith.clock import Clock
from microlith.delivery.receipts import Delivering, Receipt
from microlith.delivery.routes import Route, Routes
from microlith.envelope import Envelope
from microlith.errors import BusFullError, MicrolithError, StoreError, text_of
from microlith.event_store.protocol import Committed, EventStore, TimedUnit
from microlith.event_store.schedule import FIRST, Cancelling, Change, Schedule, Scheduling
from microlith.handlers.schedules import ScheduleError, When
from microlith.tracing.tracer import Tracer

logger = logging.getLogger("microlith")

_PAGE = 500
_LOOK_EVERY = 1.0
"""Seconds between two looks at the clocks while something is scheduled: how late a jump may be noticed."""
_FULL_PAUSE = 0.05
"""Seconds until what found its handler's queue full is tried again."""
_LONGEST_PAUSE = 30.0
_NEVER = float("inf")
_CASCADE = 1.0
"""Seconds from which on a scheduled message begins a new chain of causes: what goes on over time is no cascade."""
_GRAIN = 2e-6
"""Seconds before its moment at which a message counts as due: sums of seconds are only so exact."""
_LATEST = 253_402_300_799.0  # the end of the year 9999


class Sending(Protocol):
    """The delivery, as far as timers need it."""

    store: EventStore
    routes: Routes
    tracer: Tracer

    def check(self, envelope: Envelope[Any], route: Route) -> None:
        """Refuse a message that cannot be sent."""
        ...

    def deliver_committed(self, sent: list[tuple[Envelope[Any], Route]], committed: Committed) -> None:
        """Deliver what a commit wrote."""
        ...


class Keeping(Delivering, Protocol):
    """The delivery, as far as a receipt for a scheduled message needs it."""

    timers: "Timers"


class ScheduledReceipt(Receipt):
    """Proof that a message is kept for later. Awaiting it waits until it is kept.

    Attributes:
        change: What the store is asked for.
    """

    __slots__ = ("_timers", "change")

    change: Scheduling

    def __init__(self, change: Scheduling, route: Route, delivery: "Keeping") -> None:
        super().__init__(change.envelope, route, delivery)
        self._timers = delivery.timers
        self.change = change

    @property
    def due(self) -> float:
        """When it is due, seconds since the epoch."""
        return self.change.due

    def __await__(self) -> Any:
        if self.pending or self._delay is not None:
            yield from self._until_accepted()
        return self

    def recorded(self, committed: Committed | None, error: BaseException | None) -> None:
        """Take the store's word, and tell who waits."""
        if committed is not None:
            self._timers.kept([self.change], committed)
        else:
            logger.error("%s was not scheduled: %s", self.route.entry.name, error)
        self.accepted(error)


class Timers:
    """The scheduled messages of one running application.

    Attributes:
        clock: What tells the time.
    """

    def __init__(self, delivery: Sending, clock: Clock) -> None:
        self.clock = clock
        self._delivery = delivery
        self._store = delivery.store
        self._steady_from = clock.time() - clock.monotonic()
        # When the first is due by the wall clock, and by the steady one. Not known yet: a look will tell.
        self._first = (-_NEVER, -_NEVER)
        self._looking = False
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether a message is due, or just being sent."""
        return self._looking or (not self._closed and self.first_due() <= 0)

    def steady_time(self) -> float:
        """Return the time by the clock that no jump of the wall clock moves, seconds since the epoch."""
        return self._steady_from + self.clock.monotonic()

    def first_due(self) -> float:
        """Return how many seconds are left until the first one is due, as far as is known; 0: it is, infinity: none is there."""
        wall, steady = self._first
        until = _NEVER if wall == _NEVER else wall - self.clock.time()
        until = until if steady == _NEVER else min(until, steady - self.steady_time())
        return 0.0 if until < _GRAIN else until

    def scheduling(
        self, envelope: Envelope[Any], when: When, name: str | None = None, scope: str | None = None
    ) -> Scheduling:
        """Say what to keep for a message; `scope` is where its name is unique, by default its correlation.

        Raises:
            ScheduleError: It is a query or a response, or is to be sent too far ahead.
        """
        kind = getattr(envelope.message, "__kind__", "thing")
        if kind not in ("command", "event"):
            raise ScheduleError(
                f"{type(envelope.message).__name__} is a {kind}, and is not kept: only commands and events are scheduled.",
                hint="Schedule a command whose handler asks the query.",
            )
        due = self.steady_time() + when.seconds if when.steady else when.seconds
        if not 0 <= due <= _LATEST:
            raise ScheduleError(
                f"{type(envelope.message).__name__} would be due {when.seconds:g} s "
                f"{'from now' if when.steady else 'after 1970'}, which no calendar shows.",
                hint="Give a moment between 1970 and the year 9999.",
            )
        ahead = when.seconds if when.steady else due - self.clock.time()
        if envelope.depth > 1 and ahead >= _CASCADE:
            envelope = _copy(envelope, envelope.time, 1)
        return Scheduling(envelope, due, steady=when.steady, name=name, scope=scope)

    def check(self, envelope: Envelope[Any], route: Route) -> None:
        """Refuse a message that could not be sent now either; whether there is room is asked when it is due."""
        try:
            self._delivery.check(envelope, route)
        except BusFullError:
            return

    def keep(self, receipt: ScheduledReceipt) -> None:
        """Have the store keep a message; its receipt says when that is done."""
        self._store.complete(TimedUnit((), changes=[receipt.change]), receipt.recorded)

    def kept(self, changes: Sequence[Change], committed: Committed, handled: Envelope[Any] | None = None) -> None:
        """Take notice of what was committed; `handled` is the message whose handler asked for it."""
        tracer, duplicates = self._delivery.tracer, committed.duplicates
        for change in changes:
            if isinstance(change, Cancelling):
                if handled is not None and not (change.name is None and change.message_id is None):
                    tracer.cancelled(handled.correlation_id, handled.message_id, change.name, change.message_id)
            elif change.envelope.message_id not in duplicates:
                tracer.scheduled(change.envelope, change.due, change.name)
                wall, steady = self._first
                self._first = (wall, min(steady, change.due)) if change.steady else (min(wall, change.due), steady)
                self.look()

    async def cancel(self, message_id: str) -> bool:
        """Forget a schedule; tell whether there was one."""
        schedule = await self._store.schedule(message_id)
        cancelled = await self._store.cancel_schedule(message_id)
        if cancelled and schedule is not None:
            self._delivery.tracer.cancelled(schedule.correlation_id, None, schedule.name, message_id)
        return cancelled

    def look(self) -> None:
        """Look at the clocks anew."""
        self._changed.set()

    def forget(self) -> None:
        """Ask the store when the first is due: others have changed that."""
        self._first = (-_NEVER, -_NEVER)
        self._changed.set()

    def close(self) -> None:
        """Send nothing any more; what is scheduled stays in the store."""
        self._closed = True
        self._changed.set()

    def open(self) -> None:
        """Be about to send, after it was closed: another process did it until now."""
        self._closed = False

    async def run(self) -> None:
        """Send what is due, whenever it is; ends when closed."""
        await self._try_failed_again()
        failures = 0
        while not self._closed:
            self._changed.clear()
            try:
                pause = await self._send_due()
                failures = 0
            except StoreError as error:
                if self._store.failure is not None:
                    logger.critical("Nothing is sent on schedule any more: %s", error)
                    return
                failures += 1
                pause = min(_LONGEST_PAUSE, 0.1 * 2**failures)
                logger.error("What is due could not be sent, and is tried again in %.1f s: %s", pause, error)  # noqa: TRY400 (the store says what is wrong)
            if pause is None:
                await self._changed.wait()
            elif pause > 0:
                await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _send_due(self) -> float | None:
        """Send everything that is due; return the seconds until the next look, None for when something changes."""
        full: set[str] = set()
        self._looking = True
        try:
            while not self._closed and self.first_due() <= 0:
                due = await self._store.due_schedules(
                    self.clock.time() + _GRAIN, self.steady_time() + _GRAIN, limit=_PAGE + len(full)
                )
                page = [schedule for schedule in due if schedule.message_id not in full]
                if page:
                    full |= await self._send(page)
                elif full:
                    return _FULL_PAUSE
                else:
                    self._first = (_NEVER, _NEVER)
                    wall, steady = await self._store.next_due()
                    self._first = min(wall, self._first[0]), min(steady, self._first[1])
        finally:
            self._looking = False
        left = self.first_due()
        return None if left == _NEVER else min(left, _LOOK_EVERY)

    async def _send(self, page: Sequence[Schedule]) -> set[str]:
        """Send some messages together; return the ids of those whose handler's queue is full."""
        full: set[str] = set()
        taken: list[asyncio.Future[None]] = []
        for schedule in page:
            try:
                taken.append(self._take(schedule))
            except BusFullError:
                full.add(schedule.message_id)
            except Exception as error:  # noqa: BLE001 (whatever is wrong with one, such as its upcaster, is its own fault)
                await self._note_failure(schedule, error)
        for outcome in await asyncio.gather(*taken, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        return full

    def _take(self, schedule: Schedule) -> "asyncio.Future[None]":
        """Have one commit end the schedule and accept its message; what comes back is done when that is."""
        kept = schedule.envelope
        route = self._delivery.routes.of(type(kept.message))
        envelope = _copy(kept, self.clock.time(), kept.depth)
        self._delivery.check(envelope, route)
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(committed: Committed | None, error: BaseException | None) -> None:
            if committed is not None:
                self._delivery.deliver_committed([(envelope, route)], committed)
            if taken.done():
                return
            if committed is None:
                taken.set_exception(error or RuntimeError("neither committed nor an error"))
            else:
                taken.set_result(None)

        self._store.complete(TimedUnit([envelope], takes=schedule.message_id), done)
        return taken

    async def _note_failure(self, schedule: Schedule, error: Exception) -> None:
        """Keep what cannot be sent, with the reason, out of the way of the others."""
        reason = f"{type(error).__name__}: {text_of(error)}"
        logger.error(
            "%s was due and could not be sent; it stays with the schedules until the next start. %s",
            schedule.type,
            reason,
        )
        if schedule.error != reason:
            await self._store.fail_schedule(schedule.message_id, reason[:2000])

    async def _try_failed_again(self) -> None:
        """Send what an earlier process could not: its type may be back, or its handler."""
        after = FIRST
        try:
            while page := await self._store.schedules(after=after, limit=_PAGE, failed=True):
                after = page[-1].turn
                await self._send(page)
        except MicrolithError as error:
            logger.error("What could not be sent before is not tried again: %s", error)  # noqa: TRY400 (its text says it)


def _copy(envelope: Envelope[Any], time: float, depth: int) -> Envelope[Any]:
    return Envelope(
        envelope.message,
        envelope.message_id,
        envelope.correlation_id,
        envelope.causation_id,
        time,
        depth,
        envelope.headers,
    )
