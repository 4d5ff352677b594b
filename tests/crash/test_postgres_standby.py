"""A process that stands by for a PostgreSQL store: it waits while the owner lives, and takes over when that is killed.

`MICROLITH_TAKEOVERS` sets how often an owner is killed under load.
"""

import asyncio
import os
import signal
from functools import partial

import psycopg
import pytest

from microlith.event_store.postgres import ownership
from microlith.event_store.postgres.place import Place
from microlith.testing.event_store_contract.stock import StoreUnderTest
from tests.crash.store_checks import Books, History, load_server
from tests.crash.store_load import stock_on
from tests.crash.test_postgres_goes_away import EVERY_CONNECTION, items_of
from tests.eventually import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.crash, pytest.mark.timeout(600)]

TAKEOVERS = int(os.environ.get("MICROLITH_TAKEOVERS", "1"))
PATIENCE = 60.0


@pytest.fixture
def standby(postgres_schema) -> str:
    return f"{postgres_schema}&standby=yes"


async def beside_an_owner(url: str, logged: pytest.LogCaptureFixture) -> tuple[StoreUnderTest, StoreUnderTest]:
    """Open a store, and another one that has to wait until the first is closed; return both, the second open."""
    first, second = stock_on(url), stock_on(url)
    await first.store.open()
    opening = asyncio.create_task(second.store.open())
    await eventually(lambda: "stands by" in logged.text or opening.done(), PATIENCE)
    if opening.done():
        await second.store.close()
        await first.store.close()
        raise AssertionError("it did not wait")
    await first.store_items("first")
    await first.store.close()
    await asyncio.wait_for(opening, PATIENCE)
    return first, second


async def test_process_that_stands_by_says_so_and_takes_over_when_the_owner_has_gone(standby, caplog):
    _, second = await beside_an_owner(standby, caplog)
    await second.store_items("second")
    items = items_of(await second.whole_log())
    await second.store.close()

    assert items == ["first", "second"]
    assert f"is owned by process {os.getpid()}" in caplog.text
    assert "takes over" in caplog.text
    assert "postgres:microlith@" not in caplog.text


async def test_the_same_check_catches_one_that_does_not_wait(standby, caplog, monkeypatch):
    monkeypatch.setattr(ownership.Ownership, "_lock", lambda *_: None)

    with pytest.raises(AssertionError, match="it did not wait"):
        await beside_an_owner(standby, caplog)


async def test_owner_whose_connections_are_cut_comes_before_who_stands_by(standby, caplog):
    first, second = stock_on(standby), stock_on(standby)
    await first.store.open()
    opening = asyncio.create_task(second.store.open())
    await eventually(lambda: "stands by" in caplog.text, PATIENCE)
    with psycopg.connect(Place.of(standby).url, autocommit=True) as admin:
        admin.execute(EVERY_CONNECTION)
    await first.store_items("a")
    await asyncio.sleep(ownership.GRACE_SECONDS + 1)
    assert not opening.done()
    await first.store_items("b")
    await first.store.close()
    await asyncio.wait_for(opening, PATIENCE)
    items = items_of(await second.whole_log())
    await second.store.close()

    assert items == ["a", "b"]


def grown(books: Books, beyond: int) -> bool:
    return len(books.acknowledged) > beyond


async def test_owner_that_is_killed_under_load_is_followed_without_a_loss(standby):
    with load_server() as one, load_server() as two:
        owner, waiting = one, two
        pid = owner.start(standby, 0, "durable", "sound")
        await eventually(owner.books.opened.is_set, PATIENCE)
        for trial in range(1, TAKEOVERS + 1):
            next_pid = waiting.start(standby, trial * 100_000, "durable", "sound")
            known, told = len(owner.books.acknowledged), len(waiting.books.acknowledged)
            await asyncio.sleep(3)  # by then it has found the store owned, and waits
            await eventually(partial(grown, owner.books, known + 50), PATIENCE)
            assert not waiting.books.opened.is_set()
            os.kill(pid, signal.SIGKILL)
            await eventually(waiting.books.opened.is_set, PATIENCE)
            await eventually(partial(grown, waiting.books, told + 50), PATIENCE)
            owner, waiting, pid = waiting, owner, next_pid
        os.kill(pid, signal.SIGKILL)
        await eventually(owner.books.gone.is_set, PATIENCE)

        books = Books()
        for server in (one, two):
            books.tried |= server.books.tried
            books.acknowledged |= server.books.acknowledged
        await History(standby).check(books, whole=True)
