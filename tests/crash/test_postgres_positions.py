"""Positions in PostgreSQL while a transaction is held open and others commit: nobody who follows the log loses one.

Two stores append under one ownership, which applications never do, so that there are transactions to get in each
other's way. One is held open before it has a position, while the others commit; then one that has its positions already.
`MICROLITH_HOLD` sets for how many seconds each is held, `MICROLITH_EVENTS` how many events others commit meanwhile.
"""

import asyncio
import itertools
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import psycopg
import pytest

from microlith.context import correlated
from microlith.errors import CorruptionError, StoreAwayError
from microlith.event_store.postgres import PostgresEventStore
from microlith.event_store.postgres.ownership import Ownership
from microlith.event_store.postgres.place import Place
from microlith.event_store.postgres.session import LogEnd, PostgresSession
from microlith.event_store.protocol import Unit
from microlith.testing.event_store_contract.stock import ItemStored, StoreUnderTest
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(600)]

HOLD = float(os.environ.get("MICROLITH_HOLD", "1"))
EVENTS = int(os.environ.get("MICROLITH_EVENTS", "500"))
WRITERS = 32
BESIDE = 4
"""So many of the writers write through the second store."""
PAGE = 100
PATIENCE = 120.0
Seen = list[tuple[int, str]]


class Held:
    """A session of which one transaction can be held open: at its begin, or before its commit."""

    def __init__(self, session: PostgresSession) -> None:
        self._held = threading.Event()
        self._released = threading.Event()
        self._where = ""
        self._run, self._finish = session.run, session._finish
        self._confirm = session.confirm
        session.run = self._run_held  # type: ignore[method-assign]
        session._finish = self._finish_held  # type: ignore[method-assign]

    async def hold(self, where: str) -> None:
        """Return once a transaction is held."""
        self._held.clear()
        self._released.clear()
        self._where = where
        await eventually(self._held.is_set, PATIENCE)

    def let_go(self) -> None:
        self._where = ""
        self._released.set()

    def _run_held(self, text: str, values: Any = ()) -> list[Any]:
        rows = self._run(text, values)
        if text == "BEGIN" and self._where == "at its begin":
            self._run("SELECT pg_current_xact_id()")  # older than all that commit meanwhile, with a number of its own
            self._wait()
        return rows

    def _finish_held(self) -> None:
        self._finish()
        if self._where == "before its commit":
            self._confirm()
            self._wait()

    def _wait(self) -> None:
        self._where = ""
        self._held.set()
        assert self._released.wait(PATIENCE)


