"""A small application for the tests of schedules: tea is brewed, and somebody is reminded of it."""

from datetime import UTC, datetime, timedelta

from microlith import Clock, Command, Component, Event, Microlith, Query, Response

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)


class Brew(Command):
    """Ask for tea."""

    cup: int = 1


class BrewedEvent(Event):
    """There is tea."""

    cup: int


class DrunkEvent(Event):
    """The tea is gone."""

    cup: int


class ReminderEvent(Event):
    """The tea is still there."""

    cup: int


class Remind(Command):
    """Say that there is tea."""

    cup: int


class Drink(Command):
    """Drink the tea."""

    cup: int = 1


class TimeResponse(Response):
    """The time."""

    at: datetime


class TimeRequest(Query[TimeResponse]):
    """What time is it?"""


class Kitchen:
    """What the handlers do, for a test to set, and what they have seen."""

    def __init__(self) -> None:
        self.brewed: list[object] = []
        self.drunk: list[object] = []
        self.reminded: list[int] = []
        self.fails = False


def make_app(kitchen: Kitchen, store: str = "memory:", **options) -> Microlith:
    component = Component("kitchen")

    @component.handles(Brew)
    async def brew(command: Brew) -> object:
        if kitchen.fails:
            raise ValueError("no water")
        return [BrewedEvent(cup=command.cup), *kitchen.brewed]

    @component.handles(Drink)
    async def drink(command: Drink) -> object:
        return kitchen.drunk

    @component.handles(Remind)
    async def remind(command: Remind) -> ReminderEvent:
        kitchen.reminded.append(command.cup)
        return ReminderEvent(cup=command.cup)

    @component.handles(ReminderEvent)
    async def hear(event: ReminderEvent) -> None: ...

    @component.handles(BrewedEvent)
    async def smell(event: BrewedEvent) -> None: ...

    @component.handles(TimeRequest)
    async def tell(query: TimeRequest, clock: Clock) -> TimeResponse:
        return TimeResponse(at=datetime.fromtimestamp(clock.time(), UTC))

    return Microlith("kitchen", [component], store=store, **options)
