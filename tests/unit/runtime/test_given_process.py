"""The testing kit for processes: it finds what is right, and says what is not."""

import pytest

from microlith import Event, Process, starts
from microlith.testing import given
from tests.unit.runtime.fulfilment import (
    Fulfilment,
    OrderPlacedEvent,
    OrderShippedEvent,
    PaymentTakenEvent,
    ShipOrder,
    TakePayment,
)

PLACED, TAKEN, SHIPPED = (
    OrderPlacedEvent(order_id="7"),
    PaymentTakenEvent(order_id="7", by="cash"),
    OrderShippedEvent(reference="7"),
)


def test_each_step_is_looked_at_by_itself():
    given(Fulfilment).when(PLACED).then(TakePayment(order_id="7")).state(paid_by="", takings=0).goes_on()
    given(Fulfilment, PLACED).when(TAKEN).then(ShipOrder(order_id="7", paid_by="cash")).state(paid_by="cash")
    given(Fulfilment, PLACED, TAKEN).when(TAKEN).then().state(takings=2)
    given(Fulfilment, PLACED, TAKEN).when(SHIPPED).then().ends()


def test_what_is_not_for_the_process_is_ignored():
    given(Fulfilment).when(TAKEN).then_ignored()
    given(Fulfilment, PLACED, TAKEN, SHIPPED).when(TAKEN).then_ignored()
    given(Fulfilment, OrderPlacedEvent(order_id="8")).when(TAKEN).then_ignored()


def test_past_events_of_other_keys_change_nothing():
    other = [OrderPlacedEvent(order_id="8"), PaymentTakenEvent(order_id="8"), OrderShippedEvent(reference="8")]

    given(Fulfilment, PLACED, *other).when(TAKEN).then(ShipOrder).goes_on()


def test_what_differs_is_shown():
    with pytest.raises(AssertionError, match="Expected ShipOrder"):
        given(Fulfilment).when(PLACED).then(ShipOrder)
    with pytest.raises(AssertionError, match=r"(?s)Expected the state .*'card'.*but got .*''"):
        given(Fulfilment).when(PLACED).state(paid_by="card")
    with pytest.raises(AssertionError, match="but it goes on"):
        given(Fulfilment).when(PLACED).ends()
    with pytest.raises(AssertionError, match="but it has ended"):
        given(Fulfilment, PLACED).when(SHIPPED).goes_on()
    with pytest.raises(AssertionError, match="The event was ignored: no process Fulfilment '7' has started"):
        given(Fulfilment).when(TAKEN).then()
    with pytest.raises(AssertionError, match="but it was taken"):
        given(Fulfilment).when(PLACED).then_ignored()


def test_a_method_that_is_overridden_takes_what_it_took():
    class Cautious(Fulfilment, key="order_id"):
        """Ships nothing."""

        def took(self, event: PaymentTakenEvent) -> None:  # type: ignore[override]
            """Only remember."""
            self.paid_by = event.by

    given(Cautious, PLACED).when(TAKEN).then().state(paid_by="cash")


def test_an_event_that_no_method_takes_is_a_mistake_in_the_test():
    class Unmarked(Event):
        """Not taken."""

    with pytest.raises(AssertionError, match="Fulfilment takes no Unmarked"):
        given(Fulfilment, PLACED).when(Unmarked())


def test_an_error_raised_by_a_method_is_found_and_told():
    class Broken(Process):
        """Fails."""

        @starts
        def placed(self, event: OrderPlacedEvent) -> None:
            """Fail."""
            raise ValueError("no goods")

    given(Broken).when(PLACED).then_fails(ValueError, "no goods")
    with pytest.raises(AssertionError, match="The process raised ValueError: no goods"):
        given(Broken).when(PLACED).then()
    with pytest.raises(AssertionError, match="nothing was raised"):
        given(Fulfilment).when(PLACED).then_fails(ValueError)
