"""An application whose messages are traced: an order, the event of it, and the parcel."""

from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from microlith import Command, Component, Event, Microlith, Process, Query, Response, Scheduled, starts
from microlith.buses import EventBus

INCOMING = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Order(Command):
    sku: str
    card: SecretStr = SecretStr("")
    how: str = ""


class Ordered(Event):
    sku: str


class Ship(Command):
    sku: str


class Shipped(Event):
    sku: str


class PriceResponse(Response):
    cents: int


class PriceRequest(Query[PriceResponse]):
    sku: str


class Fulfilment(Process, key="sku"):
    sku: str = ""

    @starts
    def ordered(self, event: Ordered) -> Scheduled[Any]:
        self.sku = event.sku
        return Scheduled(Ship(sku=event.sku), after=timedelta(days=3))


def make_app(
    provider: Any, *components: Component, name: str = "shop", store: str = "memory:", **more: Any
) -> Microlith:
    from microlith.middlewares import OpenTelemetry

    return Microlith(
        name, components, store=store, middleware=[*more.pop("before", ()), OpenTelemetry(provider)], **more
    )


def make_empty(name: str) -> Component:
    """A component that declares the messages here and handles nothing yet."""
    return Component(name)


def make_sales(**options: Any) -> Component:
    sales = Component("sales")

    @sales.handles(Order, **options)
    async def take(order: Order) -> Ordered:
        if order.how == "fail":
            raise ValueError(f"card {order.card.get_secret_value()} was refused")
        return Ordered(sku=order.sku)

    return sales


def make_stock() -> Component:
    stock = Component("stock")

    @stock.handles(Ordered)
    async def reserve(event: Ordered) -> Ship:
        return Ship(sku=event.sku)

    @stock.handles(Ship)
    def ship(command: Ship, events: EventBus) -> None:  # in a thread
        events.dispatch(Shipped(sku=command.sku))

    return stock
