"""given, when, then: what the testing kit says of aggregates and of whole applications."""

import pytest

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
