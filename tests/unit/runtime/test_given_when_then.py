"""given, when, then: what the testing kit says of aggregates and of whole applications."""

import pytest

from microlith import Aggregate, Command, Component, Event, Microlith, Process, decides, evolves, starts
from microlith.testing import given
from tests.unit.runtime.shop import (
    AccountCountRequest,
    AccountCountResponse,
    AccountOpenedEvent,
    FailCommand,
    OpenAccount,
    OpenErrorRaised,
    WelcomeSentEvent,
    make_shop,
)
from tests.unit.runtime.test_aggregates import (
    Account,
    Deposit,
    DepositedEvent,
    Withdraw,
    WithdrawalRefusedEvent,
    WithdrawnEvent,
)

PAST = DepositedEvent(amount=100, balance=100)


def test_an_aggregate_is_checked_without_running_anything():
    given(Account, PAST).when(Withdraw(account_id="a", amount=70)).then(WithdrawnEvent(amount=70))
    given(Account, PAST).when(Withdraw(account_id="a", amount=170)).then(WithdrawalRefusedEvent)
    given(Account).when(Withdraw(account_id="a", amount=0)).then()


def test_a_wrong_expectation_shows_both_sides():
    with pytest.raises(
        AssertionError, match=r"(?s)Expected WithdrawnEvent\(amount=70\).*but got  WithdrawalRefusedEvent"
    ):
        given(Account).when(Withdraw(account_id="a", amount=70)).then(WithdrawnEvent(amount=70))


def test_an_error_of_a_decision_is_what_is_checked():
    with pytest.raises(AssertionError, match="Expected KeyError, but nothing was raised"):
        given(Account).when(Deposit(account_id="a", amount=1)).then_fails(KeyError)


async def test_an_application_is_checked_when_its_cascade_has_ended():
    await (
        given(make_shop())
        .when(OpenAccount(email="a@b.c"))
        .then(AccountOpenedEvent(email="a@b.c"), WelcomeSentEvent(email="a@b.c"))
    )


async def test_the_past_of_an_application_is_known_to_read_models_and_not_reacted_to():
    past = AccountOpenedEvent(email="a@b.c")

    await given(make_shop(), past).when(OpenAccount(email="a@b.c")).then(OpenErrorRaised)


async def test_a_failing_handler_is_what_is_checked():
    await given(make_shop()).when(FailCommand(text="boom")).then_fails(ValueError, match="boom")

    with pytest.raises(AssertionError, match=r"Handler accounts\.fail failed"):
        await given(make_shop()).when(FailCommand(text="boom")).then()


async def test_several_messages_are_sent_one_after_the_other():
    await (
        given(make_shop())
        .when(OpenAccount(email="a@b.c"), OpenAccount(email="a@b.c"))
        .then(AccountOpenedEvent, WelcomeSentEvent, OpenErrorRaised)
    )


async def test_events_may_be_checked_in_any_order():
    expected = WelcomeSentEvent(email="a@b.c"), AccountOpenedEvent

    await given(make_shop()).when(OpenAccount(email="a@b.c")).then(*expected, in_any_order=True)
    with pytest.raises(AssertionError, match="Expected"):
        await given(make_shop()).when(OpenAccount(email="a@b.c")).then(*expected)
    with pytest.raises(AssertionError, match=r"(?s)Expected AccountOpenedEvent.*WelcomeSentEvent"):
        await given(make_shop()).when(OpenAccount(email="a@b.c")).then(AccountOpenedEvent, in_any_order=True)


async def test_the_response_to_a_query_is_what_is_checked():
    past = AccountOpenedEvent(email="a@b.c")

    await given(make_shop(), past).when(AccountCountRequest()).then_answers(AccountCountResponse(count=1))
    with pytest.raises(AssertionError, match="Expected AccountCountResponse"):
        await given(make_shop()).when(AccountCountRequest()).then_answers(AccountCountResponse(count=1))


class Enter(Command):
    """A car wants into a car park."""

    park: str
    car: str


class EnteredEvent(Event):
    """It is in, and says where."""

    park: str
    car: str


class FullEvent(Event):
    """There is no place."""


class CarPark(Aggregate, stream="park-{park}"):
    """One place."""

    taken: bool = False

    @decides
    def enter(self, command: Enter) -> EnteredEvent | FullEvent:
        """Let one in."""
        return FullEvent() if self.taken else EnteredEvent(park=command.park, car=command.car)

    @evolves
    def entered(self, event: EnteredEvent) -> None:
        """Take the place."""
        self.taken = True


class Stay(Process, key="car"):
    """Watches a car."""

    @starts
    def entered(self, event: EnteredEvent) -> None:
        """Begin."""


def car_park() -> Microlith:
    component = Component("parking")
    component.aggregate(CarPark)
    component.process(Stay)
    return Microlith("parking", [component])


def bank() -> Microlith:
    component = Component("bank")
    component.aggregate(Account)
    return Microlith("bank", [component])


async def test_the_past_of_an_application_stands_in_the_stream_that_its_events_name():
    past = EnteredEvent(park="north", car="a")

    await given(car_park(), past).when(Enter(park="north", car="b")).then(FullEvent())
    await given(car_park(), past).when(Enter(park="south", car="b")).then(EnteredEvent(park="south", car="b"))


async def test_a_past_that_names_no_stream_stands_in_that_of_the_command():
    await given(bank(), PAST).when(Withdraw(account_id="a", amount=70)).then(WithdrawnEvent(amount=70))
    with pytest.raises(AssertionError, match=r"stream of Account.*several: account-a, account-b\. Begin with"):
        await given(bank(), PAST).when(Withdraw(account_id="a", amount=1), Withdraw(account_id="b", amount=1)).then()


async def test_the_steps_of_processes_are_not_among_what_followed():
    await given(car_park()).when(Enter(park="north", car="a")).then(EnteredEvent(park="north", car="a"))
