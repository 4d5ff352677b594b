"""An order was paid."""

from microlith import Event


class OrderPaidEvent(Event):
    """The money for an order has come."""

    order_id: str
