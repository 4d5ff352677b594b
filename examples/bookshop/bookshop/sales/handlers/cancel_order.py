"""Gives an order up."""

from bookshop.sales import sales
from bookshop.sales.commands.cancel_order import CancelOrderCommand
from bookshop.sales.events.order_cancelled import OrderCancelledEvent


@sales.handles(CancelOrderCommand)
async def cancel_order(command: CancelOrderCommand) -> OrderCancelledEvent:
    """Give an order up."""
    return OrderCancelledEvent(order_id=command.order_id, reason=command.reason)
