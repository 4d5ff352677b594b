"""Dispatch: commands sent without waiting, one handler, nothing stored.

The measure is a bare loop: a deque and one task that takes from it and awaits the handler. It makes
for each message what microlith makes: an envelope with a UUIDv7, a correlation id and the time. The
first message of a correlation lends it its id, so that is one new id each, in both.

The sender lets the loop turn after every 256 messages, or only after the last ("burst").
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import time
from types import new_class
from typing import Any

from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith import Command, Component, Microlith
from microlith.envelope import Envelope
from microlith.ids import new_id

TURN = 256
"""Messages between two turns of the loop."""


class Count(Command):
    """A small command."""

    n: int


class Counter:
    """Counts what is handled and says when all is."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted
        self.done = asyncio.get_running_loop().create_future()

    async def handle(self, _command: Count) -> None:
        """Count one."""
        self.left -= 1
        if not self.left:
            self.done.set_result(None)


async def send_all(send: Callable[[Count], Any], items: int, turn: int) -> None:
    """Send commands, letting the loop turn now and then."""
    for number in range(1, items + 1):
        send(Count(n=number))
        if not number % turn:
            await asyncio.sleep(0)


class BareLoop:
    """A deque and the one task that drains it: what a bus cannot do without."""

    def __init__(self, handler: Callable[[Any], Awaitable[None]], *, whole: bool = False) -> None:
        """Start the task; the handler gets the message, or the `whole` envelope."""
        self._queue: deque[Envelope[Any]] = deque()
        self._handler = handler
        self._idle: asyncio.Future[None] | None = None
        self._task = asyncio.create_task(self._drain_whole() if whole else self._drain())

    def send(self, message: Any) -> Envelope[Any]:
        """Wrap a message and queue it."""
        message_id = new_id()
        envelope = Envelope(message, message_id, message_id, None, time())
        self._queue.append(envelope)
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        return envelope

    def close(self) -> None:
        """End the task."""
        self._task.cancel()

    async def _drain(self) -> None:
        queue, in_a_row = self._queue, 0
        while True:
            if not queue:
                await self._rest()
            await self._handler(queue.popleft().message)
            in_a_row += 1
            if in_a_row == TURN:
                in_a_row = 0
                await asyncio.sleep(0)

    async def _drain_whole(self) -> None:
        queue, in_a_row = self._queue, 0
        while True:
            if not queue:
                await self._rest()
            await self._handler(queue.popleft())
            in_a_row += 1
            if in_a_row == TURN:
                in_a_row = 0
                await asyncio.sleep(0)

    async def _rest(self) -> None:
        self._idle = asyncio.get_running_loop().create_future()
        await self._idle


async def bare(items: int, turn: int) -> float:
    """Send through the bare loop."""
    counter = Counter(items)
    loop = BareLoop(counter.handle)
    watch = Stopwatch()
    await send_all(loop.send, items, turn)
    await counter.done
    took = watch.each(items)
    loop.close()
    return took


async def microlith(items: int, turn: int) -> float:
    """Send through the command bus."""
    counter = Counter(items)
    component = Component("counting")
    component.handles(Count)(counter.handle)
    async with Microlith("counting", [component], store="memory:") as app:
        watch = Stopwatch()
        await send_all(app.command_bus.dispatch, items, turn)
        await counter.done
        return watch.each(items)


async def microlith_followed(items: int, turn: int, *, reading: bool) -> float:
    """Send through the command bus while somebody follows the tracer, and reads what comes or does not."""
    counter = Counter(items)
    component = Component("counting")
    component.handles(Count)(counter.handle)
    async with Microlith("counting", [component], store="memory:") as app:
        follower = app.tracer.follow()

        async def read() -> None:
            async for _facts in follower:
                pass

        reader = asyncio.create_task(read()) if reading else None
        watch = Stopwatch()
        await send_all(app.command_bus.dispatch, items, turn)
        await counter.done
        took = watch.each(items)
        follower.close()
        if reader is not None:
            await reader
        return took


