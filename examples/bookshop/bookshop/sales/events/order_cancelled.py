"""An order was given up."""

from bookshop.sales.commands.cancel_order import Reason
from microlith import Event


class OrderCancelledEvent(Event):
    """An order was given up, and why."""

    order_id: str
    reason: Reason
