"""Orders: paid in time, not paid, or too many books."""

from datetime import timedelta

import pytest
from bookshop.app import app
from bookshop.sales.commands.cancel_order import CancelOrderCommand
from bookshop.sales.commands.pay_order import PayOrderCommand
from bookshop.sales.commands.place_order import PlaceOrderCommand
from bookshop.sales.commands.ship_order import ShipOrderCommand
from bookshop.sales.events.order_cancelled import OrderCancelledEvent
from bookshop.sales.events.order_error import OrderErrorRaised
from bookshop.sales.events.order_paid import OrderPaidEvent
from bookshop.sales.events.order_placed import OrderPlacedEvent
from bookshop.sales.events.order_shipped import OrderShippedEvent
from bookshop.sales.processes.fulfilment import PATIENCE, Fulfilment
from bookshop.sales.projections.bestsellers import bestsellers
from bookshop.sales.queries.bestsellers import BestsellersRequest, Sold
from bookshop.sales.queries.order import OrderRequest
from bookshop.stock.aggregates.shelf import Shelf
from bookshop.stock.commands.deliver_copies import DeliverCopiesCommand
from bookshop.stock.commands.reserve_copies import ReserveCopiesCommand
from bookshop.stock.commands.return_copies import ReturnCopiesCommand
from bookshop.stock.events.copies_delivered import CopiesDeliveredEvent
from bookshop.stock.events.copies_reserved import CopiesMissingRaised, CopiesReservedEvent
from bookshop.stock.events.copies_returned import CopiesReturnedEvent

from microlith import Cancelled, Microlith, Scheduled
from microlith.testing import given

ISBN = "978-0321125217"
PLACE = PlaceOrderCommand(order_id="1", customer="ada", isbn=ISBN, copies=2)
PLACED = OrderPlacedEvent(order_id="1", customer="ada", isbn=ISBN, copies=2, total_cents=10998)
RESERVED = CopiesReservedEvent(isbn=ISBN, order_id="1", copies=2)


@pytest.fixture
async def shop(in_memory, virtual_clock):
    """Give the running shop with three copies on the shelf, and its clock."""
    async with in_memory(app, clock=virtual_clock) as running:
        await running.command_bus.execute(DeliverCopiesCommand(isbn=ISBN, copies=3), until=CopiesDeliveredEvent)
        yield running, virtual_clock


async def status(running: Microlith, order_id: str = "1") -> str | None:
    return (await running.query_bus.ask(OrderRequest(order_id=order_id))).status


async def test_an_order_that_is_paid_in_time_is_shipped_and_never_given_up(shop):
    running, clock = shop
    await running.command_bus.execute(PLACE, until=CopiesReservedEvent)
    await clock.advance(PATIENCE - timedelta(seconds=1))

    await running.command_bus.execute(PayOrderCommand(order_id="1", cents=10998), until=OrderPaidEvent)
    await clock.advance(PATIENCE * 2)

    assert await status(running) == "shipped"


async def test_an_order_that_is_not_paid_is_given_up_and_its_books_can_be_had_again(shop):
    running, clock = shop
    await running.command_bus.execute(PLACE, until=CopiesReservedEvent)
    again = PLACE.model_copy(update={"order_id": "2"})
    await running.command_bus.execute(again, until=OrderCancelledEvent)

    await clock.advance(PATIENCE)

    assert [await status(running, order) for order in ("1", "2")] == ["cancelled", "cancelled"]
    await running.command_bus.execute(PLACE.model_copy(update={"order_id": "3"}), until=CopiesReservedEvent)


async def test_the_wrong_sum_is_refused(shop):
    running, _ = shop
    await running.command_bus.execute(PLACE, until=CopiesReservedEvent)

    refused = await running.command_bus.execute(PayOrderCommand(order_id="1", cents=1), until=OrderErrorRaised)

    assert refused.errors == ["wrong_amount"]


