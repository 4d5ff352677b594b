"""Giving an order up."""

from typing import Literal

from microlith import Command

Reason = Literal["not_paid", "out_of_stock"]


class CancelOrderCommand(Command):
    """Give an order up."""

    order_id: str
    reason: Reason
