"""The event that the stores are measured with: an order with a few lines, about 400 bytes as JSON."""

from typing import Any

from pydantic import BaseModel

from microlith import Command, Event
from microlith.serialization import MessageTypes


class Line(BaseModel):
    """One line of an order."""

    sku: str
    quantity: int
    cents: int


class PlaceOrder(Command):
    """Declares that something places orders; never sent."""


class OrderPlaced(Event):
    """An order with its lines."""

    order_id: str
    customer: str
    lines: list[Line]
    note: str | None


def order_fields(number: int) -> dict[str, Any]:
    """Make the fields of an order, as they come from outside."""
    return {
        "order_id": f"order-{number}",
        "customer": f"customer-{number % 1000}@example.org",
        "lines": [{"sku": f"sku-{number % 97}-{n}", "quantity": n + 1, "cents": 1999 + n} for n in range(4)],
        "note": "please ring twice" if number % 3 else None,
    }


def order(number: int) -> OrderPlaced:
    """Build an order; its fields are validated."""
    return OrderPlaced(**order_fields(number))


def order_types() -> MessageTypes:
    """Declare the event."""
    types = MessageTypes()
    types.add(OrderPlaced, "orders")
    return types