class Load:
    """32 writers on two stores, and four who follow the log."""

    def __init__(self, url: str) -> None:
        self.place = Place.of(url)
        self.whole = StoreUnderTest(lambda types: PostgresEventStore(self.place, types))
        self.beside = StoreUnderTest(lambda types: PostgresEventStore(self.place, types))
        self.acknowledged: dict[str, int] = {}
        self.tails: list[Seen] = [[], [], [], []]
        self.beside_done = 0
        self._stop = False
        self._end = -1

    def writing(self, stock: StoreUnderTest) -> PostgresSession:
        store = stock.store
        assert isinstance(store, PostgresEventStore)
        assert isinstance(store._writer.session, PostgresSession)
        return store._writer.session

    async def open(self) -> Held:
        """Open both stores; the second has the lock of the first."""
        await self.whole.store.open()
        first, second = self.whole.store, self.beside.store
        assert isinstance(first, PostgresEventStore)
        assert isinstance(second, PostgresEventStore)
        ownership = first._permission
        assert isinstance(ownership, Ownership)
        second._take = lambda: ownership  # type: ignore[method-assign]
        await second.open()
        return Held(self.writing(self.beside))

    async def write(self, number: int) -> None:
        stock = self.beside if number < BESIDE else self.whole
        for count in itertools.count():
            if self._stop:
                return
            unit = Unit([correlated(ItemStored(item=f"{number}/{count}"))], None, f"writer-{number}")
            committed = None
            while committed is None:
                with suppress(StoreAwayError):  # the end of the log was held for longer than a sender waits
                    committed = await stock.complete(unit)
            for event in committed.events:
                self.acknowledged[event.message_id] = event.position
            self.beside_done += stock is self.beside

    async def follow(self, seen: Seen) -> None:
        """Read behind the newest event seen, through the store."""
        while not (self._stop and seen and seen[-1][0] >= self._end > -1):
            after = seen[-1][0] if seen else -1
            page = await self.whole.store.read_all(after=after, limit=PAGE)
            seen += [(event.position, event.message_id) for event in page]
            await asyncio.sleep(0 if page else 0.01)

    async def follow_in_sql(self, seen: Seen) -> None:
        """Do the same as a program that is none of ours."""
        text = (
            f"SELECT position, message_id FROM {self.place.schema}.log WHERE position > %s ORDER BY position LIMIT %s"
        )
        async with await psycopg.AsyncConnection.connect(self.place.url, autocommit=True) as connection:
            while not (self._stop and seen and seen[-1][0] >= self._end > -1):
                after = seen[-1][0] if seen else -1
                page = await (await connection.execute(text.encode(), (after, PAGE))).fetchall()
                seen += [(position, str(message_id)) for position, message_id in page]
                await asyncio.sleep(0 if page else 0.01)

    async def run(self, held: Held, through_the_store: int = 2) -> None:
        """Hold a transaction open while others commit, then one that has its positions, then let everybody finish."""
        async with asyncio.TaskGroup() as tasks:
            await self._run(held, tasks, through_the_store)

    async def _run(self, held: Held, tasks: asyncio.TaskGroup, through_the_store: int) -> None:
        following = [tasks.create_task(self.follow(seen)) for seen in self.tails[:through_the_store]]
        following += [tasks.create_task(self.follow_in_sql(seen)) for seen in self.tails[through_the_store:]]
        writing = [tasks.create_task(self.write(number)) for number in range(WRITERS)]

        await held.hold("at its begin")
        began, before = monotonic(), len(self.acknowledged)
        await eventually(lambda: len(self.acknowledged) >= before + EVENTS and monotonic() > began + HOLD, PATIENCE)
        held.let_go()
        await held.hold("before its commit")
        await asyncio.sleep(HOLD)
        held.let_go()
        known = self.beside_done
        await eventually(lambda: self.beside_done > known, PATIENCE)

        self._stop = True
        await asyncio.gather(*writing)
        await self.whole.append("last", "last")
        self._end = self.log()[-1][0]
        await asyncio.gather(*following)

    def log(self) -> Seen:
        """Read the log as it is in the end."""
        with psycopg.connect(self.place.url) as connection:
            text = f"SELECT position, message_id FROM {self.place.schema}.log ORDER BY position"
            return [(position, str(message_id)) for position, message_id in connection.execute(text.encode())]

    def check(self) -> None:
        """Compare what each follower saw, one by one and in order, with the log; and the log with what was acknowledged."""
        log = self.log()
        for number, seen in enumerate(self.tails):
            passed_over = set(log) - set(seen)
            assert not passed_over, f"follower {number} passed over {len(passed_over)} events"
            assert seen == log, f"follower {number} saw another order"
        told = {message_id: position for position, message_id in log}
        assert {message_id: told.get(message_id) for message_id in self.acknowledged} == self.acknowledged

    async def close(self) -> None:
        await self.beside.store.close()
        await self.whole.store.close()


@pytest.fixture
async def load(postgres_schema) -> AsyncIterator[Load]:
    load = Load(postgres_schema)
    yield load
    await load.close()


async def test_transaction_that_is_held_open_makes_no_follower_pass_over_an_event(load):
    held = await load.open()

    await load.run(held)
    verified = await load.whole.store.verify()

    load.check()
    assert [position for position, _ in load.log()] == list(range(verified))
    assert verified > EVENTS
    assert (load.whole.store.failure, load.beside.store.failure) == (None, None)


async def test_the_same_checks_catch_positions_that_are_given_before_the_end_of_the_log_is_held(load, monkeypatch):
    blocks: Iterator[int] = itertools.count(1)

    def begin(self: PostgresSession) -> None:
        """Take positions as from a sequence, and hold nothing."""
        first = next(blocks) * 2000
        self.run("BEGIN")
        end = LogEnd(*self.run(self._own["lock_end"].replace("FOR UPDATE", ""))[0])
        self.renew(end._replace(head=first))
        self._begun_at, self._end = first, None

    held = await load.open()
    monkeypatch.setattr(PostgresSession, "_begin", begin)

    await load.run(held, through_the_store=0)

    with pytest.raises(AssertionError, match="passed over"):
        load.check()
    with pytest.raises(CorruptionError, match="the event is missing"):  # our own reader takes no gap for nothing
        await load.whole.store.read_all()
