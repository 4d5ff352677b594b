"""Faults of microlith that simulations have found: each stays found."""

import asyncio

import pytest

from microlith import Command, Component, Event, Microlith
from microlith.testing.simulation import World, simulate


class CountCommand(Command):
    """Ask for a count."""


class CountedEvent(Event):
    """It was counted."""


def make_counter(handled: list[int]) -> Microlith:
    counter = Component("counter")

    @counter.handles(CountCommand)
    async def count(_: CountCommand) -> CountedEvent:
        return CountedEvent()

    @counter.handles(CountedEvent, concurrency=4)
    async def note(_: CountedEvent) -> None:
        await asyncio.sleep(0.01)
        handled.append(1)

    return Microlith("counter", [counter])


@pytest.mark.parametrize("seed", range(5))
def test_workers_of_one_handler_that_was_behind_do_not_read_the_same_events(seed: int):
    handled: list[int] = []

    async def scenario(world: World) -> None:
        for _ in range(10):
            await world.app.command_bus.dispatch(CountCommand())
        await asyncio.sleep(0.05)
        await world.crash()
        handled.clear()
        await world.idle()
        assert len(handled) <= 10

    simulate(make_counter(handled), scenario, seed=seed)
