"""Deadlines of processes: each process has its own, and none outlives it."""

from datetime import timedelta

import pytest

from microlith import Cancelled, Command, Component, Event, Microlith, Process, Scheduled, continues, starts
from microlith.testing import VirtualClock, given, in_memory

HALF_AN_HOUR = timedelta(minutes=30)


class GiveUp(Command):
    """Nobody has paid."""

    order_id: str


class Remind(Command):
    """Somebody should pay."""

    order_id: str


class PlacedEvent(Event):
    """An order was placed."""

    order_id: str


class PaidEvent(Event):
    """It was paid."""

    order_id: str


class DelayedEvent(Event):
    """The customer asked for more time."""

    order_id: str


class DoneEvent(Event):
    """The goods arrived."""

    order_id: str


class GivenUpEvent(Event):
    """It was given up."""

    order_id: str


class Payment(Process, key="order_id"):
    """Waits for the money, for half an hour."""

    paid: bool = False

    @starts
    def placed(self, event: PlacedEvent) -> list[Scheduled[GiveUp] | Scheduled[Remind]]:
        """Wait."""
        return [
            Scheduled(GiveUp(order_id=event.order_id), after=HALF_AN_HOUR, name="deadline"),
            Scheduled(Remind(order_id=event.order_id), after=timedelta(minutes=20)),
        ]

    @continues
    def delayed(self, event: DelayedEvent) -> Scheduled[GiveUp]:
        """Wait for half an hour from now on."""
        return Scheduled(GiveUp(order_id=event.order_id), after=HALF_AN_HOUR, name="deadline")

    @continues
    def took(self, event: PaidEvent) -> Cancelled:
        """Stop waiting."""
        self.paid = True
        return Cancelled("deadline")

    @continues
    def done(self, event: DoneEvent | GivenUpEvent) -> None:
        """End."""
        self.end()


def application(store: str = "memory:") -> Microlith:
    """Declare the application anew."""
    shop = Component("shop")
    shop.process(Payment)

    @shop.handles(GiveUp)
    async def give_up(command: GiveUp) -> GivenUpEvent:
        return GivenUpEvent(order_id=command.order_id)

    @shop.handles(Remind)
    async def remind(command: Remind) -> None: ...

    @shop.handles(DelayedEvent)
    async def note(event: DelayedEvent) -> None: ...

    return Microlith("shop", [shop], store=store)


async def scheduled(app: Microlith) -> list[tuple[str, str | None]]:
    """List what is to be sent later: type and name."""
    return [(one.type, one.name) for one in await app.store.schedules()]


async def given_up(app: Microlith) -> list[str]:
    """List the orders that were given up."""
    events = await app.store.read_all(types=["GivenUpEvent"])
    return [event.message.order_id for event in events]  # type: ignore[attr-defined]


async def test_a_deadline_that_passes_continues_the_process():
    clock = VirtualClock()
    async with in_memory(application(), clock=clock) as app:
        await app.event_bus.dispatch(PlacedEvent(order_id="7"))
        await clock.advance(timedelta(minutes=29))
        assert await given_up(app) == []

        await clock.advance(timedelta(minutes=2))

        assert await given_up(app) == ["7"]
        assert (await app.store.read("process-Payment-7"))[-1].message.ended  # type: ignore[attr-defined]


async def test_the_same_name_in_two_processes_is_two_deadlines():
    """Each event starts a correlation of its own, and one of them continues a process of another."""
    clock = VirtualClock()
    async with in_memory(application(), clock=clock) as app:
        for order_id in ("7", "8"):
            await app.event_bus.dispatch(PlacedEvent(order_id=order_id))
        await app.event_bus.dispatch(PaidEvent(order_id="7"))
        await clock.advance(timedelta(minutes=31))

        assert await given_up(app) == ["8"]


async def test_a_deadline_is_moved_by_its_name():
    clock = VirtualClock()
    async with in_memory(application(), clock=clock) as app:
        await app.event_bus.dispatch(PlacedEvent(order_id="7"))
        await clock.advance(timedelta(minutes=25))
        await app.event_bus.dispatch(DelayedEvent(order_id="7"))
        await clock.advance(timedelta(minutes=25))
        assert await given_up(app) == []

        await clock.advance(timedelta(minutes=6))

        assert await given_up(app) == ["7"]


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/events.db"])
async def test_nothing_that_an_ended_process_had_scheduled_is_left(store, tmp_path):
    async with application(store.format(tmp_path)) as app:
        for order_id in ("7", "8"):
            await app.event_bus.dispatch(PlacedEvent(order_id=order_id))
        await app.idle()
        assert len(await scheduled(app)) == 4

        await app.event_bus.dispatch(DoneEvent(order_id="7"))
        await app.idle()

        assert sorted(await scheduled(app), key=str) == [("GiveUp", "deadline"), ("Remind", None)]
        left = [one.envelope.message.order_id for one in await app.store.schedules()]  # type: ignore[attr-defined]
        assert left == ["8", "8"]


async def test_what_a_process_schedules_as_it_ends_is_kept():
    class Farewell(Process, key="order_id"):
        """Says something later on."""

        @starts
        def placed(self, event: PlacedEvent) -> Scheduled[GiveUp]:
            """Wait."""
            return Scheduled(GiveUp(order_id="early"), after=HALF_AN_HOUR, name="deadline")

        @continues
        def done(self, event: DoneEvent) -> Scheduled[GiveUp]:
            """End, and ask for one thing more."""
            self.end()
            return Scheduled(GiveUp(order_id="late"), after=HALF_AN_HOUR)

    shop = Component("shop")
    shop.process(Farewell)

    @shop.handles(GiveUp)
    async def give_up(command: GiveUp) -> None: ...

    async with Microlith("shop", [shop], store="memory:") as app:
        await app.event_bus.dispatch(PlacedEvent(order_id="7"))
        await app.event_bus.dispatch(DoneEvent(order_id="7"))
        await app.idle()

        (left,) = await app.store.schedules()
        assert left.envelope.message == GiveUp(order_id="late")


async def test_a_step_that_fails_schedules_nothing():
    class Careless(Process, key="order_id"):
        """Returns rubbish beside a deadline."""

        @starts
        def placed(self, event: PlacedEvent) -> list[Scheduled[GiveUp]]:
            """Return a number, too."""
            return [Scheduled(GiveUp(order_id="7"), after=1), 7]  # type: ignore[list-item]

    shop = Component("shop")
    shop.process(Careless)

    @shop.handles(GiveUp)
    async def give_up(command: GiveUp) -> None: ...

    async with Microlith("shop", [shop], store="memory:") as app:
        await app.event_bus.dispatch(PlacedEvent(order_id="7"))
        await app.idle()

        assert len(await app.store.dead_letters()) == 1
        assert await app.store.schedules() == []


def test_deadlines_are_looked_at_in_a_test_of_one_step():
    placed, paid = PlacedEvent(order_id="7"), PaidEvent(order_id="7")

    given(Payment).when(placed).then(
        Scheduled(GiveUp(order_id="7"), after=HALF_AN_HOUR, name="deadline"),
        Scheduled(Remind(order_id="7"), after=timedelta(minutes=20)),
    )
    given(Payment, placed).when(paid).then(Cancelled("deadline")).state(paid=True).goes_on()
    with pytest.raises(AssertionError, match="Expected Cancelled"):
        given(Payment).when(placed).then(Cancelled("deadline"))