async def microlith_awaited(items: int) -> float:
    """Send through the command bus and await every receipt, which is what holds a sender back."""
    counter = Counter(items)
    component = Component("counting")
    component.handles(Count)(counter.handle)
    async with Microlith("counting", [component], store="memory:") as app:
        watch = Stopwatch()
        for number in range(items):
            await app.command_bus.dispatch(Count(n=number))
        await counter.done
        return watch.each(items)


async def direct(items: int, turn: int) -> float:
    """Await the handler: no queue, no ids."""
    counter = Counter(items)
    watch = Stopwatch()
    for number in range(1, items + 1):
        await counter.handle(Count(n=number))
        if not number % turn:
            await asyncio.sleep(0)
    return watch.each(items)


def contestants(items: int) -> list[Contestant]:
    """Everyone who can run here."""

    def followed(*, reading: bool) -> Callable[[], float]:
        return lambda: asyncio.run(microlith_followed(3 * items, TURN, reading=reading))

    return [
        Contestant("bare loop", lambda: asyncio.run(bare(items, TURN)), "deque, ids, envelope"),
        Contestant("microlith", lambda: asyncio.run(microlith(items, TURN)), "receipt, trace, dead letters, waits"),
        Contestant("bare loop, burst", lambda: asyncio.run(bare(items, items)), "all queued first"),
        Contestant("microlith, burst", lambda: asyncio.run(microlith(items, items)), "all queued first"),
        Contestant("microlith, awaited", lambda: asyncio.run(microlith_awaited(items)), "each receipt awaited"),
        Contestant("microlith, traced", followed(reading=True), f"{3 * items:,}, followed"),
        Contestant("microlith, stalled viewer", followed(reading=False), f"{3 * items:,}, followed, never read"),
        Contestant("direct await", lambda: asyncio.run(direct(items, TURN)), "no queue, no ids"),
        *_mediatr(items),
        *_bubus(),
    ]


def _mediatr(items: int) -> list[Contestant]:
    mediatr = peer("mediatr")
    if mediatr is None:
        return []

    async def run() -> float:
        counter = Counter(items)

        async def handle(command: Count) -> None:
            await counter.handle(command)

        handlers = import_handlers()
        handlers.clear()
        mediatr.Mediator.register_handler(handle)
        mediator = mediatr.Mediator()
        watch = Stopwatch()
        for number in range(1, items + 1):
            await mediator.send_async(Count(n=number))
            if not number % TURN:
                await asyncio.sleep(0)
        return watch.each(items)

    def import_handlers() -> dict[Any, Any]:
        registered: dict[Any, Any] = vars(mediatr.mediator)["__handlers__"]
        return registered

    return [Contestant("mediatr", lambda: asyncio.run(run()), "inline: no queue, no ids")]


def _bubus() -> list[Contestant]:
    bubus = peer("bubus")
    if bubus is None:
        return []
    items, pending = 400, 40  # it refuses more than 100 at a time, and slows down with its history

    counted = new_class("Counted", (bubus.BaseEvent,), {}, lambda body: body.update(__annotations__={"n": int}))

    async def run() -> float:
        counter = Counter(items)

        async def handle(event: Any) -> None:
            await counter.handle(event)

        bus = bubus.EventBus()
        bus.on(counted, handle)
        watch = Stopwatch()
        sent = []
        for number in range(items):
            sent.append(bus.dispatch(counted(n=number)))
            if len(sent) == pending:
                await asyncio.gather(*sent)
                sent.clear()
        took = watch.each(items)
        await bus.stop(timeout=0)
        return took

    return [Contestant("bubus", lambda: asyncio.run(run()), f"{items} events, {pending} at a time")]


BUDGETS: Sequence[Budget] = (
    Budget("microlith", "bare loop", 0.35),
    Budget("microlith, burst", "bare loop, burst", 0.3),
    Budget("microlith, traced", "microlith", 0.75),
    Budget("microlith, stalled viewer", "microlith", 0.75),
    Budget("microlith", "mediatr", 0.5),
    Budget("microlith", "bubus", 150.0),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 20_000 if quick else 100_000
    field = contestants(items)
    results = measure(field, rounds)
    return report(f"Dispatch, {items:,} commands, processor time", field, results, "bare loop", BUDGETS)
