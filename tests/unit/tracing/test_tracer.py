"""The tracer: followers get every fact, or an exact count of those they missed."""

import asyncio

from benchmarks.bench_tracing import followed
from microlith import Command, Component, Microlith
from microlith.tracing.tracer import Follower


class Tick(Command):
    n: int


def make_app() -> Microlith:
    clock = Component("clock")

    @clock.handles(Tick)
    async def tick(_command: Tick) -> None:
        return None

    return Microlith("clock", [clock], store="memory:")


async def send(app: Microlith, count: int) -> None:
    for number in range(count):
        await app.command_bus.dispatch(Tick(n=number))
    await app.idle(5)
    app.tracer.flush()


def shown_and_dropped(follower: Follower) -> tuple[int, int]:
    facts = follower.take()
    dropped = sum(fact["data"]["count"] for fact in facts if fact["type"] == "microlith.dropped")
    return sum(fact["type"] != "microlith.dropped" for fact in facts), dropped


async def test_follower_gets_a_fact_for_each_message_and_each_handling():
    async with make_app() as app:
        follower = app.tracer.follow()

        await send(app, 3)

        assert sorted(fact["type"] for fact in follower.take()) == ["Tick"] * 3 + ["microlith.handled"] * 3


async def test_stalled_follower_is_told_exactly_how_much_it_missed():
    async with make_app() as app:
        stalled = app.tracer.follow(limit=10)
        await asyncio.sleep(0)

        for _ in range(3):
            await send(app, 50)
        shown, dropped = shown_and_dropped(stalled)

        assert shown == 10
        assert shown + dropped == 3 * 50 * 2


async def test_follower_that_reads_again_gets_facts_again():
    async with make_app() as app:
        follower = app.tracer.follow(limit=10)
        await send(app, 50)
        follower.take()
        app.tracer.flush()

        await send(app, 3)

        assert shown_and_dropped(follower) == (6, 0)


async def test_slow_follower_does_not_cost_another_its_facts():
    async with make_app() as app:
        stalled, reading = app.tracer.follow(limit=1), app.tracer.follow()

        await send(app, 20)

        assert shown_and_dropped(reading) == (40, 0)
        assert shown_and_dropped(stalled) == (1, 39)


async def test_facts_are_not_made_far_ahead_for_a_follower_that_does_not_read_and_none_is_lost_when_it_does():
    async with make_app() as app:
        follower = app.tracer.follow()
        for number in range(1_500):
            await app.command_bus.dispatch(Tick(n=number))
        await app.idle(5)
        await asyncio.sleep(0.5)  # time in which all could have been made
        ahead = sum(shown_and_dropped(follower))

        app.tracer.flush()

        assert 500 <= ahead < 2_500
        assert ahead + sum(shown_and_dropped(follower)) == 3_000


async def test_who_comes_later_is_not_told_of_what_was_dropped_before():
    async with make_app() as app:
        stalled = app.tracer.follow(limit=10)
        await send(app, 50)
        await asyncio.sleep(0.05)  # the tracer has noticed that nobody takes any more
        for number in range(50):
            await app.command_bus.dispatch(Tick(n=number))
        await app.idle(5)
        newcomer = app.tracer.follow()

        await send(app, 3)

        assert shown_and_dropped(newcomer) == (6, 0)
        assert sum(shown_and_dropped(stalled)) == (50 + 50 + 3) * 2


async def test_fifty_followers_that_never_read_slow_nobody_down_and_keep_memory_flat():
    # Loose, for a machine that is busy: what it is on a quiet one is measured by `python -m benchmarks tracing`.
    alone, watched = [], []
    for _ in range(3):
        alone.append(await followed(15_000))
        watched.append(await followed(15_000, stalled=50, limit=100))  # checks that each is told of every fact

    assert min(load.each for load in watched) < 1.6 * min(load.each for load in alone)
    assert min(load.grown for load in watched) < 20


async def test_fact_about_drops_is_a_cloud_event():
    async with make_app() as app:
        follower = app.tracer.follow(limit=1)
        await send(app, 2)

        fact = follower.take()[-1]

        assert fact["type"] == "microlith.dropped"
        assert {"specversion", "id", "source", "time", "seq", "data"} <= set(fact)
