"""Books were put back."""

from microlith import Event


class CopiesReturnedEvent(Event):
    """Copies that were put aside are back on the shelf."""

    isbn: str
    order_id: str
    copies: int
