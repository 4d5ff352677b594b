"""Books were put aside, or were too few."""

from microlith import Event


class CopiesReservedEvent(Event):
    """Copies are put aside for an order."""

    isbn: str
    order_id: str
    copies: int


class CopiesMissingRaised(Event):
    """There are not enough copies for an order."""

    isbn: str
    order_id: str
    missing: int
