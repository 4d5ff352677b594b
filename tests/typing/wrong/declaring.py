"""Handlers, aggregates and projections that cannot work."""

from microlith import Aggregate, Component, Decider, Query, ReadModel, Table, decides, evolves
from tests.typing.right import Account, CountRequest, CountResponse, OpenAccount, Opened

wrong = Component("wrong")
listed = wrong.projection("listed", Account)


@wrong.handles(CountRequest)  # expect: error
async def answers_an_event(query: CountRequest) -> Opened:
    return Opened(owner="ann")


@wrong.handles(CountRequest)  # expect: error
def answers_a_number(query: CountRequest) -> int:
    return 1


@wrong.handles(CountRequest)  # expect: error
async def answers_sometimes(query: CountRequest) -> CountResponse | None:
    return None


@wrong.handles("OpenAccount")  # expect: error
async def by_name(command: OpenAccount) -> None: ...


@wrong.handles(OpenAccount, timeout="2s")  # expect: error
async def timed(command: OpenAccount) -> None: ...


wrong.handles(OpenAccount)(5)  # expect: error


class Book(Aggregate, stream="book-{owner}"):
    opened: bool = False

    @decides  # expect: error
    def decides_an_event(self, event: Opened) -> Opened:
        return event

    @decides  # expect: error
    def decides_a_number(self, command: OpenAccount) -> int:
        return 1

    @decides  # expect: error
    async def decides_later(self, command: OpenAccount) -> Opened:
        return Opened(owner=command.owner)

    @decides  # expect: error
    def decides_two(self, command: OpenAccount, more: int) -> Opened:
        return Opened(owner=command.owner)

    @evolves  # expect: error
    def evolves_by_a_command(self, command: OpenAccount) -> None: ...

    @evolves  # expect: error
    def evolves_into_another(self, event: Opened) -> "Book":
        return self

    @decides
    def open(self, command: OpenAccount) -> Opened:
        return Opened(owner=command.owner)


Book().open(Opened(owner="ann"))  # expect: error

def start() -> int:
    return 0


def decide(state: str, command: OpenAccount) -> Opened:
    return Opened(owner=command.owner)


def evolve(state: int, event: Opened) -> int:
    return state + 1


Decider("C", "c-{owner}", initial=start, decide=decide, evolve=evolve, commands={}, events=[])  # expect: error
Decider("C", "c-{owner}", initial=start, decide=max, evolve=evolve, commands={Opened: []}, events=[])  # expect: error


class NotAResponse(Query[Opened]):  # expect: error
    pass


class Row(ReadModel, key="id"):
    id: int


@listed.on(Opened)
def fold(event: Opened, table: Table[Account]) -> None:
    table.put(Row(id=1))  # expect: error
    table.put("ann")  # expect: error
    table.get(["ann"])  # expect: error


@listed.on(Opened)  # expect: error
def fold_to_a_row(event: Opened, table: Table[Account]) -> Account:
    return Account(owner=event.owner)
