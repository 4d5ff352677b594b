"""What must hold after a store was killed: the checks, and the books they compare the log with."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from microlith.event_store.memory_tables import MemoryRows
from microlith.event_store.protocol import EventStore, RecordedEvent
from microlith.testing.event_store_contract.stock import COUNTS, ITEMS, StockProjection
from tests.crash.store_load import UNIT, stock_on

ROOT = Path(__file__).parents[2]
RECOVERY_SECONDS = 2.0


class Books:
    """What was tried and what was acknowledged, read from a pipe by a thread."""

    def __init__(self) -> None:
        self.tried: set[str] = set()
        self.acknowledged: set[str] = set()
        self.pid = 0
        self.forked = threading.Event()
        self.opened = threading.Event()
        self.gone = threading.Event()
        self.done = threading.Event()

    def read(self, process: subprocess.Popen[bytes]) -> None:
        """Write down every line until the pipe ends."""
        for line in process.stdout or ():
            word, _, name = line.decode().strip().partition(" ")
            if word == "try":
                self.tried.add(name)
            elif word == "ack":
                self.acknowledged.add(name)
            elif word == "pid":
                self.pid = int(name)
                self.forked.set()
            elif word == "open":
                self.opened.set()
            elif word == "gone":
                self.gone.set()
            elif word == "done":
                self.done.set()


class Server:
    """The process that forks stores under load."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.books = Books()

    def start(self, path: Path | str, first: int, durability: str, manner: str) -> int:
        """Start a store under load; return its process id."""
        for event in (self.books.forked, self.books.opened, self.books.gone):
            event.clear()
        if self._process.stdin is None:
            raise AssertionError("The server has no standard input.")
        self._process.stdin.write(f"{path} {first} {durability} {manner}\n".encode())
        self._process.stdin.flush()
        assert self.books.forked.wait(timeout=20)
        return self.books.pid


@contextmanager
def load_server(**environment: str) -> Iterator[Server]:
    """Start the process that forks stores under load, and keep the books about them."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.store_load"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    server = Server(process)
    reader = threading.Thread(target=server.books.read, args=(process,))
    reader.start()
    try:
        yield server
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait(timeout=20)
        reader.join(timeout=20)
        if process.stdout:
            process.stdout.close()


class History:
    """The log of one store as earlier checks found it: nothing in it may ever change."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._positions: Counter[str] = Counter()
        self._names: Counter[str] = Counter()
        self._ids: list[str] = []
        self._rows = MemoryRows((ITEMS, COUNTS))

    async def check(self, books: Books, *, whole: bool) -> None:
        """Open the store as a restart would, and compare it with the books.

        Args:
            books: What was tried and acknowledged so far.
            whole: Also walk the whole chain of checksums and compare every row of the projection.
        """
        stock = stock_on(self.path)
        begun = time.monotonic()
        await stock.store.open([StockProjection()])
        if isinstance(self.path, Path):  # a server has to notice first that the owner has gone
            assert time.monotonic() - begun < RECOVERY_SECONDS
        try:
            await self._take_in(stock.store)
            left_over = await stock.store.pending_commands(limit=100_000)
            pending = [one.envelope.message.shelf for one in left_over]  # type: ignore[attr-defined]
            if whole:
                assert await stock.store.verify() == len(self._ids)
                for table in (ITEMS, COUNTS):
                    assert stock.store.rows.find(table, {}, 10**7) == self._rows.find(table, {}, 10**7)
            else:
                assert stock.store.rows.get(COUNTS, 1) == self._rows.get(COUNTS, 1)
        finally:
            await stock.store.close()
        self._compare(books, pending)

    async def _take_in(self, store: EventStore) -> None:
        """Read what is new, and look once more at the last event that was known before."""
        known = len(self._ids)
        if known:
            (last,) = await store.read_all(after=known - 2, limit=1)
            assert last.message_id == self._ids[-1], "an event that was there before has changed"
        projection = StockProjection()
        while events := await store.read_all(after=len(self._ids) - 1, limit=1000):
            for event in events:
                self._note(event)
                projection.apply(event, self._rows)
        self._rows.keep()

    def _note(self, event: RecordedEvent) -> None:
        assert event.position == len(self._ids), "positions have a gap"
        assert event.stream_position == self._positions[event.stream], "a stream has a gap"
        self._positions[event.stream] += 1
        self._ids.append(event.message_id)
        self._names[event.message.item] += 1  # type: ignore[attr-defined]

    def _compare(self, books: Books, pending: list[str]) -> None:
        recovered = set(self._names)
        assert max(self._names.values(), default=1) == 1, "something was written twice"
        assert not recovered & set(pending), "a command is pending although its event was written"
        lost = books.acknowledged - recovered - set(pending)
        assert not lost, f"{len(lost)} acknowledged messages are lost, such as {min(lost)}"
        invented = (recovered | set(pending)) - books.tried
        assert not invented, f"{len(invented)} messages were never sent, such as {min(invented)}"
        parts = Counter(name.partition(".")[0] for name in recovered if name.startswith("u"))
        assert set(parts.values()) <= {UNIT}, "a unit was written in part"
