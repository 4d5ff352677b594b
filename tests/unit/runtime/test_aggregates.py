"""Aggregates: decisions on the newest state, one command of a stream at a time, no lost update."""

import asyncio

import pytest
from pydantic import BaseModel

from microlith import (
    Aggregate,
    Command,
    Component,
    Decider,
    Event,
    HandlerFailedError,
    Microlith,
    correlated,
    decides,
    evolves,
)
from microlith.aggregates import AggregateError
from microlith.errors import PositionConflictError
from microlith.event_store.protocol import Unit
from tests.eventually import eventually


class Deposit(Command):
    """Put money in."""

    account_id: str
    amount: int


class Withdraw(Command):
    """Take money out."""

    account_id: str
    amount: int


class DepositedEvent(Event):
    """Money was put in; the balance afterwards tells whether an update was lost."""

    amount: int
    balance: int


class WithdrawnEvent(Event):
    """Money was taken out."""

    amount: int


class WithdrawalRefusedEvent(Event):
    """There was not enough."""

    amount: int
    balance: int


class Account(Aggregate, stream="account-{account_id}"):
    """An account that cannot be overdrawn."""

    balance: int = 0

    @decides
    def deposit(self, command: Deposit) -> DepositedEvent:
        """Anybody may put money in."""
        return DepositedEvent(amount=command.amount, balance=self.balance + command.amount)

    @decides
    def withdraw(self, command: Withdraw) -> WithdrawnEvent | WithdrawalRefusedEvent | None:
        """Nobody may take out what is not there."""
        if command.amount == 0:
            return None
        if command.amount > self.balance:
            return WithdrawalRefusedEvent(amount=command.amount, balance=self.balance)
        return WithdrawnEvent(amount=command.amount)

    @evolves
    def deposited(self, event: DepositedEvent) -> None:
        """Count it in."""
        self.balance += event.amount

    @evolves
    def withdrawn(self, event: WithdrawnEvent) -> None:
        """Count it out."""
        self.balance -= event.amount


def bank(store: str = "memory:") -> Microlith:
    """Declare the application anew."""
    component = Component("bank")
    component.aggregate(Account)
    return Microlith("bank", [component], store=store)


OUTCOMES = (WithdrawnEvent, WithdrawalRefusedEvent)


@pytest.fixture(params=["memory:", "sqlite:{}/events.db"])
def store(request, tmp_path) -> object:
    """Name a store: in memory, and in a file."""
    return request.param.format(tmp_path)


async def test_a_command_is_decided_on_the_newest_state(store):
    async with bank(store) as app:
        await app.command_bus.execute(Deposit(account_id="a", amount=100), until=DepositedEvent)
        first = await app.command_bus.execute(Withdraw(account_id="a", amount=70), until=OUTCOMES)
        second = await app.command_bus.execute(Withdraw(account_id="a", amount=70), until=OUTCOMES)
        other = await app.command_bus.execute(Withdraw(account_id="b", amount=70), until=OUTCOMES)

    assert first == WithdrawnEvent(amount=70)
    assert second == WithdrawalRefusedEvent(amount=70, balance=30)
    assert other == WithdrawalRefusedEvent(amount=70, balance=0)


async def test_the_events_of_an_aggregate_are_its_stream(store):
    async with bank(store) as app:
        for _ in range(3):
            await app.command_bus.execute(Deposit(account_id="a", amount=1), until=DepositedEvent)
        await app.command_bus.execute(Deposit(account_id="b", amount=1), until=DepositedEvent)

        events = await app.store.read("account-a")

    assert [(event.stream_position, event.message.model_dump()["balance"]) for event in events] == [
        (0, 1),
        (1, 2),
        (2, 3),
    ]


async def test_two_hundred_commands_at_once_on_four_streams_lose_no_update(store):
    async with bank(store) as app:
        commands = [correlated(Deposit(account_id=str(n % 4), amount=1)) for n in range(200)]
        waits = [app.event_bus.wait_for(c.correlation_id, DepositedEvent, timeout=30) for c in commands]
        for command in commands:
            app.command_bus.dispatch(command)

        await asyncio.gather(*waits)

        for stream in range(4):
            balances = [event.message.model_dump()["balance"] for event in await app.store.read(f"account-{stream}")]
            assert balances == list(range(1, 51))


async def test_nothing_is_kept_of_streams_that_nobody_works_on():
    component = Component("bank")
    decider = component.aggregate(Account)
    async with Microlith("bank", [component], store="memory:") as app:
        for number in range(50):
            await app.command_bus.execute(Deposit(account_id=str(number), amount=1), until=DepositedEvent)

    assert len(decider.locks) == 0


