"""The shelf of one book: two orders never get the same copy."""

from bookshop.stock import stock
from bookshop.stock.commands.deliver_copies import DeliverCopiesCommand
from bookshop.stock.commands.reserve_copies import ReserveCopiesCommand
from bookshop.stock.commands.return_copies import ReturnCopiesCommand
from bookshop.stock.events.copies_delivered import CopiesDeliveredEvent
from bookshop.stock.events.copies_reserved import CopiesMissingRaised, CopiesReservedEvent
from bookshop.stock.events.copies_returned import CopiesReturnedEvent
from microlith import Aggregate, decides, evolves


class Shelf(Aggregate, stream="shelf-{isbn}", snapshot_every=50):
    """How many copies are free."""

    free: int = 0

    @decides
    def deliver(self, command: DeliverCopiesCommand) -> CopiesDeliveredEvent:
        """Take what comes."""
        return CopiesDeliveredEvent(isbn=command.isbn, copies=command.copies)

    @decides
    def reserve(self, command: ReserveCopiesCommand) -> CopiesReservedEvent | CopiesMissingRaised:
        """Put copies aside if there are enough."""
        missing = command.copies - self.free
        if missing > 0:
            return CopiesMissingRaised(isbn=command.isbn, order_id=command.order_id, missing=missing)
        return CopiesReservedEvent(isbn=command.isbn, order_id=command.order_id, copies=command.copies)

    @decides
    def put_back(self, command: ReturnCopiesCommand) -> CopiesReturnedEvent:
        """Put copies back."""
        return CopiesReturnedEvent(isbn=command.isbn, order_id=command.order_id, copies=command.copies)

    @evolves
    def more(self, event: CopiesDeliveredEvent | CopiesReturnedEvent) -> None:
        """Count what came."""
        self.free += event.copies

    @evolves
    def fewer(self, event: CopiesReservedEvent) -> None:
        """Count what is put aside."""
        self.free -= event.copies


stock.aggregate(Shelf)
