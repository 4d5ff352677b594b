"""The same event in the `eventsourcing` library; imported only where it is installed."""

# mypy: disable-error-code="import-not-found, misc"

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from eventsourcing import domain, persistence, sqlite

from benchmarks.orders import order_fields


class OrderPlaced(domain.DomainEvent):
    """An order with its lines; the library validates no fields."""

    order_id: str
    customer: str
    lines: list[dict[str, Any]]
    note: str | None


def open_store(path: Path) -> tuple[Any, Any, Any]:
    """Open a store as the library opens it; return recorder, mapper and event store."""
    recorder = sqlite.SQLiteApplicationRecorder(sqlite.SQLiteDatastore(str(path)))
    recorder.create_table()
    transcoder = persistence.JSONTranscoder()
    transcoder.register(persistence.UUIDAsHex())
    transcoder.register(persistence.DatetimeAsISO())
    mapper = persistence.Mapper(transcoder)
    return recorder, mapper, persistence.EventStore(mapper, recorder)


def event(number: int) -> OrderPlaced:
    """Build an event from the fields of an order."""
    return OrderPlaced(originator_id=uuid4(), originator_version=1, timestamp=datetime.now(UTC), **order_fields(number))


def put_each(path: Path, items: int) -> float:
    """Put events one by one; return seconds for each."""
    recorder, _, store = open_store(path)
    begun = perf_counter()
    for number in range(items):
        store.put([event(number)])
    took = (perf_counter() - begun) / items
    recorder.datastore.close()
    return took


def fill(path: Path, items: int, page: int = 1000) -> None:
    """Put many events."""
    recorder, _, store = open_store(path)
    for first in range(0, items, page):
        store.put([event(number) for number in range(first, min(first + page, items))])
    recorder.datastore.close()


def replay(path: Path, page: int = 1000) -> int:
    """Read all events in order and make domain events of them; return how many."""
    return sum(1 for _ in events(path, page))


def events(path: Path, page: int = 1000) -> Iterator[OrderPlaced]:
    """Read all events in order and make domain events of them."""
    recorder, mapper, _ = open_store(path)
    start = 1
    while notifications := recorder.select_notifications(start, page):
        for notification in notifications:
            yield mapper.to_domain_event(notification)
        start = notifications[-1].id + 1
    recorder.datastore.close()
