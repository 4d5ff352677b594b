"""Lanes: one handler's queue and the tasks that work it off.

A lane keeps the order of its messages unless its handler allows several at a time. A slow or
failing handler delays its own lane and nothing else.

Decides nothing about what happens to a result: that is the completion's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextvars import ContextVar, copy_context
from time import monotonic
from typing import Any, Protocol

from microlith.context import Handling, handling_now
from microlith.envelope import Envelope
from microlith.errors import MicrolithError
from microlith.handlers.decisions import Decision
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.injection import Call
from microlith.handlers.keys import KeyedQueue, Positions
from microlith.middleware import Middleware, handled_through, retry_policy

_TURN = 0.001
"""Seconds a worker goes on without a pause before other tasks get a turn."""

CROWDED = 1_000
"""Messages in a lane above which an awaited dispatch waits: as many as a cache holds."""

_made: ContextVar[list[Decision]] = ContextVar("microlith_decisions_made")

_NOT_STARTED = float("inf")
"""A moment that lies in no past: the handler of a slot is not being called."""


class HandlerTimeoutError(MicrolithError):
    """A handler took longer than it may; it was cancelled."""

    def __init__(self, handler: str, timeout: float) -> None:
        super().__init__(
            f"Handler {handler} took longer than {timeout:g} s and was cancelled.",
            hint="Raise it with `handles(..., timeout=SECONDS)`, or make the handler quicker.",
        )


class SelfCancelledError(MicrolithError):
    """A handler tried to cancel the task it runs in, which is its lane's and not its own."""

    def __init__(self, task: str) -> None:
        super().__init__(
            f"A handler cannot cancel the task it runs in ({task}): the messages behind it need that task.",
            hint="Raise an error to fail the message, or start a task of your own and cancel that.",
        )


class WorkerTask(asyncio.Task[None]):
    """The task of one worker. What it runs cannot cancel it: the lane would stand still without a word."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel it from outside.

        Raises:
            SelfCancelledError: It is what runs.
        """
        if asyncio.current_task(self.get_loop()) is self:
            raise SelfCancelledError(self.get_name())
        return super().cancel(msg)


class Completion(Protocol):
    """What a lane does around each handling; implemented by the delivery."""

    async def begin_again(self, lane: "Lane", handling: Handling) -> int | None:
        """Count another try of a left-over message; return the attempt, or None when it was tried too often."""
        ...

    def finish(
        self, lane: "Lane", handling: Handling, value: Any, error: BaseException | None
    ) -> Awaitable[None] | None:
        """Take what a handler returned or raised. What comes back is awaited before the lane goes on."""
        ...

    def park(self, lane: "Lane", handling: Handling) -> None:
        """Settle a message that is not handled, since one before it in its key is a dead letter."""
        ...

    async def refill(self, lane: "Lane") -> None:
        """Fetch what a lane that is behind has missed."""
        ...


_COMMITTED = ("ok", "ignored")
"""How a handling ended whose commit its lane has waited for. What is written about a failure is not waited for."""


class Claims(Protocol):
    """Keeps other processes from handling messages of a key."""

    async def take(self, lane: "Lane", key: str) -> None:
        """Wait until no other process handles a message of a key; know what stands before it."""
        ...

    def let_go(self, key: str, *, committed: bool) -> None:
        """Let others have it: at once, or when what is still to be written about its message is committed."""
        ...


class Slot:
    """One worker of a lane: the message it has taken, until its commit, and when its handler was called."""

    __slots__ = ("handling", "started", "task", "timed_out")

    def __init__(self) -> None:
        self.handling: Handling | None = None
        self.started = _NOT_STARTED
        self.timed_out = False
        self.task: asyncio.Task[None] | None = None


