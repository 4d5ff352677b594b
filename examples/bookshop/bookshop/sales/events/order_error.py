"""An order could not be placed, or not be paid."""

from typing import Literal

from microlith import Event


class OrderErrorRaised(Event):
    """An order could not be placed or paid, and why."""

    order_id: str
    errors: list[Literal["unknown_book", "placed_before", "wrong_amount", "not_awaited"]]
