"""The small world in which the contract is tested: a stock, its messages and one projection.

Also the store under test, wrapped so that a test can await a write and open the same store again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import SecretStr

from microlith.context import correlated
from microlith.envelope import Envelope
from microlith.event_store.protocol import (
    Acceptance,
    Committed,
    EventStore,
    Projecting,
    RecordedEvent,
    RowWriter,
    Settlement,
    TableSpec,
    Unit,
)
from microlith.event_store.records import MICROSECONDS
from microlith.messages import Command, Event, Message
from microlith.serialization import MessageTypes


class CountStock(Command):
    """Asks for a count."""

    shelf: str = "A"


class ItemStored(Event):
    """An item was put on a shelf."""

    item: str
    amount: int = 1
    shelf: str = "A"


class ItemTaken(Event):
    """An item was taken away."""

    item: str


class KeyCut(Event):
    """A key was cut; its number is a secret."""

    number: SecretStr


def item_of(message: Message) -> str:
    """Return the item of a message that was stored."""
    assert isinstance(message, ItemStored)
    return message.item


def amount_of(message: Message) -> int:
    """Return the amount of a message that was stored."""
    assert isinstance(message, ItemStored)
    return message.amount


ITEMS = TableSpec("stock_items", "item", "text", ("shelf", "amount"))
COUNTS = TableSpec("stock_counts", "number", "integer")


class StockProjection:
    """How much of each item there is, and how many events were folded in: one row that counts them all."""

    name = "stock.items"

    def __init__(self, fingerprint: str = "1", fails_on: str | None = None, *, inline: bool = True) -> None:
        self.fingerprint = fingerprint
        self.inline = inline
        self.fails_on = fails_on
        self.tables = (ITEMS, COUNTS)

    def takes(self, event: RecordedEvent) -> bool:
        """Take what was stored and what was taken."""
        return event.type in ("ItemStored", "ItemTaken")

    def apply(self, event: RecordedEvent, rows: RowWriter) -> None:
        """Count the event, then change the item's row; fail between the two where a test asks for it."""
        folded = int(rows.get(COUNTS, 1) or b"0") + 1
        rows.put(COUNTS, 1, b"%d" % folded, {})
        message: Any = event.message
        if message.item == self.fails_on:
            raise ValueError(f"no room for {message.item}")
        if isinstance(message, ItemTaken):
            rows.delete(ITEMS, message.item)
        else:
            row = message.model_dump_json().encode()
            rows.put(ITEMS, message.item, row, {"shelf": message.shelf, "amount": message.amount})


MakeStore = Callable[[MessageTypes], EventStore]


class StoreUnderTest:
    """An open store. Its writes can be awaited, and it can be opened again on the same place.

    Attributes:
        store: The store itself.
    """

    def __init__(self, make: MakeStore, *more: type[Command | Event]) -> None:
        self.types = MessageTypes()
        for message in (CountStock, ItemStored, ItemTaken, KeyCut, *more):
            self.types.add(message, "stock")
        self._make = make
        self.store = make(self.types)

    async def reopen(self, *projections: Projecting) -> None:
        """Close the store and open one on the same place."""
        await self.store.close()
        self.store = self._make(self.types)
        await self.store.open(projections)

    async def record(self, message: Event | Command | Envelope[Any]) -> Committed:
        """Record a message; return what was committed, nothing for a command in memory."""
        envelope = message if isinstance(message, Envelope) else correlated(message)
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        acceptance = self.store.record(envelope, _settler(future))
        if acceptance is Acceptance.RECORDED:
            return Committed(())
        if acceptance is Acceptance.DUPLICATE:
            return Committed((), (envelope.message_id,))
        return await future

    async def complete(self, unit: Unit) -> Committed:
        """Write a unit; return what was committed, or raise why it was not."""
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.store.complete(unit, _settler(future))
        return await future

    async def store_items(self, *items: str) -> list[RecordedEvent]:
        """Record that items were stored, in one unit."""
        committed = await self.complete(Unit([correlated(ItemStored(item=item)) for item in items]))
        return list(committed.events)

    async def append(self, stream: str, item: str, expected: int | None = None) -> RecordedEvent:
        """Append one event to a stream."""
        committed = await self.complete(Unit([correlated(ItemStored(item=item))], None, stream, expected))
        return committed.events[0]

    async def pending_command(self) -> Envelope[CountStock]:
        """Record a command and return its envelope."""
        envelope = correlated(CountStock())
        await self.record(envelope)
        return envelope

    async def whole_log(self) -> list[RecordedEvent]:
        """Read everything."""
        return await self.store.read_all(limit=100_000)

    def settle(self, handler: str, event: RecordedEvent, checkpoint: int, error: str | None = None) -> None:
        """Settle an event for a handler."""
        self.store.settle(Settlement(handler, event.envelope, event.position, checkpoint, error, attempts=5))

    def folded(self) -> int:
        """Return how many events the projection counted."""
        return int(self.store.rows.get(COUNTS, 1) or b"0")


def _settler(future: "asyncio.Future[Committed]") -> Callable[[Committed | None, BaseException | None], None]:
    def done(committed: Committed | None, error: BaseException | None) -> None:
        if committed is None:
            future.set_exception(error or RuntimeError("neither committed nor an error"))
        else:
            future.set_result(committed)

    return done


def facts(event: RecordedEvent) -> tuple[Any, ...]:
    """Everything a store promises to keep about an event; the time to the microsecond."""
    return (
        event.position,
        event.stream,
        event.stream_position,
        event.type,
        event.component,
        event.version,
        event.message_id,
        event.correlation_id,
        event.causation_id,
        round(event.time * MICROSECONDS),
        event.depth,
        dict(event.headers or {}),
        event.data,
    )


def all_facts(events: Sequence[RecordedEvent]) -> list[tuple[Any, ...]]:
    """The facts of several events, in order."""
    return [facts(event) for event in events]
