"""Tracing: commands sent as fast as this machine can, while somebody follows the tracer, reads or never reads.

What nobody reads must cost next to nothing: throughput falls by at most a tenth, memory stays flat, and each
follower is told exactly how many facts it missed. A message makes two facts: that it was sent, and handled.

The same through `microlith run` is `bench_viewer`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic

from benchmarks.bench_dispatch import TURN, Count, Counter, send_all
from benchmarks.resident import resident
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, report
from microlith import Component, Microlith
from microlith.tracing.tracer import Fact, Follower

OFFERED = 50_000
"""Messages a second that an application must be able to take while a viewer never reads."""


class CountError(AssertionError):
    """A follower was not told exactly what it missed."""


@dataclass(frozen=True)
class Load:
    """One run under load.

    Attributes:
        each: Processor seconds for one message.
        rate: Messages a second, by the clock on the wall.
        grown: MiB of memory that the second half of the run added.
    """

    each: float
    rate: float
    grown: float


def told(facts: Sequence[Fact]) -> int:
    """Count facts, each count of dropped ones as what it stands for."""
    return sum(fact["data"]["count"] if fact["type"] == "microlith.dropped" else 1 for fact in facts)


async def followed(items: int, *, readers: int = 0, stalled: int = 0, limit: int = 5_000) -> Load:
    """Send commands while some followers read and some never do; check that each is told of every fact.

    Until the buffers of `limit` facts are full, facts are made for those that never read, too; after that none is.
    """
    counter = Counter(items)
    component = Component("counting")
    component.handles(Count)(counter.handle)
    async with Microlith("counting", [component], store="memory:") as app:
        followers = [app.tracer.follow(limit) for _ in range(readers + stalled)]
        totals = [0] * readers

        async def read(number: int, follower: Follower) -> None:
            async for facts in follower:
                totals[number] += told(facts)

        tasks = [asyncio.create_task(read(*pair)) for pair in enumerate(followers[:readers])]
        begun, watch = monotonic(), Stopwatch()
        await send_all(app.command_bus.dispatch, items // 2, TURN)
        half = resident()
        await send_all(app.command_bus.dispatch, items - items // 2, TURN)
        await counter.done
        each, seconds = watch.each(items), monotonic() - begun
        grown = resident() - half
        app.tracer.flush()
        for number, follower in enumerate(followers):
            left = told(follower.take()) + (totals[number] if number < readers else 0)
            if left != 2 * items:
                raise CountError(f"follower {number} was told of {left} facts; there were {2 * items}")
            follower.close()
        await asyncio.gather(*tasks)
    return Load(each, items / seconds, grown)


BUDGETS = (
    Budget("reads", "nobody", 0.75),
    Budget("never reads", "nobody", 0.9),
    Budget("50 never read", "nobody", 0.9),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 30_000 if quick else 100_000
    loads: dict[str, list[Load]] = {}

    def contestant(name: str, note: str, readers: int, stalled: int) -> Contestant:
        def run() -> float:
            load = asyncio.run(followed(items, readers=readers, stalled=stalled))
            loads.setdefault(name, []).append(load)
            return load.each

        return Contestant(name, run, note)

    field = [
        contestant("nobody", "nobody follows", 0, 0),
        contestant("reads", "one follower that reads", 1, 0),
        contestant("never reads", "one follower that never reads", 0, 1),
        contestant("50 never read", "fifty of them", 0, 50),
    ]
    kept = report(f"Tracing, {items:,} commands, processor time", field, measure(field, rounds), "nobody", BUDGETS)
    for name, runs in loads.items():
        rate, grown = median(load.rate for load in runs), max(load.grown for load in runs[1:])
        print(f"  {name}: {rate:,.0f} messages a second (asked for {OFFERED:,}); memory +{max(0.0, grown):.1f} MiB")
    return kept
