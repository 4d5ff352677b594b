"""Projection: a whole log replayed into a read model, with progress, and memory that stays flat.

The measure is the same by hand: sqlite3, pydantic's JSON validation, and for each event a row that is read, changed as a
typed model and written, a page in a transaction. microlith also checks the checksum of every row and keeps the live rows
serving. eventsourcing reads its own events, and gets the rows of the measure. An upsert without a typed row is shown, too.

`--events 1000000` says how many; the files lie in the system's cache, so processor time is measured.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.bench_replay import PAGE, checked, fill_bare, fill_store
from benchmarks.orders import OrderPlaced, PlaceOrder
from benchmarks.resident import Resident
from benchmarks.rounds import Budget, Contestant, Stopwatch, measure, peer, report
from microlith import Component, Microlith, ReadModel, Table
from microlith.event_store import open_event_store

NAME = "orders.customers"
TABLE = "CREATE TABLE customers (customer TEXT PRIMARY KEY, data BLOB, orders INTEGER, cents INTEGER)"
SELECT = "SELECT data FROM customers WHERE customer = ?"
PUT = "INSERT OR REPLACE INTO customers (customer, data, orders) VALUES (?, ?, ?)"
UPSERT = (
    "INSERT INTO customers (customer, orders, cents) VALUES (?, 1, ?) "
    "ON CONFLICT (customer) DO UPDATE SET orders = orders + 1, cents = cents + excluded.cents"
)
Keep = Callable[[sqlite3.Connection, Any], None]
_FLAT = 1.1
"""Times the memory of the first tenth that the rest may use; and this besides, for a machine that is busy: """
_SLACK = 8.0
"""MiB."""


class Customer(ReadModel, key="customer"):
    """What a customer has ordered."""

    customer: str
    orders: int
    cents: int


def declared() -> Microlith:
    """Declare the projection."""
    orders = Component("orders")
    customers = orders.projection("customers", Customer)

    @customers.on(OrderPlaced)
    def count(event: OrderPlaced, table: Table[Customer]) -> None:
        known = table.get(event.customer) or Customer(customer=event.customer, orders=0, cents=0)
        cents = known.cents + sum(line.cents for line in event.lines)
        table.put(Customer(customer=event.customer, orders=known.orders + 1, cents=cents))

    @orders.handles(PlaceOrder)
    async def place(command: PlaceOrder) -> None:
        """Declare the command."""

    return Microlith("shop", [orders])


class Memory:
    """What the memory of the replays was, for the report.

    Attributes:
        flat: Whether it was flat each time.
    """

    def __init__(self) -> None:
        self.flat = True
        self._said = ""

    def note(self, watched: Resident) -> None:
        """Judge one replay."""
        flat = watched.later <= watched.at_first * _FLAT + _SLACK
        self.flat = self.flat and flat
        self._said = (
            f"  {'kept' if self.flat else 'MISSED'}: memory is flat: {watched.at_first:.0f} MiB in the first tenth, "
            f"{watched.later:.0f} MiB at most afterwards ({len(watched.samples)} samples)"
        )

    def report(self) -> bool:
        """Print the last replay's; tell whether all were flat."""
        print(self._said)
        return self.flat


async def rebuild(folder: Path, items: int, memory: Memory) -> float:
    """Rebuild the projection of microlith's log; the rows are checked."""
    wiring = declared().wire()
    store = open_event_store("sqlite:store.db", wiring.types, folder)
    await store.open(wiring.projections)
    begun = perf_counter()
    with Resident() as watched:

        def progress(done: int, total: int) -> None:
            if done * 10 >= total:
                watched.begun()
            shown(done, total, begun)

        watch = Stopwatch()
        rebuilt = await store.rebuild(NAME, progress)
        took = watch.each(items)
    memory.note(watched)
    (table,) = wiring.projections[0].tables
    totals = [Customer.model_validate_json(row) for row in store.rows.find(table, {}, 10_000)]
    await store.close()
    if rebuilt.before != rebuilt.after:
        raise RuntimeError("The rebuilt rows are not those that were there.")
    return checked(sum(row.orders for row in totals), items, took)


