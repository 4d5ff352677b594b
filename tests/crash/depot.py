"""A depot whose processes share one store, for tests of what each of them does: goods come in, are weighed and counted.

Each process keeps what it did itself; `at_work` is common to those of one test, and shows who handles which bay.
"""

import asyncio
from collections.abc import Callable

from microlith import (
    Aggregate,
    Command,
    Component,
    Event,
    Microlith,
    Query,
    ReadModel,
    Response,
    Scheduled,
    Table,
    View,
    decides,
    evolves,
)
from microlith.testing.memory_broker import MemoryBroker, _Queue

BROKER = "memory://depot"


class BringCommand(Command):
    bay: str
    item: str
    seconds: float = 0.005
    fails: bool = False


class BroughtEvent(Event):
    """Something is in its bay; `number`: the how manieth there, as its handler saw it."""

    bay: str
    item: str
    number: int = 0


class WeighedEvent(Event):
    item: str


class LoadCommand(Command):
    truck: str
    item: str


class UnloadCommand(Command):
    truck: str


class LoadedEvent(Event):
    truck: str
    item: str


class UnloadedEvent(Event):
    truck: str
    items: int


class RingCommand(Command):
    item: str


class RangEvent(Event):
    item: str


class CountResponse(Response):
    items: int


class CountRequest(Query[CountResponse]):
    """Ask how much is in a bay; "all" for all of them."""

    bay: str


class Bay(ReadModel, key="bay"):
    bay: str
    items: int


class Total(ReadModel, key="name"):
    name: str
    items: int


class Truck(Aggregate, stream="truck-{truck}"):
    items: int = 0

    @decides
    def load(self, command: LoadCommand) -> LoadedEvent:
        return LoadedEvent(truck=command.truck, item=command.item)

    @decides
    def unload(self, command: UnloadCommand) -> UnloadedEvent:
        return UnloadedEvent(truck=command.truck, items=self.items)

    @evolves
    def loaded(self, event: LoadedEvent) -> None:
        self.items += 1

    @evolves
    def unloaded(self, event: UnloadedEvent) -> None:
        self.items = 0


class Depot(Microlith):
    """One process.

    Attributes:
        brought: Items whose command it handled.
        weighed: Items whose event it handled.
    """

    brought: list[str]
    weighed: list[str]


Tell = Callable[[str, str, str], None]
"""Is told what happens in a process: "began" and "ended" with a bay and an item, "weighed" with an item and ""."""


def _nobody(_what: str, _which: str, _item: str) -> None:
    pass


def depot(
    broker: MemoryBroker | str,
    store: str,
    at_work: dict[str, str],
    name: str = "depot",
    *,
    deaf: bool = False,
    tell: Tell = _nobody,
) -> Depot:
    """Make a process of the depot; `deaf`: it is a gateway, which only sends."""
    goods = Component("goods")
    brought: list[str] = []
    weighed: list[str] = []

    @goods.handles(BringCommand, key="bay")
    async def bring(command: BringCommand, kept: View[Bay]) -> BroughtEvent:
        tell("began", command.bay, command.item)
        if command.bay in at_work:
            at_work["both"] = f"{command.item} and {at_work[command.bay]} at {command.bay}"
        at_work[command.bay] = command.item
        try:
            row = await kept.get(command.bay)
            await asyncio.sleep(command.seconds)
        finally:
            at_work.pop(command.bay, None)
            tell("ended", command.bay, command.item)
        if command.fails:
            raise ValueError(f"{command.item} fell")
        brought.append(command.item)
        return BroughtEvent(bay=command.bay, item=command.item, number=(row.items if row else 0) + 1)

    @goods.handles(BroughtEvent)
    async def weigh(event: BroughtEvent) -> WeighedEvent:
        weighed.append(event.item)
        tell("weighed", event.item, "")
        if event.item.startswith("heavy"):
            raise ValueError(f"{event.item} is too heavy")
        return WeighedEvent(item=event.item)

    @goods.handles(CountRequest)
    async def count(request: CountRequest, kept: View[Bay], summed: View[Total]) -> CountResponse:
        row = await summed.get("all") if request.bay == "all" else await kept.get(request.bay)
        return CountResponse(items=row.items if row else 0)

    goods.aggregate(Truck)
    keep_books(goods)
    ring_bells(goods)
    buses = dict.fromkeys(("command", "query", "event"), BROKER if isinstance(broker, MemoryBroker) else broker)
    app = Depot(name, [goods], store="memory:" if deaf else store, buses=buses, runs=[] if deaf else None)
    if isinstance(broker, MemoryBroker):
        app.connects = broker.connect
    app.brought, app.weighed = brought, weighed
    return app


def ring_bells(goods: Component) -> None:
    """Declare what is scheduled."""

    @goods.handles(RingCommand)
    async def ring(command: RingCommand) -> RangEvent:
        return RangEvent(item=command.item)

    @goods.handles(LoadedEvent)
    async def remind(event: LoadedEvent) -> Scheduled[RingCommand] | None:
        if event.item != "bell":
            return None
        return Scheduled(RingCommand(item=event.truck), after=0.2)


def keep_books(goods: Component) -> None:
    """Declare what is known of the bays: at once of each, a moment later of all."""
    bays = goods.projection("bays", Bay)
    totals = goods.projection("totals", Total, inline=False)

    @bays.on(BroughtEvent)
    def counted(event: BroughtEvent, table: Table[Bay]) -> None:
        row = table.get(event.bay)
        table.put(Bay(bay=event.bay, items=(row.items if row else 0) + 1))

    @totals.on(BroughtEvent)
    def summed(event: BroughtEvent, table: Table[Total]) -> None:
        row = table.get("all")
        table.put(Total(name="all", items=(row.items if row else 0) + 1))


class CarelessQueue(_Queue):
    """One that hands out messages of a key side by side, as a plain queue of a real broker does."""

    def __init__(self, *, keyed: bool) -> None:
        del keyed
        super().__init__(keyed=False)
