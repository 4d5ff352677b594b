"""Who owns a PostgreSQL store: one process, and what another one does that has lost it without noticing.

See `test_postgres_goes_away` for the server's side.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg
import pytest

from microlith.context import correlated
from microlith.errors import StoreAwayError, StoreError, StoreLockedError
from microlith.event_store.postgres import PostgresEventStore, connection, ownership
from microlith.event_store.postgres.ownership import OwnershipLostError
from microlith.event_store.postgres.place import Place
from microlith.event_store.protocol import Unit
from microlith.testing.event_store_contract.stock import ItemStored, StockProjection, StoreUnderTest
from tests.crash.store_load import stock_on
from tests.crash.test_postgres_goes_away import EVERY_CONNECTION, items_of
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]


async def test_server_that_forgets_what_it_had_acknowledged_ends_all_writing(postgres_schema):
    stock = stock_on(postgres_schema)
    await stock.store.open()
    await stock.store_items("a")
    await stock.store_items("b")
    place = Place.of(postgres_schema)
    with psycopg.connect(place.url, autocommit=True, options=f"-c search_path={place.schema}") as admin:
        admin.execute("DELETE FROM events WHERE position = 1")
        admin.execute("UPDATE log_end SET version = version - 1, head = 0")

    with pytest.raises(StoreError, match="lost commits"):
        await stock.store_items("c")
    failure = stock.store.failure
    await stock.store.close()

    assert failure is not None
    assert "lost commits" in str(failure)


async def opened_when_free(stock: StoreUnderTest) -> StoreUnderTest:
    """Open a store as soon as the server has noticed that its owner is gone; that may take it a while."""
    async with asyncio.timeout(60):
        while True:
            try:
                await stock.store.open([StockProjection()])
            except StoreLockedError:
                continue
            return stock


async def take_over(url: str, monkeypatch) -> tuple[StoreUnderTest, StoreUnderTest]:
    """Open a store whose lock is lost and cannot be had again, and another one on the same schema."""
    first = stock_on(url)
    await first.store.open([StockProjection()])
    await first.store_items("first")
    real = connection.connect

    def connect(place, purpose, **options):
        if threading.current_thread().name == "microlith-store-owner":
            raise StoreAwayError(place.shown, "the network is cut, in this test")
        return real(place, purpose, **options)

    monkeypatch.setattr(ownership, "connect", connect)
    with psycopg.connect(Place.of(url).url, autocommit=True) as admin:
        admin.execute(EVERY_CONNECTION.replace("'microlith %'", "'microlith % owner'"))
    return first, await opened_when_free(stock_on(url))


async def test_owner_that_was_taken_over_without_noticing_writes_nothing_more(postgres_schema, monkeypatch):
    first, second = await take_over(postgres_schema, monkeypatch)
    await second.store_items("second")

    refused = [correlated(ItemStored(item=name)) for name in ("a", "b")]
    with pytest.raises(OwnershipLostError, match=f"taken over by process {os.getpid()}"):
        await first.complete(Unit(refused))
    with pytest.raises(StoreError, match="stopped writing"):
        await first.store_items("c")
    failure = first.store.failure
    await second.store_items("third")
    log = await second.whole_log()
    await first.store.close()
    assert await second.store.verify() == 3
    await second.store.close()

    assert isinstance(failure, OwnershipLostError)
    assert items_of(log) == ["first", "second", "third"]


async def test_the_same_check_catches_a_store_that_does_not_look_who_owns_it(postgres_schema, monkeypatch):
    first, second = await take_over(postgres_schema, monkeypatch)
    await second.store_items("second")
    assert isinstance(first.store, PostgresEventStore)
    assert isinstance(first.store._permission, ownership.Ownership)
    first.store._permission.epoch += 1

    await first.store_items("a")
    log = await second.whole_log()
    await first.store.close()
    await second.store.close()

    assert items_of(log) == ["first", "second", "a"]


def _is_another(admin: psycopg.Connection, asked: str, before: tuple[int] | None) -> bool:
    return admin.execute(asked).fetchone() not in (None, before)


async def test_lock_that_is_lost_is_taken_again(postgres_schema):
    stock = stock_on(postgres_schema)
    await stock.store.open()
    with psycopg.connect(Place.of(postgres_schema).url, autocommit=True) as admin:
        held = """
            SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
            WHERE application_name LIKE 'microlith % owner' AND locktype = 'advisory' AND granted
        """
        for _ in range(5):
            before = admin.execute(held).fetchone()
            admin.execute(EVERY_CONNECTION)
            await eventually(partial(_is_another, admin, held, before), 60)
        await stock.store_items("a")

        second = stock_on(postgres_schema)
        with pytest.raises(StoreError, match="is owned by"):
            await second.store.open()
    assert stock.store.failure is None
    await stock.store.close()


STOPPED = """
import asyncio, sys
from microlith.errors import StoreError
from tests.crash.store_load import stock_on

async def write():
    stock = stock_on(sys.argv[1])
    await stock.store.open()
    print("open", flush=True)
    try:
        while True:
            await stock.store_items("old owner")
    except StoreError as error:
        print(type(error).__name__, flush=True)

asyncio.run(write())
"""


async def test_process_that_was_stopped_past_its_ownership_writes_nothing_more(postgres_schema):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPED, postgres_schema, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"open\n"
        process.send_signal(signal.SIGSTOP)
        with psycopg.connect(Place.of(postgres_schema).url, autocommit=True) as admin:
            admin.execute(EVERY_CONNECTION)
        second = await opened_when_free(stock_on(postgres_schema))
        await second.store_items("new owner")
        process.send_signal(signal.SIGCONT)
        said = await asyncio.wait_for(process.stdout.readline(), 30)
        items = items_of(await second.whole_log())
        await second.store.close()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    # Unknown: of a commit that was under way when it was stopped, since another one has written in the meantime.
    assert said in (b"OwnershipLostError\n", b"UnknownOutcomeError\n")
    assert items[-1] == "new owner"
    assert items.count("new owner") == 1
