"""The event loop of a simulation: time is a number, and chance decides who is next.

Nothing sleeps: when nobody is ready, the clock jumps to the next timer. Which of several ready tasks goes on first,
asyncio does not promise, and here the seed decides it. What asyncio does promise is kept: the steps of one task, and
callbacks that belong to no task, come in the order in which they became ready.

Talks to no network and to no process.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Self

_STEP = 0.000_05
"""Seconds that a turn of the loop takes at most."""
_MOMENT = 0.000_2
"""Seconds that pass at most between two looks at the clock."""


class NothingLeftError(RuntimeError):
    """Nobody is ready and no timer is set: whoever still waits would wait for ever."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    def __new__(cls, *_: Any, **options: Any) -> Self:
        task = super().__new__(cls)
        task.number = options["loop"].next_number()
        return task

    number: int

    def __hash__(self) -> int:
        return self.number


class _Ready:
    """The callbacks that may run now, those of each task in a queue of their own. Chance picks the queue."""

    def __init__(self, random: Random) -> None:
        self._random = random.random
        self._queues: dict[Any, deque[Any]] = {}
        self._owners: list[Any] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, handle: Any) -> None:
        owner = getattr(handle._callback, "__self__", None)  # noqa: SLF001 (where a handle keeps what it runs)
        if not isinstance(owner, asyncio.Task):
            owner = None
        queue = self._queues.get(owner)
        if queue is None:
            self._queues[owner] = queue = deque()
            self._owners.append(owner)
        queue.append(handle)
        self._length += 1

    def popleft(self) -> Any:
        owners = self._owners
        place = int(self._random() * len(owners)) if len(owners) > 1 else 0
        owner = owners[place]
        queue = self._queues[owner]
        handle = queue.popleft()
        if not queue:
            del self._queues[owner]
            owners[place] = owners[-1]
            owners.pop()
        self._length -= 1
        return handle

    def clear(self) -> None:
        self._queues.clear()
        self._owners.clear()
        self._length = 0


class _Passing:
    """Stands where a loop asks the system for news: there is none, and time passes instead."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.pass_time(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop on a virtual clock.

    Attributes:
        now: Seconds since the simulation began.
        before_rest: Called with the moment to which the clock would jump; returns an earlier one if it has
            something to do then, which `rested` is called for.
        threads: Runs what belongs in a thread.
    """

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.now = 0.0
        self.before_rest: Callable[[float], float] | None = None
        self.rested: Callable[[float], None] | None = None
        self.borrow: Callable[[asyncio.Future[Any], Callable[[], Any]], None] | None = None
        self.random = random
        self._numbers = count(1)
        self._ready = _Ready(random)
        self._selector = _Passing(self)
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Return the virtual time."""
        return self.now

    def moment(self) -> float:
        """Return the virtual time as code reads it: a little passes with each look, so that turns have an end."""
        self.now += self.random.random() * _MOMENT
        return self.now

    def next_number(self) -> int:
        """Number the next task."""
        return next(self._numbers)

    def pass_time(self, timeout: float | None) -> None:
        """Jump to the next timer.

        Raises:
            NothingLeftError: There is none.
        """
        if timeout == 0:
            self.now += self.random.random() * _STEP
            return
        then = float("inf") if timeout is None else self.now + timeout
        if self.before_rest is not None and self.rested is not None:
            earlier = self.before_rest(then)
            if earlier < then:
                self.now = max(self.now, earlier)
                self.rested(self.now)
                return
        if timeout is None:
            raise NothingLeftError("Nobody is ready and no timer is set.")
        self.now = then

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # the stub is generic in ways of its own
        """Run something in a thread while the loop stands still, so that the order is the seed's."""
        del executor
        future = self.create_future()
        borrow = self.borrow
        if borrow is None:
            raise RuntimeError("This loop has no threads.")
        self.call_later(self.random.random() * _MOMENT, borrow, future, lambda: func(*args))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is none."""

    def close(self) -> None:
        """Forget what is left."""
        if not self.is_closed():
            super().close()

    def _make_task(self, loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return _Task(coroutine, loop=loop, **{"name": "a task", **options})

    def _write_to_self(self) -> None:
        """Do nothing: the loop never waits for the system."""

    def _process_events(self, event_list: Any) -> None:
        """Do nothing: there are none."""
