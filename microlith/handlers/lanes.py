"""Lanes: one handler's queue and the tasks that work it off.

A lane keeps the order of its messages unless its handler allows several at a time. A slow or
failing handler delays its own lane and nothing else.

Decides nothing about what happens to a result: that is the completion's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextvars import copy_context
from time import monotonic
from typing import Any, Protocol

from microlith.context import Handling, handling_now
from microlith.envelope import Envelope
from microlith.errors import MicrolithError
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.injection import Call

_YIELD_EVERY = 128
"""Messages handled in a row before other tasks get a turn."""


class HandlerTimeoutError(MicrolithError):
    """A handler took longer than it may; it was cancelled."""

    def __init__(self, handler: str, timeout: float) -> None:
        super().__init__(
            f"Handler {handler} took longer than {timeout:g} s and was cancelled.",
            hint="Raise it with `handles(..., timeout=SECONDS)`, or make the handler quicker.",
        )


class Item:
    """One message in a lane.

    Attributes:
        envelope: The message.
        position: Global position of an event; None for commands and queries.
        queued: When it entered the lane, monotonic seconds.
        left_over: Whether an earlier process accepted it and did not settle it.
    """

    __slots__ = ("envelope", "left_over", "position", "queued")

    def __init__(self, envelope: Envelope[Any], position: int | None, queued: float, left_over: bool = False) -> None:
        self.envelope = envelope
        self.position = position
        self.queued = queued
        self.left_over = left_over


class Result:
    """How one handling ended: what the handler returned, or the error, and when (monotonic seconds)."""

    __slots__ = ("attempt", "ended", "error", "handling", "item", "started", "value")

    def __init__(self, item: Item, handling: Handling, started: float, attempt: int) -> None:
        self.item = item
        self.handling = handling
        self.started = started
        self.attempt = attempt
        self.ended = started
        self.value: Any = None
        self.error: BaseException | None = None


class Completion(Protocol):
    """What a lane does around each handling; implemented by the delivery."""

    async def begin_again(self, lane: "Lane", item: Item) -> int | None:
        """Count another try of a left-over message; return the attempt, or None when it was tried too often."""
        ...

    def finish(self, lane: "Lane", result: Result) -> Awaitable[None] | None:
        """Take a result. What it returns is awaited before the lane goes on."""
        ...

    async def refill(self, lane: "Lane") -> None:
        """Fetch what a lane that is behind has missed."""
        ...


class Slot:
    """One worker of a lane and what it is working on."""

    __slots__ = ("item", "started", "task", "timed_out")

    def __init__(self) -> None:
        self.item: Item | None = None
        self.started = 0.0
        self.timed_out = False
        self.task: asyncio.Task[None] | None = None


class Lane:
    """One handler's queue and workers.

    Attributes:
        spec: The handler.
        limit: How many messages it may hold in memory.
        durable: Whether what it has handled is noted in the store; not so for queries and subscriptions.
        behind: For events: whether it missed some for lack of room, and reads them from the log instead.
        last_seen: For events: global position up to which messages have entered the lane.
        missed: For events: highest position that passed while it was behind.
        under_way: Positions being handled now.
        highest_done: Highest position it is done with.
        finished_above: Positions above its checkpoint that an earlier process finished.
        recovering_to: Last position that was in the log when this process started.
        counted: Left-over messages whose tries were counted.
    """

    def __init__(
        self,
        spec: HandlerSpec,
        call: Call,
        completion: Completion,
        executor: Executor,
        *,
        limit: int,
        durable: bool,
        spawn: Callable[[Any, str], asyncio.Task[None]],
    ) -> None:
        self.spec = spec
        self.limit = limit
        self.durable = durable
        self.queue: deque[Item] = deque()
        self.behind = False
        self.last_seen = -1
        self.missed = -1
        self.under_way: set[int] = set()
        self.highest_done = -1
        self.finished_above: set[int] = set()
        self.recovering_to = -1
        self.counted = 0
        self.slots = [Slot() for _ in range(spec.concurrency)]
        self._call = call
        self._completion = completion
        self._executor = executor
        self._spawn = spawn
        self._is_async = spec.is_async
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closing = False

    def start(self) -> None:
        """Begin to work. Messages may have been pushed before."""
        for number, slot in enumerate(self.slots):
            slot.task = self._spawn(self._work(slot), f"microlith {self.spec.name} {number}")

    def push(self, item: Item) -> None:
        """Add a message at the end."""
        self.queue.append(item)
        if self._idle:
            self.wake()

    def wake(self) -> None:
        """Let an idle worker look for work."""
        while self._idle:
            future = self._idle.popleft()
            if not future.done():
                future.set_result(None)
                return

    def close(self) -> None:
        """Take no further message out of the queue; a handling under way goes on."""
        self._closing = True
        for _ in self.slots:
            self.wake()

    @property
    def busy(self) -> bool:
        """Whether a handler is at work."""
        return any(slot.item is not None for slot in self.slots)

    def check_timeouts(self, now: float) -> None:
        """Cancel handlers that run longer than they may. Called from time to time."""
        for slot in self.slots:
            overdue = slot.item is not None and now - slot.started > self.spec.timeout
            if overdue and not slot.timed_out and slot.task is not None:
                slot.timed_out = True
                slot.task.cancel()

    async def _work(self, slot: Slot) -> None:
        queue = self.queue
        in_a_row = 0
        while not self._closing:
            if not queue:
                if self.behind:
                    await self._completion.refill(self)
                    if queue:
                        continue
                idle = asyncio.get_running_loop().create_future()
                self._idle.append(idle)
                await idle
                in_a_row = 0
                continue
            item = queue.popleft()
            attempt = 1
            if item.position is not None:
                self.under_way.add(item.position)
            if item.left_over:
                counted = await self._completion.begin_again(self, item)
                if counted is None:
                    continue
                attempt = counted
            finishing = self._completion.finish(self, await self._handle(slot, item, attempt))
            if finishing is not None:
                await finishing
            in_a_row += 1
            if in_a_row >= _YIELD_EVERY:
                in_a_row = 0
                await asyncio.sleep(0)

    async def _handle(self, slot: Slot, item: Item, attempt: int) -> Result:
        handling = Handling(item.envelope)
        slot.started = started = monotonic()
        slot.item = item
        result = Result(item, handling, started, attempt)
        token = handling_now.set(handling)
        try:
            if self._is_async:
                result.value = await self._call(item.envelope)
            else:
                context = copy_context()
                loop = asyncio.get_running_loop()
                result.value = await loop.run_in_executor(self._executor, context.run, self._call, item.envelope)
        except asyncio.CancelledError as error:
            if slot.task is None or (slot.task.cancelling() and not slot.timed_out):
                raise
            if slot.timed_out:
                slot.task.uncancel()
                result.error = HandlerTimeoutError(self.spec.name, self.spec.timeout)
            else:
                result.error = error  # the handler let a cancellation of its own escape
        except (Exception, SystemExit) as error:  # noqa: BLE001 (the completion decides what a failure means)
            result.error = error
        finally:
            handling_now.reset(token)
            handling.open = False
            slot.item = None
            slot.timed_out = False
        result.ended = monotonic()
        return result
