"""Shipping an order."""

from microlith import Command


class ShipOrderCommand(Command):
    """Hand an order to the carrier."""

    order_id: str
