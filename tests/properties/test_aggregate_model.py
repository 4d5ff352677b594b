"""Aggregates, as a class and as two functions, against a simple model: whatever is sent, alone or many at once."""

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from microlith import Aggregate, Command, Component, Decider, Event, Microlith, Streams, decides, evolves
from microlith.aggregates import decider_of
from tests.properties.examples import TIMEOUT, Loop, share

pytestmark = pytest.mark.timeout(TIMEOUT)

ACCOUNTS = st.sampled_from(["a", "b", "c"])
AMOUNT = st.integers(0, 5)


class Deposit(Command):
    account: str
    amount: int


class Withdraw(Command):
    account: str
    amount: int


class Close(Command):
    account: str


class Deposited(Event):
    amount: int


class Withdrawn(Event):
    amount: int


class FeeTaken(Event):
    amount: int


class Refused(Event):
    reason: str


class Closed(Event):
    pass


class Account(Aggregate, stream="account-{account}"):
    balance: int = 0
    closed: bool = False

    @decides
    def deposit(self, command: Deposit) -> Deposited | Refused | None:
        return decided(self.balance, self.closed, command)[0] if decided(self.balance, self.closed, command) else None

    @decides
    def withdraw(self, command: Withdraw) -> list[Withdrawn | FeeTaken | Refused]:
        return decided(self.balance, self.closed, command)

    @decides
    def close(self, command: Close) -> Closed | Refused:
        result: Closed | Refused = decided(self.balance, self.closed, command)[0]
        return result

    @evolves
    def money(self, event: Deposited | Withdrawn | FeeTaken) -> None:
        self.balance += event.amount if isinstance(event, Deposited) else -event.amount

    @evolves
    def end(self, event: Closed) -> None:
        self.closed = True


def decided(balance: int, closed: bool, command: Any) -> list[Any]:
    """Decide: nothing for an amount of 0, two events for a withdrawal with a fee."""
    if closed:
        return [Refused(reason="closed")]
    if isinstance(command, Close):
        return [Refused(reason="not empty")] if balance else [Closed()]
    if command.amount == 0:
        return []
    if isinstance(command, Deposit):
        return [Deposited(amount=command.amount)]
    if command.amount + 1 > balance:
        return [Refused(reason="not enough")]
    return [Withdrawn(amount=command.amount), FeeTaken(amount=1)]


def evolved(state: tuple[int, bool], event: Any) -> tuple[int, bool]:
    """Fold one event."""
    balance, closed = state
    if isinstance(event, Deposited):
        return balance + event.amount, closed
    if isinstance(event, Withdrawn | FeeTaken):
        return balance - event.amount, closed
    return balance, closed or isinstance(event, Closed)


def functional() -> Decider[tuple[int, bool]]:
    """Declare the same as two functions."""
    return Decider(
        "Account",
        "account-{account}",
        initial=lambda: (0, False),
        decide=lambda state, command: decided(*state, command),
        evolve=evolved,
        commands={Deposit: [Deposited], Withdraw: [Withdrawn, FeeTaken], Close: [Closed]},
        events=[Deposited, Withdrawn, FeeTaken, Refused, Closed],
    )


class AggregateMachine(RuleBasedStateMachine):
    """Sends commands to an application, and to a model that decides them one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.model: dict[str, list[Any]] = {"a": [], "b": [], "c": []}
        self.app = Microlith("bank", [self.declared()], store="memory:")
        self.loop.run(self.app.start())

    def declared(self) -> Component:
        """Declare the bank with the class."""
        bank = Component("bank")
        bank.aggregate(Account)
        self.decider: Decider[Any] = decider_of(Account)
        return bank

    def teardown(self) -> None:
        try:
            self.loop.run(self._compare())
        finally:
            self.loop.run(self.app.stop())
            self.loop.close()

    @rule(account=ACCOUNTS, amount=AMOUNT)
    def deposit(self, account: str, amount: int) -> None:
        self._send(Deposit(account=account, amount=amount))

    @rule(account=ACCOUNTS, amount=AMOUNT)
    def withdraw(self, account: str, amount: int) -> None:
        self._send(Withdraw(account=account, amount=amount))

    @rule(account=ACCOUNTS)
    def close(self, account: str) -> None:
        self._send(Close(account=account))

    @rule(sent=st.lists(st.tuples(ACCOUNTS, st.integers(-5, 5)), min_size=2, max_size=8))
    def many_of_a_kind_at_once(self, sent: list[tuple[str, int]]) -> None:
        """Order is kept among the commands of one type and one stream, so each type is sent by itself."""
        for cls in (Deposit, Withdraw):
            chosen = [one for one in sent if (one[1] > 0) == (cls is Deposit)]
            self._send(*[cls(account=account, amount=abs(amount)) for account, amount in chosen])

    def _send(self, *commands: Any) -> None:
        for command in commands:
            events = self.model[command.account]
            state = (0, False)
            for event in events:
                state = evolved(state, event)
            events += decided(*state, command)
        self.loop.run(self._dispatch(commands))

    async def _dispatch(self, commands: tuple[Any, ...]) -> None:
        receipts = [self.app.command_bus.dispatch(command) for command in commands]
        await asyncio.gather(*receipts)
        assert await self.app.idle()

    async def _compare(self) -> None:
        store = self.app.store
        streams = Streams(store)
        assert await store.dead_letters() == []
        for account, events in self.model.items():
            recorded = await store.read(f"account-{account}", limit=10_000)
            assert [event.message for event in recorded] == events
            assert [event.stream_position for event in recorded] == list(range(len(events)))
            state, position = await streams.load(self.decider, f"account-{account}")
            expected = (0, False)
            for event in events:
                expected = evolved(expected, event)
            assert (self.seen(state), position) == (expected, len(events) - 1)

    def seen(self, state: Any) -> tuple[int, bool]:
        """The state as the model has it."""
        return state.balance, state.closed


class DeciderMachine(AggregateMachine):
    """The same with the functional form."""

    def declared(self) -> Component:
        bank = Component("bank")
        self.decider = functional()
        bank.decider(self.decider)
        return bank

    def seen(self, state: Any) -> tuple[int, bool]:
        return (state[0], state[1])


AggregateMachine.TestCase.settings = share(0.15)
DeciderMachine.TestCase.settings = share(0.15)
TestAggregateAgainstItsModel = AggregateMachine.TestCase
TestDeciderAgainstItsModel = DeciderMachine.TestCase
