"""Waits: a command is dispatched, its handler returns an event, and the sender waits for that event.

The measure is what one would write by hand: a queue with one task, a dictionary of futures by
correlation id, and a timeout for each wait. It wraps both messages in an envelope with an id, as
microlith does. It keeps no log and finds no event that came before the wait.

Many waiters at a time are tasks, in both.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import time
from typing import Any

from benchmarks.bench_dispatch import BareLoop
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, report
from microlith import Command, Component, Event, Microlith
from microlith.envelope import Envelope
from microlith.ids import new_id

TIMEOUT = 30.0
WAITERS = (1, 1_000, 10_000)


class Ask(Command):
    """A small command."""

    n: int


class Answered(Event):
    """What its handler returns."""

    n: int


RoundTrip = Callable[[int], Awaitable[Any]]


async def answer(command: Ask) -> Answered:
    """Handle the command."""
    return Answered(n=command.n)


async def all_round_trips(round_trip: RoundTrip, items: int, waiters: int) -> float:
    """Do round trips, so many at a time; return seconds for each."""
    watch = Stopwatch()
    if waiters == 1:
        for number in range(items):
            await round_trip(number)
    else:
        for first in range(0, items, waiters):
            await asyncio.gather(*[round_trip(first + number) for number in range(waiters)])
    return watch.each(items)


async def bare(items: int, waiters: int) -> float:
    """Use a dictionary of futures."""
    futures: dict[str, asyncio.Future[Answered]] = {}

    async def handle(envelope: Envelope[Any]) -> None:
        event = await answer(envelope.message)
        caused = Envelope(event, new_id(), envelope.correlation_id, envelope.message_id, time())
        waiting = futures.get(caused.correlation_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(caused.message)

    loop = BareLoop(handle, whole=True)

    async def round_trip(number: int) -> Answered:
        envelope = loop.send(Ask(n=number))
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        futures[envelope.correlation_id] = future
        try:
            async with asyncio.timeout(TIMEOUT):
                return await future
        finally:
            del futures[envelope.correlation_id]

    took = await all_round_trips(round_trip, items, waiters)
    loop.close()
    return took


async def microlith(items: int, waiters: int) -> float:
    """Use `dispatch` and `wait_for`."""
    component = Component("asking")
    component.handles(Ask)(answer)
    async with Microlith("asking", [component], store="memory:") as app:

        async def round_trip(number: int) -> Answered:
            receipt = app.command_bus.dispatch(Ask(n=number))
            return await app.event_bus.wait_for(receipt.correlation_id, Answered, timeout=TIMEOUT)

        return await all_round_trips(round_trip, items, waiters)


async def microlith_execute(items: int, waiters: int) -> float:
    """Use `execute`."""
    component = Component("asking")
    component.handles(Ask)(answer)
    async with Microlith("asking", [component], store="memory:") as app:

        async def round_trip(number: int) -> Answered:
            return await app.command_bus.execute(Ask(n=number), until=Answered, timeout=TIMEOUT)

        return await all_round_trips(round_trip, items, waiters)


def contestants(items: int) -> list[Contestant]:
    """Each way, with each number of waiters."""

    def run(way: Callable[[int, int], Any], waiters: int) -> Callable[[], float]:
        return lambda: asyncio.run(way(items, waiters))

    field = []
    for waiters in WAITERS:
        field += [
            Contestant(f"futures, {waiters}", run(bare, waiters), "dict of futures with timeouts"),
            Contestant(f"microlith, {waiters}", run(microlith, waiters), "dispatch and wait_for"),
            Contestant(f"microlith execute, {waiters}", run(microlith_execute, waiters), "in one call"),
        ]
    return field


BUDGETS: Sequence[Budget] = (
    *(Budget(f"microlith, {waiters}", f"futures, {waiters}", 0.35) for waiters in WAITERS),
    Budget(f"microlith, {WAITERS[-1]}", "microlith, 1", 1 / 2.5),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 10_000 if quick else 20_000
    field = contestants(items)
    results = measure(field, rounds)
    return report(f"Waits, {items:,} round trips, processor time", field, results, "futures, 1", BUDGETS)
