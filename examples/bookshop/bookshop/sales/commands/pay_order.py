"""Paying an order."""

from microlith import Command


class PayOrderCommand(Command):
    """Note that the money for an order has come."""

    order_id: str
    cents: int
