"""Schedules where flows are tested: given, when, after, then; decisions; processes."""

from datetime import timedelta

from microlith import (
    Cancelled,
    Command,
    Component,
    Decider,
    Microlith,
    Process,
    Scheduled,
    continues,
    starts,
)
from microlith.testing import VirtualClock, given, in_memory
from tests.unit.runtime.kitchen import (
    HALF_AN_HOUR,
    Brew,
    BrewedEvent,
    Drink,
    DrunkEvent,
    Kitchen,
    Remind,
    ReminderEvent,
    make_app,
)


async def test_given_when_after_then():
    kitchen = Kitchen()
    kitchen.brewed = [Scheduled(Remind(cup=1), after=HALF_AN_HOUR)]
    told = given(make_app(kitchen)).when(Brew())

    await told.then(BrewedEvent)
    await given(make_app(kitchen)).when(Brew()).after(HALF_AN_HOUR).then(BrewedEvent, ReminderEvent(cup=1))


async def test_failure_that_time_brings_is_what_is_checked():
    component = Component("late")

    @component.handles(Brew)
    async def brew(command: Brew) -> Scheduled[Remind]:
        return Scheduled(Remind(cup=1), after=HALF_AN_HOUR)

    @component.handles(Remind)
    async def remind(command: Remind) -> None:
        raise ValueError("too late")

    app = Microlith("late", [component])
    await given(app).when(Brew()).after(HALF_AN_HOUR).then_fails(ValueError, match="too late")


def test_decision_may_schedule_and_cancel():
    def decide(state: int, command: Command) -> object:
        return Cancelled("cold") if isinstance(command, Drink) else Scheduled(Remind(cup=1), after=60, name="cold")

    decider = Decider(
        "Cup",
        "cup-{cup}",
        initial=int,
        decide=decide,
        evolve=lambda state, event: state,
        commands={Brew: [], Drink: []},
        events=[BrewedEvent],
    )

    given(decider).when(Brew()).then(Scheduled(Remind(cup=1), after=timedelta(minutes=1), name="cold"))
    given(decider).when(Drink()).then(Cancelled("cold"))


class Brewing(Process, key="cup"):
    """A cup of tea: the reminder is cancelled when it was drunk, in whatever correlation that happens."""

    @starts
    def brewed(self, event: BrewedEvent) -> list[Scheduled[Remind]]:
        return [Scheduled(Remind(cup=event.cup), after=60, name="cold")]

    @continues
    def drunk(self, event: DrunkEvent) -> Cancelled:
        self.end()
        return Cancelled("cold")


async def test_process_cancels_its_own_deadline_from_another_correlation():
    clock = VirtualClock()
    component = Component("bar")
    component.process(Brewing)
    reminded: list[int] = []
    component.handles(Remind)(lambda command: reminded.append(command.cup))
    async with in_memory(Microlith("bar", [component]), clock=clock) as app:
        await app.event_bus.dispatch(BrewedEvent(cup=1))
        await app.event_bus.dispatch(BrewedEvent(cup=2))
        await app.idle()
        await app.event_bus.dispatch(DrunkEvent(cup=1))
        await clock.advance(60)

    assert reminded == [2]
