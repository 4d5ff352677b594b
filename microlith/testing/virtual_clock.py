"""A clock that stands still until a test moves it: what is scheduled for next week is sent now.

Only schedules go by it, and whatever a handler asks of an injected `Clock`. Timeouts of waits and handlers, and the
pauses between retries, are as long as ever.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from microlith.application import Microlith
from microlith.errors import MicrolithError

_LONGEST = 10.0
"""Seconds, of the machine's clock, that a cascade may take."""
_TURNS = 20
"""Turns of the loop that are given to a cascade before it is asked whether it has ended."""
_EXACT = 1e-6
"""Seconds: a store keeps no less."""


class ClockError(MicrolithError):
    """A virtual clock cannot be moved as it was asked to."""


class VirtualClock:
    """Time that passes when told to: `async with in_memory(app, clock=clock): await clock.advance(timedelta(hours=1))`."""

    def __init__(self, start: datetime | None = None) -> None:
        """Begin at a moment, by default now. A moment needs a time zone."""
        if start is not None and start.tzinfo is None:
            raise ClockError(
                "The start of a clock needs a time zone.", hint="Such as `datetime(2030, 1, 1, tzinfo=UTC)`."
            )
        self._now = (start or datetime.now(UTC)).timestamp()
        self._begun = self._now
        self._apps: list[Microlith] = []

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._now - self._begun

    @property
    def now(self) -> datetime:
        """The time it is."""
        return datetime.fromtimestamp(self._now, UTC)

    async def advance(self, by: timedelta | float) -> None:
        """Let time pass. What comes due is sent in order, each at its moment, when everything before has been handled.

        Also ends with nothing left to do but what is due later; so `advance(0)` waits for the present to end.

        Args:
            by: How much: a timedelta, or seconds.

        Raises:
            ClockError: It would go back, or what was due did not end within ten real seconds.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else float(by)
        if not 0 <= seconds < float("inf"):
            raise ClockError(f"Time does not pass by {by!r}.", hint="Advance by a timedelta, or seconds, from 0 on.")
        target = self._now + seconds
        while True:
            await self._settle()
            left = min((app.delivery.timers.first_due() for app in self._apps if app.delivery), default=float("inf"))
            if self._now + left > target + _EXACT:
                break
            self._now = min(target, self._now + left)
            self._look()
        self._now = target
        self._look()
        await self._settle()

    @contextmanager
    def ticking(self, app: Microlith) -> Iterator[None]:
        """Have an application go by this clock, from its start to its stop."""
        before, app.clock = app.clock, self
        self._apps.append(app)
        try:
            yield
        finally:
            app.clock = before
            self._apps.remove(app)

    def _look(self) -> None:
        for app in self._apps:
            if app.delivery is not None:
                app.delivery.timers.look()

    async def _settle(self) -> None:
        for _ in range(_TURNS):  # mostly enough for everything, and much quicker than to ask every few milliseconds
            await asyncio.sleep(0)
        for app in self._apps:
            if app.delivery is not None and not await app.idle(_LONGEST):
                raise ClockError(
                    f"What was due at {self.now:%Y-%m-%d %H:%M:%S} had not ended after {_LONGEST:g} s.",
                    hint="A handler may take that long, or schedule its own message after 0 seconds, without end.",
                )