class Lane:
    """One handler's queue and workers.

    Attributes:
        spec: The handler.
        name: Its full name.
        retry: How a failure is tried again; None: it is final.
        limit: How many messages it may hold in memory.
        answers: Whether each handling must return a response: so for queries.
        durable: Whether what it has handled is noted in the store; not so for queries and subscriptions.
        behind: For events: whether it missed some for lack of room, and reads them from the log instead.
        stopped: For events: whether the next one could not be read; it stays behind until the next start.
        last_seen: For events: global position up to which messages have entered the lane.
        missed: For events: highest position that passed while it was behind.
        keyed: Its queue, if its handler has a key.
        claims: What claims its keys, where other processes share its store.
        under_way: Positions being handled now; with a key, also those that wait in the queue.
        highest_done: Highest position it is done with.
        finished_above: Positions above its checkpoint that an earlier process finished.
        recovering_to: Last position that was in the log when this process started.
        counted: Left-over messages whose tries were counted.
        closing: Whether it takes no further message out of its queue.
        senders: Who waits until there is room, in order of arrival.
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
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.retry = spec.retry or retry_policy(middleware, spec.message)
        self.limit = limit
        self.answers = spec.message.__kind__ == "query"
        self.durable = durable
        self.keyed = None if spec.key is None else KeyedQueue(spec.key)
        self.claims: Claims | None = None
        self.queue: deque[Handling] | KeyedQueue = deque() if self.keyed is None else self.keyed
        self.behind = False
        self.stopped = False
        self.last_seen = -1
        self.missed = -1
        self.under_way: set[int] | Positions = set() if self.keyed is None else self.keyed.open
        self.highest_done = -1
        self.finished_above: set[int] = set()
        self.recovering_to = -1
        self.counted = 0
        self.senders: deque[asyncio.Future[None]] = deque()
        self.slots = [Slot() for _ in range(spec.concurrency)]
        called = call if spec.is_async else self._call_in_thread(call, executor)
        self._call = _kept_through(middleware, called) if middleware else called
        self._completion = completion
        self._spawn = spawn
        self._idle: deque[asyncio.Future[None]] = deque()
        self._refilling = False
        self.closing = False

    def start(self) -> None:
        """Begin to work. Messages may have been pushed before."""
        self._loop = asyncio.get_running_loop()
        for number, slot in enumerate(self.slots):
            slot.task = self._spawn(self._work(slot), f"microlith {self.spec.name} {number}")

    def push(self, envelope: Envelope[Any], position: int | None = None, attempt: int = 1) -> None:
        """Add a message at the end; `position` for events, `attempt` 0 for what an earlier process left."""
        self.queue.append(Handling(self.name, envelope, position, monotonic(), attempt))
        if self._idle:
            self.wake()

    def push_handling(self, handling: Handling) -> None:
        """Add a handling that was made elsewhere at the end."""
        self.queue.append(handling)
        self.wake()

    def put_back(self, handling: Handling, attempt: int) -> Handling:
        """Put a message that was handled back to the front, to be handled again."""
        again = handling.again(monotonic(), attempt)
        self.queue.appendleft(again)
        if self._idle:
            self.wake()
        return again

    def wake(self) -> None:
        """Let an idle worker look for work."""
        while self._idle:
            future = self._idle.popleft()
            if not future.done():
                future.set_result(None)
                return

    def close(self) -> None:
        """Take no further message out of the queue; a handling under way goes on."""
        self.closing = True
        for _ in self.slots:
            self.wake()
        self.admit(len(self.senders))

    def admit(self, room: int) -> None:
        """Let as many waiting senders go on as there is room for; the others are not even woken."""
        while self.senders and room > 0:
            sender = self.senders.popleft()
            if not sender.done():
                sender.set_result(None)
                room -= 1

    @property
    def busy(self) -> bool:
        """Whether a message is between the queue and its commit."""
        return any(slot.handling is not None for slot in self.slots)

    def unfinished(self) -> list[Handling]:
        """List what is being handled or waits for it, in order."""
        return [slot.handling for slot in self.slots if slot.handling is not None] + list(self.queue)

    @property
    def catching_up(self) -> bool:
        """Whether there is more in the log that it has to read."""
        return self.behind and not self.stopped

    @property
    def waiting(self) -> bool:
        """Whether there is more for it to do than what is being handled."""
        return bool(self.queue) or self.catching_up

    def check_timeouts(self, now: float) -> None:
        """Cancel handlers that run longer than they may. Called from time to time."""
        for slot in self.slots:
            overdue = now - slot.started > self.spec.timeout
            if overdue and not slot.timed_out and slot.task is not None:
                slot.timed_out = True
                slot.task.cancel()

    async def _work(self, slot: Slot) -> None:
        queue, completion, keyed = self.queue, self._completion, self.keyed
        turn_ends = monotonic() + _TURN
        while not self.closing:
            if not queue:
                await self._rest()
                turn_ends = monotonic() + _TURN
                continue
            slot.handling = handling = queue.popleft()
            if handling.position is not None:
                self.under_way.add(handling.position)
            if (handling.attempt < 1 or keyed is not None) and not await self._begins(slot, handling):
                continue
            value = error = None
            handling.started = slot.started = monotonic()
            handling_now.set(handling)
            try:
                value = await self._call(handling.envelope)
            except (KeyboardInterrupt, GeneratorExit):  # the end of the process, and of this worker
                raise
            except BaseException as raised:  # noqa: BLE001 (the completion decides what a failure means)
                error = self._judged(slot, raised)
            finally:
                handling.open = False
                slot.started = _NOT_STARTED
                if slot.timed_out:
                    self._end_timeout(slot)
            handling.ended = monotonic()
            finishing = completion.finish(self, handling, value, error)
            if finishing is not None:
                await finishing
            slot.handling = None
            if keyed is not None:
                self._let_go(keyed, handling)
            if handling.ended >= turn_ends:
                if self.senders:
                    self.admit(CROWDED - len(queue))
                await asyncio.sleep(0)
                turn_ends = monotonic() + _TURN

    async def _begins(self, slot: Slot, handling: Handling) -> bool:
        """Park a message that stands behind a dead letter of its key; count another try; tell whether it may begin."""
        if self.keyed is not None and self.claims is not None and (key := self.keyed.digest_of(handling)) is not None:
            await self.claims.take(self, key)
        if self.keyed is not None and self.spec.parks and self.keyed.stands_behind(handling):
            self._completion.park(self, handling)
            await asyncio.sleep(0)  # there may be thousands
        elif handling.attempt >= 1:
            return True
        else:
            counted = await self._completion.begin_again(self, handling)
            if counted is not None:
                handling.attempt = counted
                return True
        slot.handling = None
        if self.keyed is not None:
            self._let_go(self.keyed, handling)
        return False

    def _let_go(self, keyed: KeyedQueue, handling: Handling) -> None:
        """Let the next message of a key come, here or in another process."""
        if self.claims is not None and (key := keyed.digest_of(handling)) is not None:
            self.claims.let_go(key, committed=getattr(handling, "outcome", "") in _COMMITTED)
        keyed.done(handling)

    def done_with(self, position: int) -> int:
        """Note that an event is finished; return up to which position all are."""
        self.under_way.discard(position)
        self.highest_done = max(self.highest_done, position)
        if not self.under_way:
            return self.highest_done
        return (min(self.under_way) if self.keyed is None else next(iter(self.under_way))) - 1

    async def _rest(self) -> None:
        """Fetch what was missed, or wait for something to do."""
        if self.catching_up and not self._refilling:
            self._refilling = True  # two workers that read at once would read the same
            try:
                await self._completion.refill(self)
            finally:
                self._refilling = False
            if self.queue or self.catching_up:  # a page may hold nothing for this lane; the next one may
                await asyncio.sleep(0)
                return
        if self.senders:  # they need not have more to send: go on until nobody waits
            self.admit(CROWDED)
            await asyncio.sleep(0)
            return
        handling_now.set(None)
        idle = self._loop.create_future()
        self._idle.append(idle)
        await idle

    def _judged(self, slot: Slot, error: BaseException) -> BaseException:
        """Return what an exception means for its message; raise it again if it is the end of this worker."""
        if not isinstance(error, asyncio.CancelledError):
            return error
        if slot.task is None or (slot.task.cancelling() and not slot.timed_out):
            raise error
        if not slot.timed_out:
            return error  # the handler let a cancellation of its own escape
        return HandlerTimeoutError(self.spec.name, self.spec.timeout)

    @staticmethod
    def _end_timeout(slot: Slot) -> None:
        """Take the cancellation back, whatever the handler made of it: the next message has its own time."""
        slot.timed_out = False
        if slot.task is not None:
            slot.task.uncancel()

    @staticmethod
    def _call_in_thread(call: Call, executor: Executor) -> Call:
        async def call_in_thread(envelope: Envelope[Any]) -> Any:
            context = copy_context()
            return await asyncio.get_running_loop().run_in_executor(executor, context.run, _called, call, envelope)

        return call_in_thread


def _kept_through(middleware: Sequence[Middleware], call: Call) -> Call:
    """Wrap a call in middleware; a decision that does not come out of it again is released."""

    async def remembered(envelope: Envelope[Any]) -> Any:
        value = await call(envelope)
        if isinstance(value, Decision):
            _made.get().append(value)
        return value

    wrapped = handled_through(middleware, remembered)

    async def kept(envelope: Envelope[Any]) -> Any:
        made: list[Decision] = []
        _made.set(made)  # a list, since a middleware may go on in a task of its own
        value: Any = None
        try:
            value = await wrapped(envelope)
        finally:
            for decision in made:
                if decision is not value:
                    decision.release()
        return value

    return kept


def _called(call: Call, envelope: Envelope[Any]) -> Any:
    try:
        return call(envelope)
    except StopIteration as error:  # no future takes one: whoever awaited it would never be told
        raise RuntimeError("the handler raised StopIteration") from error
