"""Takes the money for an order."""

from bookshop.sales import sales
from bookshop.sales.commands.pay_order import PayOrderCommand
from bookshop.sales.events.order_error import OrderErrorRaised
from bookshop.sales.events.order_paid import OrderPaidEvent
from bookshop.sales.projections.orders import Order
from microlith import View


@sales.handles(PayOrderCommand)
async def pay_order(command: PayOrderCommand, orders: View[Order]) -> OrderPaidEvent | OrderErrorRaised:
    """Take the money, if it is what the order costs."""
    order = await orders.get(command.order_id)
    if order is None or order.total_cents != command.cents:
        return OrderErrorRaised(order_id=command.order_id, errors=["wrong_amount"])
    return OrderPaidEvent(order_id=command.order_id)
