"""Replay: a whole log read in order and made into typed events again.

The measure is sqlite3 with pydantic's own JSON validation: no ids, no checksums, one table. microlith
checks the checksum of every row. The files lie in the system's cache, so processor time is measured.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.bench_append import INSERT, TABLE, row
from benchmarks.orders import OrderPlaced, order, order_types
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith import correlated
from microlith.event_store import open_event_store
from microlith.event_store.protocol import Committed, EventStore, Unit

PAGE = 500


def fill_bare(folder: Path, items: int) -> None:
    """Write the bare table."""
    connection = sqlite3.connect(folder / "bare.db")
    connection.execute(TABLE)
    connection.executemany(INSERT, (row(number) for number in range(items)))
    connection.commit()
    connection.close()


async def fill_store(folder: Path, items: int) -> None:
    """Write microlith's log, a page in one commit."""
    store = await opened(folder)
    for first in range(0, items, PAGE):
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(
            _committed: Committed | None, error: BaseException | None, written: asyncio.Future[None] = written
        ) -> None:
            if error is None:
                written.set_result(None)
            else:
                written.set_exception(error)

        numbers = range(first, min(first + PAGE, items))
        store.complete(Unit([correlated(order(number)) for number in numbers]), done)
        await written
    await store.close()


async def opened(folder: Path) -> EventStore:
    """Open microlith's store."""
    store = open_event_store("sqlite:store.db", order_types(), folder)
    await store.open()
    return store


def bare(folder: Path, items: int) -> float:
    """Read the bare table and validate."""
    connection = sqlite3.connect(folder / "bare.db")
    validate = OrderPlaced.__pydantic_validator__.validate_json
    watch = Stopwatch()
    count = 0
    for (data,) in connection.execute("SELECT data FROM events ORDER BY position"):
        validate(data)
        count += 1
    took = watch.each(items)
    connection.close()
    return checked(count, items, took)


def rows_only(folder: Path, items: int) -> float:
    """Read the bare table and decode nothing."""
    connection = sqlite3.connect(folder / "bare.db")
    watch = Stopwatch()
    count = sum(
        1 for _ in connection.execute("SELECT id, correlation_id, time, type, data FROM events ORDER BY position")
    )
    took = watch.each(items)
    connection.close()
    return checked(count, items, took)


async def typed(folder: Path, items: int) -> float:
    """Read microlith's log and take each message."""
    return await read(folder, items, lambda event: event.message)


async def heads(folder: Path, items: int) -> float:
    """Read microlith's log and take each id, as a trace does."""
    return await read(folder, items, lambda event: event.message_id)


async def read(folder: Path, items: int, take: Callable[[Any], Any]) -> float:
    """Read microlith's log page by page."""
    store = await opened(folder)
    watch = Stopwatch()
    position, count = -1, 0
    while page := await store.read_all(after=position, limit=PAGE):
        for event in page:
            take(event)
        count += len(page)
        position = page[-1].position
    took = watch.each(items)
    await store.close()
    return checked(count, items, took)


def checked(count: int, items: int, took: float) -> float:
    """Return what was measured, if the work was done."""
    if count != items:
        raise RuntimeError(f"{count} events were read, not {items}.")
    return took


def contestants(folder: Path, items: int) -> list[Contestant]:
    """Fill the files; return everyone who can run here."""
    fill_bare(folder, items)
    asyncio.run(fill_store(folder, items))

    def run(way: Callable[[Path, int], Coroutine[Any, Any, float]]) -> Callable[[], float]:
        return lambda: asyncio.run(way(folder, items))

    return [
        Contestant("sqlite3 + validate_json", lambda: bare(folder, items)),
        Contestant("microlith", run(typed), "read_all, typed, checksums checked"),
        Contestant("sqlite3 rows", lambda: rows_only(folder, items), "nothing decoded"),
        Contestant("microlith, heads", run(heads), "ids only, checksums checked"),
        *_eventsourcing(folder, items),
    ]


def _eventsourcing(folder: Path, items: int) -> list[Contestant]:
    if peer("eventsourcing") is None:
        return []
    from benchmarks import eventsourced  # noqa: PLC0415 (imports the peer)

    path = folder / "peer.db"
    eventsourced.fill(path, items)

    def run() -> float:
        watch = Stopwatch()
        return checked(eventsourced.replay(path, PAGE), items, watch.each(items))

    return [Contestant("eventsourcing", run, "its own event objects, nothing validated")]


BUDGETS: Sequence[Budget] = (
    Budget("microlith", "sqlite3 + validate_json", 0.65),
    Budget("microlith", "eventsourcing", 1.7),
    Budget("microlith, heads", "sqlite3 rows", 0.5),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 10_000 if quick else 100_000
    with TemporaryDirectory() as folder:
        field = contestants(Path(folder), items)
        results = measure(field, rounds)
    return report(f"Replay, {items:,} events, processor time", field, results, "sqlite3 + validate_json", BUDGETS)
