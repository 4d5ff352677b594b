"""Delivering books."""

from pydantic import PositiveInt

from microlith import Command


class DeliverCopiesCommand(Command):
    """Put new copies on the shelf."""

    isbn: str
    copies: PositiveInt
