"""Putting books aside."""

from pydantic import PositiveInt

from microlith import Command


class ReserveCopiesCommand(Command):
    """Put copies aside for an order."""

    isbn: str
    order_id: str
    copies: PositiveInt