async def test_a_decision_of_nothing_settles_the_command(store):
    async with bank(store) as app:
        await app.command_bus.dispatch(Withdraw(account_id="a", amount=0))
        lanes = list(app.delivery.routes.lanes()) if app.delivery else []
        await eventually(lambda: not any(lane.queue or lane.busy for lane in lanes))
        await app.store.flush()

        assert await app.store.pending_commands() == []
        assert await app.store.head() == -1


class Intruder:
    """Appends to the stream in the middle of a decision, a given number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.decisions = 0


def contested(intruder: Intruder) -> Microlith:
    """Declare a decider whose stream changes between its reading and its commit."""

    class State(BaseModel):
        balance: int = 0

    def decide(state: State, command: Deposit) -> DepositedEvent:
        intruder.decisions += 1
        if intruder.times:
            intruder.times -= 1
            event = correlated(DepositedEvent(amount=1, balance=0))
            app.store.complete(Unit([event], stream="account-a"), lambda committed, error: None)
        return DepositedEvent(amount=command.amount, balance=state.balance + command.amount)

    def evolve(state: State, event: DepositedEvent) -> State:
        return State(balance=state.balance + event.amount)

    component = Component("bank")
    component.decider(
        Decider(
            "Account",
            "account-{account_id}",
            initial=State,
            decide=decide,
            evolve=evolve,
            commands={Deposit: [DepositedEvent]},
            events=[DepositedEvent],
        )
    )
    app = Microlith("bank", [component], store="memory:")
    return app


async def test_a_lost_race_is_decided_anew_on_the_new_state():
    intruder = Intruder(times=3)
    async with contested(intruder) as app:
        event = await app.command_bus.execute(Deposit(account_id="a", amount=10), until=DepositedEvent)

    assert event.balance == 13
    assert intruder.decisions == 4


async def test_a_race_that_is_lost_again_and_again_is_a_conflict_naming_both_positions():
    intruder = Intruder(times=4)
    async with contested(intruder) as app:
        with pytest.raises(HandlerFailedError) as caught:
            await app.command_bus.execute(Deposit(account_id="a", amount=10), until=DepositedEvent)

    conflict = caught.value.__cause__
    assert isinstance(conflict, PositionConflictError)
    assert (conflict.expected_position, conflict.actual_position) == (2, 3)


def test_handlers_of_an_aggregate_are_named_after_it_and_say_what_they_return():
    catalog = bank().catalog()

    withdraw = next(handler for handler in catalog["handlers"] if handler["message"] == "Withdraw")
    assert withdraw["name"] == "bank.Account.Withdraw"
    assert withdraw["emits"] == ["WithdrawnEvent", "WithdrawalRefusedEvent"]


def test_an_aggregate_that_cannot_work_is_refused_where_it_is_declared():
    class NoStream(Aggregate):
        @decides
        def deposit(self, command: Deposit) -> DepositedEvent:
            """Do nothing useful."""
            return DepositedEvent(amount=1, balance=1)

    class WrongField(NoStream, stream="account-{number}"):
        pass

    class NoDefault(NoStream, stream="account-{account_id}"):
        balance: int

    class Idle(Aggregate, stream="account-{account_id}"):
        pass

    class Asking(Aggregate, stream="account-{account_id}"):
        @decides  # type: ignore[arg-type, unused-ignore]
        def asks(self, command: Deposit, clock: object) -> DepositedEvent:
            """Ask for more than the command."""
            return DepositedEvent(amount=1, balance=1)

    for aggregate, problem in (
        (NoStream, "names no field"),
        (WrongField, "Deposit has no field 'number'"),
        (NoDefault, "balance has no default"),
        (Idle, "decides nothing"),
        (Asking, r"Asking.asks asks for 'clock' too, and nobody gives it that"),
    ):
        with pytest.raises(AggregateError, match=problem):
            Component("bank").aggregate(aggregate)


def test_handlers_of_an_aggregate_stand_where_their_methods_do():
    bank = Component("bank")

    class Small(Aggregate, stream="account-{account_id}"):
        @decides
        def deposit(self, command: Deposit) -> DepositedEvent:
            """Take it."""
            return DepositedEvent(amount=1, balance=1)

    bank.aggregate(Small)
    (handler,) = bank.handlers

    assert (handler.file, handler.line) == (__file__, Small.deposit.__code__.co_firstlineno)
