"""How the public API is meant to be used, as strict type checkers see it: no error, and exact types."""

from collections.abc import Sequence
from typing import assert_type

from microlith import (
    Aggregate,
    Command,
    Component,
    Decider,
    Envelope,
    Event,
    EventBus,
    Microlith,
    Query,
    ReadModel,
    Receipt,
    Response,
    Table,
    View,
    correlated,
    decides,
    evolves,
)
from microlith.middlewares import Authorisation, Logging, Timeout, Validation, acting_as


class OpenAccount(Command):
    owner: str


class Opened(Event):
    owner: str


class Greeted(Event):
    owner: str


class OpenRefused(Event):
    reason: str


class CountResponse(Response):
    count: int


class CountRequest(Query[CountResponse]):
    owner: str = ""


class Account(ReadModel, key="owner"):
    owner: str


class Book(Aggregate, stream="book-{owner}"):
    opened: bool = False

    @decides
    def open(self, command: OpenAccount) -> Opened | OpenRefused:
        return OpenRefused(reason="twice") if self.opened else Opened(owner=command.owner)

    @evolves
    def was_opened(self, event: Opened | OpenRefused) -> None:
        self.opened = self.opened or isinstance(event, Opened)


accounts = Component("accounts")
listed = accounts.projection("listed", Account)


class Mailbox:
    pass


accounts.provides(Mailbox, Mailbox)


@listed.on(Opened)
def note(event: Opened, table: Table[Account]) -> None:
    assert_type(table.get(event.owner), Account | None)
    table.put(Account(owner=event.owner))


@accounts.handles(OpenAccount, timeout=2.0)
async def open_account(command: OpenAccount, known: View[Account]) -> Opened | OpenRefused:
    if await known.get(command.owner) is not None:
        return OpenRefused(reason="exists")
    return Opened(owner=command.owner)


@accounts.handles(Opened)
def greet(event: Opened, events: EventBus, envelope: Envelope[Opened]) -> Sequence[Greeted]:
    assert_type(envelope.message, Opened)
    return [Greeted(owner=event.owner)]


@accounts.handles(CountRequest)
async def count(query: CountRequest, known: View[Account]) -> CountResponse:
    return CountResponse(count=await known.count())


@accounts.handles(Greeted, concurrency=2)
async def nothing(event: Greeted, mailbox: Mailbox) -> None: ...


class OtherRequest(Query[CountResponse]):
    pass


@accounts.handles(OtherRequest)
def count_in_a_thread(query: OtherRequest) -> CountResponse:
    return CountResponse(count=0)


def allowed(envelope: Envelope[object], principal: str | None) -> bool:
    return principal is not None


app = Microlith(
    "app",
    components=[accounts],
    store="memory:",
    middleware=[Authorisation(allowed), Validation({OpenAccount: str}), Timeout({OpenAccount: 2.0}), Logging()],
)

decider: Decider[int] = Decider(
    "Counting",
    "counting-{owner}",
    initial=int,
    decide=lambda state, command: Opened(owner=command.owner),
    evolve=lambda state, event: state + 1,
    commands={OpenAccount: [Opened]},
    events=[Opened],
)


async def use() -> None:
    envelope = correlated(OpenAccount(owner="ann"))
    assert_type(envelope, Envelope[OpenAccount])
    with acting_as("ann"):
        assert_type(app.command_bus.dispatch(envelope), Receipt)
    await app.event_bus.dispatch(Opened(owner="ann"))
    correlation = envelope.correlation_id
    assert_type(await app.event_bus.wait_for(correlation, Opened), Opened)
    assert_type(await app.event_bus.wait_for(correlation, (Opened, OpenRefused), timeout=1), Opened | OpenRefused)
    assert_type(await app.event_bus.wait_all(correlation, (Opened, Greeted)), tuple[Opened, Greeted])
    assert_type(await app.query_bus.ask(CountRequest()), CountResponse)
    assert_type(await app.query_bus.ask(correlated(CountRequest())), CountResponse)
    assert_type(await app.command_bus.execute(OpenAccount(owner="bob"), until=Opened), Opened)
    either = await app.command_bus.execute(OpenAccount(owner="bob"), until=(Opened, OpenRefused))
    assert_type(either, Opened | OpenRefused)
    subscription = app.event_bus.subscribe(Opened, lambda event: event.owner)
    app.event_bus.subscribe("Opened", str)
    subscription.cancel()
    assert_type(Book().open(OpenAccount(owner="ann")), Opened | OpenRefused)
