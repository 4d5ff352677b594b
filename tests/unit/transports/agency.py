"""A travel agency in three components, for tests of what goes from process to process: booking, paying and telling."""

from microlith import Command, Component, Event, Microlith, Query, ReadModel, Response, Table
from microlith.testing.memory_broker import MemoryBroker


class BookCommand(Command):
    trip: str
    price: int = 100


class BookedEvent(Event):
    trip: str
    price: int


class CancelCommand(Command):
    trip: str


class CancelledEvent(Event):
    trip: str


class PayCommand(Command):
    trip: str
    price: int


class PaidEvent(Event):
    trip: str


class PaymentRefusedEvent(Event):
    trip: str


class PriceResponse(Response):
    price: int


class PriceRequest(Query[PriceResponse]):
    trip: str


class Paid(ReadModel, key="trip"):
    trip: str


BROKER = "memory://agency"
GATEWAY = "no component"
"""Runs, to a process that runs none."""


class Agency(Microlith):
    """One process; it remembers what was handled in it."""

    handled: list[str]


def agency(
    broker: MemoryBroker | str,
    *runs: str,
    store: str = "memory:",
    buses: dict[str, str] | None = None,
    name: str = "agency",
    **options,
) -> Agency:
    """Make a process of the agency that runs some of its components; `broker` may be the url of a real one."""
    booking, paying, telling = Component("booking"), Component("paying"), Component("telling")
    handled: list[str] = []

    @booking.handles(BookCommand)
    async def book(command: BookCommand) -> list[BookedEvent | PayCommand]:
        handled.append(f"book {command.trip}")
        if command.trip == "nowhere":
            raise ValueError("there is no such place")
        return [
            BookedEvent(trip=command.trip, price=command.price),
            PayCommand(trip=command.trip, price=command.price),
        ]

    @booking.handles(CancelCommand)
    async def cancel(command: CancelCommand) -> CancelledEvent:
        handled.append(f"cancel {command.trip}")
        return CancelledEvent(trip=command.trip)

    @booking.handles(PriceRequest)
    async def tell_price(query: PriceRequest) -> PriceResponse:
        handled.append(f"price {query.trip}")
        if query.trip == "nowhere":
            raise ValueError("there is no such place")
        return PriceResponse(price=len(query.trip))

    @paying.handles(PayCommand)
    async def pay(command: PayCommand) -> PaidEvent | PaymentRefusedEvent:
        handled.append(f"pay {command.trip}")
        if command.price > 1000:
            return PaymentRefusedEvent(trip=command.trip)
        return PaidEvent(trip=command.trip)

    @telling.handles(PaidEvent)
    async def tell(event: PaidEvent) -> None:
        handled.append(f"tell {event.trip}")

    paid = telling.projection("paid", Paid)

    @paid.on(PaidEvent)
    def note(event: PaidEvent, table: Table[Paid]) -> None:
        table.put(Paid(trip=event.trip))

    chosen = None if not runs else [component for component in runs if component != GATEWAY]
    app = Agency(name, components=[booking, paying, telling], store=store, runs=chosen, **options)
    url = broker if isinstance(broker, str) else BROKER
    app.buses = {"command": url, "query": url, "event": url} if buses is None else buses
    if isinstance(broker, MemoryBroker):
        app.connects = broker.connect
    app.handled = handled
    return app
