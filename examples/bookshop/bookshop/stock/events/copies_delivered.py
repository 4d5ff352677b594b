"""Books came."""

from microlith import Event


class CopiesDeliveredEvent(Event):
    """New copies are on the shelf."""

    isbn: str
    copies: int
