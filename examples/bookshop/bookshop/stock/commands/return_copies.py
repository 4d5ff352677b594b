"""Putting books back."""

from pydantic import PositiveInt

from microlith import Command


class ReturnCopiesCommand(Command):
    """Put copies back that were put aside for an order."""

    isbn: str
    order_id: str
    copies: PositiveInt
