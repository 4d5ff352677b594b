"""Ships an order."""

from bookshop.sales import sales
from bookshop.sales.commands.ship_order import ShipOrderCommand
from bookshop.sales.events.order_shipped import OrderShippedEvent


@sales.handles(ShipOrderCommand)
async def ship_order(command: ShipOrderCommand) -> OrderShippedEvent:
    """Hand an order to the carrier."""
    return OrderShippedEvent(order_id=command.order_id)
