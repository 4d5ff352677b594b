"""One order: whether the money or the end of patience came first is decided here, and only once."""

from typing import Literal

from bookshop.sales import sales
from bookshop.sales.commands.cancel_order import CancelOrderCommand
from bookshop.sales.commands.pay_order import PayOrderCommand
from bookshop.sales.commands.place_order import PlaceOrderCommand
from bookshop.sales.commands.ship_order import ShipOrderCommand
from bookshop.sales.events.order_cancelled import OrderCancelledEvent
from bookshop.sales.events.order_error import OrderErrorRaised
from bookshop.sales.events.order_paid import OrderPaidEvent
from bookshop.sales.events.order_placed import OrderPlacedEvent
from bookshop.sales.events.order_shipped import OrderShippedEvent
from bookshop.sales.prices import price_of
from microlith import Aggregate, decides, evolves


class Purchase(Aggregate, stream="order-{order_id}"):
    """How an order stands."""

    status: Literal["none", "placed", "paid", "over"] = "none"
    total_cents: int = 0

    @decides
    def place(self, command: PlaceOrderCommand) -> OrderPlacedEvent | OrderErrorRaised:
        """Take an order at today's price."""
        price = price_of(command.isbn)
        if self.status != "none":
            return OrderErrorRaised(order_id=command.order_id, errors=["placed_before"])
        if price is None:
            return OrderErrorRaised(order_id=command.order_id, errors=["unknown_book"])
        return OrderPlacedEvent(**command.model_dump(), total_cents=price * command.copies)

    @decides
    def pay(self, command: PayOrderCommand) -> OrderPaidEvent | OrderErrorRaised:
        """Take the money, if it is awaited, and what the order costs."""
        if self.status != "placed":
            return OrderErrorRaised(order_id=command.order_id, errors=["not_awaited"])
        if command.cents != self.total_cents:
            return OrderErrorRaised(order_id=command.order_id, errors=["wrong_amount"])
        return OrderPaidEvent(order_id=command.order_id)

    @decides
    def ship(self, command: ShipOrderCommand) -> OrderShippedEvent | None:
        """Hand an order to the carrier."""
        return OrderShippedEvent(order_id=command.order_id) if self.status == "paid" else None

    @decides
    def give_up(self, command: CancelOrderCommand) -> OrderCancelledEvent | None:
        """Give an order up, unless it is over, or the money came while the deadline was on its way."""
        in_time = self.status == "paid" and command.reason == "not_paid"
        if in_time or self.status in ("none", "over"):
            return None
        return OrderCancelledEvent(order_id=command.order_id, reason=command.reason)

    @evolves
    def placed(self, event: OrderPlacedEvent) -> None:
        """Note what it costs."""
        self.status, self.total_cents = "placed", event.total_cents

    @evolves
    def paid(self, _event: OrderPaidEvent) -> None:
        """Note that the money is there."""
        self.status = "paid"

    @evolves
    def over(self, _event: OrderShippedEvent | OrderCancelledEvent) -> None:
        """Note that nothing comes any more."""
        self.status = "over"


sales.aggregate(Purchase)
