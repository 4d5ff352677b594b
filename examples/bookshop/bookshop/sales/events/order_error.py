"""An order could not be placed."""

from typing import Literal

from microlith import Event


class OrderErrorRaised(Event):
    """An order could not be placed, and why."""

    order_id: str
    errors: list[Literal["unknown_book", "wrong_amount"]]
