"""The event store that is killed: many callers write events, units and settled commands as fast as it goes.

Everything tried and everything acknowledged is told to standard output, which another process reads.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from microlith.context import correlated
from microlith.event_store import open_event_store
from microlith.event_store.protocol import Acceptance, Committed, Done, Settlement, Unit
from microlith.event_store.sqlite import SQLiteEventStore
from microlith.testing.event_store_contract.stock import CountStock, ItemStored, StockProjection, StoreUnderTest

HANDLER = "stock.count"
UNIT = 3
CALLERS = 12
MOST = 20_000


class HastyStore(SQLiteEventStore):
    """The planted bug: it acknowledges before the commit."""

    def record(self, envelope, done: Done) -> Acceptance:
        """Acknowledge at once, then record."""
        done(Committed(()), None)
        return super().record(envelope, lambda _committed, _error: None)


def stock_on(place: Path | str, durability="durable", store=SQLiteEventStore) -> StoreUnderTest:
    """Make the store of a trial: in a file, or where a url says."""
    if isinstance(place, str):
        return StoreUnderTest(lambda types: open_event_store(f"{place}&durability={durability}", types, Path.cwd()))
    return StoreUnderTest(lambda types: store(place, types, durability))


def say(word: str, *names: str) -> None:
    """Tell the one who keeps the books, in one write that no buffer can lose."""
    os.write(1, "".join(f"{word} {name}\n" for name in names).encode())


async def write_events(stock: StoreUnderTest, numbers: Iterator[int]) -> None:
    """Record single events: s1, s2 ..."""
    for number in numbers:
        name = f"s{number}"
        say("try", name)
        await stock.record(ItemStored(item=name))
        say("ack", name)


async def write_units(stock: StoreUnderTest, numbers: Iterator[int]) -> None:
    """Write units of several events to a stream of their own: u1.0, u1.1, u1.2 ..."""
    for number in numbers:
        names = [f"u{number}.{part}" for part in range(UNIT)]
        say("try", *names)
        await stock.complete(Unit([correlated(ItemStored(item=name)) for name in names], None, "units"))
        say("ack", *names)


async def handle_commands(stock: StoreUnderTest, numbers: Iterator[int]) -> None:
    """Record commands, c1, c2 ..., and settle each with its one event."""
    for number in numbers:
        name = f"c{number}"
        command = correlated(CountStock(shelf=name))
        say("try", name)
        await stock.record(command)
        say("ack", name)
        await settle(stock, command)


async def settle(stock: StoreUnderTest, command) -> None:
    """Write the event that a command causes, with its settlement."""
    event = correlated(ItemStored(item=command.message.shelf))
    await stock.complete(Unit([event], Settlement(HANDLER, command)))


async def settle_pending(stock: StoreUnderTest) -> None:
    """Settle every command that is left over, as an application does when it starts."""
    while pending := await stock.store.pending_commands():
        for one in pending:
            await settle(stock, one.envelope)


async def run(path: Path | str, first: int, durability: str, *, hasty: bool) -> None:
    """Open the store, settle what is left over, and write until killed. Bounded, should nobody kill it."""
    stock = stock_on(path, durability, HastyStore if hasty else SQLiteEventStore)
    await stock.store.open([StockProjection()])
    await settle_pending(stock)
    say("open", str(first))
    numbers = iter(range(first, first + MOST))
    work = (write_events, write_units, handle_commands)
    await asyncio.gather(*(work[caller % len(work)](stock, numbers) for caller in range(CALLERS)))


async def run_script(path: Path | str, first: int, durability: str) -> None:
    """Open the store, write a little of everything one after the other, and close it."""
    stock = stock_on(path, durability)
    await stock.store.open([StockProjection()])
    await settle_pending(stock)
    for work in (write_events, write_units, handle_commands):
        await work(stock, iter(range(first, first + 2)))
        first += 2
    await stock.store.rebuild(StockProjection.name, lambda _done, _total: None)
    await stock.store.close()
    say("done", str(first))


def serve() -> None:
    """Fork a process that writes for each line of standard input: PATH FIRST durable|fast hasty|sound|KILL_AT."""
    for line in sys.stdin:
        words, first, durability, manner = line.split()
        path = words if words.startswith("postgresql:") else Path(words)
        pid = os.fork()
        if pid == 0:
            if manner.isdigit():
                os.environ["FAULT_KILL_AT"] = manner
                asyncio.run(run_script(path, int(first), durability))
            else:
                asyncio.run(run(path, int(first), durability, hasty=manner == "hasty"))
            os._exit(0)
        say("pid", str(pid))
        os.waitpid(pid, 0)
        say("gone", str(pid))


if __name__ == "__main__":
    serve()
