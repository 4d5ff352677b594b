"""An order was placed."""

from typing import Any

from bookshop.sales import sales
from microlith import Event


class OrderPlacedEvent(Event, version=2):
    """An order was placed. Version 1 had its total in euros, as a number with a fraction."""

    order_id: str
    customer: str
    isbn: str
    copies: int
    total_cents: int


@sales.upcasts(OrderPlacedEvent, version=1)
def count_in_cents(old: dict[str, Any]) -> dict[str, Any]:
    """Read an order of the days when prices were floating-point numbers."""
    total = old.pop("total")
    return {**old, "total_cents": round(total * 100)}
