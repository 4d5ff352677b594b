"""Following outside the store: the functions of external projections, called in order, one event at a time.

How far one has come is noted after its functions have returned, for some events together: at least once. A replay
first notes that the rows are to be emptied, so that a crash in the middle of that does not leave half of them.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from contextvars import copy_context
from time import monotonic
from typing import Any

from microlith.application.following import Follower, Followers, InsideFollower
from microlith.application.wiring import Wiring
from microlith.context import Folding
from microlith.errors import HandlerFailedError, MicrolithError, StoreAwayError, text_of
from microlith.event_store.projecting import tell_stop
from microlith.event_store.protocol import EventStore, Rebuilt, RecordedEvent
from microlith.projections import ExternalProjection
from microlith.projections.outside import Call, Calls

MOST_REPEATED = 100
"""Events whose folding is noted together: so many may come again after a crash."""
_NOTE_SECONDS = 0.5
_TO_BE_RESET = -2
"""The checkpoint of a projection whose rows are to be emptied before the first event."""


class NoResetError(MicrolithError):
    """An external projection cannot be replayed: it does not say how its rows are emptied."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Projection {name} keeps its rows elsewhere and declares no reset, so it is not replayed.",
            hint="Declare a function that empties them: `@projection.reset`.",
        )
        self.name = name


def followers_of(wiring: Wiring, store: EventStore, executor: Executor, values: Callable[[Any, Any], Any]) -> Followers:
    """Make the followers of an application's projections; `values` gives what components provide."""
    followers: list[Follower] = []
    for one in wiring.projections:
        if isinstance(one, ExternalProjection):
            followers.append(OutsideFollower(one, one.plan(wiring.providing(one, values)), store, executor))
        elif not one.inline:
            followers.append(InsideFollower(one.name, store))
    return Followers(store, wiring.projections, followers)


class OutsideFollower(Follower):
    """Follows with a projection whose rows are somewhere else."""

    def __init__(self, projection: ExternalProjection, calls: Calls, store: EventStore, executor: Executor) -> None:
        super().__init__(projection.name, store)
        self._projection = projection
        self._calls = calls
        self._executor = executor
        self._at_work = asyncio.Lock()

    @property
    def has_reset(self) -> bool:
        """Whether somebody says how the rows are emptied."""
        return self._calls.reset is not None

    async def step(self) -> None:
        """Call the functions for a page of events, in order; note how far that went."""
        async with self._at_work:
            checkpoint, error = self._store.reached(self.name)
            if error is not None:
                return
            if checkpoint == _TO_BE_RESET:
                await self._reset()
            else:
                await self._fold(await self._store.read_all(after=checkpoint, limit=MOST_REPEATED))

    async def rebuild(self, progress: Callable[[int, int], None]) -> Rebuilt:
        """Empty the rows, and fold all events again.

        Raises:
            NoResetError: Nobody says how the rows are emptied.
            HandlerFailedError: A function raised; the projection has stopped there.
        """
        if self._calls.reset is None:
            raise NoResetError(self.name)
        async with self.beginning_anew():
            pass
        return await self.whole(progress)

    @asynccontextmanager
    async def beginning_anew(self) -> AsyncIterator[None]:
        """Call no function meanwhile; afterwards empty the rows and fold all events again, also over a crash."""
        async with self._at_work:
            await self._store.note_reached(self.name, _TO_BE_RESET)
            yield
        self.grown()

    async def whole(self, progress: Callable[[int, int], None]) -> Rebuilt:
        """Fold up to the end that the log has now.

        Raises:
            HandlerFailedError: A function raised; the projection has stopped there.
        """
        begun, head = monotonic(), await self._store.head()
        while (reached := self._store.reached(self.name)).checkpoint < head and reached.error is None:
            progress(max(reached.checkpoint, -1) + 1, head + 1)
            await self.step()
        self.grown()
        if reached.error is not None:
            failed_on = "its reset" if reached.checkpoint < -1 else f"the event at position {reached.checkpoint + 1}"
            raise HandlerFailedError(self.name, failed_on, reached.error)
        progress(head + 1, head + 1)
        return Rebuilt(self.name, head + 1, monotonic() - begun, "", "")

    async def _fold(self, events: list[RecordedEvent]) -> None:
        before = done = events[0].position - 1 if events else 0
        error: str | None = None
        until = monotonic() + _NOTE_SECONDS
        try:
            for event in events:
                error = await self._error_of(event)
                if error is not None:
                    tell_stop(self.name, event, error)
                    break
                done = event.position
                if monotonic() > until:
                    break
        finally:
            if done > before or error is not None:
                await self._store.note_reached(self.name, done, error)

    async def _error_of(self, event: RecordedEvent) -> str | None:
        """Call the function for an event; return what it raised as text, None when it went well."""
        if not self._projection.takes(event):
            return None
        try:
            call = self._calls.by_event.get(type(event.message))
            if call is not None:
                await self._called(call, event)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            return "CancelledError: it let a cancellation of its own escape"
        except StoreAwayError:  # of what it reads, or of the keys that open the event: it is called again
            raise
        except Exception as raised:  # noqa: BLE001 (whatever it is, it stops this projection and nothing else)
            return f"{type(raised).__name__}: {text_of(raised)}"
        return None

    async def _reset(self) -> None:
        """Empty the rows. What goes wrong stops the projection; the next start, or replay, tries again."""
        error: str | None = None
        try:
            if self._calls.reset is not None:
                await self._called(self._calls.reset, None)
        except Exception as raised:  # noqa: BLE001 (as above)
            error = f"its reset failed: {type(raised).__name__}: {text_of(raised)}"
        await self._store.note_reached(self.name, -1 if error is None else _TO_BE_RESET, error)

    async def _called(self, call: Call, event: RecordedEvent | None) -> None:
        with Folding(self.name):
            if call.is_async:
                await call(event)
                return
            context = copy_context()
            loop = asyncio.get_running_loop()
            under_way = loop.run_in_executor(self._executor, context.run, _call, call, event)
            try:
                value = await asyncio.shield(under_way)
            finally:
                await asyncio.wait([under_way])  # nobody may close what a thread still works with
            if inspect.isawaitable(value):
                await value


def _call(call: Call, event: RecordedEvent | None) -> object:
    try:
        return call(event)
    except StopIteration as error:  # no future takes one: whoever awaited it would never be told
        raise RuntimeError("it raised StopIteration") from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
