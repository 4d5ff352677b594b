"""Append: events written to a file and acknowledged when they are on the disk (SQLite, WAL, synchronous FULL).

The measure is a bare group commit: a thread that takes what waits, writes it with `executemany` into
one table without an index, commits, and tells the callers. It builds the same event, makes an id and
the time, and writes the same JSON. microlith also keeps streams, correlations and checksums.

Real time is measured, because the disk is what is waited for. A caller builds an event, awaits its
durability and goes on to the next.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from time import time
from typing import Any

from benchmarks.orders import OrderPlaced, PlaceOrder, order, order_types
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith import Component, Microlith, correlated
from microlith.event_store import open_event_store
from microlith.event_store.protocol import Committed
from microlith.ids import new_id

CALLERS = 100
TABLE = (
    "CREATE TABLE events (position INTEGER PRIMARY KEY, id TEXT, correlation_id TEXT, time REAL, type TEXT, data BLOB)"
)
INSERT = "INSERT INTO events (id, correlation_id, time, type, data) VALUES (?, ?, ?, ?, ?)"

Append = Callable[[int], Awaitable[Any]]
Row = tuple[str, str, float, str, bytes]


def row(number: int) -> Row:
    """Build an event and the row that holds it."""
    event, event_id = order(number), new_id()
    return event_id, event_id, time(), "OrderPlaced", event.__pydantic_serializer__.to_json(event)


async def all_appends(append: Append, items: int, callers: int) -> float:
    """Append events, so many callers at a time; return seconds for each."""

    async def caller(first: int) -> None:
        for number in range(first, items, callers):
            await append(number)

    watch = Stopwatch(wall=True)
    await asyncio.gather(*[caller(first) for first in range(callers)])
    return watch.each(items)


class GroupCommit:
    """A thread that writes what waits, in one commit each time."""

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[tuple[Row, asyncio.Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, args=(path,))
        self._thread.start()

    async def append(self, number: int) -> None:
        """Write an event and return when it is on the disk."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.put((row(number), future))
        await future

    async def close(self) -> None:
        """End the thread."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _write(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(TABLE)
        while (first := self._waiting.get()) is not None:
            batch = [first]
            try:
                while (one := self._waiting.get_nowait()) is not None:
                    batch.append(one)
            except Empty:
                pass
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, [values for values, _ in batch])
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_resolve, [future for _, future in batch])
        connection.close()


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        future.set_result(None)


async def bare(items: int, callers: int, folder: Path) -> float:
    """Use the bare group commit."""
    writer = GroupCommit(folder / "bare.db")
    took = await all_appends(writer.append, items, callers)
    await writer.close()
    return took


async def store(items: int, callers: int, folder: Path) -> float:
    """Use microlith's event store alone."""
    events = open_event_store("sqlite:store.db", order_types(), folder)
    await events.open()
    loop = asyncio.get_running_loop()

    async def append(number: int) -> None:
        future: asyncio.Future[None] = loop.create_future()

        def done(_committed: Committed | None, error: BaseException | None) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        events.record(correlated(order(number)), done)
        await future

    took = await all_appends(append, items, callers)
    await events.close()
    return took


async def bus(items: int, callers: int, folder: Path) -> float:
    """Use the event bus of a running application, with its trace log."""
    component = Component("orders")

    @component.handles(PlaceOrder)
    async def place(_command: PlaceOrder) -> OrderPlaced:
        return order(0)

    async with Microlith("orders", [component], store="sqlite:app.db", root=folder) as app:

        async def append(number: int) -> None:
            await app.event_bus.dispatch(order(number))

        return await all_appends(append, items, callers)


def _aiosqlite(items: int) -> list[Contestant]:
    aiosqlite = peer("aiosqlite")
    if aiosqlite is None:
        return []

    async def run(folder: Path) -> float:
        async with aiosqlite.connect(folder / "aio.db", isolation_level=None) as connection:
            await connection.execute("PRAGMA journal_mode = WAL")
            await connection.execute("PRAGMA synchronous = FULL")
            await connection.execute(TABLE)

            async def append(number: int) -> None:
                await connection.execute(INSERT, row(number))  # without BEGIN each is a commit

            return await all_appends(append, items, CALLERS)

    return [Contestant("aiosqlite", in_folder(run), "a commit for each")]


def _eventsourcing(items: int) -> list[Contestant]:
    if peer("eventsourcing") is None:
        return []
    from benchmarks.eventsourced import put_each  # noqa: PLC0415 (imports the peer)

    async def run(folder: Path) -> float:
        return put_each(folder / "peer.db", items)

    return [Contestant("eventsourcing", in_folder(run), "one caller: it has no asynchronous append")]


def in_folder(run: Callable[[Path], Coroutine[Any, Any, float]]) -> Callable[[], float]:
    """Give each run an empty folder of its own."""

    def once() -> float:
        with TemporaryDirectory() as folder:
            return asyncio.run(run(Path(folder)))

    return once


def contestants(items: int) -> list[Contestant]:
    """Everyone who can run here."""

    def run(way: Callable[[int, int, Path], Coroutine[Any, Any, float]], count: int, callers: int) -> Any:
        return in_folder(partial(way, count, callers))

    few = max(items // 20, 200)  # one at a time waits for the disk each time
    return [
        Contestant("bare group commit", run(bare, items, CALLERS), f"{CALLERS} callers, one table"),
        Contestant("microlith store", run(store, items, CALLERS), f"{CALLERS} callers"),
        Contestant("microlith bus", run(bus, items, CALLERS), f"{CALLERS} callers, receipts awaited"),
        Contestant("bare, one caller", run(bare, few, 1)),
        Contestant("microlith store, one caller", run(store, few, 1)),
        *_aiosqlite(max(items // 10, 200)),
        *_eventsourcing(few),
    ]


BUDGETS: Sequence[Budget] = (
    Budget("microlith store", "bare group commit", 0.4),
    Budget("microlith store", "aiosqlite", 6.0),
    Budget("microlith store, one caller", "eventsourcing", 0.7),
)


def main(*, quick: bool, rounds: int) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = 4_000 if quick else 20_000
    field = contestants(items)
    results = measure(field, rounds)
    return report(f"Append, {items:,} events, on the disk, real time", field, results, "bare group commit", BUDGETS)
