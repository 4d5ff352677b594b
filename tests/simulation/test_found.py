"""Faults of microlith that simulations have found: each stays found."""

import asyncio

import pytest

from microlith import Command, Component, Event, HandlerFailedError, Microlith, Retry
from microlith.testing.simulation import Faults, World, simulate
from microlith.testing.simulation.store import SimulatedEventStore


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


def test_a_wait_that_begins_after_a_refused_commit_hears_of_the_failure(monkeypatch: pytest.MonkeyPatch):
    commits: list[int] = []

    def second_is_refused(_: SimulatedEventStore, probability: float) -> bool:
        commits.append(1)
        return probability == 0.5 and len(commits) == 2 * 2

    async def scenario(world: World) -> None:
        receipt = await world.app.command_bus.dispatch(CountCommand())
        await asyncio.sleep(0.1)
        with pytest.raises(HandlerFailedError):
            await world.app.event_bus.wait_for(receipt.correlation_id, CountedEvent)
        assert world.now < 1

    monkeypatch.setattr(SimulatedEventStore, "_hits", second_is_refused)
    simulate(make_counter([]), scenario, faults=Faults(refuse=0.5))


class NumberedEvent(Event):
    """One of several."""

    number: int


def test_an_event_whose_commit_is_refused_while_the_application_stops_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
):
    handled: list[int] = []
    numbers = Component("numbers")

    @numbers.handles(NumberedEvent, concurrency=2, retry=Retry(3, first=10.0))
    async def note(event: NumberedEvent) -> CountedEvent:
        await asyncio.sleep(event.number / 10)
        handled.append(event.number)
        return CountedEvent()

    def first_is_refused(_: SimulatedEventStore, probability: float) -> bool:
        return probability == 0.5 and handled == [1]

    async def scenario(world: World) -> None:
        for number in (1, 2):
            await world.app.event_bus.dispatch(NumberedEvent(number=number))
        await asyncio.sleep(0.05)
        await world.restart(finish_queues=False)
        await world.idle()
        assert handled == [1, 2, 1]

    monkeypatch.setattr(SimulatedEventStore, "_hits", first_is_refused)
    simulate(Microlith("numbers", [numbers]), scenario, faults=Faults(refuse=0.5))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_scheduled_after_some_time_is_sent_in_virtual_time(seed: int):
    counted: list[float] = []

    async def scenario(world: World) -> None:
        await world.app.command_bus.dispatch(CountCommand(), after=3000)
        await asyncio.sleep(2999)
        assert not await world.app.store.read_all()
        await asyncio.sleep(2)
        await world.idle()
        counted.append(len(await world.app.store.read_all()))

    run = simulate(make_counter([]), scenario, seed=seed)

    assert counted == [1]
    assert run.digest == simulate(make_counter([]), scenario, seed=seed).digest