def shown(done: int, total: int, begun: float) -> None:
    """Show how far it is, on a terminal."""
    if sys.stderr.isatty() and done % (PAGE * 20) == 0:
        sys.stderr.write(f"\r  {done:,} of {total:,}, {done / (perf_counter() - begun):,.0f} a second")
        if done == total:
            sys.stderr.write("\n")


def bare(folder: Path, items: int, keep: Keep) -> float:
    """Replay the bare table."""
    connection = sqlite3.connect(folder / "bare.db")
    validate = OrderPlaced.__pydantic_validator__.validate_json
    watch = Stopwatch()
    rows = connection.execute("SELECT data FROM events ORDER BY position")
    count = fold(folder, (validate(data) for (data,) in rows), keep)
    took = watch.each(items)
    connection.close()
    return checked(count, items, took)


def fold(folder: Path, events: Iterable[Any], keep: Keep) -> int:
    """Keep a row for each customer, a page of events in a transaction; return how many orders the rows hold."""
    path = folder / "customers.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(TABLE)
    connection.execute("BEGIN")
    for number, event in enumerate(events, 1):
        keep(connection, event)
        if number % PAGE == 0:
            connection.execute("COMMIT")
            connection.execute("BEGIN")
    connection.execute("COMMIT")
    (count,) = connection.execute("SELECT sum(orders) FROM customers").fetchone()
    connection.close()
    return int(count)


def typed_row(connection: sqlite3.Connection, event: Any) -> None:
    """Read a row, change it as a model, write it."""
    found = connection.execute(SELECT, (event.customer,)).fetchone()
    if found is None:
        known = Customer(customer=event.customer, orders=0, cents=0)
    else:
        known = Customer.model_validate_json(found[0])
    row = Customer(customer=event.customer, orders=known.orders + 1, cents=known.cents + _cents(event))
    connection.execute(PUT, (row.customer, row.model_dump_json(), row.orders))


def upsert(connection: sqlite3.Connection, event: Any) -> None:
    """Let SQLite do it."""
    connection.execute(UPSERT, (event.customer, _cents(event)))


def _cents(event: Any) -> int:
    return sum(line["cents"] if isinstance(line, dict) else line.cents for line in event.lines)


def contestants(folder: Path, items: int, memory: Memory) -> list[Contestant]:
    """Fill the files; return everyone who can run here."""
    fill_bare(folder, items)
    asyncio.run(fill_store(folder, items))
    found = [
        Contestant("sqlite3 + validate_json", lambda: bare(folder, items, typed_row), "typed rows by hand"),
        Contestant("microlith", lambda: asyncio.run(rebuild(folder, items, memory)), "live rows go on serving"),
        Contestant("sqlite3 upserts", lambda: bare(folder, items, upsert), "no typed rows"),
    ]
    if peer("eventsourcing") is None:
        return found
    from benchmarks import eventsourced  # noqa: PLC0415 (imports the peer)

    path = folder / "peer.db"
    eventsourced.fill(path, items)

    def run() -> float:
        watch = Stopwatch()
        return checked(fold(folder, eventsourced.events(path, PAGE), typed_row), items, watch.each(items))

    return [*found, Contestant("eventsourcing", run, "its own event objects, the same typed rows")]


BUDGETS: Sequence[Budget] = (
    Budget("microlith", "sqlite3 + validate_json", 0.5),
    Budget("microlith", "eventsourcing", 1.0),
)


def main(*, quick: bool, rounds: int, events: int | None = None) -> bool:
    """Run and report; tell whether the budgets are kept."""
    items = events or (10_000 if quick else 100_000)
    memory = Memory()
    with TemporaryDirectory() as folder:
        field = contestants(Path(folder), items, memory)
        results = measure(field, rounds)
    title = f"Projection, {items:,} events replayed into rows, processor time"
    kept = report(title, field, results, "sqlite3 + validate_json", BUDGETS)
    return memory.report() and kept
