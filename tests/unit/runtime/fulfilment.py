"""A shop for the tests of processes: an order is paid, then shipped; its process keeps them in that order."""

from microlith import Command, Component, Event, Microlith, Process, Retry, continues, starts


class PlaceOrder(Command):
    """Order something."""

    order_id: str


class TakePayment(Command):
    """Take the money for an order."""

    order_id: str


class ShipOrder(Command):
    """Send the goods."""

    order_id: str
    paid_by: str


class OrderPlacedEvent(Event):
    """Somebody ordered."""

    order_id: str


class PaymentTakenEvent(Event):
    """The money is there."""

    order_id: str
    by: str = "card"


class OrderShippedEvent(Event):
    """The goods are on their way; the parcel service knows the order as `reference`."""

    reference: str


class Fulfilment(Process, key="order_id"):
    """From the order to the parcel."""

    paid_by: str = ""
    takings: int = 0

    @starts
    def placed(self, event: OrderPlacedEvent) -> TakePayment:
        """Ask for the money first."""
        return TakePayment(order_id=event.order_id)

    @continues
    def took(self, event: PaymentTakenEvent) -> list[ShipOrder]:
        """Ship what is paid, once."""
        self.takings += 1
        if self.paid_by:
            return []
        self.paid_by = event.by
        return [ShipOrder(order_id=event.order_id, paid_by=event.by)]

    @continues(key="reference")
    def shipped(self, event: OrderShippedEvent) -> None:
        """Nothing is left to do."""
        self.end()


def shop(process: type[Process] = Fulfilment, retry: Retry | None = None) -> Component:
    """Declare the component anew, with handlers that do at once what they are asked for."""
    component = Component("shop")
    component.process(process, retry=retry)

    @component.handles(PlaceOrder)
    async def place(command: PlaceOrder) -> OrderPlacedEvent:
        return OrderPlacedEvent(order_id=command.order_id)

    @component.handles(TakePayment)
    async def take_payment(command: TakePayment) -> PaymentTakenEvent:
        return PaymentTakenEvent(order_id=command.order_id)

    @component.handles(ShipOrder)
    async def ship(command: ShipOrder) -> OrderShippedEvent:
        return OrderShippedEvent(reference=command.order_id)

    return component


def application(store: str = "memory:", process: type[Process] = Fulfilment, retry: Retry | None = None) -> Microlith:
    """Declare the application anew."""
    return Microlith("shop", [shop(process, retry)], store=store)
