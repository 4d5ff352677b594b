"""An order was shipped."""

from microlith import Event


class OrderShippedEvent(Event):
    """An order is with the carrier."""

    order_id: str
