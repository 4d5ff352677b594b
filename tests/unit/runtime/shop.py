"""A small application for the tests: an account that is opened, greeted and asked for."""

import asyncio

from pydantic import SecretStr

from microlith import Command, Component, Envelope, Event, EventBus, Microlith, Query, ReadModel, Response, Table, View


class OpenAccount(Command):
    """Ask for an account."""

    email: str
    password: SecretStr = SecretStr("hunter22")


class AccountOpenedEvent(Event):
    """An account exists."""

    email: str


class OpenErrorRaised(Event):
    """An account was refused."""

    email: str
    errors: list[str]


class WelcomeSentEvent(Event):
    """A new customer was greeted."""

    email: str


class FailCommand(Command):
    """Ask for a failure."""

    text: str


class SlowCommand(Command):
    """Ask for something that takes its time."""

    seconds: float


class SlowDoneEvent(Event):
    """It was done."""


class AccountCountResponse(Response):
    """How many accounts there are."""

    count: int
    email: str | None = None


class AccountCountRequest(Query[AccountCountResponse]):
    """How many accounts are there?"""

    email: str = ""


class Account(ReadModel, key="email"):
    """One account."""

    email: str
    correlation_id: str


def make_shop(name: str = "shop", store: str = "memory:", **options: object) -> Microlith:
    """Declare the application anew, so that no two tests share anything."""
    accounts = Component("accounts")
    opened = accounts.projection("accounts", Account)

    @opened.on(AccountOpenedEvent)
    def note(event: AccountOpenedEvent, table: Table[Account], envelope: Envelope[AccountOpenedEvent]) -> None:
        table.put(Account(email=event.email, correlation_id=envelope.correlation_id))

    @accounts.handles(OpenAccount)
    async def open_account(command: OpenAccount, known: View[Account]) -> AccountOpenedEvent | OpenErrorRaised:
        if await known.get(command.email) is not None:
            return OpenErrorRaised(email=command.email, errors=["exists"])
        return AccountOpenedEvent(email=command.email)

    @accounts.handles(AccountOpenedEvent)
    def welcome(event: AccountOpenedEvent, events: EventBus) -> None:
        events.dispatch(WelcomeSentEvent(email=event.email))

    @accounts.handles(FailCommand)
    async def fail(command: FailCommand) -> None:
        raise ValueError(command.text)

    @accounts.handles(SlowCommand, timeout=60)
    async def slow(command: SlowCommand) -> SlowDoneEvent:
        await asyncio.sleep(command.seconds)
        return SlowDoneEvent()

    @accounts.handles(AccountCountRequest)
    async def count(query: AccountCountRequest, known: View[Account]) -> AccountCountResponse:
        if query.email == "fail@b.c":
            raise ValueError("no")
        return AccountCountResponse(count=await known.count())

    return Microlith(name, [accounts], store=store, **options)  # type: ignore[arg-type]
