"""Authorisation: who may send what; a refusal is an error of its own, and nothing is recorded."""

import asyncio

import pytest

from microlith import (
    Command,
    Component,
    Envelope,
    Event,
    HandlerFailedError,
    Microlith,
    Query,
    Response,
    WiringError,
    correlated,
)
from microlith.middlewares import Authorisation, NotAllowedError, acting_as, current_principal


class Pay(Command):
    amount: int


class Ship(Command):
    pass


class Paid(Event):
    by: str | None


class Shipped(Event):
    by: str | None


class BalanceResponse(Response):
    amount: int


class BalanceRequest(Query[BalanceResponse]):
    pass


def make_bank(allowed, asked=None, middleware=None):
    bank = Component("bank")

    @bank.handles(Pay)
    async def pay(command: Pay):
        return [Paid(by=current_principal()), Ship()]

    @bank.handles(Ship)
    def ship(command: Ship) -> Shipped:
        return Shipped(by=current_principal())

    @bank.handles(BalanceRequest)
    async def balance(query: BalanceRequest) -> BalanceResponse:
        return BalanceResponse(amount=1)

    def noted(envelope, principal):
        if asked is not None:
            asked.append((type(envelope.message).__name__, principal))
        return allowed(envelope, principal)

    return Microlith("bank", [bank], store="memory:", middleware=middleware or [Authorisation(noted)])


async def test_the_principal_travels_with_everything_a_message_causes():
    asked = []
    async with make_bank(lambda envelope, principal: principal == "ann", asked) as app:
        with acting_as("ann"):
            receipt = app.command_bus.dispatch(Pay(amount=1))
        shipped = await app.event_bus.wait_for(receipt.correlation_id, Shipped)
        events = await app.store.read_correlation(receipt.correlation_id)

    assert asked == [("Pay", "ann"), ("Ship", "ann")], "events of handlers have happened: nobody is asked"
    assert shipped.by == "ann"
    assert [event.headers for event in events] == [{"principal": "ann"}] * 2


async def test_a_header_says_who_sends_where_no_block_does():
    async with make_bank(lambda envelope, principal: principal == "bob") as app:
        sent = correlated(Pay(amount=1), headers={"principal": "bob", "tenant": "north"})

        app.command_bus.dispatch(sent)

        assert (await app.event_bus.wait_for(sent.correlation_id, Paid)).by == "bob"


async def test_the_block_counts_more_than_a_header_that_a_client_may_have_sent():
    async with make_bank(lambda envelope, principal: principal == "root") as app:
        with acting_as("bob"), pytest.raises(NotAllowedError, match="'bob' may not send Pay"):
            app.command_bus.dispatch(correlated(Pay(amount=1), headers={"principal": "root"}))


@pytest.mark.parametrize("verdict", [False, None, "no", 1])
async def test_only_true_is_a_yes_and_nothing_of_what_is_refused_is_recorded(verdict):
    async with make_bank(lambda envelope, principal: verdict) as app:
        with pytest.raises(NotAllowedError, match="Nobody in particular may not send Pay"):
            app.command_bus.dispatch(Pay(amount=1))
        with pytest.raises(NotAllowedError):
            await app.query_bus.ask(BalanceRequest())
        with pytest.raises(NotAllowedError):
            app.event_bus.dispatch(Paid(by="me"))

        assert await app.store.pending_commands() == []
        assert await app.store.head() == -1


async def test_what_the_function_raises_refuses_too():
    def broken(envelope, principal):
        raise LookupError("no such account")

    async with make_bank(broken) as app:
        with pytest.raises(LookupError, match="no such account"):
            app.command_bus.dispatch(Pay(amount=1))

        assert await app.store.pending_commands() == []


async def test_a_handler_that_sends_what_its_principal_may_not_send_fails_whole():
    async with make_bank(lambda envelope, principal: not isinstance(envelope.message, Ship)) as app:
        with (
            acting_as("ann"),
            pytest.raises(HandlerFailedError, match="NotAllowedError: 'ann' may not send Ship") as at,
        ):
            await app.command_bus.execute(Pay(amount=1), until=Shipped)

        assert isinstance(at.value.__cause__, NotAllowedError)
        assert await app.store.head() == -1, "the event it returned beside the command is not recorded either"


async def test_a_block_around_the_start_makes_nobody_of_the_handlers():
    asked = []
    with acting_as("operator"):
        app = make_bank(lambda envelope, principal: True, asked)
        await app.start()
    try:
        shipped = await app.command_bus.execute(Pay(amount=1), until=Shipped)
    finally:
        await app.stop()

    assert asked == [("Pay", None), ("Ship", None)]
    assert shipped.by is None


async def test_a_handler_may_act_as_somebody_for_one_message():
    asked = []
    bank = Component("bank")

    @bank.handles(Pay)
    async def pay(command: Pay, app: Microlith) -> Paid:
        with acting_as("system"):
            app.command_bus.dispatch(Ship())
        return Paid(by=current_principal())

    @bank.handles(Ship)
    async def ship(command: Ship) -> Shipped:
        return Shipped(by=current_principal())

    def allowed(envelope: Envelope, principal: str | None) -> bool:
        asked.append((type(envelope.message).__name__, principal))
        return True

    async with Microlith("bank", [bank], store="memory:", middleware=[Authorisation(allowed)]) as app:
        with acting_as("ann"):
            receipt = app.command_bus.dispatch(Pay(amount=1))
        paid, shipped = await app.event_bus.wait_all(receipt.correlation_id, (Paid, Shipped))

    assert asked == [("Pay", "ann"), ("Ship", "system")]
    assert (paid.by, shipped.by) == ("ann", "system")


async def test_blocks_of_tasks_at_the_same_time_do_not_mix():
    async with make_bank(lambda envelope, principal: True) as app:

        async def pay(name):
            with acting_as(name):
                await asyncio.sleep(0)
                return (await app.command_bus.execute(Pay(amount=1), until=Shipped)).by

        names = [f"user-{number}" for number in range(50)]
        assert await asyncio.gather(*map(pay, names)) == names


async def test_an_async_function_is_refused_since_its_coroutine_would_count_as_a_yes():
    async def allowed(envelope, principal):
        return False

    with pytest.raises(WiringError, match="not an `async def`"):
        Authorisation(allowed)  # type: ignore[arg-type]  # what the checker says, too


def test_outside_of_everything_nobody_acts():
    assert current_principal() is None
