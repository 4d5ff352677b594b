"""An application for simulations that has some of everything, and clients who do what clients do."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from microlith import (
    Aggregate,
    Command,
    CommandBus,
    Component,
    Envelope,
    Event,
    HandlerFailedError,
    Microlith,
    MicrolithError,
    Query,
    ReadModel,
    Response,
    Retry,
    Table,
    View,
    WaitTimeout,
    correlated,
    decides,
    evolves,
)
from microlith.testing.simulation import World

STOCK = 3
ITEMS = ("book", "pen")
TRIES: dict[str, int] = {}
"""How often each payment was tried: the world outside, which no crash takes back."""


class PlaceOrder(Command):
    order: str
    item: str
    fails: int = 0


class ReserveItem(Command):
    order: str
    item: str


class WriteDown(Command):
    order: str


class OrderPlacedEvent(Event):
    order: str
    item: str
    fails: int


class ItemReservedEvent(Event):
    order: str
    item: str


class ItemGoneEvent(Event):
    order: str
    item: str


class OrderPaidEvent(Event):
    order: str


class WrittenDownEvent(Event):
    order: str


class OrdersResponse(Response):
    count: int
    paid: int


class OrdersRequest(Query[OrdersResponse]):
    slow: float = 0.0


class Order(ReadModel, key="order"):
    order: str
    paid: bool = False


class Stock(Aggregate, stream="stock-{item}"):
    left: int = STOCK

    @decides
    def reserve(self, command: ReserveItem) -> ItemReservedEvent | ItemGoneEvent:
        event = ItemReservedEvent if self.left else ItemGoneEvent
        return event(order=command.order, item=command.item)

    @evolves
    def reserved(self, event: ItemReservedEvent) -> None:
        self.left -= 1


class PaymentRefusedError(Exception):
    """What a payment may end with."""


def make_market() -> Microlith:
    """Declare the application."""
    market, stock = Component("market"), Component("stock")
    stock.aggregate(Stock)
    for spec in stock.handlers:
        spec.concurrency = 4  # a life with 64 workers would take longer to begin than to end
    _read(market)

    @market.handles(PlaceOrder)
    async def place(command: PlaceOrder) -> OrderPlacedEvent:
        await asyncio.sleep(random.random() * 0.01)
        return OrderPlacedEvent(order=command.order, item=command.item, fails=command.fails)

    @market.handles(OrderPlacedEvent)
    async def reserve(event: OrderPlacedEvent) -> ReserveItem:
        return ReserveItem(order=event.order, item=event.item)

    @market.handles(OrderPlacedEvent, retry=Retry(3, first=0.01), concurrency=2)
    async def pay(event: OrderPlacedEvent, envelope: Envelope[OrderPlacedEvent]) -> OrderPaidEvent:
        await asyncio.sleep(random.random() * 0.02)
        TRIES[envelope.message_id] = TRIES.get(envelope.message_id, 0) + 1
        if TRIES[envelope.message_id] <= event.fails:
            raise PaymentRefusedError
        return OrderPaidEvent(order=event.order)

    @market.handles(OrderPaidEvent)
    def write(event: OrderPaidEvent, bus: CommandBus) -> None:
        time.sleep(random.random() * 0.005)
        receipt = bus.dispatch(WriteDown(order=event.order))
        if event.order.endswith("7"):
            receipt.result()

    @market.handles(WriteDown, timeout=0.5)
    async def written(command: WriteDown) -> WrittenDownEvent:
        if command.order.endswith("3"):
            await asyncio.sleep(60)  # it is cut off, and ends as a dead letter
        return WrittenDownEvent(order=command.order)

    return Microlith("bazaar", [market, stock], store="memory:")


def _read(market: Component) -> None:
    orders = market.projection("orders", Order)

    @market.handles(OrdersRequest)
    async def count(query: OrdersRequest, view: View[Order]) -> OrdersResponse:
        await asyncio.sleep(query.slow)
        rows = list(await view.all())
        return OrdersResponse(count=len(rows), paid=sum(row.paid for row in rows))

    @orders.on(OrderPlacedEvent)
    def add(event: OrderPlacedEvent, table: Table[Order]) -> None:
        table.put(Order(order=event.order))

    @orders.on(OrderPaidEvent)
    def mark(event: OrderPaidEvent, table: Table[Order]) -> None:
        table.put(Order(order=event.order, paid=True))


async def trade(world: World) -> None:
    """Some clients at once, an operator, and sometimes a stop in the middle of it."""
    TRIES.clear()
    clients = [asyncio.create_task(_client(world, number)) for number in range(4)]
    operator = asyncio.create_task(_operate(world))
    await asyncio.gather(*clients)
    operator.cancel()
    await asyncio.gather(operator, return_exceptions=True)


async def _client(world: World, number: int) -> None:
    chance = world.random
    await asyncio.sleep(chance.random() * 0.05)
    for turn in range(2):
        command = correlated(
            PlaceOrder(order=f"{turn}{number}", item=chance.choice(ITEMS), fails=chance.choice([0, 0, 1, 2, 9]))
        )
        action = chance.choice([_wait, _execute, _ask, _wait_for_all, _give_up, _send])
        try:
            await action(world, command)
        except (WaitTimeout, HandlerFailedError) as error:
            world.note(type(error).__name__)
        except MicrolithError as error:
            if not world.is_to_blame(error):
                raise


async def _send(world: World, command: Envelope[PlaceOrder]) -> None:
    await world.dispatch(command)


async def _wait(world: World, command: Envelope[PlaceOrder]) -> None:
    await world.dispatch(command)
    await asyncio.sleep(world.random.choice([0.0, 0.03, 0.1]))
    timeout = world.random.choice([0.01, 0.05, 5.0])
    found = await world.app.event_bus.wait_for(command.correlation_id, (OrderPaidEvent, ItemGoneEvent), timeout)
    assert found.order == command.message.order


async def _execute(world: World, command: Envelope[PlaceOrder]) -> None:
    until = (ItemReservedEvent, ItemGoneEvent)
    found = await world.retried(lambda: world.app.command_bus.execute(command, until=until))
    assert found.order == command.message.order


async def _ask(world: World, command: Envelope[PlaceOrder]) -> None:
    await world.dispatch(command)
    slow = world.random.choice([0.0, 0.02, 0.1])
    counted = await world.app.query_bus.ask(OrdersRequest(slow=slow), timeout=0.05 + slow)
    assert counted.paid <= counted.count


async def _wait_for_all(world: World, command: Envelope[PlaceOrder]) -> None:
    await world.dispatch(command)
    placed, paid = await world.app.event_bus.wait_all(command.correlation_id, (OrderPlacedEvent, OrderPaidEvent), 1.0)
    assert placed.order == paid.order == command.message.order


async def _give_up(world: World, command: Envelope[PlaceOrder]) -> None:
    await world.dispatch(command)
    waiting = asyncio.create_task(world.app.event_bus.wait_for(command.correlation_id, OrderPaidEvent))
    await asyncio.sleep(world.random.random() * 0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def _operate(world: World) -> None:
    """Try dead letters again or drop them, and now and then stop and start."""
    chance = world.random
    for _ in range(4):
        await asyncio.sleep(0.05)
        try:
            if chance.random() < 0.1:
                await world.restart(finish_queues=chance.random() < 0.5)
            for letter in await world.app.store.dead_letters():
                action: Callable[[int], Awaitable[None]] = chance.choice(
                    [world.app.retry_dead_letter, world.app.drop_dead_letter]
                )
                await action(letter.sequence)
        except MicrolithError as error:
            world.note(f"operator: {type(error).__name__}")


async def books_balance(world: World) -> None:
    """Look at what the application itself promises: no item is sold twice, no order paid twice."""
    log = [event.message for event in await world.app.store.read_all(limit=10_000)]
    for item in ITEMS:
        sold = [one for one in log if isinstance(one, ItemReservedEvent) and one.item == item]
        assert len(sold) <= STOCK, f"{item} was sold {len(sold)} times"
        gone = [one for one in log if isinstance(one, ItemGoneEvent) and one.item == item]
        placed = [one for one in log if isinstance(one, OrderPlacedEvent) and one.item == item]
        assert len(sold) + len(gone) == len(placed), f"{item}: {len(placed)} orders, {len(sold)} + {len(gone)} answers"
        assert not gone or len(sold) == STOCK
    for kind in (OrderPlacedEvent, OrderPaidEvent, WrittenDownEvent):
        orders = [one.order for one in log if isinstance(one, kind)]
        assert len(orders) == len(set(orders)), f"{kind.__name__} twice: {sorted(orders)}"
