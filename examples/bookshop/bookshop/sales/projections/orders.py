"""Orders, as they stand: always up to date, for whoever asks."""

from typing import Literal

from bookshop.sales import sales
from bookshop.sales.events.order_cancelled import OrderCancelledEvent
from bookshop.sales.events.order_paid import OrderPaidEvent
from bookshop.sales.events.order_placed import OrderPlacedEvent
from bookshop.sales.events.order_shipped import OrderShippedEvent
from microlith import ReadModel, Table

Status = Literal["placed", "paid", "shipped", "cancelled"]


class Order(ReadModel, key="order_id", indexes=("customer",)):
    """An order."""

    order_id: str
    customer: str
    isbn: str
    copies: int
    total_cents: int
    status: Status = "placed"


orders = sales.projection("orders", Order)


@orders.on(OrderPlacedEvent)
def placed(event: OrderPlacedEvent, table: Table[Order]) -> None:
    """Note a new order."""
    table.put(Order(**event.model_dump()))


@orders.on(OrderPaidEvent)
def paid(event: OrderPaidEvent, table: Table[Order]) -> None:
    """Note that it is paid."""
    _set(table, event.order_id, "paid")


@orders.on(OrderShippedEvent)
def shipped(event: OrderShippedEvent, table: Table[Order]) -> None:
    """Note that it is shipped."""
    _set(table, event.order_id, "shipped")


@orders.on(OrderCancelledEvent)
def cancelled(event: OrderCancelledEvent, table: Table[Order]) -> None:
    """Note that it is given up."""
    _set(table, event.order_id, "cancelled")


def _set(table: Table[Order], order_id: str, status: Status) -> None:
    order = table.get(order_id)
    if order is not None:
        table.put(order.model_copy(update={"status": status}))