async def test_money_that_comes_as_patience_ends_means_a_parcel_or_an_end_and_never_both(shop):
    running, _ = shop
    await running.command_bus.execute(PLACE, until=CopiesReservedEvent)
    pay, give_up = PayOrderCommand(order_id="1", cents=10998), CancelOrderCommand(order_id="1", reason="not_paid")

    running.command_bus.dispatch(pay)
    running.command_bus.dispatch(give_up)
    await running.idle()
    running.command_bus.dispatch(PLACE.model_copy(update={"order_id": "2", "copies": 1}))
    await running.idle()
    running.command_bus.dispatch(give_up.model_copy(update={"order_id": "2"}))
    running.command_bus.dispatch(pay.model_copy(update={"order_id": "2", "cents": 5499}))
    await running.idle()

    ends = await running.store.read_all(types=["OrderShippedEvent", "OrderCancelledEvent"])
    assert [(event.message.order_id, event.type) for event in ends] == [
        ("1", "OrderShippedEvent"),
        ("2", "OrderCancelledEvent"),
    ]


async def test_an_order_is_placed_once_and_its_money_taken_once(shop):
    running, _ = shop
    await running.command_bus.execute(PLACE, until=CopiesReservedEvent)

    again = await running.command_bus.execute(PLACE, until=OrderErrorRaised)
    pay = PayOrderCommand(order_id="1", cents=10998)
    await running.command_bus.execute(pay, until=OrderShippedEvent)
    twice = await running.command_bus.execute(pay, until=OrderErrorRaised)

    assert (again.errors, twice.errors) == (["placed_before"], ["not_awaited"])


async def test_bestsellers_show_an_order_as_soon_as_they_are_asked_to_have_caught_up(shop):
    running, _ = shop

    await running.command_bus.execute(PLACE, until=OrderPlacedEvent, caught_up=[bestsellers])

    answer = await running.query_bus.ask(BestsellersRequest())
    assert answer.books == [Sold(isbn=ISBN, copies=2, cents=10998)]


async def test_a_shelf_of_many_events_has_a_snapshot(shop):
    running, clock = shop
    for _ in range(60):
        await running.command_bus.execute(DeliverCopiesCommand(isbn=ISBN, copies=1), until=CopiesDeliveredEvent)
    await clock.advance(0)

    snapshot = await running.store.snapshot(f"shelf-{ISBN}", "Shelf")

    assert snapshot is not None
    assert snapshot.position >= 49


def test_a_shelf_never_promises_a_copy_twice():
    past = CopiesDeliveredEvent(isbn=ISBN, copies=3), RESERVED

    given(Shelf, *past).when(ReserveCopiesCommand(isbn=ISBN, order_id="2", copies=2)).then(
        CopiesMissingRaised(isbn=ISBN, order_id="2", missing=1)
    )
    given(Shelf, *past, CopiesReturnedEvent(isbn=ISBN, order_id="1", copies=2)).when(
        ReserveCopiesCommand(isbn=ISBN, order_id="2", copies=2)
    ).then(CopiesReservedEvent)


def test_fulfilment_step_by_step():
    give_up = CancelOrderCommand(order_id="1", reason="not_paid")

    given(Fulfilment).when(PLACED).then(ReserveCopiesCommand(isbn=ISBN, order_id="1", copies=2))
    given(Fulfilment, PLACED).when(RESERVED).then(Scheduled(give_up, after=PATIENCE, name="payment"))
    given(Fulfilment, PLACED, RESERVED).when(OrderPaidEvent(order_id="1")).then(
        Cancelled("payment"), ShipOrderCommand(order_id="1")
    )
    given(Fulfilment, PLACED).when(OrderPaidEvent(order_id="1")).then()
    given(Fulfilment, PLACED, OrderPaidEvent(order_id="1")).when(RESERVED).then(ShipOrderCommand(order_id="1"))
    given(Fulfilment, PLACED, RESERVED).when(OrderCancelledEvent(order_id="1", reason="not_paid")).then(
        ReturnCopiesCommand(isbn=ISBN, order_id="1", copies=2)
    ).ends()
    given(Fulfilment, PLACED, RESERVED).when(OrderShippedEvent(order_id="1")).then().ends()


async def test_an_order_of_the_first_version_is_still_read():
    old = b'{"order_id":"1","customer":"ada","isbn":"978-0321125217","copies":2,"total":109.98}'

    assert app.types.decode("sales", "OrderPlacedEvent", 1, old) == PLACED
