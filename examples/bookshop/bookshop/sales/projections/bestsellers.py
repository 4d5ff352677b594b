"""What sells best: follows the log at its own pace, so that no order waits for a statistic."""

from bookshop.sales import sales
from bookshop.sales.events.order_placed import OrderPlacedEvent
from microlith import ReadModel, Table


class Bestseller(ReadModel, key="isbn"):
    """How much of one book was ordered."""

    isbn: str
    copies: int = 0
    cents: int = 0


bestsellers = sales.projection("bestsellers", Bestseller, inline=False)


@bestsellers.on(OrderPlacedEvent)
def placed(event: OrderPlacedEvent, table: Table[Bestseller]) -> None:
    """Add an order."""
    row = table.get(event.isbn) or Bestseller(isbn=event.isbn)
    table.put(Bestseller(isbn=event.isbn, copies=row.copies + event.copies, cents=row.cents + event.total_cents))
