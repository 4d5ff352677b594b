"""From an order to a parcel: reserve, wait for the money, ship; or give up and put the books back."""

from datetime import timedelta

from bookshop.sales import sales
from bookshop.sales.commands.cancel_order import CancelOrderCommand
from bookshop.sales.commands.ship_order import ShipOrderCommand
from bookshop.sales.events.order_cancelled import OrderCancelledEvent
from bookshop.sales.events.order_paid import OrderPaidEvent
from bookshop.sales.events.order_placed import OrderPlacedEvent
from bookshop.sales.events.order_shipped import OrderShippedEvent
from bookshop.stock.commands.reserve_copies import ReserveCopiesCommand
from bookshop.stock.commands.return_copies import ReturnCopiesCommand
from bookshop.stock.events.copies_reserved import CopiesMissingRaised, CopiesReservedEvent
from microlith import Cancelled, Process, Scheduled, continues, starts

PATIENCE = timedelta(minutes=30)


class Fulfilment(Process, key="order_id"):
    """One order on its way."""

    isbn: str = ""
    copies: int = 0
    reserved: bool = False
    is_paid: bool = False

    @starts
    def placed(self, event: OrderPlacedEvent) -> ReserveCopiesCommand:
        """Have the books put aside."""
        self.isbn, self.copies = event.isbn, event.copies
        return ReserveCopiesCommand(isbn=event.isbn, order_id=event.order_id, copies=event.copies)

    @continues
    def put_aside(self, event: CopiesReservedEvent) -> Scheduled[CancelOrderCommand] | ShipOrderCommand:
        """Wait for the money, but not for ever."""
        self.reserved = True
        if self.is_paid:
            return ShipOrderCommand(order_id=event.order_id)
        give_up = CancelOrderCommand(order_id=event.order_id, reason="not_paid")
        return Scheduled(give_up, after=PATIENCE, name="payment")

    @continues
    def missing(self, event: CopiesMissingRaised) -> CancelOrderCommand:
        """Give up at once: there are not enough books."""
        return CancelOrderCommand(order_id=event.order_id, reason="out_of_stock")

    @continues
    def paid(self, event: OrderPaidEvent) -> list[Cancelled | ShipOrderCommand]:
        """Send the parcel, once there is something to send."""
        self.is_paid = True
        if not self.reserved:
            return []
        return [Cancelled("payment"), ShipOrderCommand(order_id=event.order_id)]

    @continues
    def shipped(self, _event: OrderShippedEvent) -> None:
        """Be done."""
        self.end()

    @continues
    def given_up(self, event: OrderCancelledEvent) -> ReturnCopiesCommand | None:
        """Put the books back, if any were put aside, and be done."""
        self.end()
        if not self.reserved:
            return None
        return ReturnCopiesCommand(isbn=self.isbn, order_id=event.order_id, copies=self.copies)


sales.process(Fulfilment)
