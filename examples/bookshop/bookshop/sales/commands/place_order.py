"""Placing an order."""

from pydantic import PositiveInt

from microlith import Command


class PlaceOrderCommand(Command):
    """Order copies of one book."""

    order_id: str
    customer: str
    isbn: str
    copies: PositiveInt = 1
