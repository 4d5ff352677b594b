"""What happened in the logs of the corpus, three epochs one after the other in one file.

Ids and times are fixed, so that two logs differ only where the format does. Add to it what new parts of a
store keep; logs that are there already stay as they are.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from microlith import Envelope
from microlith.event_store.protocol import Committed, EventStore, Place, Projecting, RecordedEvent, Settlement, Unit
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.serialization import MessageTypes
from tests.corpus.notes import Line, NoteAdded
from tests.corpus.shapes import KeyCut, PriceSetEvent, Reprice, first_epoch, second_epoch, today

BEGUN = 1_790_000_000.125
ODD = 'täglich \U0001f529 "quoted" \\ \x1b[2J \r\n \u202e'


class Writing:
    """One opening of the file; numbers the messages on."""

    def __init__(self, path: Path, first: int) -> None:
        self._path = path
        self.number = first
        self.store: EventStore

    async def open(self, types: MessageTypes, projections: Sequence[Projecting] = ()) -> None:
        """Open the file with the messages of an epoch."""
        self.store = SQLiteEventStore(self._path, types)
        await self.store.open(projections)

    def envelope(self, message: Any, parent: Envelope[Any] | None = None, **headers: str) -> Envelope[Any]:
        """Wrap a message with the next id."""
        self.number += 1
        identifier = f"0199c000-0000-7000-8000-{self.number:012}"
        moment = BEGUN + self.number
        if parent is None:
            return Envelope(message, identifier, identifier, None, moment, 0, headers or None)
        return Envelope(
            message,
            identifier,
            parent.correlation_id,
            parent.message_id,
            moment,
            parent.depth + 1,
            headers or None,
        )

    async def record(self, envelope: Envelope[Any]) -> list[RecordedEvent]:
        """Record one message."""
        return await self._written(lambda done: self.store.record(envelope, done))

    async def complete(self, unit: Unit) -> list[RecordedEvent]:
        """Write a unit."""
        return await self._written(lambda done: self.store.complete(unit, done))

    async def _written(self, write: Any) -> list[RecordedEvent]:
        future: asyncio.Future[list[RecordedEvent]] = asyncio.get_running_loop().create_future()

        def done(committed: Committed | None, error: BaseException | None) -> None:
            if committed is None:
                future.set_exception(error or RuntimeError("neither committed nor an error"))
            else:
                future.set_result(list(committed.events))

        write(done)
        await self.store.flush()
        return await asyncio.wait_for(future, 10)


async def write_log(path: Path) -> None:
    """Write the whole story into a new file."""
    writing = Writing(path, 0)
    await _first(writing)
    await _second(writing)
    await _third(writing)


async def _first(writing: Writing) -> None:
    """Whole euros; everything in the stream of the component."""
    types, classes = first_epoch()
    await writing.open(types)
    changed, reprice = classes["PriceChanged"], classes["Reprice"]
    await writing.record(writing.envelope(changed(sku="tea", euros=4)))
    note = writing.envelope(NoteAdded(text=ODD), tenant="north", traceparent="00-é-01")
    (noted,) = await writing.record(note)
    await writing.record(writing.envelope(classes["Retired"](reason="moved")))
    await writing.record(writing.envelope(reprice(sku="tea", euros=5)))
    handled = writing.envelope(reprice(sku="coffee", euros=7))
    await writing.record(handled)
    await writing.complete(
        Unit([writing.envelope(changed(sku="coffee", euros=7), handled)], Settlement("prices.reprice", handled))
    )
    writing.store.settle(Settlement("notes.read_note", note, noted.position, noted.position))
    await writing.store.close()


async def _second(writing: Writing) -> None:
    """Cents as text; streams of their own; the first failures."""
    types, classes = second_epoch()
    await writing.open(types)
    changed = classes["PriceChanged"]
    for expected, cents in enumerate(("450", "460")):
        await writing.complete(
            Unit([writing.envelope(changed(sku="tea", cents=cents))], None, "price-tea", expected - 1)
        )
    broken = writing.envelope(NoteAdded(text="broken", lines=[Line(key="a", value=0.1), Line(key="b", value=None)]))
    (event,) = await writing.record(broken)
    writing.store.settle(
        Settlement("notes.read_note", broken, event.position, event.position, error="ValueError: it broke", attempts=3)
    )
    refused = writing.envelope(Reprice(sku="sugar", cents=-1), attempt="one")
    await writing.record(refused)
    writing.store.settle(Settlement("prices.reprice", refused, error="ValueError: below zero", attempts=2))
    tried = writing.envelope(Reprice(sku="milk", cents=129))
    await writing.record(tried)
    await writing.store.begin_again("prices.reprice", tried)
    await writing.store.close()


async def _third(writing: Writing) -> None:
    """As it is today: a new name, a currency, a read model, a handler that finished out of order."""
    wiring = today().wire()
    await writing.open(wiring.types, wiring.projections)
    first = writing.envelope(PriceSetEvent(sku="tea", cents=470, currency="EUR"))
    second = writing.envelope(PriceSetEvent(sku="bread", cents=2**53, currency="CHF"), first)
    third = writing.envelope(KeyCut(number=SecretStr("4711")), first)
    elsewhere = {second.message_id: Place("price-bread", -1)}
    events = await writing.complete(Unit([first, second, third], None, "price/ü 1", -1, elsewhere))
    cut = events[-1]
    writing.store.settle(Settlement("prices.cut", cut.envelope, cut.position, 2))
    note = writing.envelope(NoteAdded(text="the last"))
    (noted,) = await writing.record(note)
    writing.store.settle(Settlement("notes.read_note", note, noted.position, -1))
    await writing.record(writing.envelope(Reprice(sku="tea", cents=480), priority="high"))
    await writing.store.close()
