"""Takes an order."""

from bookshop.sales import sales
from bookshop.sales.commands.place_order import PlaceOrderCommand
from bookshop.sales.events.order_error import OrderErrorRaised
from bookshop.sales.events.order_placed import OrderPlacedEvent
from bookshop.sales.prices import PriceList


@sales.handles(PlaceOrderCommand)
async def place_order(command: PlaceOrderCommand, prices: PriceList) -> OrderPlacedEvent | OrderErrorRaised:
    """Take an order at today's price."""
    price = prices.price_of(command.isbn)
    if price is None:
        return OrderErrorRaised(order_id=command.order_id, errors=["unknown_book"])
    return OrderPlacedEvent(
        order_id=command.order_id,
        customer=command.customer,
        isbn=command.isbn,
        copies=command.copies,
        total_cents=price * command.copies,
    )
